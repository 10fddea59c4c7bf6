//! From syntax tree to graph: what a Dockerfile means for given arguments, platform and base images.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use slipway_graph::git::redacted;
use slipway_graph::op::{
    FolderId, HostAddress, HttpSource, ImageOrigin, ImageSource, LocalSource, Network, Source, Ulimit,
};
use slipway_graph::request::{CacheBypass, NamedContext, ShellPoint};
use slipway_graph::{GitReference, Graph, LineRange, MainContext, Op, Vertex, VertexId};
use slipway_oci::{ChainId, Digest, ImageConfig, Platform, Reference, RuntimeConfig};

use crate::budget::Budget;
use crate::environment::Environment;
use crate::epoch::{self, Epoch};
use crate::facts::{FactLog, Facts, Seen};
use crate::globals::Globals;
use crate::instructions::Command;
use crate::scanned;
use crate::stage_builder::{DEFAULT_PATH, StageBuilder, Step, error_at};
use crate::stages::{Line, Origin, Outside, Stage, Stages};
use crate::step_name::StepNames;
use crate::{Diagnostic, Dockerfile};

/// Everything outside the Dockerfile and its base images that decides about the graph.
#[derive(Clone, Debug)]
pub struct LowerInputs<'a> {
    /// The stage asked for; `None` is the last one.
    pub target: Option<&'a str>,
    /// Whether stages that the target does not reach are lowered, too.
    pub needs_all_stages: bool,
    /// `--build-arg`; those that steer the builder (`BUILDKIT_*`, proxies, `SOURCE_DATE_EPOCH`) are among them.
    pub build_args: &'a BTreeMap<String, String>,
    /// The platform of the machine that builds.
    pub build_platform: Platform,
    /// The platform that the image is for.
    pub target_platform: Platform,
    /// Whether the target platform was asked for; otherwise the base image decides what the config says.
    pub is_platform_explicit: bool,
    /// Whether step names say which platform they belong to.
    pub is_multi_platform: bool,
    /// By familiar name without `:latest`, possibly with `::platform` at the end.
    pub named_contexts: &'a BTreeMap<String, NamedContext>,
    /// Which folder of the host each named context is that is one.
    pub folders: &'a BTreeMap<String, FolderId>,
    /// What other builds made that named contexts may stand for, by name.
    pub linked: &'a BTreeMap<String, Linked>,
    pub main_context: &'a MainContext,
    /// When the sources that lowering asked about changed last, in seconds since 1970, where that is known.
    pub source_times: &'a [(Source, Option<i64>)],
    pub cache_bypass: &'a CacheBypass,
    /// The network of steps that do not ask for a certain one.
    pub network: Network,
    pub extra_hosts: &'a [(String, HostAddress)],
    pub shm_size_bytes: Option<u64>,
    pub ulimits: &'a [Ulimit],
    /// `--label`: put on the final image, over the labels of the Dockerfile.
    pub labels: &'a BTreeMap<String, String>,
    /// Where the target stage ends, for somebody to sit down there: the result is a `RUN` that does nothing.
    pub shell: Option<ShellPoint>,
    /// Whether `RUN --network=host` is permitted.
    pub allows_host_network: bool,
    /// Whether `RUN --security=insecure` is permitted.
    pub allows_insecure: bool,
    /// Whether [`Lowered::scanned`] is wanted.
    pub lists_packages: bool,
}

