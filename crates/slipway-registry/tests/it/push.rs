//! Pushing: blobs go up once, or not at all if they are there or can be mounted.

use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};

use slipway_oci::{Descriptor, Digest, media_type};
use slipway_registry::{BlobPush, ErrorKind, Failure};
use slipway_test::registry::{Access, TestRegistry};

use crate::support::{PASSWORD_HEADER, authorizations, bytes, client, client_with_password, manifest_bytes, reference};

fn descriptor(content: &[u8]) -> Descriptor {
    Descriptor::new(media_type::OCI_LAYER, Digest::of(content), content.len() as u64)
}

/// A source that can be opened any number of times.
fn source(content: &[u8]) -> impl Fn() -> io::Result<Box<dyn Read + Send>> {
    let content = content.to_vec();
    move || Ok(Box::new(io::Cursor::new(content.clone())))
}

#[test]
fn an_image_goes_up_and_comes_back() {
    let registry = TestRegistry::start().unwrap();
    let target = reference(&registry, "new/app:1");
    let content = bytes(3_000_000);
    let layer = descriptor(&content);
    let config = descriptor(b"{}");
    for (blob, content) in [(&layer, &content[..]), (&config, b"{}")] {
        assert_eq!(client().push_blob(&target, blob, source(content), None).unwrap(), BlobPush::Uploaded);
        assert_eq!(client().push_blob(&target, blob, source(content), None).unwrap(), BlobPush::Existed);
    }
    let manifest = manifest_bytes(&config.digest, &layer);
    let digest = client().push_manifest(&target, media_type::OCI_MANIFEST, &manifest).unwrap();
    let resolved = client().resolve(&target).unwrap();
    assert_eq!((resolved.digest, resolved.bytes), (digest, manifest));
    assert_eq!(resolved.media_type, media_type::OCI_MANIFEST);
    assert_eq!(registry.blob(&layer.digest).unwrap(), content);
}

#[test]
fn an_empty_blob_can_be_pushed() {
    let registry = TestRegistry::start().unwrap();
    let target = reference(&registry, "app:1");
    assert_eq!(client().push_blob(&target, &descriptor(b""), source(b""), None).unwrap(), BlobPush::Uploaded);
}

#[test]
fn a_manifest_without_a_tag_is_stored_under_its_digest() {
    let registry = TestRegistry::start().unwrap();
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#, media_type::OCI_INDEX);
    let target = reference(&registry, "app");
    let digest = client().push_manifest(&target, media_type::OCI_INDEX, index.as_bytes()).unwrap();
    assert_eq!(client().manifest(&target, &digest).unwrap().bytes, index.as_bytes());
    assert_eq!(client().resolve(&target).unwrap_err().kind(), ErrorKind::NotFound);

    let other = target.with_digest(Digest::of(b"other"));
    let error = client().push_manifest(&other, media_type::OCI_INDEX, index.as_bytes()).unwrap_err();
    assert!(matches!(error.failure, Failure::DigestMismatch { .. }), "{error}");
}

#[test]
fn a_manifest_before_its_blobs_is_refused() {
    let registry = TestRegistry::start().unwrap();
    let manifest = manifest_bytes(&Digest::of(b"{}"), &descriptor(b"x"));
    let error =
        client().push_manifest(&reference(&registry, "app:1"), media_type::OCI_MANIFEST, &manifest).unwrap_err();
    assert!(error.to_string().contains("manifest_blob_unknown"), "{error}");
}

#[test]
fn a_blob_is_mounted_from_another_repository() {
    let registry = TestRegistry::start().unwrap();
    registry.set_access(Access::bearer(false));
    let digest = registry.put_blob("base", b"layer").unwrap();
    let blob = Descriptor::new(media_type::OCI_LAYER, digest, 5);
    let client = client_with_password(&registry.host());
    let never = || -> io::Result<Box<dyn Read + Send>> { panic!("the bytes are not needed") };
    let base = reference(&registry, "base:1");
    let pushed = client.push_blob(&reference(&registry, "app:1"), &blob, never, Some(&base)).unwrap();
    assert_eq!(pushed, BlobPush::Mounted);
}

