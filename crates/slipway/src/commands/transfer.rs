//! `slipway pull`, `push`, `save` and `load`: images into the local store and out of it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;

use slipway_engine::{Engine, Loaded, StoredImageError};
use slipway_graph::request::flags::Surroundings as _;
use slipway_oci::{Descriptor, Platform, Reference, ReferenceParseError};
use slipway_registry::Registry;
use slipway_solver::Cancel;
use slipway_store::{Bounds, ImageRecord, Usage, UsageKind};

use crate::cli::images::{LoadArgs, PullArgs, PushArgs, SaveArgs};
use crate::commands::build::{Terminals, engine_within};
use crate::commands::local_images::{
    LocalImage, LocalImageError, find, open_store, platform_of, print, repository_and_tag, said, told,
};
use crate::progress::{Reporter, Style};
use crate::report::CommandError;
use crate::surroundings::ThisMachine;
use crate::{client_config, interrupt, place};

/// Why nothing was transferred.
#[derive(Debug, thiserror::Error)]
enum TransferError {
    #[error("tag does not exist: {0}")]
    NoTag(String),
    #[error("An image does not exist locally with the tag: {0}")]
    NoTags(String),
    #[error("open {path}: {}", in_words(.error))]
    Open { path: String, error: io::Error },
    #[error("failed to save image: invalid output path: stat {folder}: {}", in_words(.error))]
    NoFolder { folder: String, error: io::Error },
    #[error("failed to save image: cannot write to a directory")]
    Folder,
    #[error("cannot write {path}")]
    Write { path: String, source: io::Error },
    #[error("images [{names}] were loaded, but don't provide the requested platform ({platform})")]
    OtherPlatform { names: String, platform: Platform },
    #[error("cowardly refusing to save to a terminal. Use the -o flag or redirect")]
    ToTerminal,
    #[error("requested load from stdin, but stdin is empty")]
    FromTerminal,
}

/// An engine, the client that it asks registries with, who watches it, and what stops it.
struct Session {
    engine: Engine,
    registry: Registry,
    reporter: Reporter,
    cancel: Arc<Cancel>,
}

impl Session {
    /// Enters the namespace that owners of files need. Before the first thread.
    fn start(is_quiet: bool) -> Result<Session, CommandError> {
        let place = place::find(None)?;
        let flavor = place::enter(place)?;
        let style = Style::choose("auto", is_quiet).map_err(|error| told(&error))?;
        let cancel = interrupt::watch().map_err(|error| told(&error))?;
        let registry = Registry::new(client_config::registry_config(false));
        let engine =
            engine_within(Bounds::default(), &place::store_root(place), flavor, registry.clone(), Terminals::default())
                .map_err(|error| told(&error))?;
        Ok(Session { engine, registry, reporter: Reporter::start(style, false), cancel })
    }

    /// Ends the display with what registries have to say, and hands on the outcome of `work`.
    fn run<T, E: std::error::Error + 'static>(
        self,
        work: impl FnOnce(&Engine, &Reporter, &Cancel) -> Result<T, E>,
    ) -> Result<T, CommandError> {
        let outcome = work(&self.engine, &self.reporter, &self.cancel);
        self.reporter.finish(self.registry.warnings());
        outcome.map_err(|error| told(&error))
    }
}

/// `slipway pull`.
pub(crate) fn pull(args: &PullArgs) -> Result<(), CommandError> {
    let name: Reference = args.name.parse().map_err(|error: ReferenceParseError| said(&error))?;
    let platform = platform(&args.platform)?;
    let session = Session::start(args.quiet)?;
    if name.tag().is_none() && name.digest().is_none() && !args.quiet {
        print("Using default tag: latest\n")?;
    }
    let before = open_store()?.blob_names().map_err(|error| told(&error))?;
    let mut is_full = false;
    let pulled = session.run(|engine, reporter, cancel| {
        let pulled = engine.pull_image(&name, &platform, reporter, cancel);
        is_full = pulled.as_ref().is_err_and(StoredImageError::is_about_full_disk);
        pulled
    });
    if is_full {
        take_back(&before);
    }
    let pulled = pulled?;
    let full = full_name(&name);
    if args.quiet {
        return print(&format!("{full}\n"));
    }
    let which = name.digest().map_or_else(|| name.tag_or_latest().unwrap_or_default().to_owned(), |_| full.clone());
    print(&format!("{which}: Pulling from {}\n", name.repository()))?;
    let status = if pulled.is_new { "Downloaded newer image" } else { "Image is up to date" };
    print(&format!("Digest: {}\nStatus: {status} for {full}\n{full}\n", pulled.digest))
}

