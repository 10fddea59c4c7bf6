//! What each op does: one file an op. This one is the border to the solver.

mod begin;
mod cache;
mod context_reads;
mod earlier_copy;
mod emulators;
mod error;
pub(crate) mod exec;
pub(crate) mod file;
pub(crate) mod files;
pub(crate) mod git;
pub(crate) mod http;
mod limit;
mod local;
pub(crate) mod network;
mod secret;
mod shared_inodes;
pub(crate) mod shell;
mod ssh;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::sync::Arc;

use slipway_graph::op::{Exec, FileAction, FileOp, FolderId, Mount, Op, Source};
use slipway_graph::request::{LockUse, Secret, Ssh, StepLimits};
use slipway_graph::{Events, Graph, KeyWriter, Pins, StepId, Vertex, VertexId};
use slipway_oci::Digest;
use slipway_registry::Registry;
use slipway_solver::{Cancel, Ops};
use slipway_store::{OverlayFlavor, Snapshot, Store};

use crate::context::{SourcePattern, SourceTree, content_digest};
use crate::contexts::Contexts;
use crate::fetch::Progress;
use crate::images::{self, ImageDigests};
use crate::remote::{Fetching, RemoteSnapshot, RootFs};
use crate::shared_cache::import::Imports;
use crate::ssh::Agents;
pub(crate) use cache::EngineCache;
pub(crate) use context_reads::ContextReads;
use context_reads::Reading;
pub(crate) use error::{OpError, is_of_user};
use git::{GitInputs, GitSources};
use http::{HttpInputs, HttpSources};
use secret::SecretError;
use shell::ShellSeat;

/// What a vertex is worth.
#[derive(Clone, Debug)]
pub(crate) enum Output {
    Snapshot(Snapshot),
    /// A snapshot whose files are fetched when they are needed: of a base image, or of another machine.
    Remote(Arc<RemoteSnapshot>),
    /// A folder of the host. It is read where it lies.
    Context(FolderId),
}

/// An output that a vertex works with: its files can be read.
pub(crate) enum Input {
    Snapshot(Snapshot),
    /// As [`Output::Context`].
    Context(FolderId),
}

impl Input {
    fn snapshot(&self) -> Option<&Snapshot> {
        match self {
            Input::Snapshot(snapshot) => Some(snapshot),
            Input::Context(_) => None,
        }
    }
}

/// What is known of remote sources in one build; each is asked for once.
#[derive(Default)]
pub(crate) struct RemoteSources {
    pub(crate) images: ImageDigests,
    pub(crate) http: HttpSources,
    pub(crate) git: GitSources,
}

/// What a build lends to its steps without any of it being part of their keys.
#[derive(Clone, Copy)]
pub(crate) struct Session<'a> {
    pub(crate) secrets: &'a [Secret],
    pub(crate) ssh: &'a [Ssh],
    pub(crate) agents: &'a Agents,
    pub(crate) limits: &'a StepLimits,
    pub(crate) lock: Option<LockUse>,
    pub(crate) pins: &'a Pins,
}

impl RemoteSources {
    /// What a lock file can say of all that was asked for.
    pub(crate) fn pins(&self) -> Pins {
        Pins { images: self.images.pins(), urls: self.http.pins(), git: self.git.pins() }
    }

    /// When what is there changed last, in seconds since 1970: the commit was made, the server says so, or the newest
    /// file of the archive was changed (`spec/dockerfile.md` section 8.8).
    pub(crate) fn time_of(
        &self,
        source: &Source,
        http_inputs: HttpInputs<'_>,
        git_inputs: GitInputs<'_>,
    ) -> Result<Option<i64>, OpError> {
        match source {
            Source::Git(git) => Ok(Some(self.git.commit_time(git, git_inputs).map_err(Box::new)?)),
            Source::Http(http) => Ok(self.http.time_of(http, http_inputs).map_err(Box::new)?),
            Source::Scratch | Source::Image(_) | Source::Local(_) => Ok(None),
        }
    }
}

