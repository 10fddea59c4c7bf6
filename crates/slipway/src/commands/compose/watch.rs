//! `slipway compose watch` and `up --watch`: when files change, services that use them are built, started again, or given
//! the files.
//!
//! What is built is built and started by a further `compose up` of those services alone, as if somebody had typed it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::{fs, io, thread};

use rustix::pipe::PipeFlags;
use slipway_archive::tar_writer::{Entry, EntryKind, TarWriter};
use slipway_compose::{Files, join};
use slipway_engine::chain;

use super::location::{Location, ThisDisk};
use super::plan::watched::{Action, Then, Watched};
use super::services::containers_of;
use super::up::{model, project_of};
use super::{again, told};
use crate::cli::compose::{ComposeArgs, WatchArgs};
use crate::commands::containers::user_ends::Seat;
use crate::commands::containers::{exec as guest, life};
use crate::containers::Known;
use crate::containers::control::{self, Answer, End, Request};
use crate::exit_code;
use crate::report::CommandError;
use crate::watch::{Sources, Stop, Sweep, shown, tell};

/// `compose watch`: starts services, and then watches. They go on when it ends.
pub(super) fn run(args: &WatchArgs, all: &ComposeArgs, location: &Location) -> Result<(), CommandError> {
    let mut watch = Watch::new(&args.services, &[], args.quiet, all, location)?;
    if !args.no_up {
        let services: BTreeSet<String> = args.services.iter().cloned().collect();
        if !watch.up(&services, &["--build"]) {
            return Err(CommandError::Findings);
        }
    }
    let stop = Stop::new().map_err(|error| told(format!("cannot listen to signals: {error}")))?;
    watch.follow(&stop);
    Err(CommandError::Container { text: String::new(), exit_code: exit_code::INTERRUPTED })
}

/// What is watched, and for whom.
pub(super) struct Watch<'a> {
    all: &'a ComposeArgs,
    project: String,
    /// Those that were named; all if none was.
    services: Vec<String>,
    selected: BTreeSet<String>,
    scale: Vec<String>,
    is_quiet: bool,
    model: super::plan::Model,
    watched: Vec<Watched>,
    /// The Compose files and what they name.
    definition: Sources,
    before: Sweep,
}

