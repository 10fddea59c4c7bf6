//! What is shown of an image to people (`spec/cli.md` section 8.2). Values only.

use super::index::{Entry, IndexDocument};
use super::location::{Document, Location};

/// The name and kind of an image, and the manifests of an index.
pub(super) fn text(name: &Location, document: &Document, index: Option<&IndexDocument>) -> String {
    let mut page = Page::default();
    page.row("Name:", &name.to_string());
    page.row("MediaType:", &document.media_type);
    page.row("Digest:", document.digest.as_str());
    page.end_block();
    if let Some(index) = index {
        page.row("", "");
        page.row("Manifests:", "");
        page.end_block();
        for (number, entry) in index.manifests.iter().enumerate() {
            if number > 0 {
                page.row("", "");
            }
            of_entry(&mut page, name, entry);
        }
        page.end_block();
    }
    page.written
}

fn of_entry(page: &mut Page, name: &Location, entry: &Entry) {
    page.row("  Name:", &name.with_digest(&entry.digest).to_string());
    page.row("  MediaType:", &entry.media_type);
    let Some(platform) = &entry.platform else { return };
    page.row("  Platform:", &platform.platform().to_string());
    if let Some(version) = &platform.os_version {
        page.row("  OSVersion:", version);
    }
    if !platform.os_features.is_empty() {
        page.row("  OSFeatures:", &platform.os_features.join(", "));
    }
    if !entry.urls.is_empty() {
        page.row("  URLs:", &entry.urls.join(", "));
    }
    if !entry.annotations.is_empty() {
        page.row("  Annotations:", "");
        page.end_block();
        for (key, value) in &entry.annotations {
            page.row(&format!("    {key}:"), value);
        }
        page.end_block();
    }
}

/// Rows in blocks, in each of which values begin in one column.
#[derive(Default)]
struct Page {
    written: String,
    block: Vec<(String, String)>,
}

impl Page {
    fn row(&mut self, label: &str, value: &str) {
        // What others wrote into an image must not write to the terminal.
        let shown = |text: &str| text.chars().filter(|c| !c.is_control()).collect();
        self.block.push((shown(label), shown(value)));
    }

    fn end_block(&mut self) {
        let width = self.block.iter().map(|(label, _)| label.chars().count()).max().unwrap_or_default();
        for (label, value) in self.block.drain(..) {
            self.written.push_str(&format!("{label:width$} {value}\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use slipway_oci::Digest;

    use super::*;

    /// What the reference prints of an image with an attestation, and of one for two platforms.
    const ATTESTED: &str = "\
Name:      127.0.0.1:5000/attest/max:1
MediaType: application/vnd.oci.image.index.v1+json
Digest:    sha256:74ca98b863c2c3840e6f1f27bee437eb071d845da021f9d4d6ad906d9094510b
           \n\
Manifests: \n  \
  Name:        127.0.0.1:5000/attest/max:1@sha256:ac57cc653207ec7dc7e0f172e10a3571118c70e0b70de883d1b16f435e13335f
  MediaType:   application/vnd.oci.image.manifest.v1+json
  Platform:    linux/amd64
               \n  \
  Name:        127.0.0.1:5000/attest/max:1@sha256:482552f8e0db0a394887f01b79b50a52db1a32bf81e80162d35a961f0fad98d7
  MediaType:   application/vnd.oci.image.manifest.v1+json
  Platform:    unknown/unknown
  Annotations: \n    \
    vnd.docker.reference.digest: sha256:ac57cc653207ec7dc7e0f172e10a3571118c70e0b70de883d1b16f435e13335f
    vnd.docker.reference.type:   attestation-manifest
";

    fn index(text: &str) -> IndexDocument {
        serde_json::from_str(text).unwrap()
    }

    fn document(digest: &str, media_type: &str) -> Document {
        let digest: Digest = digest.parse().unwrap();
        Document { digest, media_type: media_type.to_owned(), bytes: Vec::new() }
    }

    #[test]
    fn an_index_is_shown_as_the_reference_shows_it() {
        let image = "sha256:ac57cc653207ec7dc7e0f172e10a3571118c70e0b70de883d1b16f435e13335f";
        let index = index(&format!(
            r#"{{"schemaVersion":2,"manifests":[
            {{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{image}","size":855,
             "platform":{{"architecture":"amd64","os":"linux"}}}},
            {{"mediaType":"application/vnd.oci.image.manifest.v1+json",
             "digest":"sha256:482552f8e0db0a394887f01b79b50a52db1a32bf81e80162d35a961f0fad98d7","size":566,
             "annotations":{{"vnd.docker.reference.digest":"{image}","vnd.docker.reference.type":"attestation-manifest"}},
             "platform":{{"architecture":"unknown","os":"unknown"}}}}]}}"#
        ));
        let document = document(
            "sha256:74ca98b863c2c3840e6f1f27bee437eb071d845da021f9d4d6ad906d9094510b",
            "application/vnd.oci.image.index.v1+json",
        );
        let name = Location::parse("127.0.0.1:5000/attest/max:1").unwrap();
        assert_eq!(text(&name, &document, Some(&index)), ATTESTED);
        let no_index = "Name:      docker.io/library/x:latest\nMediaType: m\nDigest:    ";
        let alone = text(&Location::parse("x").unwrap(), &Document { media_type: "m".into(), ..document }, None);
        assert!(alone.starts_with(no_index) && alone.lines().count() == 3, "{alone}");
    }

    #[test]
    fn windows_and_controls() {
        let digest = Digest::of(b"");
        let index = index(&format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"m\u001b[31m","digest":"{digest}","size":1,"urls":["u","v"],
            "platform":{{"architecture":"amd64","os":"windows","os.version":"10.0","os.features":["a","b"]}}}}]}}"#
        ));
        let shown = text(&Location::parse("x").unwrap(), &document(digest.as_str(), "i"), Some(&index));
        let entry: Vec<&str> = shown.lines().skip(6).collect();
        assert_eq!(
            entry,
            [
                "  MediaType:  m[31m",
                "  Platform:   windows/amd64",
                "  OSVersion:  10.0",
                "  OSFeatures: a, b",
                "  URLs:       u, v",
            ]
        );
    }
}
