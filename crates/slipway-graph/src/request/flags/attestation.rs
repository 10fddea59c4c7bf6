//! `--attest`, `--provenance` and `--sbom` (`spec/cli.md` section 4.5, `spec/dockerfile.md` section 8.7).

use std::collections::BTreeMap;

use super::csv::{self, CsvError};
use super::{BuildFlags, Moment, Surroundings, parse_bool};
use crate::request::{Attestations, Extent, Provenance, Slsa};

/// Why no statement of that kind can be made.
#[derive(Debug, thiserror::Error)]
pub enum AttestationError {
    #[error(transparent)]
    Csv(#[from] CsvError),
    #[error("attestation type not specified")]
    NoType,
    #[error("invalid value {text}")]
    Value { text: String },
    #[error("invalid value disabled={value}: strconv.ParseBool: parsing {value:?}: invalid syntax")]
    Disabled { value: String },
    #[error("unknown attestation type {kind:?}")]
    UnknownType { kind: String },
    #[error("invalid mode {mode:?}")]
    Mode { mode: String },
    #[error("provenance SLSA version cannot be empty")]
    NoVersion,
    #[error("invalid provenance SLSA version: {version}")]
    Version { version: String },
    #[error("failed to parse reproducible flag {value:?}: strconv.ParseBool: parsing {value:?}: invalid syntax")]
    Reproducible { value: String },
    #[error("attestation does not have set path")]
    NoFileName,
    #[error("slipway lists packages itself and does not run the generator `{generator}`; leave `generator` out")]
    Generator { generator: String },
}

impl AttestationError {
    pub(crate) fn moment(&self) -> Moment {
        match self {
            AttestationError::Csv(_)
            | AttestationError::NoType
            | AttestationError::Value { .. }
            | AttestationError::Disabled { .. }
            | AttestationError::Generator { .. } => Moment::Options,
            AttestationError::UnknownType { .. }
            | AttestationError::Mode { .. }
            | AttestationError::NoVersion
            | AttestationError::Version { .. }
            | AttestationError::Reproducible { .. }
            | AttestationError::NoFileName => Moment::Solve,
        }
    }
}

/// Build arguments called so ask for a statement of the kind that follows, for who cannot give flags.
const BY_ARGUMENT: &str = "BUILDKIT_ATTEST_";

/// The generator of package lists that the reference runs where none is named. What it does slipway does itself.
const DEFAULT_GENERATOR: &str = "docker/buildkit-syft-scanner";

/// One wish for a statement.
struct Typed {
    kind: String,
    is_disabled: bool,
    attributes: BTreeMap<String, String>,
}

/// All statements that are asked for. The last wish of a kind counts; `--provenance` and `--sbom` come last.
pub(super) fn parse(
    flags: &BuildFlags,
    build_args: &BTreeMap<String, String>,
) -> Result<Attestations, AttestationError> {
    let mut typed = Vec::new();
    for (name, value) in build_args {
        if let Some(kind) = name.strip_prefix(BY_ARGUMENT) {
            typed.push(Typed::of_shorthand(&kind.to_lowercase(), value)?);
        }
    }
    for text in &flags.attest {
        typed.push(Typed::parse(text)?);
    }
    for (kind, text) in [("sbom", &flags.sbom), ("provenance", &flags.provenance)] {
        if !text.is_empty() {
            typed.push(Typed::of_shorthand(kind, text)?);
        }
    }
    let mut attestations = Attestations::default();
    for wish in typed {
        match (wish.kind.as_str(), wish.is_disabled) {
            ("provenance", is_disabled) => {
                attestations.provenance = if is_disabled { None } else { Some(wish.provenance()?) };
            }
            ("sbom", is_disabled) => {
                wish.check_generator()?;
                attestations.has_sbom = !is_disabled;
            }
            (_, true) => {}
            (kind, false) => return Err(AttestationError::UnknownType { kind: kind.to_owned() }),
        }
    }
    Ok(attestations)
}

/// How much the file about a build says of its provenance: `BUILDX_METADATA_PROVENANCE`.
pub(super) fn in_metadata(surroundings: &dyn Surroundings) -> Option<Extent> {
    match surroundings.variable("BUILDX_METADATA_PROVENANCE").as_deref() {
        Some("max") => Some(Extent::Max),
        Some("disabled") => None,
        Some(text) if parse_bool(text) == Some(false) => None,
        Some(_) | None => Some(Extent::Min),
    }
}

impl Typed {
    /// `type=…[,disabled=true][,…]`
    fn parse(text: &str) -> Result<Typed, AttestationError> {
        let fields = csv::fields(text)?;
        let pairs = csv::pairs(&fields).map_err(|field| AttestationError::Value { text: field.to_owned() })?;
        let mut attributes: BTreeMap<String, String> =
            pairs.into_iter().map(|(key, value)| (key, value.to_owned())).collect();
        let kind = attributes.remove("type").filter(|kind| !kind.is_empty()).ok_or(AttestationError::NoType)?;
        let is_disabled = match attributes.remove("disabled") {
            None => false,
            Some(value) => parse_bool(&value).ok_or(AttestationError::Disabled { value })?,
        };
        Ok(Typed { kind, is_disabled, attributes })
    }