/// Takes the blobs away that came in since `before` and that nobody uses: on a full disk they are of no use to a later
/// pull, and in the way of everything else.
fn take_back(before: &HashSet<String>) {
    let is_new = |usage: &Usage| usage.kind == UsageKind::Blob && !before.contains(&usage.name);
    // The disk may be too full for that, too. Then `prune` is what helps, once there is some room.
    if let Ok(store) = open_store() {
        let _ = store.prune(true, Bounds::default(), is_new);
    }
}

/// `slipway push`.
pub(crate) fn push(args: &PushArgs) -> Result<(), CommandError> {
    let name: Reference = args.name.parse().map_err(|error: ReferenceParseError| said(&error))?;
    if !args.quiet {
        let is_bare = !args.all_tags && name.tag().is_none();
        print(if is_bare { "Using default tag: latest\n" } else { "" })?;
        print(&format!("The push refers to repository [{}/{}]\n", name.host(), name.repository()))?;
    }
    let store = open_store()?;
    let images: Vec<(Reference, ImageRecord)> = store.images().map_err(|error| told(&error))?;
    let repository = repository_and_tag(&name).0;
    let is_meant = |other: &Reference| match args.all_tags {
        true => other.tag().is_some() && repository_and_tag(other).0 == repository,
        false => *other == name.with_default_tag(),
    };
    let meant: Vec<_> = images.into_iter().filter(|(other, _)| is_meant(other)).collect();
    if meant.is_empty() {
        return Err(said(&match args.all_tags {
            true => TransferError::NoTags(repository),
            false => TransferError::NoTag(name.with_default_tag().familiar()),
        }));
    }
    drop(store);
    let pushed = Session::start(args.quiet)?.run(|engine, reporter, cancel| {
        let push = |(name, image): &(Reference, ImageRecord)| engine.push_image(name, image, reporter, cancel);
        meant.iter().map(push).collect::<Result<Vec<_>, _>>()
    })?;
    if args.quiet {
        return print(&format!("{}\n", full_name(&name)));
    }
    let line = |((name, _), image): (&(Reference, ImageRecord), &Descriptor)| {
        let tag = repository_and_tag(name).1.unwrap_or_default();
        format!("{tag}: digest: {} size: {}\n", image.digest, image.size)
    };
    print(&meant.iter().zip(&pushed).map(line).collect::<String>())
}

/// `slipway save`.
pub(crate) fn save(args: &SaveArgs) -> Result<(), CommandError> {
    if args.output.is_empty() && ThisMachine.is_stdout_terminal() {
        return Err(told(&TransferError::ToTerminal));
    }
    let platform = platform_of(&args.platform).map_err(|error| said(&error))?;
    let path = Path::new(&args.output);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !args.output.is_empty() {
        check_output(path, folder).map_err(|error| said(&error))?;
    }
    let store = open_store()?;
    let found = |text: &String| find(&store, text).and_then(|image| image.for_platform(platform.as_ref(), text));
    let images = args.images.iter().map(|text| found(text).map(saved));
    let images = images.collect::<Result<Vec<_>, LocalImageError>>().map_err(|error| told(&error))?;
    drop(store);
    let session = Session::start(true)?;
    if args.output.is_empty() {
        let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
        session.run(|engine, reporter, cancel| engine.save_images(&images, &mut out, reporter, cancel))?;
        return out.flush().map_err(|error| told(&error));
    }
    let failed = |source| told(&TransferError::Write { path: args.output.clone(), source });
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        // A device or a pipe stays what it is.
        let mut out = BufWriter::with_capacity(1 << 20, File::options().write(true).open(path).map_err(failed)?);
        session.run(|engine, reporter, cancel| engine.save_images(&images, &mut out, reporter, cancel))?;
        return out.flush().map_err(failed);
    }
    // Nobody sees half an archive under the name that was asked for.
    let temporary = tempfile::Builder::new().prefix(".slipway-").tempfile_in(folder).map_err(failed)?;
    let mut out = BufWriter::with_capacity(1 << 20, temporary);
    session.run(|engine, reporter, cancel| engine.save_images(&images, &mut out, reporter, cancel))?;
    let temporary = out.into_inner().map_err(|error| failed(error.into_error()))?;
    temporary.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Whether an archive can be written at `path`, in `folder`.
