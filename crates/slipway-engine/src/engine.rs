//! What builds and all other commands share: the store, the registry, and what this machine offers.

use std::error::Error;
use std::ffi::OsString;
use std::sync::Arc;

use slipway_graph::op::Source;
use slipway_graph::request::BuildRequest;
use slipway_registry::Registry;
use slipway_solver::Cancel;
use slipway_store::{Bounds, OverlayFlavor, Store};

use crate::cap::Cap;
use crate::descriptors::{self, OriginalLimit};
use crate::docker_api::DockerEngines;
use crate::images::Images;
use crate::ops::RemoteSources;
use crate::ops::exec::WindowSize;
use crate::ops::git::GitInputs;
use crate::ops::http::HttpInputs;
use crate::ops::shell::ShellSeat;

/// What an engine is made of.
pub struct EngineParts {
    pub store: Store,
    pub registry: Registry,
    /// How overlays are written by this process: as root, or as root of a user namespace.
    pub flavor: OverlayFlavor,
    /// Where helper programs of the host are looked for, as in `PATH`.
    pub search_path: OsString,
    /// Variables of the host that the `git` program may see: `PATH`, proxies, certificates.
    pub git_variables: Vec<(String, OsString)>,
    /// Who wants a shell in steps: in those that fail, and where the request says so.
    pub shell_seat: Option<Arc<dyn ShellSeat>>,
    /// If given, steps write to a terminal of this size instead of to pipes. It is in no key.
    pub step_terminal: Option<WindowSize>,
    /// What the store is kept within, while builds go on and when they end; without bounds it grows.
    pub cap: Bounds,
    pub docker_engines: FindDockerEngines,
}

/// Says where container engines may be listening: those that the user has configured, or the one of the named context.
/// The error is a whole sentence.
pub type FindDockerEngines = fn(context: Option<&str>) -> Result<DockerEngines, String>;

/// Builds images. One engine serves any number of builds.
pub struct Engine {
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    pub(crate) flavor: OverlayFlavor,
    pub(crate) search_path: OsString,
    pub(crate) shell_seat: Option<Arc<dyn ShellSeat>>,
    pub(crate) step_terminal: Option<WindowSize>,
    pub(crate) nofile: OriginalLimit,
    pub(crate) git_variables: Vec<(String, OsString)>,
    pub(crate) cap: Cap,
    pub(crate) docker_engines: FindDockerEngines,
}

impl Engine {
    /// An engine that has not touched anything yet, except that the process may now open as many files as its hard
    /// limit allows.
    pub fn new(parts: EngineParts) -> Engine {
        let nofile = match parts.flavor {
            // Nothing is mounted, and who comes after this process has to see the user's limit.
            OverlayFlavor::Outside => OriginalLimit::read(),
            OverlayFlavor::Root | OverlayFlavor::UserNamespace => descriptors::raise_limit(),
        };
        let EngineParts { store, registry, flavor, search_path, git_variables, shell_seat, step_terminal, .. } = parts;
        let (cap, docker_engines) = (Cap::new(parts.cap, flavor), parts.docker_engines);
        Engine {
            store,
            registry,
            flavor,
            search_path,
            shell_seat,
            step_terminal,
            nofile,
            git_variables,
            cap,
            docker_engines,
        }
    }

    /// Where base images are looked up.
    pub(crate) fn images<'a>(&'a self, request: &'a BuildRequest, sources: &'a RemoteSources) -> Images<'a> {
        Images {
            store: &self.store,
            registry: &self.registry,
            pulls_always: request.pulls_always,
            lock: request.lock,
            pins: &request.pins,
            digests: &sources.images,
        }
    }

    /// When `source` changed last, in seconds since 1970.
    pub(crate) fn time_of(
        &self,
        source: &Source,
        request: &BuildRequest,
        sources: &RemoteSources,
        cancel: &Cancel,
    ) -> Result<Option<i64>, Box<dyn Error + Send + Sync>> {
        let http_inputs = self.http_inputs(request);
        Ok(sources.time_of(source, http_inputs, self.git_inputs(request, cancel))?)
    }

    pub(crate) fn http_inputs<'a>(&'a self, request: &'a BuildRequest) -> HttpInputs<'a> {
        HttpInputs { store: &self.store, registry: &self.registry, secrets: &request.secrets, pins: &request.pins }
    }

    pub(crate) fn git_inputs<'a>(&'a self, request: &'a BuildRequest, cancel: &'a Cancel) -> GitInputs<'a> {
        GitInputs {
            store: &self.store,
            secrets: &request.secrets,
            ssh: &request.ssh,
            host_variables: &self.git_variables,
            cancel,
            pins: &request.pins,
            is_offline: self.registry.is_offline(),
        }
    }
}
