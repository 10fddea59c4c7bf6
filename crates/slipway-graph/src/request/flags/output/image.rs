//! What outputs that make an image have in common (`spec/dockerfile.md` section 8.2).

use slipway_oci::Reference;

use super::{OutputError, Typed, annotations};
use crate::request::{Annotation, Compression, ImageOutput, OutputEpoch, Push, is_run_name};

/// Reads the options of `typed`. Tags take the place of the output's own names, as in the reference.
/// `attests_by_artifact`: where the options do not say so.
pub(super) fn read(
    typed: &Typed,
    tags: &[Reference],
    flags: &[Annotation],
    attests_by_artifact: bool,
) -> Result<ImageOutput, OutputError> {
    let push = push(typed)?;
    let names = match tags {
        [] => names(typed, push)?,
        tags => tags.to_vec(),
    };
    if push.is_some() && names.is_empty() {
        return Err(OutputError::PushWithoutName);
    }
    if push.is_some_and(|push| push.by_digest)
        && let Some(name) = names.iter().find(|name| name.tag().is_some())
    {
        return Err(OutputError::TaggedByDigest { name: name.to_string() });
    }
    let part_of = typed.attributes.get("part-of").cloned();
    if let Some(run) = &part_of {
        check_part(run, push)?;
    }
    let uses_oci_types = typed.flag("oci-mediatypes", true)?;
    let compression = compression(typed)?;
    if compression == Compression::Zstd && !uses_oci_types {
        return Err(OutputError::CompressionNeedsOci { kind: "zstd" });
    }
    let attests_by_artifact = typed.flag("oci-artifact", attests_by_artifact && uses_oci_types)?;
    if attests_by_artifact && !uses_oci_types {
        return Err(OutputError::ArtifactNeedsOci);
    }
    // Neither changes anything here: there is no other store to unpack into, and layers are never left out.
    let unpacks = typed.flag("unpack", false)?;
    typed.flag("prefer-nondist-layers", false)?;
    let rewrites_times = typed.flag("rewrite-timestamp", false)?;
    if rewrites_times && unpacks {
        return Err(OutputError::RewriteAndUnpack);
    }
    Ok(ImageOutput {
        push,
        is_stored: typed.flag("store", true)?,
        dangling_prefix: dangling_prefix(typed, &names)?,
        is_named_by_digest: typed.flag("name-canonical", false)?,
        names,
        uses_oci_types,
        compression,
        compression_level: compression_level(typed, compression)?,
        forces_compression: typed.flag("force-compression", false)?,
        rewrites_times,
        epoch: epoch(typed)?,
        annotations: all_annotations(typed, flags)?,
        part_of,
        attests_by_artifact,
        keeps_inline_only: typed.flag("attestation-inline", typed.kind == "image")?,
    })
}

/// Parts are found by the run that they belong to, and have no other tag.
fn check_part(run: &str, push: Option<Push>) -> Result<(), OutputError> {
    if !is_run_name(run) {
        return Err(OutputError::PartName { run: run.to_owned() });
    }
    if push.is_some_and(|push| push.by_digest) { Ok(()) } else { Err(OutputError::PartNotByDigest) }
}

/// What was typed for the output goes before what was typed for all.
fn all_annotations(typed: &Typed, flags: &[Annotation]) -> Result<Vec<Annotation>, OutputError> {
    let mut all = flags.to_vec();
    for (key, value) in &typed.attributes {
        all.extend(annotations::of_attribute(key, value)?);
    }
    Ok(all)
}

/// The names of the output itself. One that is pushed by digest has no tag; `*` stands for what a frontend proposes, and
/// Dockerfiles propose nothing.
fn names(typed: &Typed, push: Option<Push>) -> Result<Vec<Reference>, OutputError> {
    let Some(list) = typed.attributes.get("name").filter(|list| !list.is_empty() && *list != "*") else {
        return Ok(Vec::new());
    };
    let name = |text: &str| {
        let name: Reference = text.trim().parse().map_err(|source| match typed.kind.as_str() {
            "image" => OutputError::Name { source },
            _ => OutputError::ArchiveName { text: text.to_owned(), source },
        })?;
        let keeps_no_tag = push.is_some_and(|push| push.by_digest);
        Ok(if keeps_no_tag { name } else { name.with_default_tag() })
    };
    list.split(',').map(name).collect()
}

fn dangling_prefix(typed: &Typed, names: &[Reference]) -> Result<Option<Reference>, OutputError> {
    // The missing letter is the reference's.
    let only_without_name = typed.flag("danging-name-empty-only", false)?;
    match typed.attributes.get("dangling-name-prefix") {
        Some(prefix) if !prefix.is_empty() && (!only_without_name || names.is_empty()) => {
            prefix.parse().map(Some).map_err(|source| OutputError::Name { source })
        }
        _ => Ok(None),
    }
}

/// Archives are never pushed, whatever they say.
fn push(typed: &Typed) -> Result<Option<Push>, OutputError> {
    if typed.kind != "image" {
        return Ok(None);
    }
    let by_digest = typed.flag("push-by-digest", false)?;
    let is_insecure = typed.flag("registry.insecure", false)?;
    Ok(typed.flag("push", false)?.then_some(Push { is_insecure, by_digest }))
}

fn compression(typed: &Typed) -> Result<Compression, OutputError> {
    match typed.attributes.get("compression").map(String::as_str) {
        None | Some("gzip") => Ok(Compression::Gzip),
        Some("zstd") => Ok(Compression::Zstd),
        Some("uncompressed") => Ok(Compression::Uncompressed),
        Some("estargz") => Err(OutputError::Unsupported { option: "compression=estargz".to_owned() }),
        Some(kind) => Err(OutputError::Compression { kind: kind.to_owned() }),
    }
}

/// `compression-level`, as far as it means something to the kind. zstd takes what is closest; gzip refuses what it does
/// not know.
fn compression_level(typed: &Typed, compression: Compression) -> Result<Option<u32>, OutputError> {
    let Some(text) = typed.attributes.get("compression-level") else { return Ok(None) };
    let level: i64 =
        text.parse().map_err(|_| OutputError::NotInteger { key: "compression-level", value: text.to_owned() })?;
    match (compression, u32::try_from(level)) {
        (Compression::Uncompressed, _) => Ok(None),
        (Compression::Zstd, level) => Ok(level.ok().map(|level| level.min(22))),
        (Compression::Gzip, Ok(level)) if level <= 9 => Ok(Some(level)),
        (Compression::Gzip, _) if level == -1 => Ok(None),
        (Compression::Gzip, _) => Err(OutputError::CompressionLevel { level: text.to_owned() }),
    }
}

pub(super) fn epoch(typed: &Typed) -> Result<OutputEpoch, OutputError> {
    match typed.attributes.get("source-date-epoch").map(String::as_str) {
        None => Ok(OutputEpoch::OfBuild),
        Some("") => Ok(OutputEpoch::Nothing),
        Some(text) => {
            let seconds = text.parse().map(OutputEpoch::Seconds);
            seconds.map_err(|_| OutputError::Epoch { text: text.to_owned() })
        }
    }
}