impl<'a> Watch<'a> {
    /// Finds out what there is to watch, and looks at it for the first time. `scale` is that of `up`.
    pub(super) fn new(
        services: &[String],
        scale: &[String],
        is_quiet: bool,
        all: &'a ComposeArgs,
        location: &Location,
    ) -> Result<Watch<'a>, CommandError> {
        if location.files.iter().any(|file| file.path == "-") {
            return Err(told("a Compose file that is standard input cannot be watched"));
        }
        let noted = Noted::default();
        let project = project_of(services, location, &noted)?;
        let model = model(&project, all, location)?;
        let selected: BTreeSet<String> = match services {
            [] => model.services().map(|(name, _)| name.clone()).collect(),
            names => names.iter().cloned().collect(),
        };
        let watched = model.watched(&selected).map_err(told)?;
        let mut files = noted.0.into_inner();
        files.extend(location.files.iter().map(|file| PathBuf::from(&file.path)));
        files.insert(PathBuf::from(join(&location.folder, ".env")));
        let mut watch = Watch {
            all,
            project: project.name.clone(),
            services: services.to_vec(),
            selected,
            scale: scale.to_vec(),
            is_quiet,
            model,
            watched,
            definition: Sources::of_files(files),
            before: Sweep::default(),
        };
        watch.before = watch.look();
        Ok(watch)
    }

    fn look(&self) -> Sweep {
        Sweep::of(self.watched.iter().map(|watched| &watched.sources).chain([&self.definition]))
    }

    /// Does what changes ask for, until it is enough.
    pub(super) fn follow(&mut self, stop: &Stop) {
        tell("Watch enabled");
        self.begin_in_step();
        while let Some((changed, now)) = stop.wait_for_change(&self.before, || self.look()) {
            self.before = now;
            if changed.iter().any(|path| self.definition.has(path)) {
                tell(&format!("{} changed; reading the project again", shown(&changed)));
                self.read_again();
            } else {
                self.react(&changed);
            }
        }
    }

    /// Reads the project again, and makes what runs fit it. If it cannot be read, all stays as it was.
    fn read_again(&mut self) {
        let read = Location::find(self.all)
            .and_then(|location| Watch::new(&self.services, &self.scale, self.is_quiet, self.all, &location));
        match read {
            Ok(watch) => *self = watch,
            Err(error) => return tell(crate::report::render(&error).0.trim_end()),
        }
        let services = self.services.iter().cloned().collect();
        self.up(&services, &[]);
    }

    fn react(&self, changed: &BTreeSet<PathBuf>) {
        let mut to_rebuild = BTreeSet::new();
        let mut to_restart = BTreeSet::new();
        for watched in &self.watched {
            let paths: BTreeSet<PathBuf> = changed.iter().filter(|path| watched.has(path)).cloned().collect();
            if paths.is_empty() {
                continue;
            }
            let service = &watched.service;
            match &watched.action {
                Action::Rebuild => {
                    tell(&format!("{} changed; rebuilding {service}", shown(&paths)));
                    to_rebuild.insert(service.clone());
                }
                Action::Restart => {
                    tell(&format!("{} changed; restarting {service}", shown(&paths)));
                    to_restart.insert(service.clone());
                }
                Action::Sync { target, then } => {
                    tell(&format!("{} changed; syncing {service}", shown(&paths)));
                    self.sync(watched, target, &paths);
                    match then {
                        Then::Nothing => {}
                        Then::Restart => drop(to_restart.insert(service.clone())),
                        Then::Exec(program) => self.each_container(service, |known| {
                            let seat = Seat { is_interactive: false, has_terminal: false };
                            guest::exec(known, (**program).clone(), &seat)
                                .map_err(|error| crate::report::render(&error).0)
                        }),
                    }
                }
            }
        }
        self.model.with_users(&mut to_rebuild, &self.selected);
        if !to_rebuild.is_empty() {
            self.up(&to_rebuild, &["--build", "--no-deps"]);
            self.begin_in_step_for(&to_rebuild);
        }
        for service in to_restart.difference(&to_rebuild) {
            self.each_container(service, |known| life::restart_one(known, None, None));
        }
    }

    /// Builds and starts services; whether it went well. What went wrong has been said.
    fn up(&self, services: &BTreeSet<String>, flags: &[&str]) -> bool {
        let mut command = again::compose(self.all);
        command.args(["up", "-d"]).args(flags);
        if self.is_quiet {
            command.arg("--quiet-build");
        }
        for scale in &self.scale {
            command.args(["--scale", scale]);
        }
        let status = command.args(services).stdin(Stdio::null()).stdout(Stdio::null()).status();
        let is_done = status.as_ref().is_ok_and(std::process::ExitStatus::success);
        match status {
            Ok(_) if is_done => tell("is done; waiting for changes"),
            Ok(_) => tell("failed; waiting for changes"),
            Err(error) => tell(&format!("cannot start slipway again: {error}")),
        }
        is_done
    }

    /// Puts the files into containers that are to have all of them from the beginning.
    fn begin_in_step(&self) {
        self.begin_in_step_for(&self.selected);
    }

    fn begin_in_step_for(&self, services: &BTreeSet<String>) {
        for watched in self.watched.iter().filter(|watched| services.contains(&watched.service)) {
            if let (true, Action::Sync { target, .. }) = (watched.starts_in_step, &watched.action) {
                let sweep = Sweep::of([&watched.sources]);
                let paths = sweep.paths().filter(|path| watched.has(path)).cloned().collect();
                self.sync(watched, target, &paths);
            }
        }
    }

    /// Makes files of the containers what they are here.
    fn sync(&self, watched: &Watched, target: &str, paths: &BTreeSet<PathBuf>) {
        let places: BTreeMap<&PathBuf, PathBuf> =
            paths.iter().map(|path| (path, watched.place_in(target, path))).collect();
        let removed: Vec<String> = places
            .iter()
            .filter(|(path, _)| fs::symlink_metadata(path).is_err())
            .map(|(_, place)| place.display().to_string())
            .collect();
        self.each_container(&watched.service, |known| put(known, removed.clone(), &places));
    }

    /// Does something to each container of a service that runs, and says what went wrong.
    fn each_container(&self, service: &String, act: impl Fn(&Known) -> Result<(), String>) {
        let known = match containers_of(&self.project, std::slice::from_ref(service)) {
            Ok(known) => known,
            Err(error) => return tell(crate::report::render(&error).0.trim_end()),
        };
        for known in known.iter().filter(|known| known.state.is_live()) {
            if let Err(message) = act(known) {
                tell(&format!("{}: {}", known.config.name, message.trim_end()));
            }
        }
    }
}