/// Everything that ops work with.
pub(crate) struct EngineOps<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) store: &'a Store,
    pub(crate) registry: &'a Registry,
    pub(crate) flavor: OverlayFlavor,
    pub(crate) contexts: &'a Contexts,
    pub(crate) context_reads: ContextReads,
    /// What each build lends to its steps.
    pub(crate) sessions: &'a [Session<'a>],
    /// By vertex: the build whose session it uses.
    pub(crate) owners: &'a [usize],
    pub(crate) shell_seat: Option<&'a dyn ShellSeat>,
    /// The vertex that somebody sits down in instead of it being run.
    pub(crate) shell_at: Option<VertexId>,
    pub(crate) host_files: &'a exec::HostFiles,
    pub(crate) sources: &'a RemoteSources,
    /// Variables of the host that the `git` program may see.
    pub(crate) git_variables: &'a [(String, OsString)],
    pub(crate) imports: &'a Imports<'a>,
    /// Vertices whose files are needed whatever the steps do with them.
    pub(crate) files_wanted: &'a BTreeSet<VertexId>,
    pub(crate) cancel: &'a Cancel,
    pub(crate) events: &'a dyn Events,
    pub(crate) steps: &'a [StepId],
}

impl Ops for EngineOps<'_> {
    type Output = Output;
    type Error = OpError;

    fn definition_key(&self, vertex: VertexId, inputs: &[Digest]) -> Result<Digest, OpError> {
        let described = self.graph.vertex(vertex);
        match &described.op {
            Op::Source(Source::Http(http)) => {
                return Ok(self.sources.http.key(http, self.http_inputs(vertex)).map_err(Box::new)?);
            }
            Op::Source(Source::Git(git)) => {
                return Ok(self.sources.git.key(git, self.git_inputs(vertex)).map_err(Box::new)?);
            }
            _ => {}
        }
        let mut key = KeyWriter::new("definition 1");
        described.op.write_key(&mut key);
        if let Op::Exec(_) = described.op {
            key.text(&described.platform.to_string());
        }
        self.write_secrets(&mut key, vertex)?;
        // A folder of the host has no key of its own: what an op reads of it is part of the op's key.
        for (index, (input, input_key)) in described.inputs.iter().zip(inputs).enumerate() {
            match &self.graph.vertex(*input).op {
                Op::Source(Source::Local(local)) => {
                    for digest in self.context_digests(vertex, index, local.folder).map_err(Box::new)? {
                        key.text(digest.as_str());
                    }
                }
                _ => {
                    key.text(input_key.as_str());
                    write_sources(&mut key, &described.op, index);
                }
            }
        }
        Ok(key.finish())
    }

    fn content_key(&self, vertex: VertexId, inputs: &[Output]) -> Result<Option<Digest>, OpError> {
        let described = self.graph.vertex(vertex);
        let selects = |index: usize| index > 0 && !selections(&described.op, index).is_empty();
        if !(1..inputs.len()).any(|index| selects(index) && !matches!(inputs[index], Output::Context(_))) {
            return Ok(None);
        }
        let mut key = KeyWriter::new("content 1");
        described.op.write_key(&mut key);
        self.write_secrets(&mut key, vertex)?;
        for (index, output) in inputs.iter().enumerate() {
            match output {
                Output::Snapshot(_) | Output::Remote(_) if selects(index) => {
                    for digest in self.snapshot_digests(&self.snapshot_of(output)?, &described.op, index)? {
                        key.text(digest.as_str());
                    }
                }
                Output::Snapshot(_) | Output::Remote(_) => {
                    key.text(self.identity(output).as_str());
                }
                Output::Context(folder) => {
                    for digest in self.context_digests(vertex, index, *folder).map_err(Box::new)? {
                        key.text(digest.as_str());
                    }
                }
            }
        }
        Ok(Some(key.finish()))
    }

    fn run(&self, vertex: VertexId, inputs: &[Output], cancel: &Cancel) -> Result<Output, OpError> {
        if let Some(promise) = self.promise(vertex, inputs)? {
            return Ok(promise);
        }
        let inputs = inputs.iter().map(|input| self.at_hand(input)).collect::<Result<Vec<_>, _>>()?;
        let output = self.carry_out(vertex, &inputs, cancel)?;
        self.describe(vertex, &output)?;
        Ok(output)
    }

    fn identity(&self, output: &Output) -> Digest {
        match output {
            Output::Snapshot(snapshot) => match self.store.origin(snapshot.id()) {
                Ok(Some(origin)) => origin,
                // Without a name for all machines there is one that only this store knows.
                _ => Digest::of(format!("snapshot {}", snapshot.id()).as_bytes()),
            },
            Output::Remote(remote) => remote.origin(),
            Output::Context(folder) => Digest::of(format!("context {}", folder.0).as_bytes()),
        }
    }
}

