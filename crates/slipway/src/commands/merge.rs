//! `slipway merge`: one image of what several machines have built and pushed by digest. Nothing is handed from one to
//! the other but the name of the run: each part is found under a tag that is made of that and its platform.

use std::io::{self, Write as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use slipway_graph::request::{Annotation, is_run_name, part_tag};
use slipway_oci::{Digest, Platform, PlatformParseError, Reference, ReferenceParseError};
use slipway_registry::{ClientConfig, Registry};

use crate::cli::merge::MergeArgs;
use crate::client_config;
use crate::commands::imagetools::create::{self, CreateError};
use crate::commands::imagetools::index::{CombineError, Combined, Entry, Part, combine, index_of};
use crate::commands::imagetools::location::{Location, LocationError};
use crate::commands::imagetools::source::{self, Source, SourceError};
use crate::metadata::{self, MetadataError};
use crate::progress::{Reporter, Style, StyleError};
use crate::report::CommandError;

/// How long until missing parts are asked for again, at first and at most.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
enum MergeError {
    #[error("`--part-of {0}` names no run: at most 60 letters, digits, `.`, `_` and `-` do")]
    Run(String),
    #[error("{text:?} is no platform: {source}")]
    Platform { text: String, source: PlatformParseError },
    #[error(transparent)]
    Tag(#[from] ReferenceParseError),
    #[error("{} of the run `{run}` is missing in {repository}: {}", parts(.missing), listed(.missing))]
    Missing { run: String, repository: String, missing: Vec<Platform> },
    #[error("{location} is for {}, not for {wanted}", listed(.found))]
    OtherPlatform { location: Location, found: Vec<Platform>, wanted: Platform },
    #[error("two parts of the run are for {platform}: {first} and {second}; build each platform once")]
    Twice { platform: Platform, first: Digest, second: Digest },
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Combine(#[from] CombineError),
    #[error(transparent)]
    Create(#[from] CreateError),
    #[error(transparent)]
    Progress(#[from] StyleError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error("cannot print the digest")]
    Print(#[from] io::Error),
}

fn parts(missing: &[Platform]) -> &'static str {
    if missing.len() == 1 { "a part" } else { "several parts" }
}

fn listed(platforms: &[Platform]) -> String {
    platforms.iter().map(Platform::to_string).collect::<Vec<_>>().join(", ")
}

/// `slipway merge`.
pub(crate) fn run(args: &MergeArgs) -> Result<(), CommandError> {
    merge(args).map_err(|error| CommandError::Options(error.into()))
}

fn merge(args: &MergeArgs) -> Result<(), MergeError> {
    if !is_run_name(&args.part_of) {
        return Err(MergeError::Run(args.part_of.clone()));
    }
    let style = Style::choose(&args.progress, false)?;
    let platform = |text: &String| -> Result<Platform, MergeError> {
        text.trim().parse().map_err(|source| MergeError::Platform { text: text.clone(), source })
    };
    let platforms = args.platforms.iter().map(platform).collect::<Result<Vec<_>, _>>()?;
    let annotations = create::annotations(&args.annotations)?;
    let name = |text: &String| text.parse().map(|name: Reference| name.with_default_tag());
    let names = args.tags.iter().map(name).collect::<Result<Vec<Reference>, _>>()?;
    let Some(first) = names.first() else { return Ok(()) };
    // A mirror may have what a tag stood for a while ago, or have kept that there was none.
    let registry = Registry::new(ClientConfig { mirrors: Vec::new(), ..client_config::registry_config(false) });

    let run = Run { registry: &registry, name: &args.part_of, repository: first };
    let sources = match run.parts(&platforms, args.wait.unwrap_or_default()) {
        Err(MergeError::Missing { missing, .. }) if args.if_complete => {
            let left = format!("{} not there yet: the job that pushes the last part merges\n", listed(&missing));
            return Ok(io::stdout().write_all(left.as_bytes())?);
        }
        found => found?,
    };
    let combined = together(&sources, &annotations)?;
    let tags: Vec<Location> = names.into_iter().map(Location::Registry).collect();
    let places: Vec<Location> = sources.iter().map(|source| source.location.clone()).collect();
    let reporter = Reporter::start(style, false);
    let pushed = tags.iter().try_for_each(|tag| create::push(&registry, &combined, &places, tag, &reporter));
    reporter.finish(registry.warnings());
    pushed?;
    if !args.metadata_file.is_empty() {
        let names: Vec<String> = tags.iter().map(Location::to_string).collect();
        metadata::write_pushed(Path::new(&args.metadata_file), &Entry::of_document(&combined.document), &names)?;
    }
    let lines: String = tags.iter().map(|tag| format!("{}\n", tag.with_digest(&combined.document.digest))).collect();
    Ok(io::stdout().write_all(lines.as_bytes())?)
}

/// The parts of a run, in the repository that all jobs push to.
struct Run<'a> {
    registry: &'a Registry,
    name: &'a str,
    repository: &'a Reference,
}

impl Run<'_> {
    /// One source a platform. Asks again for what is missing until `patience` is over.
    fn parts(&self, platforms: &[Platform], patience: Duration) -> Result<Vec<Source>, MergeError> {
        let mut found: Vec<Option<Source>> = platforms.iter().map(|_| None).collect();
        let begun = Instant::now();
        let mut wait = FIRST_WAIT;
        loop {
            for (slot, platform) in found.iter_mut().zip(platforms).filter(|(slot, _)| slot.is_none()) {
                *slot = self.part(platform)?;
            }
            let missing: Vec<Platform> = found
                .iter()
                .zip(platforms)
                .filter(|(slot, _)| slot.is_none())
                .map(|(_, platform)| platform.clone())
                .collect();
            if missing.is_empty() {
                return Ok(found.into_iter().flatten().collect());
            }
            let left = patience.saturating_sub(begun.elapsed());
            if left.is_zero() {
                let repository = format!("{}/{}", self.repository.host(), self.repository.repository());
                return Err(MergeError::Missing { run: self.name.to_owned(), repository, missing });
            }
            thread::sleep(wait.min(left));
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// The part for `platform`, if it has been pushed.
    fn part(&self, platform: &Platform) -> Result<Option<Source>, MergeError> {
        let location = Location::Registry(self.repository.at_tag(&part_tag(self.name, platform)));
        let source = match source::of_location(self.registry, &location) {
            Err(SourceError::Location(LocationError::NotFound(_))) => return Ok(None),
            source => source?,
        };
        let found = platforms_of(&source.part)?;
        if found.contains(platform) {
            return Ok(Some(source));
        }
        Err(MergeError::OtherPlatform { location, found, wanted: platform.clone() })
    }
}

fn platforms_of(part: &Part) -> Result<Vec<Platform>, CombineError> {
    let entries = if part.entry.is_index() { index_of(&part.document)?.manifests } else { vec![part.entry.clone()] };
    let images = entries.iter().filter(|entry| !entry.is_attestation());
    Ok(images.filter_map(|entry| Some(entry.platform.as_ref()?.platform())).collect())
}

/// The index of all parts, in which each platform is there once.
fn together(sources: &[Source], annotations: &[Annotation]) -> Result<Combined, MergeError> {
    let parts: Vec<Part> = sources.iter().map(|source| source.part.clone()).collect();
    let combined = combine(&parts, annotations, true, &[])?;
    let mut seen: Vec<(Platform, &Digest)> = Vec::new();
    for (entry, _) in combined.entries.iter().filter(|(entry, _)| !entry.is_attestation()) {
        let Some(platform) = entry.platform.as_ref().map(|own| own.platform()) else { continue };
        if let Some((_, first)) = seen.iter().find(|(known, _)| *known == platform) {
            let (first, second) = ((*first).clone(), entry.digest.clone());
            return Err(MergeError::Twice { platform, first, second });
        }
        seen.push((platform, &entry.digest));
    }
    Ok(combined)
}
