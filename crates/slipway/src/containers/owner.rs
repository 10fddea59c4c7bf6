//! Runs a container to its end, again if it is to be started again, and does meanwhile what others ask of it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::Signal;
use slipway_engine::{
    Container, ContainerEnds, ContainerError, Engine, Guest, GuestEnds, GuestHost, JoinedNetwork, Started, chain,
};
use slipway_graph::Events;
use slipway_sandbox::Running;
use slipway_solver::Cancel;
use slipway_store::{ContainerFolder, FsError, Ownership};

use super::control::{self, Answer, End, Found, Listening, Program, Request};
use super::health::{self, Check, Health};
use super::{Config, ContainersError, STATE, State, Status};
use crate::report::hint_line;
use crate::{exit_code, signals};

/// How long a container has to end after it was asked to, if nobody says otherwise.
const GRACE: Duration = Duration::from_secs(10);

/// How long the last answers may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Before the first restart; each further one waits twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Who ran for so long has started well: the next restart is at once again.
const STARTED_WELL: Duration = Duration::from_secs(10);

/// A container and who looks after it.
pub(crate) struct Owner {
    folder: ContainerFolder,
    config: Config,
    inner: Mutex<Inner>,
    changed: Condvar,
    /// Given up when the container has ended for good.
    held: Mutex<Option<(Ownership, Listening)>>,
}

struct Inner {
    state: State,
    live: Option<Live>,
    /// Counts the runs of the program.
    run: u64,
    /// It is not started again.
    is_stopping: bool,
    /// It is started again whatever its policy says.
    is_restarting: bool,
    /// It has ended, and is not started again.
    is_over: bool,
    stop_signal: String,
    /// Who has asked something and waits for the answer.
    n_conversations: usize,
}

#[derive(Clone)]
struct Live {
    running: Arc<Running>,
    host: Arc<GuestHost>,
}

/// What a container is run with.
pub(crate) struct Means<'a> {
    pub(crate) engine: &'a Engine,
    /// In the place of the network that it asks for.
    pub(crate) network: Option<JoinedNetwork>,
    /// What it is connected to, for each time that it is run.
    pub(crate) ends: &'a (dyn Fn() -> std::io::Result<ContainerEnds> + Sync),
    pub(crate) output: &'a (dyn Events + Sync),
    /// Called each time that its program runs.
    pub(crate) on_start: &'a (dyn Fn(&Arc<Running>) + Sync),
    pub(crate) cancel: &'a Cancel,
}

