//! What is an image called in a statement? A package URL (<https://github.com/package-url/purl-spec>).

use slipway_oci::{Platform, Reference};

/// `pkg:docker/<name>@<tag>?digest=…&platform=…`, the name as short as people write it.
pub(super) fn of_image(reference: &Reference, platform: Option<&Platform>) -> String {
    let host = Some(reference.host()).filter(|host| *host != "docker.io");
    let repository = reference.repository();
    let name = match host {
        Some(host) => format!("{host}/{repository}"),
        None => repository.strip_prefix("library/").unwrap_or(repository).to_owned(),
    };
    let version = reference.tag_or_latest().map(|tag| format!("@{tag}")).unwrap_or_default();
    let digest = reference.digest().map(|digest| ("digest", digest.to_string()));
    let platform = platform.map(|platform| ("platform", platform.to_string()));
    let qualifiers: Vec<String> =
        digest.into_iter().chain(platform).map(|(key, value)| format!("{key}={}", escaped(&value))).collect();
    let mark = if qualifiers.is_empty() { "" } else { "?" };
    format!("pkg:docker/{name}{version}{mark}{}", qualifiers.join("&"))
}

/// Digests and platforms have no other character that a query cannot have.
fn escaped(text: &str) -> String {
    text.replace('/', "%2F")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_called_as_by_the_reference() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (reference, platform, expected) in [
            ("busybox", Some("linux/amd64"), "pkg:docker/busybox@latest?platform=linux%2Famd64".to_owned()),
            ("me/app:1", None, "pkg:docker/me/app@1".to_owned()),
            ("127.0.0.1:5000/a/b:1", Some("linux/arm/v7"), {
                "pkg:docker/127.0.0.1:5000/a/b@1?platform=linux%2Farm%2Fv7".to_owned()
            }),
            (
                &format!("busybox@{digest}"),
                Some("linux/amd64"),
                format!("pkg:docker/busybox?digest={}&platform=linux%2Famd64", digest),
            ),
        ] {
            let platform = platform.map(|platform| platform.parse().unwrap());
            assert_eq!(of_image(&reference.parse().unwrap(), platform.as_ref()), expected);
        }
    }
}
