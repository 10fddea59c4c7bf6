//! `slipway imagetools inspect`: what is in an image, without pulling it (`spec/cli.md` section 8.2).

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use serde_json::{Map, Value, json};
use slipway_oci::{IndexOrManifest, Manifest, ManifestParseError, ReferenceParseError};
use slipway_registry::Registry;

use super::index::{CombineError, Entry, IndexDocument, index_of, is_index};
use super::location::{Document, Location, LocationError};
use super::view;
use crate::cli::imagetools::InspectArgs;
use crate::client_config;
use crate::go_template::{Dialect, Shape, Template, TemplateError};

/// A template whose first action begins so shows what is shown without one.
const DEFAULT: &str = ".Manifest";
/// What the layers of an attestation are, and which annotation of them says what is attested.
const IN_TOTO: &str = "application/vnd.in-toto+json";
const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";
const SPDX: &str = "https://spdx.dev/Document";
const SLSA: &str = "https://slsa.dev/provenance/";
/// The members of a config, of its `config`, and of an entry of its history, in the order of the reference.
const CONFIG: [&str; 10] =
    ["created", "author", "architecture", "os", "os.version", "os.features", "variant", "config", "rootfs", "history"];
const RUNTIME: [&str; 13] = [
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
    "ArgsEscaped",
    "Healthcheck",
    "OnBuild",
    "Shell",
];
const HISTORY: [&str; 5] = ["created", "created_by", "author", "comment", "empty_layer"];

