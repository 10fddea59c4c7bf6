//! How long `RUN true` takes on a cached base: from the moment that the step starts until its snapshot is committed
//! and recorded. Its layer is made later, by another thread.
//!
//! `cargo bench -p slipway-engine`. Takes `/bin/busybox` (static) and the rights that builds take.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark talks to the person who runs it")]

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use slipway_engine::{DockerEngines, Engine, EngineParts};
use slipway_graph::request::flags::{BuildFlags, PathKind, Surroundings};
use slipway_graph::request::{BuildRequest, NamedRequest};
use slipway_graph::{Event, Events, StepId};
use slipway_registry::{ClientConfig, Registry};
use slipway_sandbox::ladder;
use slipway_sandbox::userns::{self, Entered, Mode};
use slipway_solver::Cancel;
use slipway_store::{Bounds, OverlayFlavor, Store};
use slipway_test::base;

const RUNS: usize = 100;

fn main() {
    slipway_sandbox::init_if_requested();
    let mode = match userns::enter(ladder::find(None, Path::new("")).unwrap()).unwrap() {
        Entered::Finished(status) => userns::end_like(status),
        Entered::Inside(mode) => mode,
    };
    let flavor = if mode == Mode::Root { OverlayFlavor::Root } else { OverlayFlavor::UserNamespace };
    let folder = tempfile::tempdir().unwrap();
    let layout = folder.path().join("busybox");
    base::write_busybox(&layout).unwrap();
    let engine = Engine::new(EngineParts {
        store: Store::open(&folder.path().join("store"), flavor).unwrap(),
        registry: Registry::new(ClientConfig::default()),
        flavor,
        search_path: OsString::from("/usr/bin:/bin"),
        git_variables: Vec::new(),
        shell_seat: None,
        step_terminal: None,
        cap: Bounds::default(),
        docker_engines: |_| Ok(DockerEngines::default()),
    });
    for n_layers in [1, 120] {
        let context = folder.path().join(n_layers.to_string());
        write_context(&context, n_layers);
        for network in ["none", "default"] {
            let request = request(&context, &layout, network);
            // The first build makes the base, which is cached from then on.
            build(&engine, &request);
            let (first, second) = (0..RUNS).map(|_| build(&engine, &request)).unzip();
            let (first, second) = (median(first), median(second));
            println!("{mode:?}, {n_layers} layers, network {network}: median {first:?}, the step after it {second:?}");
        }
    }
}

/// A Dockerfile with a base of so many layers, and steps on it in a stage that ignores the cache.
fn write_context(folder: &Path, n_layers: usize) {
    let layers: String = (1..n_layers).map(|n| format!("COPY Dockerfile /{n}\n")).collect();
    let text = format!("FROM busybox AS base\n{layers}FROM base AS steps\nRUN true\nRUN true\n");
    fs::create_dir(folder).unwrap();
    fs::write(folder.join("Dockerfile"), text).unwrap();
}

fn request(context: &Path, layout: &Path, network: &str) -> NamedRequest {
    let flags = BuildFlags {
        context: context.display().to_string(),
        build_contexts: vec![format!("busybox=oci-layout://{}", layout.display())],
        no_cache_filter: vec!["steps".to_owned()],
        network: network.to_owned(),
        outputs: vec!["type=cacheonly".to_owned()],
        ..BuildFlags::default()
    };
    NamedRequest { name: String::new(), request: BuildRequest::from_flags(&flags, &Here).unwrap() }
}

/// The times of the two steps.
fn build(engine: &Engine, request: &NamedRequest) -> (Duration, Duration) {
    let clock = Clock::default();
    engine.build(std::slice::from_ref(request), &mut std::io::empty(), &clock, &Cancel::new()).unwrap();
    let times = clock.took.into_inner().unwrap();
    (times[0], times[1])
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Times the steps that are named `RUN …`, in the order in which they end.
#[derive(Default)]
struct Clock {
    n_steps: AtomicU32,
    running: Mutex<HashMap<StepId, Option<SystemTime>>>,
    took: Mutex<Vec<Duration>>,
}

impl Events for Clock {
    fn emit(&self, event: Event) {
        let mut running = self.running.lock().unwrap();
        match event {
            Event::StepPlanned { step, name, .. } if name.contains(" RUN ") => {
                running.insert(step, None);
            }
            Event::StepStarted { step, at } => {
                running.entry(step).and_modify(|since| *since = Some(at));
            }
            Event::StepDone { step, at } => {
                if let Some(since) = running.get(&step).copied().flatten() {
                    self.took.lock().unwrap().push(at.duration_since(since).unwrap());
                }
            }
            _ => {}
        }
    }

    fn new_step(&self) -> StepId {
        StepId(self.n_steps.fetch_add(1, Ordering::Relaxed))
    }
}

/// A machine with folders and without variables.
struct Here;

impl Surroundings for Here {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn kind_of(&self, path: &Path) -> PathKind {
        if path.is_dir() { PathKind::Folder } else { PathKind::Missing }
    }

    fn is_stdout_terminal(&self) -> bool {
        false
    }

    fn working_dir(&self) -> PathBuf {
        PathBuf::from("/")
    }
}