impl EngineOps<'_> {
    /// The definition keys of all vertices, in their order.
    pub(crate) fn definitions(&self) -> Result<Vec<Digest>, OpError> {
        let mut definitions: Vec<Digest> = Vec::with_capacity(self.graph.len());
        for (id, vertex) in self.graph.iter() {
            let inputs: Vec<Digest> = vertex.inputs.iter().map(|input| definitions[input.0].clone()).collect();
            definitions.push(self.definition_key(id, &inputs)?);
        }
        Ok(definitions)
    }

    /// What the vertex comes to as long as nobody needs files that are elsewhere.
    fn promise(&self, vertex: VertexId, inputs: &[Output]) -> Result<Option<Output>, OpError> {
        match (&self.graph.vertex(vertex).op, inputs) {
            (Op::Source(Source::Image(image)), _) if !self.needs_files(vertex) => {
                let layers = images::remote_layers(image, self.store, self.registry).map_err(Box::new)?;
                let is_here = layers.are_here(self.store)?;
                let promise = || Output::Remote(Arc::new(RemoteSnapshot::new(layers, Vec::new())));
                Ok((!is_here).then(promise))
            }
            (Op::Merge, [Output::Remote(base), top]) => {
                let (key, top) = (self.identity(top), self.snapshot_of(top)?);
                let layer = top.layers().last().ok_or(OpError::NotAFileSystem)?;
                Ok(Some(Output::Remote(Arc::new(base.with_on_top(layer.clone(), key)))))
            }
            _ => Ok(None),
        }
    }

    /// Whether the files of a base image, or of what is merged onto it, are sure to be needed, so that it is best to
    /// begin at once. What an imported cache holds may spare a step that would read them.
    fn needs_files(&self, vertex: VertexId) -> bool {
        let is_needed_by = |(id, user): (VertexId, &Vertex)| {
            user.inputs.iter().enumerate().any(|(index, input)| match (&user.op, index) {
                _ if *input != vertex => false,
                (Op::Merge, 0) => self.needs_files(id),
                _ => self.imports.are_none(),
            })
        };
        self.files_wanted.contains(&vertex) || self.graph.iter().any(is_needed_by)
    }

    /// Says what the newest layer is, for those who look at what takes space.
    fn describe(&self, vertex: VertexId, output: &Output) -> Result<(), OpError> {
        let described = self.graph.vertex(vertex);
        let record_type = match described.op {
            Op::Source(Source::Git(_)) => "source.git.checkout",
            _ => "regular",
        };
        if let Output::Snapshot(snapshot) = output
            && let Some(top) = snapshot.layers().last()
        {
            self.store.describe(top.as_str(), record_type, &described.name)?;
        }
        Ok(())
    }

    fn carry_out(&self, vertex: VertexId, inputs: &[Input], cancel: &Cancel) -> Result<Output, OpError> {
        let step = self.steps[vertex.0];
        let op = &self.graph.vertex(vertex).op;
        let is_nothing_to_do = matches!(op, Op::Source(Source::Scratch | Source::Local(_)));
        if self.flavor == OverlayFlavor::Outside && !is_nothing_to_do {
            return Err(OpError::Outside);
        }
        match op {
            Op::Source(Source::Scratch) => Ok(Output::Snapshot(Snapshot::scratch())),
            Op::Source(Source::Image(image)) => {
                let progress = Progress { events: self.events, step, cancel };
                let pulled = images::pull(image, self.store, self.registry, self.flavor, &progress);
                Ok(Output::Snapshot(pulled.map_err(Box::new)?))
            }
            Op::Source(Source::Local(local)) => Ok(Output::Context(local.folder)),
            Op::Source(Source::Http(http)) => {
                let fetched = self.sources.http.snapshot(http, self.http_inputs(vertex), cancel);
                Ok(Output::Snapshot(fetched.map_err(Box::new)?))
            }
            Op::Source(Source::Git(git)) => {
                let checked_out = self.sources.git.snapshot(git, self.git_inputs(vertex));
                Ok(Output::Snapshot(checked_out.map_err(Box::new)?))
            }
            Op::Exec(exec) => {
                // The step works on copies: from here on the user may go on editing.
                let copy = || {
                    let copies: Result<Vec<_>, _> = inputs.iter().map(|input| self.file_system_of(input)).collect();
                    Ok(Reading { result: copies?, is_as_keyed: false })
                };
                let snapshots = self.read_contexts(vertex, inputs, copy, |copies| unique_name(copies))?;
                self.exec(vertex, exec, &snapshots, cancel)
            }
            Op::File(op) => {
                let copy = || self.file(vertex, op, inputs);
                let made = self.read_contexts(vertex, inputs, copy, |made| unique_name(std::slice::from_ref(made)))?;
                Ok(Output::Snapshot(made))
            }
            Op::Merge => {
                let (base, top) = (self.file_system_of(&inputs[0])?, self.file_system_of(&inputs[1])?);
                let layer = top.layers().last().ok_or(OpError::NotAFileSystem)?;
                Ok(Output::Snapshot(files::stack(&base, layer, self.store).map_err(Box::new)?))
            }
        }
    }

    /// What stands for the values of the secrets that the vertex uses, by id; only of those whose values count.
    pub(crate) fn keyed_secrets(&self, vertex: VertexId) -> Result<BTreeMap<String, String>, SecretError> {
        let Op::Exec(exec) = &self.graph.vertex(vertex).op else { return Ok(BTreeMap::new()) };
        let is_used = |id: &str| exec.mounts.iter().any(|mount| matches!(mount, Mount::Secret(used) if used.id == id));
        let keyed = self.session(vertex).secrets.iter().filter(|secret| secret.is_keyed && is_used(&secret.id));
        keyed.map(|known| Ok((known.id.clone(), secret::fingerprint(known, self.store)?))).collect()
    }

    fn write_secrets(&self, key: &mut KeyWriter, vertex: VertexId) -> Result<(), SecretError> {
        for (id, fingerprint) in self.keyed_secrets(vertex)? {
            key.text("value of secret").text(&id).text(&fingerprint);
        }
        Ok(())
    }

    pub(crate) fn session(&self, vertex: VertexId) -> Session<'_> {
        self.sessions[self.owners[vertex.0]]
    }

    pub(crate) fn http_inputs(&self, vertex: VertexId) -> HttpInputs<'_> {
        let Session { secrets, pins, .. } = self.session(vertex);
        HttpInputs { store: self.store, registry: self.registry, secrets, pins }
    }

    pub(crate) fn git_inputs(&self, vertex: VertexId) -> GitInputs<'_> {
        let Session { secrets, ssh, pins, .. } = self.session(vertex);
        GitInputs {
            store: self.store,
            secrets,
            ssh,
            host_variables: self.git_variables,
            cancel: self.cancel,
            pins,
            is_offline: self.registry.is_offline(),
        }
    }

    fn exec(&self, vertex: VertexId, exec: &Exec, inputs: &[Snapshot], cancel: &Cancel) -> Result<Output, OpError> {
        let Session { secrets, agents, limits, .. } = self.session(vertex);
        let run = exec::Run {
            exec,
            platform: &self.graph.vertex(vertex).platform,
            inputs,
            store: self.store,
            imports: self.imports,
            secrets,
            agents,
            limits,
            shell_seat: self.shell_seat,
            host_files: self.host_files,
            events: self.events,
            step: self.steps[vertex.0],
            cancel,
        };
        match self.shell_at == Some(vertex) {
            true => Err(run.sit_down()?.into()),
            false => Ok(Output::Snapshot(run.carry_out()?)),
        }
    }

    fn file(&self, vertex: VertexId, op: &FileOp, inputs: &[Input]) -> Result<Reading<Snapshot>, OpError> {
        let base = self.file_system_of(&inputs[0])?;
        let ignores_cache = self.graph.vertex(vertex).ignores_cache;
        let setting = files::Setting { store: self.store, contexts: self.contexts, ignores_cache };
        let made = files::run(op, &base, inputs, &setting).map_err(Box::new)?;
        let is_as_keyed = made.read.is_some_and(|read| self.is_key_of(vertex, inputs, &read));
        Ok(Reading { result: made.snapshot, is_as_keyed })
    }

    /// The output with its files at hand.
    fn at_hand(&self, output: &Output) -> Result<Input, OpError> {
        match output {
            Output::Snapshot(snapshot) => Ok(Input::Snapshot(snapshot.clone())),
            Output::Context(folder) => Ok(Input::Context(*folder)),
            // Nothing can be unpacked from outside.
            Output::Remote(_) if self.flavor == OverlayFlavor::Outside => Err(OpError::Outside),
            Output::Remote(remote) => {
                let (store, flavor, cancel) = (self.store, self.flavor, self.cancel);
                let events = self.imports.events();
                Ok(Input::Snapshot(remote.fetch(Fetching { store, flavor, events, cancel })?))
            }
        }
    }

    /// What the result `vertex` is worth to outputs.
    pub(crate) fn root_fs(&self, vertex: VertexId, output: &Output) -> Result<RootFs, OpError> {
        match output {
            Output::Remote(remote) if !self.files_wanted.contains(&vertex) => Ok(RootFs::Remote(Arc::clone(remote))),
            output => self.snapshot_of(output).map(RootFs::Here),
        }
    }

    /// The output as a file system: a folder of the host that is used as one is copied into a snapshot first.
    pub(crate) fn snapshot_of(&self, output: &Output) -> Result<Snapshot, OpError> {
        self.file_system_of(&self.at_hand(output)?)
    }

    fn file_system_of(&self, input: &Input) -> Result<Snapshot, OpError> {
        match input {
            Input::Snapshot(snapshot) => Ok(snapshot.clone()),
            Input::Context(folder) => Ok(local::snapshot(*folder, self.store, self.contexts).map_err(Box::new)?),
        }
    }

    fn snapshot_digests(&self, snapshot: &Snapshot, op: &Op, index: usize) -> Result<Vec<Digest>, OpError> {
        let view = files::readable(self.store.view(snapshot)?).map_err(Box::new)?;
        let digest = |selection: &SourcePattern<'_>| {
            content_digest(SourceTree::Snapshot(&view), selection, None)
                .map_err(|e| Box::new(files::FileError::from(e)).into())
        };
        selections(op, index).iter().map(digest).collect()
    }
}