impl<'a> LowerInputs<'a> {
    /// Those of a build on `platform` with a folder as its context and no flags but `--build-arg`.
    pub fn plain(platform: Platform, build_args: &'a BTreeMap<String, String>) -> LowerInputs<'a> {
        static NO_CONTEXTS: BTreeMap<String, NamedContext> = BTreeMap::new();
        static NO_FOLDERS: BTreeMap<String, FolderId> = BTreeMap::new();
        static NO_LINKS: BTreeMap<String, Linked> = BTreeMap::new();
        static NO_LABELS: BTreeMap<String, String> = BTreeMap::new();
        static FOLDER: MainContext = MainContext::Folder(FolderId(0));
        static NO_BYPASS: CacheBypass = CacheBypass::Nothing;
        LowerInputs {
            target: None,
            needs_all_stages: false,
            build_args,
            build_platform: platform.clone(),
            target_platform: platform,
            is_platform_explicit: false,
            is_multi_platform: false,
            named_contexts: &NO_CONTEXTS,
            folders: &NO_FOLDERS,
            linked: &NO_LINKS,
            main_context: &FOLDER,
            source_times: &[],
            cache_bypass: &NO_BYPASS,
            network: Network::Default,
            extra_hosts: &[],
            shm_size_bytes: None,
            ulimits: &[],
            labels: &NO_LABELS,
            shell: None,
            allows_host_network: false,
            allows_insecure: false,
            lists_packages: false,
        }
    }
}

const SCRATCH_STEP: &str = "[internal] scratch";

/// What lowering came to.
#[derive(Debug)]
pub enum Lowering {
    Done(Box<Lowered>),
    /// Images have to be looked up first. All that can be known to be needed now are listed, each once.
    NeedImages(Vec<ImageQuestion>),
    /// `SOURCE_DATE_EPOCH` is when this repository or file changed last ([`LowerInputs::source_times`]).
    NeedTime(Box<Source>),
}

/// Which image is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageKey {
    pub place: ImagePlace,
    /// The platform that is wanted; an image that is only there for another one is taken all the same.
    pub platform: Platform,
}

/// Where an image is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ImagePlace {
    /// The local image store or a registry. The tag is always filled in unless there is a digest.
    Reference(Reference),
    /// A named context in OCI layout: the manifest `digest`, else the one called `tag`, else the only one.
    /// `name` is the context's, as a familiar reference.
    OciLayout { name: String, path: PathBuf, tag: Option<String>, digest: Option<Digest> },
}

/// A question about an image that has to be answered before lowering can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageQuestion {
    pub key: ImageKey,
    /// The name as the Dockerfile says it; errors begin with it.
    pub written: String,
    /// The instruction that needs the image.
    pub lines: LineRange,
}

/// The answer to an [`ImageQuestion`].
#[derive(Clone, Debug)]
pub struct KnownImage {
    pub origin: ImageOrigin,
    /// The manifest for the wanted platform.
    pub manifest: Digest,
    /// `None` if the image has no layers.
    pub chain_id: Option<ChainId>,
    pub config: ImageConfig,
}

/// All answers so far.
pub type KnownImages = HashMap<ImageKey, KnownImage>;

/// A Dockerfile for one platform, ready to be solved.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// What the target reaches, and possibly more; [`Graph::reachable`] tells.
    pub graph: Graph,
    /// The root file system of the target.
    pub result: VertexId,
    /// The config of the image. New history entries have no `created`; `rootfs` is still that of the base.
    pub config: ImageConfig,
    /// How many entries at the front of the history come with the base image.
    pub n_base_history: usize,
    /// `SOURCE_DATE_EPOCH`, seconds since 1970: the time of what the build makes.
    pub epoch: Option<i64>,
    /// File systems that are searched for packages besides the result, by their names.
    pub scanned: BTreeMap<String, VertexId>,
}

/// What another build makes, for those that use it as a context.
#[derive(Clone, Debug)]
pub struct Linked {
    /// One a platform; at least one.
    pub images: Vec<(Platform, Arc<Lowered>)>,
}

impl Linked {
    /// An image without files and settings.
    pub fn empty(platform: Platform) -> Linked {
        let mut graph = Graph::new();
        let result = graph.add(Vertex {
            op: Op::Source(Source::Scratch),
            inputs: Vec::new(),
            platform: platform.clone(),
            name: SCRATCH_STEP.to_owned(),
            ignores_cache: false,
            lines: None,
        });
        let config = empty_config(&platform);
        let lowered = Lowered { graph, result, config, n_base_history: 0, epoch: None, scanned: BTreeMap::new() };
        Linked { images: vec![(platform, Arc::new(lowered))] }
    }

    /// The image for `platform`; the only one serves all.
    pub(crate) fn image(&self, platform: &Platform) -> Option<&Arc<Lowered>> {
        let exact = self.images.iter().find(|(own, _)| own == platform);
        let only = if self.images.len() == 1 { self.images.first() } else { None };
        exact.or(only).map(|(_, image)| image)
    }
}

