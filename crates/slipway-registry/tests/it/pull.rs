//! Resolving and pulling: what is right arrives, what is wrong is refused.

use std::io::Read;

use slipway_oci::{Descriptor, Digest, IndexOrManifest, media_type};
use slipway_registry::{ErrorKind, Failure};
use slipway_test::registry::{Canned, TestRegistry};

use crate::support::{blob, bytes, client, image, reference};

fn read(registry: &TestRegistry, layer: &Descriptor) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    client().blob(&reference(registry, "app:1"), layer).map_err(std::io::Error::other)?.read_to_end(&mut content)?;
    Ok(content)
}

#[test]
fn an_image_is_resolved_and_pulled() {
    let registry = TestRegistry::start().unwrap();
    let content = bytes(300_000);
    let (digest, layer) = image(&registry, &content);

    let resolved = client().resolve(&reference(&registry, "app:1")).unwrap();
    assert_eq!((&resolved.digest, &resolved.served_by), (&digest, &registry.host()));
    let IndexOrManifest::Manifest(manifest) = resolved.parse().unwrap() else { panic!("not a manifest") };
    assert_eq!(manifest.layers, std::slice::from_ref(&layer));
    assert_eq!(client().manifest(&reference(&registry, "app"), &digest).unwrap(), resolved);
    assert_eq!(client().resolve_descriptor(&reference(&registry, "app:1")).unwrap(), resolved.descriptor());
    assert_eq!(read(&registry, &layer).unwrap(), content);
}

#[test]
fn a_descriptor_costs_one_head_request() {
    let registry = TestRegistry::start().unwrap();
    image(&registry, b"x");
    client().resolve_descriptor(&reference(&registry, "app:1")).unwrap();
    let requests = registry.requests();
    assert_eq!(requests.iter().map(|r| r.method.as_str()).collect::<Vec<_>>(), ["HEAD"]);
}

#[test]
fn an_empty_blob_is_a_blob() {
    let registry = TestRegistry::start().unwrap();
    assert_eq!(read(&registry, &blob(&registry, b"")).unwrap(), b"");
}

