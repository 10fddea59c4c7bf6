//! `slipway cp`: files into containers that run, and out of them.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use rustix::pipe::PipeFlags;
use slipway_engine::{chain, pack_host_files, unpack_on_host};

use super::find;
use crate::cli::containers::CopyArgs;
use crate::containers::Known;
use crate::containers::control::{self, Answer, End, Found, Request};
use crate::place;
use crate::report::CommandError;

/// Copies a file or folder. Exactly one side is a path in a container.
pub(crate) fn run(args: &CopyArgs) -> Result<(), CommandError> {
    let told = |message: String| CommandError::Told(format!("Error: {message}\n"));
    match (named(&args.source), named(&args.dest)) {
        (Some((container, path)), None) => {
            let known = running(container)?;
            // What is made here belongs to the user, who is root in the namespace.
            place::enter(place::find(None)?)?;
            take(&known, path, &args.dest).map_err(told)
        }
        (None, Some((container, path))) => put(&running(container)?, &args.source, path).map_err(told),
        (Some(_), Some(_)) => Err(CommandError::Told("copying between containers is not supported\n".to_owned())),
        (None, None) => Err(CommandError::Told("must specify at least one container source\n".to_owned())),
    }
}

/// Nothing is left of the files of a container that has ended.
fn running(name: &str) -> Result<Known, CommandError> {
    let known = find(name)?;
    match known.state.is_live() {
        true => Ok(known),
        false => Err(CommandError::Told(format!(
            "hint: give it a folder of this machine with `run -v FOLDER:/path`, which keeps what is written there\n\
             Error: container {} is not running, and what it wrote to its own files is gone\n",
            known.config.name
        ))),
    }
}

/// `name:path`; what begins with a dot or a slash is a path of this machine.
pub(crate) fn named(text: &str) -> Option<(&str, &str)> {
    let (name, path) = text.split_once(':')?;
    (!name.is_empty() && !text.starts_with(['.', '/'])).then_some((name, path))
}

/// From this machine into a container.
pub(crate) fn put(known: &Known, source: &str, dest: &str) -> Result<(), String> {
    if source == "-" {
        return send(known, dest, |out| {
            io::copy(&mut io::stdin().lock(), out).map(drop).map_err(|error| chain(&error))
        });
    }
    let path = Path::new(source);
    let name = path.canonicalize().ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    let name = name.ok_or_else(|| format!("no such file or directory: {source}"))?;
    // `folder/.` is what is in it.
    let takes_content = source.ends_with("/.") || source == ".";
    let (folder, called) = match (look(known, dest)?, path.is_dir()) {
        (Found::Folder, true) if takes_content => (dest.to_owned(), ".".to_owned()),
        (Found::Folder, _) => (dest.to_owned(), name),
        (Found::File, true) => return Err(format!("cannot copy directory: {dest} is a file")),
        (Found::Nothing, false) if dest.ends_with('/') => return Err(format!("no such directory: {dest}")),
        _ => {
            let (folder, called) = dest.trim_end_matches('/').rsplit_once('/').unwrap_or(("/", dest));
            (folder.to_owned(), called.to_owned())
        }
    };
    send(known, &folder, |out| pack_host_files(path, &called, out).map_err(|error| chain(&error)))
}

/// What is at a path of a container.
fn look(known: &Known, path: &str) -> Result<Found, String> {
    let cannot = |error: io::Error| chain(&error);
    let stream = control::connect(known.folder.path()).map_err(cannot)?;
    control::send(&stream, &Request::Look { path: path.to_owned() }, &[]).map_err(cannot)?;
    let line = BufReader::new(stream).lines().next().ok_or("the owner of the container does not answer")?;
    control::parse(&line.map_err(cannot)?).map_err(cannot)
}

/// From a container to this machine.
pub(crate) fn take(known: &Known, source: &str, dest: &str) -> Result<(), String> {
    let name = Path::new(source).file_name().map_or_else(|| ".".to_owned(), |name| name.to_string_lossy().into_owned());
    let takes_content = source.ends_with("/.");
    let path = Path::new(dest);
    let (folder, called) = if dest == "-" {
        (None, name)
    } else if path.is_dir() {
        (Some(path.to_owned()), if takes_content { ".".to_owned() } else { name })
    } else {
        let called = path.file_name().ok_or_else(|| format!("no such directory: {dest}"))?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.map_or_else(|| PathBuf::from("."), Path::to_owned);
        if dest.ends_with('/') || !parent.is_dir() {
            return Err(format!("no such directory: {dest}"));
        }
        (Some(parent), called.to_string_lossy().into_owned())
    };
    let cannot = |error: io::Error| chain(&error);
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| cannot(errno.into()))?;
    let request =
        Request::Take { path: source.trim_end_matches("/.").to_owned(), name: called, ends: vec![End::Stdout] };
    let stream = control::connect(known.folder.path()).map_err(cannot)?;
    control::send(&stream, &request, &[writer.as_fd()]).map_err(cannot)?;
    drop(writer);
    let archive = File::from(reader);
    let unpacked = match &folder {
        None => io::copy(&mut &archive, &mut io::stdout().lock()).map(drop).map_err(cannot),
        Some(folder) => unpack_on_host(folder, &archive).map_err(|error| chain(&error)),
    };
    drop(archive);
    match control::answer(stream).map_err(|error| chain(&error))? {
        Answer::Refused { message, .. } => Err(message),
        Answer::Done | Answer::Exited(_) => unpacked,
    }
}

/// Hands an archive to the owner of a container, which unpacks it.
fn send(known: &Known, folder: &str, write: impl FnOnce(&mut File) -> Result<(), String>) -> Result<(), String> {
    let cannot = |error: io::Error| chain(&error);
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| cannot(errno.into()))?;
    let request = Request::Put { folder: folder.to_owned(), removed: Vec::new(), ends: vec![End::Stdin] };
    let stream = control::connect(known.folder.path()).map_err(cannot)?;
    control::send(&stream, &request, &[reader.as_fd()]).map_err(cannot)?;
    drop(reader);
    let mut out = File::from(writer);
    let written = write(&mut out);
    drop(out);
    match control::answer(stream).map_err(|error| chain(&error))? {
        Answer::Refused { message, .. } => Err(message),
        Answer::Done | Answer::Exited(_) => written,
    }
}