/// Lowers `dockerfile`, and tells what was seen on the way, however far it led.
///
/// Answers `Lowering::NeedTime` and `Lowering::NeedImages` as long as `inputs` lack that time, and `known` images that the
/// target reaches; ask again with the answers.
///
/// # Errors
/// All that is wrong with the file, as far as the target reaches it, with the texts of the reference builder.
pub fn lower(
    dockerfile: &Dockerfile,
    inputs: &LowerInputs<'_>,
    known: &KnownImages,
) -> (Result<Lowering, Vec<Diagnostic>>, Facts) {
    let log = FactLog::default();
    let outcome = lower_with(dockerfile, inputs, known, &log);
    (outcome, log.into_facts())
}

fn lower_with(
    dockerfile: &Dockerfile,
    inputs: &LowerInputs<'_>,
    known: &KnownImages,
    log: &FactLog,
) -> Result<Lowering, Vec<Diagnostic>> {
    let escape = dockerfile.directives.escape;
    let (stages, mut globals) = Stages::split(&dockerfile.instructions, escape, inputs, log)?;
    let epoch = match epoch::find(&stages, &globals, escape, inputs).map_err(|error| vec![error])? {
        Epoch::Stated(seconds) => ResolvedEpoch { seconds, text: None },
        Epoch::Of(None) => ResolvedEpoch::found(None),
        Epoch::Of(Some(source)) => match inputs.source_times.iter().find(|(known, _)| *known == *source) {
            Some((_, time)) => ResolvedEpoch::found(*time),
            None => return Ok(Lowering::NeedTime(source)),
        },
    };
    if let Some(text) = &epoch.text {
        globals.set(epoch::NAME, text.clone());
    }
    let target = stages.target(inputs.target).map_err(|e| vec![e])?;
    let targets = if inputs.needs_all_stages { (0..stages.stages.len()).collect() } else { vec![target] };
    let budget = Budget::default();
    let plan = stages.plan(targets, inputs, known, &budget)?;
    if !plan.questions.is_empty() {
        return Ok(Lowering::NeedImages(plan.questions));
    }
    log.link(stages.links(&plan, inputs), target);
    for (index, _) in &plan.stages {
        note_foreign_base(&stages.stages[*index], known, log);
    }
    let mut build = Build::new(escape, inputs, known, &stages, globals, epoch, log);
    build.budget = budget;
    build.n_open_uses = stages.n_uses_as_base(&plan);
    build.keep(target);
    let mut errors = Vec::new();
    for (index, lines) in &plan.stages {
        errors.extend(lower_stage(*index, lines, *index == target, &mut build));
        // What uses a stage cannot be lowered without it.
        if !build.files.contains_key(index) {
            break;
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Lowering::Done(Box::new(finish(build, target))))
}

/// What all instructions share while a file is lowered.
pub(crate) struct Build<'a> {
    pub(crate) inputs: &'a LowerInputs<'a>,
    pub(crate) escape: char,
    pub(crate) globals: Globals,
    pub(crate) stages: &'a Stages<'a>,
    pub(crate) graph: Graph,
    /// The build context, once something asked for it.
    main_context: Option<VertexId>,
    pub(crate) epoch: ResolvedEpoch,
    pub(crate) log: &'a FactLog,
    known: &'a KnownImages,
    /// What the parts of the file have taken over from each other.
    pub(crate) budget: Budget,
    /// The files of the stages that have been lowered, by index.
    files: HashMap<usize, VertexId>,
    /// Those of them that are still to be the base of others, or the result.
    finished: HashMap<usize, StageBuilder>,
    /// How many stages are still to be based on each stage.
    n_open_uses: HashMap<usize, usize>,
    /// As [`Lowered::scanned`].
    pub(crate) scanned: BTreeMap<String, VertexId>,
}

/// What `SOURCE_DATE_EPOCH` came to.
pub(crate) struct ResolvedEpoch {
    /// Since 1970.
    pub(crate) seconds: Option<i64>,
    /// The value of the variable, if it is not the one that was given.
    text: Option<String>,
}

impl ResolvedEpoch {
    fn found(seconds: Option<i64>) -> ResolvedEpoch {
        ResolvedEpoch { seconds, text: Some(seconds.map(|seconds| seconds.to_string()).unwrap_or_default()) }
    }
}

