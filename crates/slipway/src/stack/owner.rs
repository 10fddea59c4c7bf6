//! Owns a stack: starts, replaces and ends its containers in the order of what they depend on.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use slipway_engine::{ContainerEnds, Engine, chain};
use slipway_sandbox::StackNetwork;
use slipway_solver::Cancel;

use super::networks::AddressBook;
use super::protocol::{NetworkPlace, Plan, Planned, Recreate, Request, Said, UpOptions};
use crate::containers::control::{self, End};
use crate::containers::log::{Line, Recorder, Stream};
use crate::containers::owner::{self, Means, Owner};
use crate::containers::{self, State};
use crate::exit_code;

/// An owner of nothing, whom nobody asks anything, ends after so long.
const IDLE: Duration = Duration::from_millis(500);

/// A container of the stack.
pub(super) struct Member {
    pub(super) owner: Arc<Owner>,
    pub(super) planned: Planned,
    pub(super) namespace: Option<Arc<OwnedFd>>,
}

#[derive(Default)]
pub(super) struct Inner {
    /// By the name of the container.
    pub(super) members: BTreeMap<String, Member>,
    pub(super) addresses: AddressBook,
    listeners: Vec<mpsc::Sender<Said>>,
    n_conversations: usize,
    /// Nothing is heard any more.
    is_closed: bool,
    /// Plans that are being carried out: what has ended may be started again.
    n_plans: usize,
    /// Containers whose end has not been told.
    n_untold: usize,
    /// Names of containers that end because others take their place.
    replaced: BTreeSet<String>,
}

impl Inner {
    fn is_over(&self) -> bool {
        self.n_plans == 0 && self.n_untold == 0
    }
}

/// The owner of a stack.
pub(crate) struct Stack {
    engine: Engine,
    pub(super) network: Mutex<Option<Arc<StackNetwork>>>,
    pub(super) search_path: std::ffi::OsString,
    inner: Mutex<Inner>,
    changed: Condvar,
    /// One plan is carried out at a time.
    applying: Mutex<()>,
}

/// Why a plan was not carried out: the text, and an exit code.
pub(super) type Failure = (String, u8);

impl Stack {
    /// Helper programs are looked for in `search_path`.
    pub(crate) fn new(engine: Engine, search_path: std::ffi::OsString) -> Arc<Stack> {
        Arc::new(Stack {
            engine,
            network: Mutex::default(),
            search_path,
            inner: Mutex::default(),
            changed: Condvar::new(),
            applying: Mutex::default(),
        })
    }

    /// Waits until nothing runs, and nobody has asked anything for a while. Who asks from then on is not heard.
    pub(crate) fn wait_until_idle(&self) {
        let mut idle_since = Instant::now();
        let mut inner = self.lock();
        loop {
            if inner.n_conversations > 0 || inner.members.values().any(|member| !member.owner.is_over()) {
                idle_since = Instant::now();
            } else if idle_since.elapsed() >= IDLE {
                break;
            }
            inner = self.changed.wait_timeout(inner, IDLE / 5).unwrap_or_else(PoisonError::into_inner).0;
        }
        inner.is_closed = true;
    }