    /// `true`, `false`, or attributes.
    fn of_shorthand(kind: &str, text: &str) -> Result<Typed, AttestationError> {
        match parse_bool(text) {
            Some(is_on) => Ok(Typed { kind: kind.to_owned(), is_disabled: !is_on, attributes: BTreeMap::new() }),
            None if text.is_empty() => Typed::parse(&format!("type={kind}")),
            None => Typed::parse(&format!("type={kind},{text}")),
        }
    }

    fn provenance(&self) -> Result<Provenance, AttestationError> {
        let value = |key: &str| self.attributes.get(key).map(String::as_str);
        let extent = match value("mode") {
            None | Some("max") => Extent::Max,
            Some("min") => Extent::Min,
            Some(mode) => return Err(AttestationError::Mode { mode: mode.to_owned() }),
        };
        let slsa = match value("version") {
            None | Some("v1") => Slsa::V1,
            Some("v0.2") => Slsa::V02,
            Some("") => return Err(AttestationError::NoVersion),
            Some(version) => return Err(AttestationError::Version { version: version.to_owned() }),
        };
        let is_reproducible = match value("reproducible") {
            None => false,
            Some(text) => parse_bool(text).ok_or_else(|| AttestationError::Reproducible { value: text.to_owned() })?,
        };
        let least = Provenance::least();
        let file_name = value("filename").map_or(least.file_name, str::to_owned);
        if file_name.is_empty() {
            return Err(AttestationError::NoFileName);
        }
        // The reference takes what is no boolean for a no.
        let is_inline_only = value("inline-only").and_then(parse_bool).unwrap_or(false);
        let builder_id = value("builder-id").unwrap_or_default().to_owned();
        Ok(Provenance { extent, slsa, builder_id, file_name, is_reproducible, is_inline_only })
    }