impl<'a> Build<'a> {
    fn new(
        escape: char,
        inputs: &'a LowerInputs<'a>,
        known: &'a KnownImages,
        stages: &'a Stages<'a>,
        globals: Globals,
        epoch: ResolvedEpoch,
        log: &'a FactLog,
    ) -> Build<'a> {
        Build {
            inputs,
            escape,
            globals,
            stages,
            graph: Graph::new(),
            main_context: None,
            epoch,
            log,
            known,
            budget: Budget::default(),
            files: HashMap::new(),
            finished: HashMap::new(),
            n_open_uses: HashMap::new(),
            scanned: BTreeMap::new(),
        }
    }

    /// What was given for the `ARG` called `name`.
    pub(crate) fn build_arg(&self, name: &str) -> Option<&str> {
        let given = self.inputs.build_args.get(name)?;
        let resolved = self.epoch.text.as_deref().filter(|_| name == epoch::NAME);
        Some(resolved.unwrap_or(given))
    }

    /// Lets the stage `index` stay after the last one that is based on it.
    fn keep(&mut self, index: usize) {
        *self.n_open_uses.entry(index).or_default() += 1;
    }

    fn finish_stage(&mut self, index: usize, stage: StageBuilder) {
        self.files.insert(index, stage.vertex);
        if self.n_open_uses.get(&index).is_some_and(|n| *n > 0) {
            self.finished.insert(index, stage);
        }
    }

    /// The state of the stage `index`, for another one that is based on it.
    fn state_of_base(&mut self, index: usize) -> StageBuilder {
        let n_open = self.n_open_uses.get_mut(&index).expect("because the uses of all stages were counted");
        *n_open -= 1;
        let n_open = *n_open;
        let state = self.finished.get(&index).expect("because bases are lowered first, and kept while they are needed");
        if n_open > 0 {
            self.budget.take(state.cost());
            return state.clone();
        }
        self.finished.remove(&index).expect("because it was there a moment ago")
    }

    /// The file system without files.
    pub(crate) fn scratch(&mut self) -> VertexId {
        self.source(Source::Scratch, SCRATCH_STEP.to_owned(), None)
    }

    /// The build context.
    pub(crate) fn main_context(&mut self) -> VertexId {
        let add = || self.inputs.main_context.add_to(&mut self.graph, &self.inputs.target_platform);
        *self.main_context.get_or_insert_with(add)
    }

    fn source(&mut self, source: Source, name: String, lines: Option<LineRange>) -> VertexId {
        let platform = self.inputs.target_platform.clone();
        self.graph.add(Vertex {
            op: Op::Source(source),
            inputs: Vec::new(),
            platform,
            name,
            ignores_cache: false,
            lines,
        })
    }

    /// The files of `origin`; a stage has been lowered before it is asked for.
    pub(crate) fn vertex_of(&mut self, origin: &Origin, lines: LineRange) -> Result<VertexId, String> {
        match origin {
            Origin::Stage(index) => Ok(self.files[index]),
            Origin::Outside(outside) => self.outside_vertex(outside, &mut StepNames::default(), lines),
        }
    }

    /// The files of `outside`. `names` are those of the stage that is based on it.
    fn outside_vertex(
        &mut self,
        outside: &Outside,
        names: &mut StepNames,
        lines: LineRange,
    ) -> Result<VertexId, String> {
        Ok(match outside {
            Outside::Scratch => self.scratch(),
            Outside::Folder { name } => {
                let folder = self.inputs.folders.get(name).copied().unwrap_or_default();
                let source = Source::Local(LocalSource { name: name.clone(), folder });
                self.source(source, format!("[context {name}] load from client"), Some(lines))
            }
            Outside::Url { name, url } => {
                let source = remote_source(name, url)?;
                self.source(source, format!("[context {name}] {}", redacted(url)), Some(lines))
            }
            Outside::Linked(image) => {
                let places = self.graph.absorb(image.graph.clone());
                places[image.result.0]
            }
            Outside::Image { key, context, .. } => self.image_vertex(key, context.as_deref(), names, lines),
        })
    }

    fn image_vertex(
        &mut self,
        key: &ImageKey,
        context: Option<&str>,
        names: &mut StepNames,
        lines: LineRange,
    ) -> VertexId {
        let image = &self.known[key];
        let written = match &key.place {
            ImagePlace::Reference(reference) => reference.clone(),
            ImagePlace::OciLayout { name, .. } => {
                name.parse().expect("because only names that are references are looked up")
            }
        };
        let reference = written.with_digest(image.manifest.clone());
        let name = match context {
            Some(context) => format!("[context {context}] {written}"),
            None => names.next(&format!("FROM {reference}")),
        };
        if image.chain_id.is_none() {
            return self.scratch();
        }
        let source = ImageSource {
            written,
            reference,
            origin: image.origin.clone(),
            manifest: image.manifest.clone(),
            platform: key.platform.clone(),
            chain_id: image.chain_id.clone(),
        };
        self.source(Source::Image(source), name, Some(lines))
    }
}

