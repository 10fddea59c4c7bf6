//! `slipway pull`, `push`, `save` and `load`: images into the local store and out of it.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use slipway_engine::Engine;
use slipway_graph::request::flags::Surroundings as _;
use slipway_oci::{Platform, Reference};
use slipway_registry::Registry;
use slipway_solver::Cancel;
use slipway_store::{Bounds, ImageRecord};

use crate::cli::images::{LoadArgs, PullArgs, PushArgs, SaveArgs};
use crate::commands::build::{Terminals, engine_within};
use crate::commands::local_images::{LocalImage, LocalImageError, find, open_store, repository_and_tag, told};
use crate::progress::{Reporter, Style};
use crate::report::CommandError;
use crate::surroundings::ThisMachine;
use crate::{client_config, interrupt, place};

/// Why nothing was transferred.
#[derive(Debug, thiserror::Error)]
enum TransferError {
    #[error("invalid reference format: {0:?}")]
    Name(String),
    #[error("invalid platform {0:?}")]
    Platform(String),
    #[error("tag does not exist: {0}")]
    NoTag(String),
    #[error("cannot open {path}")]
    Open { path: String, source: io::Error },
    #[error("cannot write {path}")]
    Write { path: String, source: io::Error },
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
    let name = reference(&args.name).map_err(|error| told(&error))?;
    let platform = platform(&args.platform).map_err(|error| told(&error))?;
    let session = Session::start(args.quiet)?;
    if name.tag().is_none() && name.digest().is_none() && !args.quiet {
        print("Using default tag: latest\n")?;
    }
    let pulled = session.run(|engine, reporter, cancel| engine.pull_image(&name, &platform, reporter, cancel))?;
    let full = full_name(&name);
    if args.quiet {
        return print(&format!("{full}\n"));
    }
    let status = if pulled.is_new { "Downloaded newer image" } else { "Image is up to date" };
    print(&format!("Digest: {}\nStatus: {status} for {full}\n{full}\n", pulled.digest))
}

/// `slipway push`.
pub(crate) fn push(args: &PushArgs) -> Result<(), CommandError> {
    let name = reference(&args.name).map_err(|error| told(&error))?;
    let store = open_store()?;
    let images: Vec<(Reference, ImageRecord)> = store.images().map_err(|error| told(&error))?;
    let repository = repository_and_tag(&name).0;
    let is_meant = |other: &Reference| match args.all_tags {
        true => other.tag().is_some() && repository_and_tag(other).0 == repository,
        false => *other == name.with_default_tag(),
    };
    let meant: Vec<_> = images.into_iter().filter(|(other, _)| is_meant(other)).collect();
    if meant.is_empty() {
        return Err(told(&TransferError::NoTag(name.with_default_tag().familiar())));
    }
    drop(store);
    let digests = Session::start(args.quiet)?.run(|engine, reporter, cancel| {
        let push = |(name, image): &(Reference, ImageRecord)| engine.push_image(name, image, reporter, cancel);
        meant.iter().map(push).collect::<Result<Vec<_>, _>>()
    })?;
    if args.quiet {
        return print(&format!("{}\n", full_name(&name)));
    }
    let line = |((name, _), digest): (&(Reference, ImageRecord), _)| {
        format!("{}: digest: {digest}\n", repository_and_tag(name).1.unwrap_or_default())
    };
    print(&meant.iter().zip(&digests).map(line).collect::<String>())
}

/// `slipway save`.
pub(crate) fn save(args: &SaveArgs) -> Result<(), CommandError> {
    if args.output.is_empty() && ThisMachine.is_stdout_terminal() {
        return Err(told(&TransferError::ToTerminal));
    }
    let store = open_store()?;
    let images = args.images.iter().map(|text| find(&store, text).map(saved));
    let images = images.collect::<Result<Vec<_>, LocalImageError>>().map_err(|error| told(&error))?;
    drop(store);
    let session = Session::start(true)?;
    if args.output.is_empty() {
        let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
        session.run(|engine, reporter, cancel| engine.save_images(&images, &mut out, reporter, cancel))?;
        return out.flush().map_err(|error| told(&error));
    }
    let failed = |source| told(&TransferError::Write { path: args.output.clone(), source });
    let path = Path::new(&args.output);
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).map_or(PathBuf::from("."), Path::to_owned);
    // Nobody sees half an archive under the name that was asked for.
    let temporary = tempfile::Builder::new().prefix(".slipway-").tempfile_in(folder).map_err(failed)?;
    let mut out = BufWriter::with_capacity(1 << 20, temporary);
    session.run(|engine, reporter, cancel| engine.save_images(&images, &mut out, reporter, cancel))?;
    let temporary = out.into_inner().map_err(|error| failed(error.into_error()))?;
    temporary.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// An image that was asked for by its name keeps that one, and otherwise all of them.
fn saved(image: LocalImage) -> (ImageRecord, Vec<Reference>) {
    (image.record, image.asked.map_or(image.names, |name| vec![name]))
}

/// `slipway load`.
pub(crate) fn load(args: &LoadArgs) -> Result<(), CommandError> {
    let platform = platform(&args.platform).map_err(|error| told(&error))?;
    let mut source: Box<dyn Read> = match args.input.as_str() {
        "" if rustix::termios::isatty(rustix::stdio::stdin()) => return Err(told(&TransferError::FromTerminal)),
        "" => Box::new(io::stdin()),
        path => {
            let open = |source| told(&TransferError::Open { path: path.to_owned(), source });
            Box::new(File::open(path).map_err(open)?)
        }
    };
    let names = Session::start(true)?
        .run(|engine, reporter, cancel| engine.load_images(&mut source, &platform, reporter, cancel))?;
    print(&names.iter().map(|name| format!("Loaded image: {}\n", name.familiar())).collect::<String>())
}

fn reference(text: &str) -> Result<Reference, TransferError> {
    text.parse().map_err(|_| TransferError::Name(text.to_owned()))
}

/// The platform that was asked for, or else that of this machine.
fn platform(text: &str) -> Result<Platform, TransferError> {
    let variable = || ThisMachine.variable("DOCKER_DEFAULT_PLATFORM").unwrap_or_default();
    let text = if text.is_empty() { variable() } else { text.to_owned() };
    if text.is_empty() {
        return Ok(Platform::host());
    }
    text.parse().map_err(|_| TransferError::Platform(text))
}

/// The name with its host, as `docker pull` prints it.
fn full_name(name: &Reference) -> String {
    name.with_default_tag().to_string()
}

fn print(text: &str) -> Result<(), CommandError> {
    io::stdout().write_all(text.as_bytes()).map_err(|error| told(&error))
}
