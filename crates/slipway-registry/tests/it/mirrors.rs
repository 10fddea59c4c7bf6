//! Mirrors: asked first, trusted never, and told of when everything fails.

use slipway_registry::{ClientConfig, ErrorKind, Registry};
use slipway_test::registry::{Access, Canned, TestRegistry};

use crate::support::{authorizations, bytes, config, image, reference};

fn client(registry: &TestRegistry, mirrors: &[&str]) -> Registry {
    let mirrors = mirrors.iter().map(|url| (registry.host(), (*url).to_owned())).collect();
    Registry::new(ClientConfig { mirrors, ..config() })
}

#[test]
fn the_mirror_serves_what_it_has() {
    let (registry, mirror) = (TestRegistry::start().unwrap(), TestRegistry::start().unwrap());
    let (_, layer) = image(&mirror, b"x");
    let client = client(&registry, &[mirror.url()]);
    let resolved = client.resolve(&reference(&registry, "app:1")).unwrap();
    assert_eq!(resolved.served_by, mirror.host());
    client.blob(&reference(&registry, "app:1"), &layer).unwrap().finish().unwrap();
    assert_eq!(registry.requests(), vec![]);
}

#[test]
fn the_registry_serves_what_the_mirror_lacks() {
    let (registry, mirror) = (TestRegistry::start().unwrap(), TestRegistry::start().unwrap());
    image(&registry, b"x");
    let resolved = client(&registry, &[mirror.url()]).resolve(&reference(&registry, "app:1")).unwrap();
    assert_eq!(resolved.served_by, registry.host());
    assert_eq!(mirror.requests().len(), 1);
}

#[test]
fn a_mirror_with_wrong_bytes_is_passed_over() {
    let (registry, mirror) = (TestRegistry::start().unwrap(), TestRegistry::start().unwrap());
    let (digest, _) = image(&registry, b"x");
    let lie = Canned { body: b"{}".to_vec(), ..Canned::default() };
    mirror.set_canned(&format!("/v2/app/manifests/{digest}"), lie);
    let resolved = client(&registry, &[mirror.url()]).manifest(&reference(&registry, "app"), &digest).unwrap();
    assert_eq!(resolved.served_by, registry.host());
}

#[test]
fn a_blob_that_breaks_at_the_mirror_is_taken_up_at_the_registry() {
    let (registry, mirror) = (TestRegistry::start().unwrap(), TestRegistry::start().unwrap());
    let content = bytes(1_000_000);
    let (_, layer) = image(&registry, &content);
    image(&mirror, &content);
    mirror.cut_next_blobs(1, 400_000);
    let mut reader = client(&registry, &[mirror.url()]).blob(&reference(&registry, "app:1"), &layer).unwrap();
    let mut start = vec![0; 100_000];
    std::io::Read::read_exact(&mut reader, &mut start).unwrap();
    mirror.fail_next(1_000, "/blobs/", 500);
    reader.finish().unwrap();
    assert_eq!(registry.requests()[0].range.as_deref(), Some("bytes=400000-"));
}

#[test]
fn the_error_tells_of_every_host() {
    let (registry, mirror, gone) =
        (TestRegistry::start().unwrap(), TestRegistry::start().unwrap(), TestRegistry::start().unwrap());
    let gone_url = gone.url().to_owned();
    let gone_host = gone.host();
    drop(gone);
    let error = client(&registry, &[&gone_url, mirror.url()]).resolve(&reference(&registry, "app:1")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let text = error.to_string();
    assert!(text.contains(&format!("{gone_host}: cannot be reached: ")), "{text}");
    assert!(text.contains(&format!("{}: not found; {}: not found", mirror.host(), registry.host())), "{text}");
}

#[test]
fn a_mirror_sees_no_credentials_of_the_registry() {
    let (registry, mirror) = (TestRegistry::start().unwrap(), TestRegistry::start().unwrap());
    image(&registry, b"x");
    let login = Access::Basic { username: "user".to_owned(), password: "password".to_owned() };
    registry.set_access(login.clone());
    mirror.set_access(login);
    let config = ClientConfig {
        mirrors: vec![(registry.host(), mirror.url().to_owned())],
        docker_auth_config: Some(format!(r#"{{"auths":{{"{}":{{"auth":"dXNlcjpwYXNzd29yZA=="}}}}}}"#, registry.host())),
        ..config()
    };
    Registry::new(config).resolve(&reference(&registry, "app:1")).unwrap();
    assert_eq!(authorizations(&mirror), Vec::<String>::new());
    assert_eq!(authorizations(&registry).len(), 1);
}
