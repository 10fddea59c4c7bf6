//! `slipway compose cp`: files into containers that run, and out of them.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use rustix::pipe::PipeFlags;
use slipway_engine::{chain, pack_host_files, unpack_on_host};

use super::location::Location;
use super::services::{containers_of, project_name};
use super::told;
use crate::cli::compose::ServiceCopyArgs;
use crate::containers::Known;
use crate::containers::control::{self, Answer, End, Found, Request};
use crate::place;
use crate::report::CommandError;
use crate::stack::{NUMBER, ONE_OFF};

/// Copies a file or folder. Exactly one side is a path in a service.
pub(super) fn run(args: &ServiceCopyArgs, location: &Location) -> Result<(), CommandError> {
    match (in_service(&args.source), in_service(&args.dest)) {
        (Some((service, path)), None) => {
            let known = containers(args, service, location)?;
            let known = known.first().ok_or_else(|| not_running(service))?;
            // What is made here belongs to the user, who is root in the namespace.
            place::enter(place::find(None)?)?;
            take(known, path, &args.dest).map_err(told)
        }
        (None, Some((service, path))) => {
            let known = containers(args, service, location)?;
            if known.is_empty() {
                return Err(not_running(service));
            }
            known.iter().try_for_each(|known| put(known, &args.source, path)).map_err(told)
        }
        (Some(_), Some(_)) => Err(told("copying between services is not supported")),
        (None, None) => Err(told("unknown copy direction")),
    }
}

/// `service:path`; what begins with a dot or a slash is a path of this machine.
fn in_service(text: &str) -> Option<(&str, &str)> {
    let (service, path) = text.split_once(':')?;
    (!service.is_empty() && !text.starts_with(['.', '/'])).then_some((service, path))
}

fn not_running(service: &str) -> CommandError {
    told(format!("no container found for service {service:?}"))
}

fn containers(args: &ServiceCopyArgs, service: &str, location: &Location) -> Result<Vec<Known>, CommandError> {
    let services = [service.to_owned()];
    let mut known = containers_of(&project_name(&services, location)?, &services)?;
    known.retain(|known| {
        let is_own = args.all || known.label(ONE_OFF) != "True";
        let is_meant = args.index.is_none_or(|index| known.label(NUMBER) == index.to_string());
        known.state.is_live() && is_own && is_meant
    });
    Ok(known)
}

/// From this machine into a container.
fn put(known: &Known, source: &str, dest: &str) -> Result<(), String> {
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
fn take(known: &Known, source: &str, dest: &str) -> Result<(), String> {
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