#[test]
fn a_mount_that_fails_becomes_an_upload() {
    let registry = TestRegistry::start().unwrap();
    let base = reference(&registry, "base:1");
    let target = reference(&registry, "app:1");
    let pushed = client().push_blob(&target, &descriptor(b"x"), source(b"x"), Some(&base)).unwrap();
    assert_eq!(pushed, BlobPush::Uploaded);
}

#[test]
fn an_upload_that_breaks_is_started_anew() {
    let registry = TestRegistry::start().unwrap();
    let content = bytes(500_000);
    let n_opened = AtomicUsize::new(0);
    let open = || {
        n_opened.fetch_add(1, Ordering::Relaxed);
        source(&content)()
    };
    registry.fail_next(2, "PUT /v2/app/blobs/uploads/", 500);
    client().push_blob(&reference(&registry, "app:1"), &descriptor(&content), open, None).unwrap();
    assert_eq!(registry.blob(&Digest::of(&content)).unwrap(), content);
    assert_eq!(n_opened.load(Ordering::Relaxed), 3);
}

#[test]
fn a_token_that_ends_during_a_push_is_renewed() {
    let registry = TestRegistry::start().unwrap();
    registry.set_access(Access::bearer(false));
    let client = client_with_password(&registry.host());
    let content = bytes(500_000);
    let open = || {
        // Between the start of the upload and its PUT, once.
        if !registry.requests().iter().any(|request| request.method == "PUT") {
            registry.revoke_tokens();
        }
        source(&content)()
    };
    client.push_blob(&reference(&registry, "app:1"), &descriptor(&content), open, None).unwrap();
    assert_eq!(registry.requests().iter().filter(|request| request.method == "PUT").count(), 2);
}

#[test]
fn a_source_that_is_too_short_is_this_sides_fault() {
    let registry = TestRegistry::start().unwrap();
    let blob = descriptor(b"four");
    let error = client().push_blob(&reference(&registry, "app:1"), &blob, source(b"thr"), None).unwrap_err();
    assert!(matches!(error.failure, Failure::Source { .. }), "{error}");

    let broken = || Err(io::Error::other("no such layer"));
    let error = client().push_blob(&reference(&registry, "app:1"), &blob, broken, None).unwrap_err();
    assert!(error.to_string().contains("no such layer"), "{error}");
}

#[test]
fn wrong_bytes_are_refused_by_the_registry() {
    let registry = TestRegistry::start().unwrap();
    let error =
        client().push_blob(&reference(&registry, "app:1"), &descriptor(b"right"), source(b"wrong"), None).unwrap_err();
    assert!(matches!(error.failure, Failure::Status { status: 400, .. }), "{error}");
}

#[test]
fn pushing_without_permission_is_denied() {
    let registry = TestRegistry::start().unwrap();
    registry.set_access(Access::bearer(true));
    let error = client().push_blob(&reference(&registry, "app:1"), &descriptor(b"x"), source(b"x"), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().contains("push access denied"), "{error}");
}

#[test]
fn an_upload_elsewhere_gets_no_credentials() {
    let registry = TestRegistry::start().unwrap();
    let storage = TestRegistry::start().unwrap();
    let login = Access::Basic { username: "user".to_owned(), password: "password".to_owned() };
    registry.set_access(login);
    registry.send_uploads_to(storage.url());
    let client = client_with_password(&registry.host());
    let target = reference(&registry, "app:1");
    // The storage does not know the upload, so the push fails; what matters is what it was told.
    assert!(client.push_blob(&target, &descriptor(b"x"), source(b"x"), None).is_err());
    assert!(authorizations(&registry).iter().all(|header| header == PASSWORD_HEADER));
    assert!(storage.requests().iter().any(|request| request.method == "PUT"));
    assert_eq!(authorizations(&storage), Vec::<String>::new());
}