/// Puts files of this machine at their places in a container.
fn put(known: &Known, removed: Vec<String>, places: &BTreeMap<&PathBuf, PathBuf>) -> Result<(), String> {
    let cannot = |error: io::Error| chain(&error);
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| cannot(errno.into()))?;
    let request = Request::Put { folder: "/".to_owned(), removed, ends: vec![End::Stdin] };
    let stream = control::connect(known.folder.path()).map_err(cannot)?;
    control::send(&stream, &request, &[reader.as_fd()]).map_err(cannot)?;
    drop(reader);
    // What cannot be read any more is a further change.
    let written = thread::scope(|scope| scope.spawn(|| archive(places, File::from(writer))).join());
    let answer = control::answer(stream).map_err(|error| chain(&error))?;
    match (answer, written) {
        (Answer::Refused { message, .. }, _) => Err(message),
        (_, Ok(Err(error))) => Err(cannot(error)),
        _ => Ok(()),
    }
}

/// Writes those of the files that are there.
fn archive(places: &BTreeMap<&PathBuf, PathBuf>, out: impl Write) -> io::Result<()> {
    let mut tar = TarWriter::new(out);
    let mut buffer = vec![0; 64 << 10];
    for (path, place) in places {
        let Ok(metadata) = fs::symlink_metadata(path) else { continue };
        let link = if metadata.is_symlink() { fs::read_link(path)? } else { PathBuf::new() };
        let kind = match metadata.file_type() {
            kind if kind.is_dir() => EntryKind::Directory,
            kind if kind.is_symlink() => EntryKind::Symlink,
            kind if kind.is_file() => EntryKind::File,
            _ => continue,
        };
        let place = place.strip_prefix("/").unwrap_or(place);
        tar.entry(&Entry {
            kind,
            path: place.as_os_str().as_bytes(),
            link: link.as_os_str().as_bytes(),
            mode: metadata.mode() & 0o7777,
            uid: 0,
            gid: 0,
            mtime: metadata.mtime(),
            size: if kind == EntryKind::File { metadata.len() } else { 0 },
            device: (0, 0),
            capability: None,
        })?;
        if kind == EntryKind::File {
            tar.data(&mut File::open(path)?, &mut buffer)?;
        }
    }
    tar.finish().map(drop)
}

/// The files of this machine, and which of them were asked for.
#[derive(Default)]
struct Noted(RefCell<BTreeSet<PathBuf>>);

impl Files for Noted {
    fn read(&self, path: &str) -> Result<String, String> {
        self.0.borrow_mut().insert(Path::new(path).to_owned());
        ThisDisk.read(path)
    }

    fn is_file(&self, path: &str) -> bool {
        ThisDisk.is_file(path)
    }

    fn is_folder(&self, path: &str) -> bool {
        ThisDisk.is_folder(path)
    }
}