/// What `op` selects from its input `index`; nothing if it uses it as a whole file system.
fn selections(op: &Op, index: usize) -> Vec<SourcePattern<'_>> {
    match op {
        Op::File(file) => {
            let copies = file.actions.iter().filter_map(|action| match action {
                FileAction::Copy(copy) if copy.input == index => Some(SourcePattern::from(copy)),
                _ => None,
            });
            copies.collect()
        }
        Op::Exec(exec) => {
            let binds = exec.mounts.iter().filter_map(|mount| match mount {
                Mount::Bind { input, source, is_readonly: true, .. } if *input == index => {
                    Some(SourcePattern::literal(source))
                }
                _ => None,
            });
            binds.collect()
        }
        Op::Source(_) | Op::Merge => Vec::new(),
    }
}

/// A name for something that was made of the snapshots and of nothing else.
fn unique_name(snapshots: &[Snapshot]) -> Digest {
    let ids: Vec<String> = snapshots.iter().map(|snapshot| snapshot.id().to_string()).collect();
    let mut key = KeyWriter::new("unique");
    key.texts(&ids);
    key.finish()
}

/// The op's own key leaves out which path of an input is read, because for folders of the host only content counts.
/// For other inputs the path is what tells two copies apart.
fn write_sources(key: &mut KeyWriter, op: &Op, index: usize) {
    if let Op::File(file) = op {
        for action in &file.actions {
            if let FileAction::Copy(copy) = action
                && copy.input == index
            {
                key.text(&copy.source);
            }
        }
    }
}