impl Owner {
    /// Becomes the owner of the container in `folder`, and listens from now on.
    ///
    /// # Errors
    /// Somebody else is the owner, or the folder cannot be written to.
    pub(crate) fn new(folder: ContainerFolder, config: Config) -> Result<Arc<Owner>, ContainersError> {
        let Some(ownership) = folder.own()? else { return Err(ContainersError::Owned(config.name)) };
        let inner = Inner {
            state: State::new(),
            live: None,
            run: 0,
            is_stopping: false,
            is_restarting: false,
            is_over: false,
            stop_signal: String::new(),
            n_conversations: 0,
        };
        let owner = Arc::new(Owner {
            folder,
            config,
            inner: Mutex::new(inner),
            changed: Condvar::new(),
            held: Mutex::default(),
        });
        let weak = Arc::downgrade(&owner);
        let talk = move |stream: UnixStream| {
            if let Some(owner) = weak.upgrade() {
                owner.talk(&stream);
            }
        };
        let listening = control::listen(owner.folder.path(), talk).map_err(ContainersError::Listen)?;
        *owner.held.lock().unwrap_or_else(PoisonError::into_inner) = Some((ownership, listening));
        owner.change(|_| ());
        Ok(owner)
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Runs the container until it has ended for good, and returns its exit code. The calling thread is the one that
    /// its life depends on.
    pub(crate) fn run(self: &Arc<Owner>, means: Means<'_>) -> Result<u8, ContainerError> {
        let outcome = self.run_again_and_again(means);
        self.change(|inner| {
            let state = &mut inner.state;
            match &outcome {
                Ok(code) => state.exit_code = *code,
                Err(error) => {
                    state.error = Some(chain(error));
                    state.exit_code = code_of(error);
                }
            }
            (state.status, state.pid, state.ports) = (Status::Exited, None, Vec::new());
            state.finished = Some(Timestamp::now());
            (inner.live, inner.is_over) = (None, true);
        });
        if self.config.removes_itself {
            // What cannot be removed is listed as ended.
            let _ = self.folder.remove();
        }
        // With the last owner its process may end, and those who wait would not hear how it went.
        self.wait_while(FAREWELL, |inner| inner.n_conversations > 0);
        drop(self.held.lock().unwrap_or_else(PoisonError::into_inner).take());
        outcome
    }

    fn run_again_and_again(self: &Arc<Owner>, means: Means<'_>) -> Result<u8, ContainerError> {
        let Means { engine, network, ends, output, on_start, cancel } = means;
        let container = engine.container(self.config.request.clone(), network, output, cancel)?;
        let check = Check::of(self.config.health.as_ref(), container.image());
        self.lock().stop_signal = match &self.config.stop_signal {
            Some(name) => name.clone(),
            None => container.image().stop_signal.clone(),
        };
        let (mut n_restarts, mut pause) = (0, FIRST_PAUSE);
        loop {
            let began = Instant::now();
            let code = self.run_once(&container, check.as_ref(), ends, output, on_start, cancel)?;
            let is_asked = std::mem::take(&mut self.lock().is_restarting);
            let is_due = is_asked || self.config.restart.applies(code, n_restarts);
            if cancel.is_canceled() || self.lock().is_stopping || !is_due {
                return Ok(code);
            }
            self.change(|inner| {
                let state = &mut inner.state;
                (state.status, state.exit_code, state.pid) = (Status::Restarting, code, None);
                state.finished = Some(Timestamp::now());
            });
            if is_asked {
                continue;
            }
            pause = if began.elapsed() > STARTED_WELL { FIRST_PAUSE } else { pause };
            self.wait_while(pause, |inner| !inner.is_stopping && !inner.is_restarting);
            if cancel.is_canceled() || self.lock().is_stopping {
                return Ok(code);
            }
            self.lock().is_restarting = false;
            n_restarts += 1;
            pause = (pause * 2).min(LONGEST_PAUSE);
            self.lock().state.n_restarts = n_restarts;
        }
    }

    fn run_once(
        self: &Arc<Owner>,
        container: &Container<'_>,
        check: Option<&Check>,
        ends: &dyn Fn() -> std::io::Result<ContainerEnds>,
        output: &dyn Events,
        on_start: &dyn Fn(&Arc<Running>),
        cancel: &Cancel,
    ) -> Result<u8, ContainerError> {
        let ends = ends().map_err(|error| ContainerError::Other(error.into()))?;
        let started = |started: Started| {
            let Started { running, host, ports } = started;
            let live = Live { running: Arc::clone(&running), host: Arc::new(host) };
            let mut run = 0;
            self.change(|inner| {
                inner.run += 1;
                run = inner.run;
                inner.live = Some(live.clone());
                let state = &mut inner.state;
                (state.status, state.pid, state.ports) = (Status::Running, Some(running.id()), ports);
                (state.started, state.finished) = (Some(Timestamp::now()), None);
                state.command = container.command().to_vec();
                state.image = Some(container.image_id().clone());
                state.health = check.map(|_| Health::Starting);
            });
            if let Some(check) = check.cloned() {
                let owner = Arc::clone(self);
                let watch = move || health::watch(&owner, &check, &live.host, run);
                // Without a thread it stays in doubt whether the container is well.
                let _ = thread::Builder::new().name("health".to_owned()).spawn(watch);
            }
            on_start(&running);
            // Who asked it to stop before it ran was told that it will.
            if self.lock().is_stopping {
                let _ = running.kill();
            }
        };
        let status = container.run(ends, &started, output, cancel);
        self.change(|inner| inner.live = None);
        status.map(|status| u8::try_from(status.code()).unwrap_or(exit_code::FAILURE))
    }

    /// Says that the container will not be run, and why.
    pub(crate) fn abandon(&self, reason: &str) {
        self.change(|inner| {
            (inner.state.status, inner.state.exit_code) = (Status::Exited, exit_code::FAILURE);
            inner.state.error = Some(reason.to_owned());
            inner.is_over = true;
        });
        drop(self.held.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Waits until nobody looks after it any more, once it has ended for good.
    pub(crate) fn wait_until_free(&self) -> Result<(), FsError> {
        self.folder.wait_until_free()
    }

    /// Whether it has ended for good.
    pub(crate) fn is_over(&self) -> bool {
        self.lock().is_over
    }

    pub(crate) fn folder(&self) -> &ContainerFolder {
        &self.folder
    }

    /// As [`Owner::wait_for`], for a limited time; `None` when that is over.
    pub(crate) fn wait_for_at_most(&self, patience: Duration, is_wanted: impl Fn(&State) -> bool) -> Option<State> {
        let is_late = self.wait_while(patience, |inner| !is_wanted(&inner.state) && !inner.is_over);
        (!is_late).then(|| self.lock().state.clone())
    }

    /// Whether the run of that number still goes on when `pause` is over.
    pub(super) fn is_running_after(&self, run: u64, pause: Duration) -> bool {
        self.wait_while(pause, |inner| inner.run == run && inner.live.is_some())
    }

    pub(super) fn set_health(&self, run: u64, health: Health) {
        self.change(|inner| {
            if inner.run == run && inner.live.is_some() {
                inner.state.health = Some(health);
            }
        });
    }

    /// Waits until `pause` is over (`true`), or `condition` does not hold any more.
    fn wait_while(&self, pause: Duration, condition: impl Fn(&Inner) -> bool) -> bool {
        let until = Instant::now() + pause;
        let mut inner = self.lock();
        while condition(&inner) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            inner = self.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }

    /// Waits until the state is one that `is_wanted`, and returns it. Who waits is woken by every change.
    pub(crate) fn wait_for(&self, is_wanted: impl Fn(&State) -> bool) -> State {
        let mut inner = self.lock();
        while !is_wanted(&inner.state) && !inner.is_over {
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        inner.state.clone()
    }

    /// Sends a signal to the program.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), String> {
        let Some(live) = self.lock().live.clone() else { return Err(self.not_running()) };
        live.running.signal(signal).map_err(|error| chain(&error))
    }

    /// Ends the container, and returns when it has ended.
    pub(crate) fn stop(&self, signal: Option<&str>, timeout_s: Option<u64>) -> Result<(), String> {
        self.end(signal, timeout_s, |inner| inner.is_stopping = true)?;
        self.wait_for(|_| false);
        Ok(())
    }

    /// Ends the program and runs it again, with the files that it has. Returns when it runs.
    pub(crate) fn restart(&self, signal: Option<&str>, timeout_s: Option<u64>) -> Result<(), String> {
        let run = self.lock().run;
        self.end(signal, timeout_s, |inner| inner.is_restarting = true)?;
        let mut inner = self.lock();
        while inner.run == run && !inner.is_over {
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        match (inner.is_over, &inner.state.error) {
            (false, _) => Ok(()),
            (true, Some(error)) => Err(error.clone()),
            (true, None) => Err(self.not_running()),
        }
    }

    /// Ends the program; `intention` says what for, before it is asked.
    fn end(
        &self,
        signal: Option<&str>,
        timeout_s: Option<u64>,
        intention: impl FnOnce(&mut Inner),
    ) -> Result<(), String> {
        let own = self.lock().stop_signal.clone();
        let signal = match signal.unwrap_or(&own) {
            "" => Signal::TERM,
            name => signals::parse(name).ok_or_else(|| format!("Invalid signal: {name}"))?,
        };
        let grace = timeout_s.or(self.config.stop_timeout_s).map_or(GRACE, Duration::from_secs);
        self.change(intention);
        let (live, run) = {
            let inner = self.lock();
            (inner.live.clone(), inner.run)
        };
        if let Some(live) = live {
            live.running.signal(signal).map_err(|error| chain(&error))?;
            if self.wait_while(grace, |inner| inner.live.is_some() && inner.run == run) {
                live.running.kill().map_err(|error| chain(&error))?;
            }
        }
        Ok(())
    }

    /// Changes files of the container.
    fn put(&self, folder: &str, removed: &[String], archive: Option<OwnedFd>) -> Result<(), String> {
        let Some(live) = self.lock().live.clone() else { return Err(self.not_running()) };
        live.host.remove(removed).map_err(|error| chain(&error))?;
        match archive {
            Some(archive) => live.host.unpack(folder, File::from(archive)).map_err(|error| chain(&error)),
            None => Ok(()),
        }
    }

    /// What is at a path of the container; nothing if it does not run.
    fn look(&self, path: &str) -> Found {
        let live = self.lock().live.clone();
        match live.and_then(|live| live.host.is_folder(path).ok().flatten()) {
            None => Found::Nothing,
            Some(false) => Found::File,
            Some(true) => Found::Folder,
        }
    }

    /// Writes files of the container to `archive`.
    fn take(&self, path: &str, name: &str, archive: Option<OwnedFd>) -> Result<(), String> {
        let Some(live) = self.lock().live.clone() else { return Err(self.not_running()) };
        let archive = archive.ok_or("the request came without a descriptor")?;
        live.host.pack(path, name, File::from(archive)).map_err(|error| chain(&error))
    }

    fn not_running(&self) -> String {
        format!("container {} is not running", self.config.name)
    }

    /// Runs a further program to its end; the calling thread is the one that its life depends on.
    fn exec(&self, program: Program, ends: GuestEnds) -> Answer {
        let refused = |message: String, exit_code| Answer::Refused { message, exit_code };
        let Some(live) = self.lock().live.clone() else { return refused(self.not_running(), exit_code::FAILURE) };
        let Program { args, env, cwd, user, is_privileged } = program;
        let started = live.host.start(&Guest { args, env, cwd, user, is_privileged }, ends);
        match started.map(|running| running.wait()) {
            Ok(Ok(status)) => Answer::Exited(u8::try_from(status.code()).unwrap_or(exit_code::FAILURE)),
            Ok(Err(error)) => refused(chain(&error), exit_code::FAILURE),
            Err(error) => refused(chain(&error), error.exit_code()),
        }
    }

    fn talk(&self, stream: &UnixStream) {
        let Ok((request, descriptors)) = control::receive::<Request>(stream) else { return };
        self.lock().n_conversations += 1;
        self.answer(stream, request, descriptors);
        self.lock().n_conversations -= 1;
        self.changed.notify_all();
    }

    /// Does what is asked. Who asked may have gone when it is answered.
    fn answer(&self, stream: &UnixStream, request: Request, descriptors: Vec<OwnedFd>) {
        let done = |result: Result<(), String>| match result {
            Ok(()) => Answer::Done,
            Err(message) => Answer::Refused { message, exit_code: exit_code::FAILURE },
        };
        let answer = match request {
            Request::Signal(number) => match Signal::from_named_raw(number) {
                Some(signal) => done(self.signal(signal)),
                None => done(Err(format!("Invalid signal: {number}"))),
            },
            Request::Stop { signal, timeout_s } => done(self.stop(signal.as_deref(), timeout_s)),
            Request::Restart { signal, timeout_s } => done(self.restart(signal.as_deref(), timeout_s)),
            Request::Put { folder, removed, .. } => done(self.put(&folder, &removed, descriptors.into_iter().next())),
            Request::Take { path, name, .. } => done(self.take(&path, &name, descriptors.into_iter().next())),
            Request::Look { path } => {
                let _ = control::send(stream, &self.look(&path), &[]);
                return;
            }
            Request::Wait => Answer::Exited(self.wait_for(|_| false).exit_code),
            Request::Exec { program, ends } => {
                let mut guest_ends = GuestEnds::default();
                for (end, descriptor) in ends.into_iter().zip(descriptors) {
                    let place = match end {
                        End::Terminal => &mut guest_ends.terminal,
                        End::Stdin => &mut guest_ends.stdin,
                        End::Stdout => &mut guest_ends.stdout,
                        End::Stderr => &mut guest_ends.stderr,
                    };
                    *place = Some(descriptor);
                }
                self.exec(program, guest_ends)
            }
        };
        let _ = control::send(stream, &answer, &[]);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known, tells everybody in this process, and writes it down for the others.
    fn change(&self, change: impl FnOnce(&mut Inner)) {
        let mut inner = self.lock();
        change(&mut inner);
        if let Ok(json) = serde_json::to_vec(&inner.state) {
            // On a full disk others read what was true before.
            let _ = self.folder.replace(STATE, &json);
        }
        drop(inner);
        self.changed.notify_all();
    }
}

/// Docker's exit code for a container that did not run.
pub(crate) fn code_of(error: &ContainerError) -> u8 {
    match error {
        ContainerError::Start { code, .. } => *code,
        ContainerError::Canceled => exit_code::INTERRUPTED,
        ContainerError::NoCommand | ContainerError::Other(_) => exit_code::USAGE,
    }
}

/// What is said of a container that did not run, and Docker's exit code for it.
pub(crate) fn failure(error: &ContainerError) -> (String, u8) {
    let text = match error {
        ContainerError::Start { source, hint, .. } => {
            hint_line(hint.as_deref()) + &format!("slipway: {}\n", chain(source))
        }
        error => format!("slipway: {}\n", chain(error)),
    };
    (text, code_of(error))
}
