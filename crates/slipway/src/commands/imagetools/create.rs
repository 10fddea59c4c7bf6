//! `slipway imagetools create`: an image of other images, put together where they are (`spec/cli.md` section 8.1).

use std::io::{self, Write as _};
use std::path::Path;
use std::time::SystemTime;

use slipway_graph::event::LogStream;
use slipway_graph::request::flags::{OutputError, parse_annotations};
use slipway_graph::request::{Annotated, Annotation};
use slipway_graph::{Event, Events, StepId};
use slipway_oci::{Platform, PlatformParseError, ReferenceParseError};
use slipway_registry::Registry;

use super::copy::{CopyError, Route};
use super::index::{CombineError, Combined, Entry, combine};
use super::location::{Location, LocationError};
use super::source::{self, Source, SourceError};
use crate::cli::imagetools::CreateArgs;
use crate::client_config;
use crate::metadata::{self, MetadataError};
use crate::progress::{Reporter, Style, StyleError};

/// Why there is no new image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CreateError {
    #[error("can't push with no tags specified, please set --tag or --dry-run")]
    NoTag,
    #[error(transparent)]
    Tag(#[from] ReferenceParseError),
    #[error("invalid platform {text:?}: {source}")]
    Platform { text: String, source: PlatformParseError },
    #[error(transparent)]
    Annotation(#[from] OutputError),
    #[error("{0:?} annotations are not supported yet")]
    ManifestAnnotation(&'static str),
    #[error("\"index-descriptor\" annotations are invalid while creating an image")]
    IndexDescriptorAnnotation,
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Combine(#[from] CombineError),
    #[error(transparent)]
    Progress(#[from] StyleError),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error(transparent)]
    Location(#[from] LocationError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error("cannot print the image")]
    Print(#[from] io::Error),
}

/// `slipway imagetools create`.
pub(super) fn run(args: &CreateArgs) -> Result<(), CreateError> {
    if args.sources.is_empty() && args.files.is_empty() {
        return Err(SourceError::None.into());
    }
    if args.tags.is_empty() && !args.dry_run {
        return Err(CreateError::NoTag);
    }
    let style = Style::choose(&args.progress, false)?;
    let platforms =
        args.platforms.iter().flat_map(|list| list.split(',')).map(platform).collect::<Result<Vec<_>, _>>()?;
    let annotations = annotations(&args.annotations)?;
    let tags = args.tags.iter().map(|tag| Ok(Location::parse(tag)?.with_default_tag()));
    let tags = tags.collect::<Result<Vec<Location>, ReferenceParseError>>()?;
    let registry = Registry::new(client_config::registry_config(false));
    let appended_to = tags.first().filter(|_| args.append);
    let sources = source::find(&registry, &args.files, &args.sources, appended_to, &tags)?;
    let (parts, places): (Vec<_>, Vec<_>) =
        sources.into_iter().map(|Source { location, part }| (part, location)).unzip();
    let combined = combine(&parts, &annotations, args.prefer_index, &platforms)?;
    if args.dry_run {
        let mut out = io::stdout();
        out.write_all(&combined.document.bytes)?;
        return Ok(out.write_all(b"\n")?);
    }
    let reporter = Reporter::start(style, false);
    let pushed = tags.iter().try_for_each(|tag| push(&registry, &combined, &places, tag, &reporter));
    reporter.finish(registry.warnings());
    pushed?;
    if !args.metadata_file.is_empty() {
        let names: Vec<String> = tags.iter().map(Location::to_string).collect();
        metadata::write_pushed(Path::new(&args.metadata_file), &Entry::of_document(&combined.document), &names)?;
    }
    Ok(())
}

fn platform(text: &str) -> Result<Platform, CreateError> {
    text.trim().parse().map_err(|source| CreateError::Platform { text: text.to_owned(), source })
}

/// Those that an index can have.
pub(crate) fn annotations(texts: &[String]) -> Result<Vec<Annotation>, CreateError> {
    let mut all = Vec::new();
    for text in texts {
        let is_typed = text.split('=').next().is_some_and(|key| key.contains(':'));
        for annotation in parse_annotations(std::slice::from_ref(text))? {
            match annotation.on {
                Annotated::Manifest => {
                    return Err(CreateError::ManifestAnnotation(if is_typed { "manifest" } else { "" }));
                }
                Annotated::IndexDescriptor => return Err(CreateError::IndexDescriptorAnnotation),
                Annotated::Index | Annotated::ManifestDescriptor => all.push(annotation),
            }
        }
    }
    Ok(all)
}

/// Brings what the image consists of to the place of `tag`, then the image itself under that name.
pub(crate) fn push(
    registry: &Registry,
    combined: &Combined,
    places: &[Location],
    tag: &Location,
    events: &dyn Events,
) -> Result<(), CreateError> {
    let step = events.new_step();
    events.emit(Event::StepPlanned { step, name: format!("[internal] pushing {tag}"), inputs: Vec::new() });
    events.emit(Event::StepStarted { step, at: SystemTime::now() });
    let push = || -> Result<(), CreateError> {
        for (entry, number) in &combined.entries {
            let from = &places[*number];
            if !from.is_same_place(tag) {
                say(events, step, &format!("copying {} from {from} to {tag}", entry.digest));
                Route { registry, from, to: tag }.copy(entry)?;
            }
        }
        say(events, step, &format!("pushing {} to {tag}", combined.document.digest));
        Ok(tag.put(registry, &combined.document)?)
    };
    let outcome = push();
    let at = SystemTime::now();
    events.emit(match &outcome {
        Ok(()) => Event::StepDone { step, at },
        Err(error) => Event::StepFailed { step, message: slipway_engine::chain(error), at },
    });
    outcome
}

fn say(events: &dyn Events, step: StepId, line: &str) {
    let bytes = format!("{line}\n").into_bytes();
    events.emit(Event::StepLog { step, stream: LogStream::Stdout, bytes, at: SystemTime::now() });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_of_images_are_refused() {
        for (text, expected) in [
            ("k=v", "\"\" annotations are not supported yet"),
            ("manifest:k=v", "\"manifest\" annotations are not supported yet"),
            ("index,index-descriptor:k=v", "\"index-descriptor\" annotations are invalid while creating an image"),
        ] {
            assert_eq!(annotations(&[text.to_owned()]).unwrap_err().to_string(), expected, "{text}");
        }
        let texts = ["index:a=1".to_owned(), "manifest-descriptor[linux/arm64]:b=2".to_owned()];
        assert_eq!(annotations(&texts).unwrap().len(), 2);
    }
}
