//! `--metadata-file`: what programs are told about a result (`spec/cli.md` section 5.4).

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use slipway_engine::Built;
use slipway_oci::{Descriptor, Digest, Platform};

use crate::commands::call::Answer;

/// The file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the metadata file `{}`", path.display())]
pub(crate) struct MetadataError {
    path: PathBuf,
    source: io::Error,
}

impl MetadataError {
    fn of(path: &Path, source: io::Error) -> MetadataError {
        MetadataError { path: path.to_owned(), source }
    }
}

/// The version of what `--call` answers, as the reference counts.
const ANSWER_VERSION: &str = "1.0.0";

/// How a build is called elsewhere than in the list of builds: its builder and the builder's node stand in front.
pub(crate) fn full_reference(build_id: &str) -> String {
    format!("slipway/slipway/{build_id}")
}

/// The members in the order of their names.
#[derive(Serialize)]
struct Metadata<'a> {
    #[serde(flatten)]
    provenance: BTreeMap<String, &'a serde_json::Value>,
    /// `None` if nobody asked for a result, so that nothing was built.
    #[serde(rename = "buildx.build.ref", skip_serializing_if = "Option::is_none")]
    build: Option<String>,
    #[serde(flatten)]
    image: Option<ImageMetadata<'a>>,
}

#[derive(Serialize)]
struct ImageMetadata<'a> {
    #[serde(rename = "containerimage.config.digest", skip_serializing_if = "Option::is_none")]
    config: Option<&'a Digest>,
    #[serde(rename = "containerimage.descriptor")]
    descriptor: &'a Descriptor,
    #[serde(rename = "containerimage.digest")]
    digest: &'a Digest,
    #[serde(rename = "image.name", skip_serializing_if = "String::is_empty")]
    names: String,
}

/// Writes `built` to `path`, which has either the old content or the whole new one at any time.
pub(crate) fn write(path: &Path, built: &Built) -> Result<(), MetadataError> {
    let error = |source| MetadataError::of(path, source);
    let text = document(built).map_err(|e| error(e.into()))?;
    replace(path, &text).map_err(error)
}

/// Writes what came of several builds, each under its name.
pub(crate) fn write_all(path: &Path, built: &[(&str, &Built)]) -> Result<(), MetadataError> {
    let error = |source| MetadataError::of(path, source);
    let mut documents = BTreeMap::new();
    for (name, built) in built {
        let text = document(built).map_err(|e| error(e.into()))?;
        let one: serde_json::Value = serde_json::from_slice(&text).map_err(|e| error(e.into()))?;
        documents.insert(*name, one);
    }
    let text = slipway_oci::to_indented(&documents).map_err(|e| error(e.into()))?;
    replace(path, &text).map_err(error)
}

/// Writes what a Dockerfile answered to a question, to `path`.
pub(crate) fn write_answer(path: &Path, answer: &Answer) -> Result<(), MetadataError> {
    let error = |source| MetadataError::of(path, source);
    let json: serde_json::Value = serde_json::from_str(&answer.json).map_err(|e| error(e.into()))?;
    let mut document = serde_json::json!({ "result.json": json });
    if answer.is_check {
        let is_bad = answer.has_findings || answer.failure.is_some();
        document["result.statuscode"] = if is_bad { "1" } else { "0" }.into();
    }
    document["result.txt"] = answer.text.clone().into();
    document["version"] = ANSWER_VERSION.into();
    let text = slipway_oci::to_indented(&document).map_err(|e| error(e.into()))?;
    replace(path, &text).map_err(error)
}

/// Writes what an image was pushed as, without a build.
pub(crate) fn write_pushed(path: &Path, descriptor: &impl Serialize, names: &[String]) -> Result<(), MetadataError> {
    let error = |source| MetadataError::of(path, source);
    let document = serde_json::json!({ "containerimage.descriptor": descriptor, "image.name": names.join(",") });
    let text = slipway_oci::to_indented(&document).map_err(|e| error(e.into()))?;
    replace(path, &text).map_err(error)
}

fn document(built: &Built) -> Result<Vec<u8>, serde_json::Error> {
    let image = built.image.as_ref().map(|image| ImageMetadata {
        config: image.config.as_ref(),
        descriptor: &image.descriptor,
        digest: &image.descriptor.digest,
        names: image.names.join(","),
    });
    let member = |platform: &Option<Platform>| match platform {
        None => "buildx.build.provenance".to_owned(),
        Some(platform) => format!("buildx.build.provenance/{platform}"),
    };
    let provenance = built.provenance.iter().map(|(platform, predicate)| (member(platform), predicate)).collect();
    let build = built.record.as_ref().map(|record| full_reference(&record.id));
    slipway_oci::to_indented(&Metadata { provenance, build, image })
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Nobody knows the temporary file that an error would name.
    std::fs::metadata(folder)?;
    let mut file = tempfile::Builder::new().prefix(".slipway-").tempfile_in(folder)?;
    file.write_all(text)?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use slipway_engine::ExportedImage;

    use super::*;

    #[test]
    fn an_image_is_described_as_the_reference_does() {
        let digest = Digest::of(b"");
        let mut descriptor = Descriptor::new("m", digest.clone(), 5);
        descriptor.platform = Some("linux/amd64".parse().unwrap());
        let image = ExportedImage { descriptor, config: Some(digest.clone()), names: vec!["a:1".into(), "b:2".into()] };
        let expected = r#"{
  "buildx.build.provenance": {},
  "buildx.build.provenance/linux/arm64": {
    "a": 1
  },
  "containerimage.config.digest": "D",
  "containerimage.descriptor": {
    "mediaType": "m",
    "digest": "D",
    "size": 5,
    "platform": {
      "architecture": "amd64",
      "os": "linux"
    }
  },
  "containerimage.digest": "D",
  "image.name": "a:1,b:2"
}"#;
        let arm = Some("linux/arm64".parse().unwrap());
        let provenance = vec![(None, serde_json::json!({})), (arm, serde_json::json!({"a": 1}))];
        let built = Built { image: Some(image), provenance, ..Built::default() };
        let text = String::from_utf8(document(&built).unwrap()).unwrap();
        assert_eq!(text.replace(digest.as_str(), "D"), expected);
    }

    #[test]
    fn the_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.json");
        std::fs::write(&path, "an older and longer text").unwrap();
        replace(&path, b"{}").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"{}");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }
}