#[test]
fn what_is_not_there_is_not_found() {
    let registry = TestRegistry::start().unwrap();
    image(&registry, b"x");
    let error = client().resolve(&reference(&registry, "app:2")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let host = registry.host();
    assert_eq!(
        error.to_string(),
        format!("failed to resolve source metadata for {host}/app:2: {host}/app:2: not found")
    );

    let missing = Descriptor::new(media_type::OCI_LAYER, Digest::of(b"missing"), 7);
    let error = client().blob(&reference(&registry, "app:1"), &missing).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn a_host_that_is_not_there_is_trouble_with_the_environment() {
    let registry = TestRegistry::start().unwrap();
    let gone = reference(&registry, "app:1");
    let port = registry.host();
    drop(registry);
    let error = client().resolve(&gone).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Environment);
    assert!(
        error
            .to_string()
            .starts_with(&format!("failed to resolve source metadata for {gone}: {port}: cannot be reached: ")),
        "{error}"
    );
}

#[test]
fn a_cut_blob_is_taken_up_where_it_broke() {
    let registry = TestRegistry::start().unwrap();
    let content = bytes(1_000_000);
    let layer = blob(&registry, &content);
    registry.cut_next_blobs(2, 300_000);
    assert_eq!(read(&registry, &layer).unwrap(), content);
    let ranges: Vec<_> = registry.requests().into_iter().map(|request| request.range).collect();
    assert_eq!(ranges, [None, Some("bytes=300000-".to_owned()), Some("bytes=600000-".to_owned())]);
}

#[test]
fn a_cut_blob_arrives_from_a_server_without_ranges_too() {
    let registry = TestRegistry::start().unwrap();
    let content = bytes(1_000_000);
    let layer = blob(&registry, &content);
    registry.ignore_ranges();
    registry.cut_next_blobs(1, 300_000);
    assert_eq!(read(&registry, &layer).unwrap(), content);
}

#[test]
fn a_blob_that_is_always_cut_is_an_error() {
    let registry = TestRegistry::start().unwrap();
    let layer = blob(&registry, &bytes(100_000));
    registry.cut_next_blobs(1_000, 10);
    let error = read(&registry, &layer).unwrap_err();
    assert!(error.to_string().contains(layer.digest.as_str()), "{error}");
    assert!(registry.requests().len() < 100);
}

#[test]
fn wrong_bytes_are_refused_at_the_end() {
    let registry = TestRegistry::start().unwrap();
    let layer = blob(&registry, b"right");
    for (body, reason) in [("wrong", "got bytes with digest"), ("righ", "wanted 5 bytes"), ("right!", "wanted 5 bytes")]
    {
        let canned = Canned { body: body.as_bytes().to_vec(), ..Canned::default() };
        registry.set_canned(&format!("/v2/app/blobs/{}", layer.digest), canned);
        let error = read(&registry, &layer).unwrap_err();
        assert!(error.to_string().contains(reason), "{body}: {error}");
    }
}

#[test]
fn finish_checks_what_was_not_read() {
    let registry = TestRegistry::start().unwrap();
    let layer = blob(&registry, b"right");
    let path = format!("/v2/app/blobs/{}", layer.digest);
    registry.set_canned(&path, Canned { body: b"rixxx".to_vec(), ..Canned::default() });
    let mut reader = client().blob(&reference(&registry, "app"), &layer).unwrap();
    reader.read_exact(&mut [0; 2]).unwrap();
    assert!(reader.finish().is_err());
}

#[test]
fn manifests_must_be_what_was_asked_for() {
    let registry = TestRegistry::start().unwrap();
    let (digest, _) = image(&registry, b"x");
    registry.set_canned(
        &format!("/v2/app/manifests/{digest}"),
        Canned { body: br#"{"schemaVersion":2}"#.to_vec(), ..Canned::default() },
    );
    let error = client().manifest(&reference(&registry, "app"), &digest).unwrap_err();
    assert!(matches!(error.attempts[0].failure, Failure::DigestMismatch { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Invalid);

    for (stated, reason) in
        [(Digest::of(b"other").to_string(), "got bytes with digest"), ("sha256:../../x".into(), "is not a digest")]
    {
        let headers = vec![("Docker-Content-Digest".to_owned(), stated)];
        registry.set_canned("/v2/app/manifests/1", Canned { headers, body: b"{}".to_vec(), ..Canned::default() });
        let error = client().resolve(&reference(&registry, "app:1")).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn a_manifest_has_a_largest_size() {
    let registry = TestRegistry::start().unwrap();
    registry.set_canned("/v2/app/manifests/1", Canned { body: vec![b' '; (4 << 20) + 1], ..Canned::default() });
    let error = client().resolve(&reference(&registry, "app:1")).unwrap_err();
    assert_eq!(error.attempts[0].failure, Failure::TooLarge { limit_bytes: 4 << 20 });
}

#[test]
fn a_manifest_that_breaks_is_asked_for_twice() {
    let registry = TestRegistry::start().unwrap();
    let cut = Canned { body: b"{ }".to_vec(), cut_after_bytes: Some(1), ..Canned::default() };
    registry.set_canned("/v2/app/manifests/1", cut);
    let error = client().resolve(&reference(&registry, "app:1")).unwrap_err();
    assert!(matches!(error.attempts[0].failure, Failure::Unreachable { .. }), "{error}");
    assert_eq!(registry.requests().len(), 2);
}

#[test]
fn a_server_that_wants_a_long_rest_is_left_alone() {
    let registry = TestRegistry::start().unwrap();
    let headers = vec![("Retry-After".to_owned(), "3600".to_owned())];
    registry.set_canned("/v2/app/manifests/1", Canned { status: 429, headers, ..Canned::default() });
    let error = client().resolve(&reference(&registry, "app:1")).unwrap_err();
    assert!(matches!(error.attempts[0].failure, Failure::Status { status: 429, .. }), "{error}");
    assert_eq!(registry.requests().len(), 1);
}

#[test]
fn a_document_that_is_both_index_and_manifest_does_not_parse() {
    let registry = TestRegistry::start().unwrap();
    let body = br#"{"schemaVersion":2,"layers":[],"manifests":[]}"#.to_vec();
    registry.set_canned("/v2/app/manifests/1", Canned { body, ..Canned::default() });
    assert!(client().resolve(&reference(&registry, "app:1")).unwrap().parse().is_err());
}

#[test]
fn trouble_that_passes_is_waited_out() {
    let registry = TestRegistry::start().unwrap();
    let content = bytes(1_000);
    let (_, layer) = image(&registry, &content);
    registry.fail_next(2, "/manifests/", 503);
    registry.fail_next(2, "/blobs/", 429);
    assert!(client().resolve(&reference(&registry, "app:1")).is_ok());
    assert_eq!(read(&registry, &layer).unwrap(), content);

    registry.fail_next(1_000, "/manifests/", 503);
    let error = client().resolve(&reference(&registry, "app:1")).unwrap_err();
    assert!(matches!(error.attempts[0].failure, Failure::Status { status: 503, .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Environment);
}

/// A place that an image names may be one that only this machine can reach.
#[test]
fn places_that_a_layer_names_are_not_asked() {
    let registry = TestRegistry::start().unwrap();
    let elsewhere = TestRegistry::start().unwrap();
    elsewhere.set_canned("/layer", Canned { body: b"foreign".to_vec(), ..Canned::default() });
    let mut layer = Descriptor::new(media_type::DOCKER_LAYER_GZIP, Digest::of(b"foreign"), 7);
    layer.urls = vec![format!("{}/layer", elsewhere.url())];
    assert!(read(&registry, &layer).is_err());
    assert_eq!(elsewhere.requests(), []);
}

/// Breaks are counted anew as long as there is progress.
#[test]
fn a_large_blob_survives_many_breaks() {
    let registry = TestRegistry::start().unwrap();
    let content = bytes(12 << 20);
    let layer = blob(&registry, &content);
    registry.cut_next_blobs(10, (1 << 20) + 1);
    assert!(read(&registry, &layer).unwrap() == content);
    assert_eq!(registry.requests().iter().filter(|request| request.range.is_some()).count(), 10);
}

#[test]
fn one_client_serves_many_threads() {
    let registry = TestRegistry::start().unwrap();
    registry.set_access(slipway_test::registry::Access::bearer(true));
    let layers: Vec<_> = (0..8).map(|n| blob(&registry, &bytes(100_000 + n))).collect();
    let client = client();
    std::thread::scope(|scope| {
        for layer in &layers {
            let (client, registry) = (&client, &registry);
            scope.spawn(move || {
                let reader = client.blob(&reference(registry, "app:1"), layer).unwrap();
                // A stream may be opened by one thread and read by another.
                scope.spawn(move || reader.finish().unwrap());
            });
        }
    });
    let n_tokens = registry.requests().iter().filter(|request| request.target.starts_with("/token")).count();
    assert_eq!(n_tokens, 1);
}

/// Larger than what comes over one connection, and not a multiple of a piece.
const LARGE: usize = (21 << 20) + 12_345;

fn part_requests(registry: &TestRegistry) -> usize {
    registry.requests().iter().filter(|request| request.range.is_some()).count()
}

#[test]
fn a_large_blob_comes_in_pieces() {
    let registry = TestRegistry::start().unwrap();
    let content = bytes(LARGE);
    let layer = blob(&registry, &content);
    assert!(read(&registry, &layer).unwrap() == content);
    let mut ranges: Vec<String> = registry.requests().into_iter().filter_map(|request| request.range).collect();
    ranges.sort();
    ranges.dedup();
    assert_eq!(ranges.len(), LARGE.div_ceil(2 << 20), "{ranges:?}");
    assert!(registry.requests().iter().all(|request| request.range.is_some()), "nothing is fetched twice");
}

#[test]
fn pieces_that_break_are_asked_for_again() {
    let registry = TestRegistry::start().unwrap();
    let content = bytes(LARGE);
    let layer = blob(&registry, &content);
    registry.cut_next_blobs(3, 1_000_000);
    assert!(read(&registry, &layer).unwrap() == content);
}

#[test]
fn a_server_without_parts_sends_the_whole() {
    let registry = TestRegistry::start().unwrap();
    registry.ignore_ranges();
    let content = bytes(LARGE);
    let layer = blob(&registry, &content);
    assert!(read(&registry, &layer).unwrap() == content);
    assert_eq!(part_requests(&registry), 1, "the answer to the first request was enough");
}

#[test]
fn wrong_pieces_are_refused_at_the_end() {
    let registry = TestRegistry::start().unwrap();
    let content = bytes(LARGE);
    let mut layer = blob(&registry, &content);
    layer.size -= 1;
    let error = read(&registry, &layer).unwrap_err().to_string();
    assert!(error.contains(&format!("wanted {} bytes, got {LARGE}", LARGE - 1)), "{error}");
    let mut other = bytes(LARGE);
    other[LARGE - 1] ^= 1;
    let wrong = registry.put_blob("app", &other).unwrap();
    // Bytes of one blob under the name of another.
    std::fs::copy(registry.blob_path(&wrong), registry.blob_path(&layer.digest)).unwrap();
    layer.size += 1;
    let error = read(&registry, &layer).unwrap_err().to_string();
    assert!(error.contains(&format!("got bytes with digest `{wrong}`")), "{error}");
}

#[test]
fn many_large_blobs_at_once_all_arrive() {
    let registry = TestRegistry::start().unwrap();
    let client = client();
    let reference = reference(&registry, "app:1");
    let contents: Vec<Vec<u8>> = (0..5).map(|n| bytes(LARGE + n)).collect();
    let layers: Vec<Descriptor> = contents.iter().map(|content| blob(&registry, content)).collect();
    std::thread::scope(|scope| {
        for (layer, content) in layers.iter().zip(&contents) {
            let (client, reference) = (&client, &reference);
            scope.spawn(move || {
                let mut pulled = Vec::new();
                client.blob(reference, layer).unwrap().read_to_end(&mut pulled).unwrap();
                assert!(pulled == *content);
            });
        }
    });
    // No more than two of them had the buffers; the others came whole.
    assert!(registry.requests().iter().any(|request| request.range.is_none()));
    // Whoever stops in the middle gives the buffers back.
    let mut begun = client.blob(&reference, &layers[0]).unwrap();
    begun.read_exact(&mut [0; 1000]).unwrap();
    drop(begun);
}

#[test]
fn what_registries_have_to_say_is_kept() {
    let registry = TestRegistry::start().unwrap();
    let client = client();
    let headers = vec![("Warning".to_owned(), "299 - \"app is going away\"".to_owned())];
    registry.set_canned("/v2/app/manifests/1", Canned { headers, body: b"{}".to_vec(), ..Canned::default() });
    for _ in 0..2 {
        client.resolve(&reference(&registry, "app:1")).unwrap();
    }
    assert_eq!(client.warnings(), [format!("{} says: app is going away", registry.host())]);
}