/// Why an image cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum InspectError {
    #[error("format and raw cannot be used together")]
    TwoForms,
    #[error(transparent)]
    Name(#[from] ReferenceParseError),
    #[error("{}", .0.without_prefix())]
    Template(TemplateError),
    #[error(transparent)]
    Location(#[from] LocationError),
    #[error(transparent)]
    Index(#[from] CombineError),
    #[error("the manifest {0} cannot be understood")]
    Manifest(Location, #[source] ManifestParseError),
    #[error("{what} of {location} cannot be understood")]
    Json { what: &'static str, location: Location, source: serde_json::Error },
    #[error("cannot print the image")]
    Print(#[from] io::Error),
}

/// `slipway imagetools inspect`.
pub(super) fn run(args: &InspectArgs) -> Result<(), InspectError> {
    if args.raw && !args.format.is_empty() {
        return Err(InspectError::TwoForms);
    }
    let template = Template::parse_as(Dialect::Imagetools, &args.format).map_err(InspectError::Template)?;
    let location = Location::parse(&args.name)?;
    let registry = Registry::new(client_config::registry_config(false));
    let document = location.resolve(&registry)?;
    let index = if is_index(&document.media_type) { Some(index_of(&document)?) } else { None };
    let text = if args.raw {
        document.bytes
    } else if args.format.is_empty() || first_action(&args.format).is_some_and(|action| action.starts_with(DEFAULT)) {
        view::text(&location, &document, index.as_ref()).into_bytes()
    } else {
        let contents = Contents { registry: &registry, location: &location };
        let (data, kind) = contents.data(&args.name, &document, index.as_ref())?;
        template.run(&data, Shape::Struct(kind)).map_err(InspectError::Template)?.into_bytes()
    };
    Ok(io::stdout().write_all(&text)?)
}

/// The action that a template begins with.
fn first_action(format: &str) -> Option<&str> {
    format.strip_prefix("{{").map(str::trim_start)
}

/// What is known of one image of several.
struct ImageFacts {
    config: Value,
    provenance: Value,
    sbom: Value,
}

/// Looks into the manifests below an image.
struct Contents<'a> {
    registry: &'a Registry,
    location: &'a Location,
}

impl Contents<'_> {
    /// What a template sees, and what the reference calls that.
    fn data(
        &self,
        name: &str,
        document: &Document,
        index: Option<&IndexDocument>,
    ) -> Result<(Value, &'static str), InspectError> {
        let mut images = self.images(document, index)?;
        let manifest = described(document, index);
        let only = if images.len() == 1 { images.pop_first() } else { None };
        if let Some((_, ImageFacts { config, provenance, sbom })) = only {
            let data =
                json!({ "name": name, "manifest": manifest, "image": config, "Provenance": provenance, "SBOM": sbom });
            return Ok((data, "imagetools.tplInput"));
        }
        let (mut configs, mut provenances, mut sboms) = (Map::new(), Map::new(), Map::new());
        let is_there = |value: &Value| value.as_object().is_some_and(|fields| !fields.is_empty());
        for (platform, facts) in images {
            configs.insert(platform.clone(), facts.config);
            provenances.extend(Some((platform.clone(), facts.provenance)).filter(|(_, value)| is_there(value)));
            sboms.extend(Some((platform, facts.sbom)).filter(|(_, value)| is_there(value)));
        }
        let data =
            json!({ "name": name, "manifest": manifest, "image": configs, "Provenance": provenances, "SBOM": sboms });
        Ok((data, "imagetools.tplInputs"))
    }

    /// The images, by platform.
    fn images(
        &self,
        document: &Document,
        index: Option<&IndexDocument>,
    ) -> Result<BTreeMap<String, ImageFacts>, InspectError> {
        let alone = [Entry::of_document(document)];
        let entries = index.map_or(&alone[..], |index| &index.manifests);
        let mut images = BTreeMap::new();
        for entry in entries.iter().filter(|entry| !entry.is_attestation() && !entry.is_index()) {
            let manifest = self.manifest(entry)?;
            let config = self.config(&manifest)?;
            let text = |name: &str| config[name].as_str().unwrap_or_default().to_owned();
            let stated = entry.platform.as_ref().map(|platform| platform.platform());
            let platform = stated.unwrap_or_else(|| {
                slipway_oci::Platform::new(&text("os"), &text("architecture"), config["variant"].as_str())
            });
            let about =
                entries.iter().filter(|other| other.is_attestation() && other.subject() == Some(entry.digest.as_str()));
            let statements = self.statements(&about.collect::<Vec<_>>())?;
            let (provenance, sbom) = attested(&statements);
            // Of several for one platform the first counts, as for who pulls it.
            images.entry(platform.to_string()).or_insert(ImageFacts { config, provenance, sbom });
        }
        Ok(images)
    }

    fn manifest(&self, entry: &Entry) -> Result<Manifest, InspectError> {
        let at = self.location.at_digest(&entry.digest);
        let document = at.resolve(self.registry)?;
        match IndexOrManifest::parse(&document.bytes, "") {
            Ok(IndexOrManifest::Manifest(manifest)) => Ok(manifest),
            Ok(IndexOrManifest::Index(_)) => {
                let unexpected = ManifestParseError::Unsupported(document.media_type);
                Err(InspectError::Manifest(at, unexpected))
            }
            Err(error) => Err(InspectError::Manifest(at, error)),
        }
    }

    fn config(&self, manifest: &Manifest) -> Result<Value, InspectError> {
        let bytes = self.location.small_blob(self.registry, &manifest.config)?;
        let config: Value = self.json("the config", &bytes)?;
        let mut shown = in_order(&config, &CONFIG);
        shown["config"] = in_order(&config["config"], &RUNTIME);
        if let Some(history) = shown.get_mut("history").and_then(Value::as_array_mut) {
            history.iter_mut().for_each(|entry| *entry = in_order(entry, &HISTORY));
        }
        Ok(shown)
    }

    /// What attestations say: the kind of each, and the predicate.
    fn statements(&self, attestations: &[&Entry]) -> Result<Vec<(String, Value)>, InspectError> {
        let mut statements = Vec::new();
        for entry in attestations {
            for layer in self.manifest(entry)?.layers {
                let kind = layer.annotations.get(PREDICATE_TYPE).cloned().unwrap_or_default();
                if layer.media_type != IN_TOTO || !(kind == SPDX || kind.starts_with(SLSA)) {
                    continue;
                }
                let bytes = self.location.small_blob(self.registry, &layer)?;
                let mut statement: Value = self.json("an attestation", &bytes)?;
                statement.sort_all_objects();
                statements.push((kind, statement["predicate"].take()));
            }
        }
        Ok(statements)
    }

    fn json(&self, what: &'static str, bytes: &[u8]) -> Result<Value, InspectError> {
        serde_json::from_slice(bytes).map_err(|source| InspectError::Json {
            what,
            location: self.location.clone(),
            source,
        })
    }
}

/// The index or manifest itself.
fn described(document: &Document, index: Option<&IndexDocument>) -> Value {
    let size = document.bytes.len();
    let Some(index) = index else {
        return json!({ "mediaType": document.media_type, "digest": document.digest, "size": size });
    };
    let mut shown = json!({
        "schemaVersion": 2,
        "mediaType": document.media_type,
        "digest": document.digest,
        "size": size,
        "manifests": index.manifests,
    });
    if !index.annotations.is_empty() {
        shown["annotations"] = json!(index.annotations);
    }
    shown
}

/// Provenance and software list, as templates see them.
fn attested(statements: &[(String, Value)]) -> (Value, Value) {
    let (mut provenance, mut sbom) = (json!({}), json!({}));
    let mut documents = statements.iter().filter(|(kind, _)| kind == SPDX).map(|(_, predicate)| predicate.clone());
    if let Some(first) = documents.next() {
        sbom["SPDX"] = first;
    }
    let others: Vec<Value> = documents.collect();
    if !others.is_empty() {
        sbom["AdditionalSPDXs"] = others.into();
    }
    if let Some((_, predicate)) = statements.iter().find(|(kind, _)| kind.starts_with(SLSA)) {
        provenance["SLSA"] = predicate.clone();
    }
    (provenance, sbom)
}

/// The members of an object that are not empty, in this order.
fn in_order(value: &Value, names: &[&str]) -> Value {
    let is_empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    };
    let member = |name: &&str| Some(((*name).to_owned(), value.get(*name).filter(|value| !is_empty(value))?.clone()));
    Value::Object(names.iter().filter_map(member).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attestations_are_sorted_by_what_they_say() {
        let statements = [
            (SPDX.to_owned(), json!({"name": "a"})),
            (format!("{SLSA}v0.2"), json!({"buildType": "b"})),
            (SPDX.to_owned(), json!({"name": "c"})),
        ];
        let (provenance, sbom) = attested(&statements);
        assert_eq!(provenance, json!({"SLSA": {"buildType": "b"}}));
        assert_eq!(sbom, json!({"SPDX": {"name": "a"}, "AdditionalSPDXs": [{"name": "c"}]}));
        assert_eq!(attested(&[]), (json!({}), json!({})));
    }

    #[test]
    fn members_are_shown_in_the_order_of_the_reference() {
        let config = json!({"os": "linux", "created": "now", "history": [], "own": 1, "author": ""});
        assert_eq!(in_order(&config, &CONFIG).to_string(), r#"{"created":"now","os":"linux"}"#);
    }
}