    fn check_generator(&self) -> Result<(), AttestationError> {
        match self.attributes.get("generator").map(String::as_str) {
            None | Some("") => Ok(()),
            Some(image) if image.split([':', '@']).next() == Some(DEFAULT_GENERATOR) => Ok(()),
            Some(image) => Err(AttestationError::Generator { generator: image.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(attest: &[&str], provenance: &str, sbom: &str) -> Result<Attestations, AttestationError> {
        let flags = BuildFlags {
            attest: attest.iter().map(|&text| text.to_owned()).collect(),
            provenance: provenance.to_owned(),
            sbom: sbom.to_owned(),
            ..BuildFlags::default()
        };
        parse(&flags, &BTreeMap::new())
    }

    fn plain() -> Provenance {
        Provenance { extent: Extent::Max, ..Provenance::least() }
    }

    #[test]
    fn nothing_is_attested_unless_somebody_asks() {
        assert_eq!(parsed(&[], "", "").unwrap(), Attestations::default());
    }

    #[test]
    fn attributes_say_what_a_statement_is_like() {
        let provenance = |text: &str| parsed(&[], text, "").unwrap().provenance;
        assert_eq!(provenance("true"), Some(plain()));
        assert_eq!(provenance("mode=min"), Some(Provenance { extent: Extent::Min, ..plain() }));
        assert_eq!(provenance("version=v0.2"), Some(Provenance { slsa: Slsa::V02, ..plain() }));
        assert_eq!(
            provenance("builder-id=https://b,filename=p.json,reproducible=1,inline-only=true,unknown=x"),
            Some(Provenance {
                builder_id: "https://b".to_owned(),
                file_name: "p.json".to_owned(),
                is_reproducible: true,
                is_inline_only: true,
                ..plain()
            })
        );
        assert_eq!(provenance("inline-only=x"), Some(plain()));
    }

    #[test]
    fn the_last_wish_of_a_kind_counts_and_shorthands_come_last() {
        let both = parsed(&["type=sbom", "type=provenance,mode=min", "type=provenance,version=v0.2"], "", "").unwrap();
        assert_eq!(both, Attestations { provenance: Some(Provenance { slsa: Slsa::V02, ..plain() }), has_sbom: true });
        assert_eq!(parsed(&["type=provenance"], "false", "").unwrap(), Attestations::default());
        assert!(parsed(&["type=sbom,disabled=true"], "", "true").unwrap().has_sbom);
        assert_eq!(parsed(&["type=foo,disabled=true"], "", "").unwrap(), Attestations::default());
    }

    #[test]
    fn build_arguments_ask_as_well_but_flags_know_better() {
        let args = BTreeMap::from([("BUILDKIT_ATTEST_PROVENANCE", "mode=min"), ("BUILDKIT_ATTEST_SBOM", "")]);
        let args = args.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let asked = parse(&BuildFlags::default(), &args).unwrap();
        assert_eq!(
            asked,
            Attestations { provenance: Some(Provenance { extent: Extent::Min, ..plain() }), has_sbom: true }
        );
        let flags = BuildFlags { provenance: "false".to_owned(), ..BuildFlags::default() };
        assert_eq!(parse(&flags, &args).unwrap().provenance, None);
    }

    #[test]
    fn only_the_default_generator_can_be_named() {
        assert!(parsed(&[], "", "generator=docker/buildkit-syft-scanner:stable-1").unwrap().has_sbom);
        assert!(matches!(parsed(&[], "", "generator=me/mine"), Err(AttestationError::Generator { .. })));
    }

    #[test]
    fn mistakes_are_told_as_the_reference_tells_them() {
        for (attest, moment, expected) in [
            ("x", Moment::Options, "invalid value x"),
            ("mode=max", Moment::Options, "attestation type not specified"),
            (
                "type=sbom,disabled=x",
                Moment::Options,
                "invalid value disabled=x: strconv.ParseBool: parsing \"x\": invalid syntax",
            ),
            ("type=foo", Moment::Solve, "unknown attestation type \"foo\""),
            ("type=provenance,mode=", Moment::Solve, "invalid mode \"\""),
            ("type=provenance,version=", Moment::Solve, "provenance SLSA version cannot be empty"),
            ("type=provenance,version=v9", Moment::Solve, "invalid provenance SLSA version: v9"),
            (
                "type=provenance,reproducible=maybe",
                Moment::Solve,
                "failed to parse reproducible flag \"maybe\": strconv.ParseBool: parsing \"maybe\": invalid syntax",
            ),
            ("type=provenance,filename=", Moment::Solve, "attestation does not have set path"),
        ] {
            let error = parsed(&[attest], "", "").unwrap_err();
            assert_eq!((error.to_string().as_str(), error.moment()), (expected, moment), "{attest}");
        }
        assert_eq!(parsed(&[], "", "maybe").unwrap_err().to_string(), "invalid value maybe");
    }
}