fn check_output(path: &Path, folder: &Path) -> Result<(), TransferError> {
    let no_folder = |error| TransferError::NoFolder { folder: folder.display().to_string(), error };
    std::fs::metadata(folder).map_err(no_folder)?;
    if path.is_dir() { Err(TransferError::Folder) } else { Ok(()) }
}

/// Makes the blobs that images of the store lack, so that other tools find all images that have names there.
pub(crate) fn complete_images() -> Result<(), CommandError> {
    Session::start(true)?.run(|engine, reporter, cancel| engine.complete_images(reporter, cancel))
}

/// An image that was asked for by its name keeps that one, and otherwise all of them.
fn saved(image: LocalImage) -> (ImageRecord, Vec<Reference>) {
    (image.record, image.asked.map_or(image.names, |name| vec![name]))
}

/// `slipway load`.
pub(crate) fn load(args: &LoadArgs) -> Result<(), CommandError> {
    let wanted = platform_of(&args.platform).map_err(|error| said(&error))?;
    let platform = platform(&args.platform)?;
    let mut source: Box<dyn Read> = match args.input.as_str() {
        "" if rustix::termios::isatty(rustix::stdio::stdin()) => return Err(told(&TransferError::FromTerminal)),
        "" => Box::new(io::stdin()),
        path => {
            let open = |error| said(&TransferError::Open { path: path.to_owned(), error });
            Box::new(File::open(path).map_err(open)?)
        }
    };
    let loaded = Session::start(true)?
        .run(|engine, reporter, cancel| engine.load_images(&mut source, &platform, reporter, cancel))?;
    if let Some(platform) = wanted {
        check_platform(&loaded, platform)?;
    }
    let line = |image: &Loaded| match image {
        Loaded::Name(name) => format!("Loaded image: {}\n", name.familiar()),
        Loaded::Unnamed(id) => format!("Loaded image ID: {id}\n"),
    };
    print(&loaded.iter().map(line).collect::<String>())
}

/// Whether all images are for `platform`: of an image for one platform, that one is taken whatever was asked for.
fn check_platform(loaded: &[Loaded], platform: Platform) -> Result<(), CommandError> {
    let store = open_store()?;
    let mut names = Vec::new();
    for image in loaded {
        let name = match image {
            Loaded::Name(name) => name.familiar(),
            Loaded::Unnamed(id) => id.to_string(),
        };
        let found = find(&store, &name).map_err(|error| told(&error))?;
        if found.record.for_platform(&platform).is_none() {
            names.push(name);
        }
    }
    match names.is_empty() {
        true => Ok(()),
        false => Err(said(&TransferError::OtherPlatform { names: names.join(", "), platform })),
    }
}

/// The platform that was asked for, or else that of this machine.
fn platform(text: &str) -> Result<Platform, CommandError> {
    let variable = || ThisMachine.variable("DOCKER_DEFAULT_PLATFORM").unwrap_or_default();
    let text = if text.is_empty() { variable() } else { text.to_owned() };
    Ok(platform_of(&text).map_err(|error| said(&error))?.unwrap_or_else(Platform::host))
}

/// What the system says of an error, as Go prints it.
fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// The name with its host, as `docker pull` prints it.
fn full_name(name: &Reference) -> String {
    name.with_default_tag().to_string()
}