    /// Ends all containers in good order.
    pub(crate) fn stop_all(&self) {
        self.stop(&[], None);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn say(&self, said: &Said) {
        self.lock().listeners.retain(|listener| listener.send(said.clone()).is_ok());
        self.changed.notify_all();
    }

    pub(super) fn step(&self, container: &str, step: &str) {
        self.say(&Said::Step { container: container.to_owned(), step: step.to_owned() });
    }

    /// Answers one who asks.
    pub(crate) fn talk(self: &Arc<Stack>, stream: &UnixStream) {
        let Ok((request, descriptors)) = control::receive::<Request>(stream) else { return };
        let (tell, told) = mpsc::channel();
        {
            let mut inner = self.lock();
            if inner.is_closed {
                return;
            }
            inner.n_conversations += 1;
            inner.listeners.push(tell.clone());
        }
        // Who asked may have gone; then nobody hears the rest either.
        let _ = control::send(stream, &Said::Heard, &[]);
        let attaches = matches!(&request, Request::Up { options, .. } if options.attaches);
        let stack = Arc::clone(self);
        let work = move || {
            let outcome = match request {
                Request::Up { plan, options } => stack.up(plan, &options).map(|()| exit_code::SUCCESS),
                Request::RunOne { plan, container, ends } => {
                    stack.run_one(&plan, *container, ends.into_iter().zip(descriptors).collect())
                }
                Request::Stop { services, timeout_s } => {
                    stack.stop(&services, timeout_s);
                    Ok(exit_code::SUCCESS)
                }
            };
            let last = match outcome {
                Ok(exit_code) => Said::Done { exit_code },
                Err((message, exit_code)) => Said::Failed { message, exit_code },
            };
            // Who asked may have gone.
            let _ = tell.send(last);
        };
        // Without a thread the conversation ends without an answer.
        let _ = thread::Builder::new().name("work".to_owned()).spawn(work);
        self.report(stream, &told, attaches);
        self.lock().n_conversations -= 1;
        self.changed.notify_all();
    }

    /// Passes on what is said until that was all.
    fn report(self: &Arc<Stack>, stream: &UnixStream, told: &mpsc::Receiver<Said>, attaches: bool) {
        if attaches && let Ok(mut connection) = stream.try_clone() {
            let stack = Arc::clone(self);
            let watch = move || {
                // Nothing more is asked: this is the end of who is attached, whatever ended it.
                let _ = connection.read(&mut [0]);
                stack.kill_all();
            };
            // Without a thread the stack lives on when who is attached is killed.
            let _ = thread::Builder::new().name("attached".to_owned()).spawn(watch);
        }
        let mut is_done = false;
        for said in told {
            is_done |= matches!(said, Said::Done { .. });
            let is_last = !attaches && is_done || matches!(said, Said::Failed { .. });
            // This only makes it looked at again.
            let is_news = !matches!(said, Said::Over);
            if is_news && (control::send(stream, &said, &[]).is_err() || is_last) {
                return;
            }
            if is_done && self.lock().is_over() {
                // Who is attached may have gone.
                let _ = control::send(stream, &Said::Over, &[]);
                return;
            }
        }
    }

    fn kill_all(&self) {
        let owners: Vec<Arc<Owner>> = self.lock().members.values().map(|member| Arc::clone(&member.owner)).collect();
        thread::scope(|scope| {
            for owner in &owners {
                scope.spawn(|| owner.stop(Some("KILL"), Some(0)));
            }
        });
    }

    /// Ends containers, those first that no other one depends on.
    fn stop(&self, services: &[String], timeout_s: Option<u64>) {
        loop {
            let next: Vec<Arc<Owner>> = {
                let inner = self.lock();
                let is_meant = |member: &&Member| {
                    !member.owner.is_over() && (services.is_empty() || services.contains(&member.planned.service))
                };
                let left: Vec<&Member> = inner.members.values().filter(is_meant).collect();
                let is_needed = |service: &str| {
                    left.iter().any(|other| other.planned.depends_on.iter().any(|needed| needed.service == service))
                };
                let free = left.iter().filter(|member| !is_needed(&member.planned.service));
                free.map(|member| Arc::clone(&member.owner)).collect()
            };
            if next.is_empty() {
                return;
            }
            thread::scope(|scope| {
                for owner in &next {
                    scope.spawn(|| {
                        self.step(&owner.config().name, "Stopping");
                        // What cannot be asked is killed with the stack.
                        let _ = owner.stop(None, timeout_s);
                        self.step(&owner.config().name, "Stopped");
                    });
                }
            });
        }
    }

    /// Makes it so that the containers of `plan` run.
    fn up(self: &Arc<Stack>, plan: Plan, options: &UpOptions) -> Result<(), Failure> {
        let _alone = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        self.lock().n_plans += 1;
        let outcome = self.carry_out(plan, options);
        self.lock().n_plans -= 1;
        self.say(&Said::Over);
        outcome
    }

    fn carry_out(self: &Arc<Stack>, plan: Plan, options: &UpOptions) -> Result<(), Failure> {
        let names: Vec<String> = plan.containers.iter().map(|planned| planned.config.name.clone()).collect();
        let mut fresh: Vec<Planned> = Vec::new();
        let mut replaced: Vec<String> = Vec::new();
        for planned in plan.containers {
            let name = planned.config.name.clone();
            let live = self.live(&name);
            let needs_new =
                planned.depends_on.iter().any(|needed| needed.restarts && replaced.contains(&needed.service));
            let is_kept = live.as_ref().is_some_and(|(_, hash)| match options.recreate {
                Recreate::Changed => *hash == planned.hash && !needs_new,
                Recreate::All => false,
                Recreate::Nothing => true,
            });
            if is_kept {
                self.step(&name, "Running");
                continue;
            }
            if let Some((owner, _)) = live {
                self.step(&name, "Recreate");
                self.lock().replaced.insert(name.clone());
                let stopped = owner.stop(None, options.timeout_s);
                stopped.map_err(|message| {
                    self.lock().replaced.remove(&name);
                    (message, exit_code::FAILURE)
                })?;
                replaced.push(planned.service.clone());
            }
            fresh.push(planned);
        }
        let mut starts = Vec::new();
        for owner in self.admit(&plan.networks, fresh)? {
            starts.push(self.start(owner, None)?);
        }
        let mut failure = None;
        for start in starts {
            // A thread that ends without a word has panicked.
            let outcome =
                start.recv().unwrap_or_else(|_| Err(("the container's thread ended".to_owned(), exit_code::BUG)));
            failure = failure.or(outcome.err());
        }
        match failure {
            Some(failure) => Err(failure),
            None if options.waits => self.wait_until_well(&names, options.patience),
            None => Ok(()),
        }
    }

    /// The owner of a container that has not ended, and what it was made from.
    pub(super) fn live(&self, name: &str) -> Option<(Arc<Owner>, String)> {
        let inner = self.lock();
        let member = inner.members.get(name).filter(|member| !member.owner.is_over())?;
        Some((Arc::clone(&member.owner), member.planned.hash.clone()))
    }

    /// Makes new members, all of them before one is started: they wait for each other.
    fn admit(
        &self,
        networks: &BTreeMap<String, super::protocol::PlannedNetwork>,
        fresh: Vec<Planned>,
    ) -> Result<Vec<Arc<Owner>>, Failure> {
        let failed = |error: &(dyn std::error::Error + 'static)| (chain(error), exit_code::FAILURE);
        let bridges = self.lock().addresses.add(networks).map_err(|error| failed(&error))?;
        if !networks.is_empty() {
            let network = self.network().map_err(|error| failed(&error))?;
            for bridge in bridges {
                network.add_bridge(bridge).map_err(|error| failed(&error))?;
            }
        }
        let mut owners = Vec::new();
        for planned in fresh {
            let config = planned.config.clone();
            // One that has just ended is looked after for a moment more.
            let earlier = self.lock().members.get(&config.name).map(|member| Arc::clone(&member.owner));
            if let Some(earlier) = earlier.filter(|owner| owner.is_over()) {
                earlier.wait_until_free().map_err(|error| failed(&error))?;
            }
            // What is left of an earlier one of this name.
            if let Ok(known) = containers::find(&config.name)
                && known.label(super::PROJECT) == config.labels.get(super::PROJECT).map_or("", String::as_str)
                && !known.folder.is_owned()
            {
                known.folder.remove().map_err(|error| failed(&error))?;
            }
            let folder = containers::create(&config).map_err(|error| failed(&error))?;
            let owner = Owner::new(folder, config).map_err(|error| failed(&error))?;
            let name = owner.config().name.clone();
            let mut inner = self.lock();
            if let NetworkPlace::In(attachments) = &planned.place {
                inner.addresses.join(&name, attachments).map_err(|error| failed(&error))?;
            }
            inner.members.insert(name.clone(), Member { owner: Arc::clone(&owner), planned, namespace: None });
            drop(inner);
            self.step(&name, "Created");
            owners.push(owner);
        }
        Ok(owners)
    }

    /// Starts a container on a thread of its own, as soon as what it depends on lets it. The answer comes when it runs,
    /// or does not.
    fn start(
        self: &Arc<Stack>,
        owner: Arc<Owner>,
        ends: Option<ContainerEnds>,
    ) -> Result<mpsc::Receiver<Result<(), Failure>>, Failure> {
        let (tell, told) = mpsc::channel();
        let stack = Arc::clone(self);
        let work = move || {
            let outcome = stack.run_member(&owner, ends, &tell);
            let name = owner.config().name.clone();
            let service = owner.config().labels.get(super::SERVICE).cloned().unwrap_or_default();
            let exit_code = match &outcome {
                Ok(code) => *code,
                Err((_, code)) => *code,
            };
            // Who asked has its answer, or gets it now.
            let _ = tell.send(outcome.map(drop));
            // Who takes its place is told of by itself.
            let is_replaced = stack.lock().replaced.remove(&name);
            if !is_replaced {
                stack.say(&Said::Exited { container: name, service, exit_code });
            }
            stack.lock().n_untold -= 1;
            stack.say(&Said::Over);
        };
        self.lock().n_untold += 1;
        let spawned = thread::Builder::new().name("container".to_owned()).spawn(work);
        if spawned.is_err() {
            self.lock().n_untold -= 1;
        }
        spawned.map(|_| told).map_err(|error| (chain(&error), exit_code::FAILURE))
    }

    fn run_member(
        self: &Arc<Stack>,
        owner: &Arc<Owner>,
        ends: Option<ContainerEnds>,
        tell: &mpsc::Sender<Result<(), Failure>>,
    ) -> Result<u8, Failure> {
        let name = &owner.config().name;
        let prepared = self.await_dependencies(name).and_then(|()| self.join(name));
        let network = match prepared {
            Ok(network) => network,
            Err(message) => {
                owner.abandon(&message);
                return Err((message, exit_code::FAILURE));
            }
        };
        let (stack, container) = (Arc::clone(self), name.clone());
        let listener = Box::new(move |line: &Line| {
            let Line { text, stream, time } = line.clone();
            stack.say(&Said::Line { container: container.clone(), stream, text, time });
        });
        let stack = Arc::clone(self);
        let remark = Box::new(move |text: &str| stack.say(&Said::Remark(text.to_owned())));
        let recorder = match Recorder::new(owner.folder(), listener, remark) {
            Ok(recorder) => recorder,
            Err(error) => {
                owner.abandon(&chain(&error));
                return Err((chain(&error), exit_code::FAILURE));
            }
        };
        self.step(name, "Starting");
        let ends = Mutex::new(ends);
        let outcome = owner.run(Means {
            engine: &self.engine,
            network,
            ends: &|| Ok(ends.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()),
            output: &recorder,
            on_start: &|_| {
                self.step(name, "Started");
                // It may have started before.
                let _ = tell.send(Ok(()));
            },
            cancel: &Cancel::new(),
        });
        recorder.flush();
        outcome.map_err(|error| {
            let (text, code) = owner::failure(&error);
            (text.trim_end().to_owned(), code)
        })
    }

    /// Runs one container more to its end. Those that it depends on have to run already.
    fn run_one(
        self: &Arc<Stack>,
        plan: &Plan,
        container: Planned,
        descriptors: Vec<(End, OwnedFd)>,
    ) -> Result<u8, Failure> {
        let name = container.config.name.clone();
        let owner = self.admit(&plan.networks, vec![container])?.remove(0);
        let mut ends = ContainerEnds::default();
        let (mut stdout, mut stderr) = (None, None);
        for (end, descriptor) in descriptors {
            match end {
                End::Terminal => ends.terminal = Some(descriptor),
                End::Stdin => ends.stdin = Some(descriptor),
                End::Stdout => stdout = Some(std::fs::File::from(descriptor)),
                End::Stderr => stderr = Some(std::fs::File::from(descriptor)),
            }
        }
        self.copy_lines(&name, stdout, stderr);
        let start = self.start(Arc::clone(&owner), Some(ends))?;
        let outcome = start.recv().unwrap_or_else(|_| Err(("the container's thread ended".to_owned(), exit_code::BUG)));
        let State { exit_code, .. } = owner.wait_for(|_| false);
        let mut inner = self.lock();
        inner.members.remove(&name);
        inner.addresses.leave(&name);
        drop(inner);
        outcome.map(|()| exit_code)
    }

    /// Writes what a container writes to files of who asked, too.
    fn copy_lines(&self, name: &str, stdout: Option<std::fs::File>, stderr: Option<std::fs::File>) {
        use std::io::Write as _;
        let (tell, told) = mpsc::channel();
        self.lock().listeners.push(tell);
        let name = name.to_owned();
        let copy = move || {
            for said in told {
                match said {
                    Said::Line { container, stream, text, .. } if container == name => {
                        let file = if stream == Stream::Stdout { &stdout } else { &stderr };
                        if let Some(mut file) = file.as_ref() {
                            // Nobody may be left to read it.
                            let _ = file.write_all(text.as_bytes());
                        }
                    }
                    Said::Exited { container, .. } if container == name => return,
                    _ => {}
                }
            }
        };
        // Without a thread what it writes is in its log only.
        let _ = thread::Builder::new().name("output".to_owned()).spawn(copy);
    }
}
