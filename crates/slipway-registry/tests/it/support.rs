//! What the tests of all topics start from: a client that does not wait long, and a small image.

use std::time::Duration;

use slipway_oci::{Descriptor, Digest, Reference, media_type};
use slipway_registry::{ClientConfig, Registry};
use slipway_test::registry::TestRegistry;

/// A configuration that knows nothing of the machine and hardly waits between attempts.
pub(crate) fn config() -> ClientConfig {
    ClientConfig { first_wait: Duration::from_millis(1), ..ClientConfig::default() }
}

pub(crate) fn client() -> Registry {
    Registry::new(config())
}

/// A client that has a password for `host`.
pub(crate) fn client_with_password(host: &str) -> Registry {
    let mut config = config();
    config.docker_auth_config = Some(format!(r#"{{"auths":{{"{host}":{{"auth":"dXNlcjpwYXNzd29yZA=="}}}}}}"#));
    Registry::new(config)
}

/// The header that the password of [`client_with_password`] becomes.
pub(crate) const PASSWORD_HEADER: &str = "Basic dXNlcjpwYXNzd29yZA==";

pub(crate) fn reference(registry: &TestRegistry, rest: &str) -> Reference {
    format!("{}/{rest}", registry.host()).parse().unwrap()
}

/// Bytes that differ everywhere, so that a piece in the wrong place is noticed.
pub(crate) fn bytes(n: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(n)
    .collect()
}

/// A blob in the repository `app`.
pub(crate) fn blob(registry: &TestRegistry, content: &[u8]) -> Descriptor {
    let digest = registry.put_blob("app", content).unwrap();
    Descriptor::new(media_type::OCI_LAYER, digest, content.len() as u64)
}

/// The bytes of a manifest of an image with one layer.
pub(crate) fn manifest_bytes(config: &Digest, layer: &Descriptor) -> Vec<u8> {
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": Descriptor::new(media_type::OCI_CONFIG, config.clone(), 2),
        "layers": [layer],
    });
    manifest.to_string().into_bytes()
}

/// An image `app:1`; returns the digest of its manifest and the layer.
pub(crate) fn image(registry: &TestRegistry, content: &[u8]) -> (Digest, Descriptor) {
    let layer = blob(registry, content);
    let config = registry.put_blob("app", b"{}").unwrap();
    let bytes = manifest_bytes(&config, &layer);
    let digest = registry.put_manifest("app", Some("1"), media_type::OCI_MANIFEST, &bytes).unwrap();
    (digest, layer)
}

/// Every `Authorization` header that a server saw.
pub(crate) fn authorizations(registry: &TestRegistry) -> Vec<String> {
    registry.requests().into_iter().filter_map(|request| request.authorization).collect()
}