/// A repository, or a file that is called `context` whatever it is.
pub(crate) fn remote_source(name: &str, url: &str) -> Result<Source, String> {
    // As in the reference; `git@host:path` is the way to say it.
    if url.starts_with("ssh://") {
        return Err(format!("unsupported context source ssh for {name}"));
    }
    match GitReference::of_context(url) {
        Some(reference) => Ok(Source::Git(reference.map_err(|e| e.to_string())?.into())),
        None => Ok(Source::Http(HttpSource { url: url.to_owned(), filename: "context".to_owned(), checksum: None })),
    }
}

/// Lowers one stage; those it needs have been lowered. Gives what is wrong with it.
fn lower_stage(index: usize, lines: &[Line<'_>], is_target: bool, build: &mut Build<'_>) -> Vec<Diagnostic> {
    build.log.begin_stage(index);
    let mut stage = match begin(index, lines, build) {
        Ok(stage) => stage,
        Err(error) => {
            build.log.close();
            return vec![error];
        }
    };
    let mut errors = Vec::new();
    let shell = build.inputs.shell.filter(|_| is_target);
    let end = match shell.map(|point| shell_place(index, lines, point, build)).transpose() {
        Ok(place) => place.unwrap_or(lines.len()),
        Err(error) => return vec![error],
    };
    for line in &lines[..end] {
        build.budget.take(stage.step_cost(&line.command));
        if let Err(message) = build.budget.check() {
            errors.push(error_at(&line.instruction, line.instruction.span, message));
            return errors;
        }
        let mut step = Step { instruction: &line.instruction, is_trigger: line.is_trigger, stage: &mut stage, build };
        if let Err(error) = line.command.lower(&mut step) {
            build.log.close();
            errors.push(error);
        }
    }
    if shell.is_some() {
        let here = lines.get(end);
        let instruction = here.map_or(build.stages.stages[index].from, |line| &line.instruction);
        stage.ignores_cache = true;
        let mut step = Step { instruction, is_trigger: false, stage: &mut stage, build };
        errors.extend(Command::for_shell(here.map(|line| &line.command)).lower(&mut step).err());
    }
    if !build.stages.stages[index].is_replaced {
        scanned::note(&stage, is_target, build);
    }
    build.finish_stage(index, stage);
    errors
}

/// How many of the lines are carried out before `point`.
fn shell_place(index: usize, lines: &[Line<'_>], point: ShellPoint, build: &Build<'_>) -> Result<usize, Diagnostic> {
    let Some(wanted) = point.line else { return Ok(lines.len()) };
    let from = build.stages.stages[index].from;
    let last = lines.last().map_or(from.lines.last, |line| line.instruction.lines.last.max(from.lines.last));
    if !(from.lines.first..=last).contains(&wanted) {
        let name = build.stages.display_name(index);
        let message = format!("line {wanted} is not in stage {name}, which has lines {} to {last}", from.lines.first);
        return Err(error_at(from, from.span, message));
    }
    let is_before = |line: &Line<'_>| line.is_trigger || line.instruction.lines.last < wanted;
    Ok(lines.iter().take_while(|line| is_before(line)).count())
}

/// The state of a stage before its first instruction.
fn begin(index: usize, lines: &[Line<'_>], build: &mut Build<'_>) -> Result<StageBuilder, Diagnostic> {
    let stage = &build.stages.stages[index];
    let mut names = step_names(index, lines, build);
    let mut state = match &stage.base {
        Origin::Stage(base) => StageBuilder { has_cmd: false, names, ..build.state_of_base(*base) },
        Origin::Outside(outside) => {
            let vertex = build
                .outside_vertex(outside, &mut names, stage.from.lines)
                .map_err(|e| error_at(stage.from, stage.from.span, e))?;
            let config = base_config(outside, build);
            let n_base_history = match outside {
                // Its own steps are steps of this graph, and get their times like those of this build.
                Outside::Linked(image) => image.n_base_history,
                Outside::Scratch | Outside::Folder { .. } | Outside::Url { .. } | Outside::Image { .. } => {
                    config.history.len()
                }
            };
            StageBuilder {
                vertex,
                platform: stage.platform.clone(),
                config,
                n_base_history,
                env: Environment::default(),
                config_places: HashMap::new(),
                args: Vec::new(),
                arg_names: HashSet::new(),
                has_cmd: false,
                has_workdir: false,
                ignores_cache: false,
                names,
            }
        }
    };
    state.ignores_cache = match build.inputs.cache_bypass {
        CacheBypass::Nothing => false,
        CacheBypass::Everything => true,
        CacheBypass::Stages(names) => stage.name.as_ref().is_some_and(|name| names.contains(name)),
    };
    state.config.created = None;
    state.config.config.on_build.clear();
    build.budget.take(state.variables_cost());
    build.budget.check().map_err(|message| error_at(stage.from, stage.from.span, message))?;
    state.apply_config_env();
    Ok(state)
}

fn step_names(index: usize, lines: &[Line<'_>], build: &Build<'_>) -> StepNames {
    let stage = &build.stages.stages[index];
    let is_base_a_step = matches!(&stage.base, Origin::Outside(outside) if !matches!(outside, Outside::Scratch));
    StepNames {
        stage: (build.stages.stages.len() > 1).then(|| build.stages.display_name(index)),
        platform: build.inputs.is_multi_platform.then(|| stage.platform.clone()),
        target: None,
        total: usize::from(is_base_a_step) + lines.iter().filter(|line| line.command.is_step()).count(),
        n_given: 0,
    }
}

/// The config that a stage starts with.
fn base_config(outside: &Outside, build: &Build<'_>) -> ImageConfig {
    match outside {
        Outside::Image { key, .. } => build.known[key].config.clone(),
        Outside::Linked(image) => image.config.clone(),
        // The reference gives these the platform of the build, whatever `--platform` of the stage says.
        Outside::Scratch | Outside::Folder { .. } | Outside::Url { .. } => empty_config(&build.inputs.target_platform),
    }
}

/// Tells if a base is for another platform than its stage.
fn note_foreign_base(stage: &Stage<'_>, known: &KnownImages, log: &FactLog) {
    let Origin::Outside(Outside::Image { key, .. }) = &stage.base else { return };
    let config = &known[&**key].config;
    let pulled = config.platform();
    if !config.architecture.is_empty() && !pulled.matches(&stage.platform) {
        let (image, expected) = (stage.base_text.clone(), stage.platform.clone());
        log.add(stage.from, Seen::ForeignBase { image, pulled, expected });
    }
}

fn empty_config(platform: &Platform) -> ImageConfig {
    ImageConfig {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: platform.variant.clone(),
        config: RuntimeConfig {
            env: vec![DEFAULT_PATH.to_owned()],
            working_dir: "/".to_owned(),
            ..RuntimeConfig::default()
        },
        ..ImageConfig::default()
    }
}

/// The result: the target's files, and its config as the request wants it.
fn finish(mut build: Build<'_>, target: usize) -> Lowered {
    let stage = build.finished.remove(&target).expect("because the target has been lowered");
    let mut config = stage.config;
    config.config.labels.extend(build.inputs.labels.clone());
    let platform = match build.inputs.is_platform_explicit {
        true => build.inputs.target_platform.clone(),
        false => Platform::new(&config.os, &config.architecture, config.variant.as_deref()),
    };
    (config.os, config.architecture, config.variant) = (platform.os, platform.architecture, platform.variant);
    let (result, n_base_history) = (stage.vertex, stage.n_base_history);
    let (epoch, scanned) = (build.epoch.seconds, build.scanned);
    Lowered { graph: build.graph, result, config, n_base_history, epoch, scanned }
}

#[cfg(test)]
pub(crate) mod tests;
