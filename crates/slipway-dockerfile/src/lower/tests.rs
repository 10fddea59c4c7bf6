//! Dockerfiles in; graphs in a compact printed form, histories and configs out.

use std::collections::BTreeMap;
use std::fmt::Write;

use slipway_graph::op::{
    CopyAction, Exec, FileAction, ImageOrigin, Mode, Mount, Network, Owner, OwnerId, Security, Source, Unpack,
};
use slipway_graph::request::{CacheBypass, NamedContext};
use slipway_graph::{Graph, Op, Vertex};
use slipway_oci::{ChainId, Digest, History, ImageConfig, Platform};

use super::{ImageKey, ImagePlace, KnownImage, KnownImages, LowerInputs, Lowered, Lowering, lower};
use crate::facts::Seen;
use crate::{Diagnostic, Facts, parse};

/// A Dockerfile and what it is lowered with. Every image is there; those without a config of their own have none.
pub(crate) struct Case {
    text: String,
    args: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    target: Option<String>,
    needs_all_stages: bool,
    contexts: BTreeMap<String, NamedContext>,
    images: BTreeMap<String, ImageConfig>,
    target_platform: Platform,
    is_multi_platform: bool,
    allows: bool,
    lists_packages: bool,
    bypass: CacheBypass,
    /// That of sources that are asked about.
    time: Option<i64>,
}

impl Case {
    pub(crate) fn new(text: &str) -> Case {
        Case {
            text: text.to_owned(),
            args: BTreeMap::new(),
            labels: BTreeMap::new(),
            target: None,
            needs_all_stages: false,
            contexts: BTreeMap::new(),
            images: BTreeMap::new(),
            target_platform: Platform::new("linux", "amd64", None),
            is_multi_platform: false,
            allows: false,
            lists_packages: false,
            bypass: CacheBypass::Nothing,
            time: None,
        }
    }

    pub(crate) fn time(mut self, time: Option<i64>) -> Case {
        self.time = time;
        self
    }

    pub(crate) fn arg(mut self, name: &str, value: &str) -> Case {
        self.args.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn target(mut self, name: &str) -> Case {
        self.target = Some(name.to_owned());
        self
    }

    pub(crate) fn all_stages(mut self) -> Case {
        self.needs_all_stages = true;
        self
    }

    pub(crate) fn allow_all(mut self) -> Case {
        self.allows = true;
        self
    }

    pub(crate) fn lists_packages(mut self) -> Case {
        self.lists_packages = true;
        self
    }

    pub(crate) fn context(mut self, name: &str, value: NamedContext) -> Case {
        self.contexts.insert(name.to_owned(), value);
        self
    }

    pub(crate) fn image(mut self, name: &str, config: ImageConfig) -> Case {
        self.images.insert(name.to_owned(), config);
        self
    }

    fn with_inputs<T>(&self, times: &[(Source, Option<i64>)], work: impl FnOnce(&LowerInputs<'_>) -> T) -> T {
        work(&LowerInputs {
            source_times: times,
            target: self.target.as_deref(),
            needs_all_stages: self.needs_all_stages,
            target_platform: self.target_platform.clone(),
            is_multi_platform: self.is_multi_platform,
            named_contexts: &self.contexts,
            cache_bypass: &self.bypass,
            labels: &self.labels,
            allows_host_network: self.allows,
            allows_insecure: self.allows,
            lists_packages: self.lists_packages,
            ..LowerInputs::plain(Platform::new("linux", "amd64", None), &self.args)
        })
    }

    /// Lowers, answering all questions; gives the names of the images that were asked for, round by round.
    fn lower(&self) -> (Result<Lowered, Vec<String>>, Vec<Vec<String>>) {
        let mut rounds = Vec::new();
        let (outcome, _) = self.lower_in(&mut rounds);
        (outcome.map_err(|errors| errors.into_iter().map(|d| d.message).collect()), rounds)
    }

    /// What lowering saw, and the mistakes it found; nothing if the text cannot be parsed.
    pub(crate) fn facts(&self) -> (Facts, Vec<Diagnostic>) {
        let (outcome, facts) = self.lower_in(&mut Vec::new());
        let errors = if facts.is_lowered { outcome.err().unwrap_or_default() } else { Vec::new() };
        (facts, errors)
    }

    fn lower_in(&self, rounds: &mut Vec<Vec<String>>) -> (Result<Lowered, Vec<Diagnostic>>, Facts) {
        let (dockerfile, diagnostics) = parse(self.text.as_bytes());
        if !diagnostics.is_empty() {
            return (Err(diagnostics), Facts::default());
        }
        let (mut known, mut times) = (KnownImages::new(), Vec::new());
        loop {
            let (outcome, facts) = self.with_inputs(&times, |inputs| lower(&dockerfile, inputs, &known));
            match outcome {
                Ok(Lowering::Done(lowered)) => return (Ok(*lowered), facts),
                Ok(Lowering::NeedImages(questions)) => {
                    rounds.push(questions.iter().map(|q| name_of(&q.key)).collect());
                    known.extend(questions.into_iter().map(|q| (q.key.clone(), self.answer(&q.key))));
                }
                Ok(Lowering::NeedTime(source)) => times.push((*source, self.time)),
                Err(errors) => return (Err(errors), facts),
            }
        }
    }

    /// The source whose time is that of the build.
    pub(crate) fn time_asked(&self) -> Source {
        let (dockerfile, _) = parse(self.text.as_bytes());
        match self.with_inputs(&[], |inputs| lower(&dockerfile, inputs, &KnownImages::new())).0 {
            Ok(Lowering::NeedTime(source)) => *source,
            other => panic!("{other:?}"),
        }
    }

    fn answer(&self, key: &ImageKey) -> KnownImage {
        let name = name_of(key);
        KnownImage {
            origin: ImageOrigin::Registry,
            manifest: Digest::of(name.as_bytes()),
            chain_id: (!name.starts_with("empty")).then(|| ChainId(Digest::of(name.as_bytes()))),
            config: self.images.get(&name).cloned().unwrap_or_default(),
        }
    }

    pub(crate) fn lowered(&self) -> Lowered {
        self.lower().0.unwrap_or_else(|errors| panic!("{errors:?} in {}", self.text))
    }

    pub(crate) fn errors(&self) -> Vec<String> {
        self.lower().0.err().unwrap_or_default()
    }

    fn asked(&self) -> Vec<Vec<String>> {
        self.lower().1
    }

    pub(crate) fn config(&self) -> ImageConfig {
        self.lowered().config
    }

    /// The texts of the entries that are new.
    pub(crate) fn history(&self) -> Vec<String> {
        let lowered = self.lowered();
        let new = lowered.config.history.into_iter().skip(lowered.n_base_history);
        new.map(|entry| entry.created_by.unwrap_or_default()).collect()
    }

    /// The vertices that the result needs.
    pub(crate) fn graph(&self) -> String {
        let lowered = self.lowered();
        print(&lowered.graph, &lowered.graph.reachable(&[lowered.result]))
    }

    /// The variables of the last `RUN`.
    pub(crate) fn run_env(&self) -> Vec<String> {
        let lowered = self.lowered();
        let execs = lowered.graph.iter().filter_map(|(_, vertex)| match &vertex.op {
            Op::Exec(exec) => Some(exec.env.clone()),
            Op::Source(_) | Op::File(_) | Op::Merge => None,
        });
        execs.last().unwrap()
    }
}

/// What is wrong with `text`.
pub(crate) fn errors(text: &str) -> Vec<String> {
    Case::new(text).errors()
}

/// The graph of `text`.
pub(crate) fn graph(text: &str) -> String {
    Case::new(text).graph()
}

/// The history of `text`.
pub(crate) fn history(text: &str) -> Vec<String> {
    Case::new(text).history()
}

fn name_of(key: &ImageKey) -> String {
    match &key.place {
        ImagePlace::Reference(reference) => reference.familiar(),
        ImagePlace::OciLayout { name, .. } => format!("layout {name}"),
    }
}

fn print(graph: &Graph, is_needed: &[bool]) -> String {
    let mut out = String::new();
    for (id, vertex) in graph.iter().filter(|(id, _)| is_needed[id.0]) {
        writeln!(out, "{} {}", id.0, vertex_text(vertex)).unwrap();
    }
    out
}

fn vertex_text(vertex: &Vertex) -> String {
    let inputs: Vec<String> = vertex.inputs.iter().map(|id| id.0.to_string()).collect();
    let inputs = inputs.join(",");
    let name = &vertex.name;
    match &vertex.op {
        Op::Source(source) => source_text(source),
        Op::Merge => format!("merge({inputs}) {name}"),
        Op::File(file) => {
            let actions: String = file.actions.iter().map(|action| format!("\n  {}", action_text(action))).collect();
            format!("file({inputs}) {name}{actions}")
        }
        Op::Exec(exec) => format!("exec({inputs}) {name}{}", exec_text(exec)),
    }
}

fn source_text(source: &Source) -> String {
    match source {
        Source::Scratch => "scratch".to_owned(),
        Source::Image(image) => {
            let name = image.reference.familiar();
            format!("image {}", name.split('@').next().unwrap())
        }
        Source::Local(local) => format!("local {}", local.name),
        Source::Http(http) => format!("http {} {}", http.url, http.filename),
        Source::Git(git) => format!("git {}#{}:{}", git.remote, git.revision, git.subdir),
    }
}

fn action_text(action: &FileAction) -> String {
    match action {
        FileAction::Copy(copy) => copy_text(copy),
        FileAction::Mkfile(file) => {
            let (owner, mode) = (owner_text(file.owner.as_ref()), mode_text(file.mode.as_ref()));
            let data = String::from_utf8_lossy(&file.data);
            format!("mkfile {} {}{owner}{mode} {data:?}", file.name, file.dest)
        }
        FileAction::Mkdir(dir) => format!("mkdir {} {:o}{}", dir.path, dir.mode, owner_text(dir.owner.as_ref())),
    }
}

fn copy_text(copy: &CopyAction) -> String {
    let mut out = format!("copy {}:{} {}", copy.input, copy.source, copy.dest);
    if copy.has_wildcard {
        out += " wildcard";
    }
    if copy.unpack == Unpack::IfArchive {
        out += " unpack";
    }
    out += &owner_text(copy.owner.as_ref());
    out += &mode_text(copy.mode.as_ref());
    out.extend(copy.excludes.iter().map(|pattern| format!(" exclude={pattern}")));
    out.extend(copy.parents_root.iter().map(|root| format!(" parents={root}")));
    out
}

fn owner_text(owner: Option<&Owner>) -> String {
    let id = |id: &OwnerId| match id {
        OwnerId::Number(number) => number.to_string(),
        OwnerId::Name(name) => name.clone(),
    };
    match owner {
        None => String::new(),
        Some(Owner { user, group: None }) => format!(" owner={}", id(user)),
        Some(Owner { user, group: Some(group) }) => format!(" owner={}:{}", id(user), id(group)),
    }
}

fn mode_text(mode: Option<&Mode>) -> String {
    match mode {
        None => String::new(),
        Some(Mode::Octal(mode)) => format!(" octal {mode:o}"),
        Some(Mode::Symbolic(text)) => format!(" mode {text}"),
    }
}

fn exec_text(exec: &Exec) -> String {
    let mut out = format!("\n  args {}", exec.args.join("|"));
    out += &format!("\n  cwd {} user {} host {}", exec.cwd, exec.user, exec.hostname);
    if exec.network != Network::Default {
        out += &format!("\n  network={:?}", exec.network);
    }
    if exec.security != Security::Sandbox {
        out += &format!("\n  security={:?}", exec.security);
    }
    if !exec.proxy_env.is_empty() {
        out += &format!("\n  proxy {}", exec.proxy_env.join("|"));
    }
    out.extend(exec.mounts.iter().map(|mount| format!("\n  mount {}", mount_text(mount))));
    out
}

fn mount_text(mount: &Mount) -> String {
    let access = |is_readonly: bool| if is_readonly { "ro" } else { "rw" };
    let required = |is_required: bool| if is_required { " required" } else { "" };
    match mount {
        Mount::Bind { input, source, target, is_readonly } => {
            format!("bind {input}:{source} {target} {}", access(*is_readonly))
        }
        Mount::Cache(c) => {
            let from = c.from.map(|input| format!(" from={input}")).unwrap_or_default();
            let owner = c.owner.map(|o| format!(" owner={:o}:{}:{}", o.mode, o.uid, o.gid)).unwrap_or_default();
            let access = access(c.is_readonly);
            format!("cache {} {} {:?} {} {access}{from}{owner}", c.id, c.target, c.sharing, c.source)
        }
        Mount::Tmpfs { target, size_bytes, is_readonly } => {
            format!("tmpfs {target} {} {}", size_bytes.unwrap_or(0), access(*is_readonly))
        }
        Mount::Secret(s) => {
            let place = format!("{} {}", s.target.as_deref().unwrap_or("-"), s.env.as_deref().unwrap_or("-"));
            format!("secret {} {place} {:o} {}:{}{}", s.id, s.mode, s.uid, s.gid, required(s.is_required))
        }
        Mount::Ssh(s) => {
            format!("ssh {} {} {:o} {}:{}{}", s.id, s.target, s.mode, s.uid, s.gid, required(s.is_required))
        }
    }
}

/// A config with `Cmd`, `OnBuild` and one line of history.
fn image_config(env: &[&str], on_build: &[&str]) -> ImageConfig {
    let mut config = ImageConfig { os: "linux".into(), architecture: "amd64".into(), ..Default::default() };
    config.config.env = env.iter().map(|e| (*e).to_owned()).collect();
    config.config.cmd = vec!["sh".to_owned()];
    config.config.on_build = on_build.iter().map(|t| (*t).to_owned()).collect();
    config.created = Some("2020-01-01T00:00:00Z".to_owned());
    config.history = vec![History { created_by: Some("base".to_owned()), ..Default::default() }];
    config
}

const PATH: &str = crate::stage_builder::DEFAULT_PATH;

#[test]
fn an_empty_base_has_a_path_and_a_root() {
    let lowered = Case::new("FROM scratch\n").lowered();
    let json = String::from_utf8(slipway_oci::to_compact(&lowered.config).unwrap()).unwrap();
    assert_eq!(
        json,
        format!(
            "{{\"architecture\":\"amd64\",\"config\":{{\"Env\":[\"{PATH}\"],\"WorkingDir\":\"/\"}},\
             \"created\":null,\"history\":null,\"os\":\"linux\",\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":null}}}}"
        )
    );
}

#[test]
fn the_base_image_gives_config_and_history() {
    let case = Case::new("FROM busybox\nLABEL a=b\n").image("busybox:latest", image_config(&["A=1"], &[]));
    let lowered = case.lowered();
    assert_eq!(lowered.config.config.env, ["A=1", PATH]);
    assert_eq!(lowered.config.config.cmd, ["sh"]);
    assert_eq!((lowered.n_base_history, lowered.config.history.len(), lowered.config.created), (1, 2, None));
    assert_eq!(lowered.config.history[1].comment.as_deref(), Some("buildkit.dockerfile.v0"));
    assert_eq!(case.graph(), "0 image busybox:latest\n");
}

#[test]
fn all_images_that_can_be_asked_for_are_asked_for_at_once() {
    let text = "FROM a AS x\nRUN --mount=from=b,target=/b y\nFROM unused AS no\nFROM c\n\
                COPY --from=x / /\nCOPY --from=d / /\nCOPY --from=d / /\n";
    let asked = Case::new(text).image("c:latest", image_config(&[], &["COPY --from=e /f /g"])).asked();
    let sorted: Vec<Vec<String>> = asked
        .into_iter()
        .map(|mut names| {
            names.sort();
            names
        })
        .collect();
    assert_eq!(sorted, [vec!["a:latest", "b:latest", "c:latest", "d:latest"], vec!["e:latest"]]);
}

#[test]
fn only_what_the_target_reaches_is_lowered() {
    let text = "FROM a AS one\nRUN 1\nFROM b AS two\nCOPY --chmod=nonsense a b\nFROM one AS three\nRUN 3\n";
    assert_eq!(
        graph(text),
        "0 image a:latest\n1 exec(0) [one 2/2] RUN 1\n  args /bin/sh|-c|1\n  cwd / user  host buildkitsandbox\n\
         2 exec(1) [three 1/1] RUN 3\n  args /bin/sh|-c|3\n  cwd / user  host buildkitsandbox\n"
    );
    assert_eq!(Case::new(text).target("ONE").history(), ["RUN /bin/sh -c 1 # buildkit"]);
}

#[test]
fn stages_are_found_by_name_and_number() {
    for from in ["0", "base", "bAsE"] {
        let text = format!("FROM scratch AS Base\nCOPY a /\nFROM scratch\nCOPY --from={from} /a /b\n");
        assert!(graph(&text).ends_with("copy 1:/a /b\n"), "{from}");
    }
    let dup = "FROM a AS s\nFROM b AS s\nFROM s\n";
    assert_eq!(graph(dup), "0 image b:latest\n");
    assert_eq!(graph("FROM alpine AS alpine\nRUN x\nFROM alpine\n").matches("exec").count(), 1);
    // Names of stages are lower case, and bases are compared as written.
    assert!(errors("FROM a AS base\nFROM Base\n")[0].starts_with("failed to parse stage name \"Base\""));
}

#[test]
fn bad_references_between_stages_are_refused() {
    for (text, message) in [
        ("FROM scratch AS a\nCOPY --from=a / /\n", "circular dependency detected on stage: a"),
        (
            "FROM scratch AS a\nCOPY --from=b / /\nFROM a AS b\n",
            "cannot copy from stage \"b\", it needs to be defined before current stage \"a\"",
        ),
        (
            "FROM scratch AS later\nFROM scratch\nCOPY --from=2 / /\nFROM scratch\nCOPY --from=1 / /\n",
            "circular dependency detected on stage: stage-1",
        ),
        ("FROM scratch\nCOPY --from=1 / /\n", "invalid stage index 1"),
        ("ARG E\nFROM ${E}\n", "base name (${E}) should not be blank"),
        ("FROM --platform=$E x\n", "empty platform value from expression $E"),
        ("FROM x\nARG B=y\nFROM $B\n", "base name ($B) should not be blank"),
        ("RUN x\nFROM scratch\n", "no build stage in current context"),
        ("ARG A=1\n", "dockerfile contains no stages to build"),
        ("FROM scratch AS a\nONBUILD COPY --from=zz9 / /\nFROM a\nCOPY --chmod=9 / /\n", "invalid chmod parameter"),
    ] {
        let errors = errors(text);
        assert!(errors.len() == 1 && errors[0].starts_with(message), "{text}: {errors:?}");
    }
    let later = "FROM scratch AS a\nCOPY --from=later / /\nFROM scratch AS later\n";
    let message = "cannot copy from stage \"later\", it needs to be defined before current stage \"a\"";
    assert_eq!(Case::new(later).target("a").errors(), [message]);
}

#[test]
fn an_unknown_target_is_refused_with_a_suggestion() {
    let text = "FROM scratch AS builder\n";
    let message = "target stage \"biulder\" could not be found (did you mean builder?)";
    assert_eq!(Case::new(text).target("biulder").errors(), [message]);
    assert_eq!(Case::new(text).target("0").errors(), ["target stage \"0\" could not be found"]);
}

#[test]
fn all_mistakes_are_reported() {
    assert_eq!(errors("FROM scratch\nCOPY --x a b\nSTOPSIGNAL NO\nRUN --network=x y\n").len(), 2);
    assert_eq!(errors("FROM scratch\nVOLUME $x\nSTOPSIGNAL NO\n").len(), 2);
}

#[test]
fn named_contexts_take_the_place_of_stages_and_images() {
    let folder = || NamedContext::Folder("/f".into());
    let text = "FROM x AS base\nRUN y\nFROM base\nCOPY --from=img a /\n";
    let case = Case::new(text).context("base", folder()).context("img", NamedContext::Image(None));
    assert_eq!(case.graph(), "0 local base\n1 scratch\n2 file(0,1) [stage-1 1/1] COPY --from=img a /\n  copy 1:/a /\n");
    let replaced = NamedContext::Image(Some("busybox".parse().unwrap()));
    assert_eq!(Case::new("FROM alpine:latest\n").context("alpine", replaced).graph(), "0 image busybox:latest\n");
    assert_eq!(Case::new("FROM scratch\n").context("scratch", folder()).graph(), "0 scratch\n");
    let case = Case::new("FROM x\nRUN y\n").context("x", NamedContext::Image(Some("busybox".parse().unwrap())));
    let names: Vec<String> = case.lowered().graph.iter().map(|(_, v)| v.name.clone()).collect();
    assert_eq!(names, ["[context x] docker.io/library/busybox:latest", "[1/2] RUN y"]);
    let specific = Case::new("FROM alpine\n").context("alpine", NamedContext::Image(None));
    assert_eq!(specific.context("alpine::linux/amd64", folder()).graph(), "0 local alpine::linux/amd64\n");
    let url = NamedContext::Url("https://h/a.tar".to_owned());
    let text = "FROM scratch\nCOPY --from=x context /f\n";
    assert!(Case::new(text).context("x", url).graph().contains("http https://h/a.tar context\n"));
    let layout = NamedContext::OciLayout { path: "/l".into(), tag: None, digest: None };
    assert_eq!(Case::new("FROM l\n").context("l", layout).asked(), [["layout l"]]);
}

#[test]
fn platforms_are_those_of_the_stage() {
    let text = "FROM --platform=$BUILDPLATFORM a AS b\nARG TARGETARCH\nRUN x\nFROM scratch\nCOPY --from=b / /\n";
    let mut case = Case::new(text);
    case.target_platform = Platform::new("linux", "arm64", None);
    case.is_multi_platform = true;
    let lowered = case.lowered();
    let names: Vec<&str> = lowered.graph.iter().map(|(_, v)| v.name.as_str()).collect();
    assert!(names.contains(&"[linux/amd64->arm64 b 2/2] RUN x"), "{names:?}");
    assert!(names.contains(&"[linux/arm64 stage-1 1/1] COPY --from=b / /"), "{names:?}");
    assert!(case.run_env().contains(&"TARGETARCH=arm64".to_owned()));
    assert_eq!(lowered.config.architecture, "arm64");
}

#[test]
fn triggers_of_an_image_run_first() {
    let case = Case::new("FROM a\nRUN x\n").image("a:latest", image_config(&[], &["RUN t", "ENV T=1"]));
    assert_eq!(case.history(), ["RUN /bin/sh -c t # buildkit", "ENV T=1", "RUN /bin/sh -c x # buildkit"]);
    assert!(case.graph().contains("[2/3] ONBUILD RUN t\n"), "{}", case.graph());
    assert!(case.config().config.on_build.is_empty());
}

#[test]
fn a_broken_trigger_is_reported_at_its_from() {
    let (dockerfile, _) = parse(b"FROM scratch AS a\nONBUILD COPY --chmod=9 a b\n\nFROM a\n");
    let found = Case::new("").with_inputs(&[], |inputs| lower(&dockerfile, inputs, &KnownImages::new())).0.unwrap_err();
    assert_eq!((found[0].lines.first, found.len()), (4, 1));
}

#[test]
fn the_cache_is_bypassed_where_it_is_said() {
    let text = "FROM scratch AS a\nRUN 1\nWORKDIR /w\nFROM a AS b\nRUN 2\n";
    let ignoring = |bypass: CacheBypass| {
        let mut case = Case::new(text);
        case.bypass = bypass;
        let graph = case.lowered().graph;
        let names = graph.iter().filter(|(_, v)| v.ignores_cache).map(|(_, v)| v.name.clone());
        names.collect::<Vec<_>>()
    };
    assert_eq!(ignoring(CacheBypass::Everything), ["[a 1/2] RUN 1", "[b 1/1] RUN 2"]);
    assert_eq!(ignoring(CacheBypass::Stages(vec!["a".into()])), ["[a 1/2] RUN 1"]);
    assert!(ignoring(CacheBypass::Nothing).is_empty());
}

#[test]
fn labels_of_the_request_win() {
    let mut case = Case::new("FROM scratch\nLABEL a=2 b=3\n");
    case.labels.insert("a".into(), "1".into());
    let labels: Vec<(String, String)> = case.config().config.labels.into_iter().collect();
    assert_eq!(labels, [("a".into(), "1".into()), ("b".into(), "3".into())]);
    assert_eq!(case.history().len(), 1);
}

#[test]
fn an_image_without_layers_is_an_empty_root_with_a_config() {
    let case = Case::new("FROM empty\nCOPY --link a /\n").image("empty:latest", image_config(&["A=1"], &[]));
    assert!(!case.graph().contains("merge"));
    assert_eq!(case.config().config.env[0], "A=1");
}

#[test]
fn the_epoch_has_to_be_a_number() {
    let case = Case::new("FROM scratch\n").arg("SOURCE_DATE_EPOCH", "abc");
    assert_eq!(case.errors(), ["invalid SOURCE_DATE_EPOCH: abc"]);
}

#[test]
fn a_global_arg_gives_the_epoch_unless_a_build_arg_takes_it_back() {
    let case = || Case::new("ARG SOURCE_DATE_EPOCH=7\nFROM scratch\n");
    assert_eq!(case().lowered().epoch, Some(7));
    assert_eq!(case().arg("SOURCE_DATE_EPOCH", "8").lowered().epoch, Some(8));
    assert_eq!(case().arg("SOURCE_DATE_EPOCH", "").lowered().epoch, None);
    let wrong = Case::new("ARG SOURCE_DATE_EPOCH=soon\nFROM scratch\n");
    assert_eq!(wrong.errors(), ["invalid SOURCE_DATE_EPOCH: soon"]);
    let unset = Case::new("FROM scratch\nARG SOURCE_DATE_EPOCH=7\n");
    assert_eq!(unset.lowered().epoch, None, "an arg of a stage is a variable and no more");
}

#[test]
fn an_image_cannot_trigger_from() {
    let case = Case::new("FROM image\n").image("image:latest", image_config(&[], &["FROM busybox"]));
    assert_eq!(case.errors(), ["FROM isn't allowed as an ONBUILD trigger"]);
}

/// Most instructions in one file; histories and step names are those that BuildKit 0.25 gave, apart from the history
/// of `HEALTHCHECK`, which later versions print as it is here.
#[test]
fn a_file_with_everything_is_read_as_the_reference_does() {
    let text = r#"FROM busybox AS base
ARG P=1
ENV A=1 B=2
ENV A=3
ONBUILD RUN echo trig
ONBUILD COPY a /trig
FROM base AS child
HEALTHCHECK --interval=30s --retries=3 CMD echo "a b"
EXPOSE 90 80-82/UDP 53/udp
STOPSIGNAL 9
VOLUME /a /b
SHELL ["/bin/sh","-e","-c"]
ENTRYPOINT []
CMD echo "h" 'x'
LABEL x=y "a b"="c d"
USER 0:2
WORKDIR /q/
WORKDIR r
WORKDIR /
COPY --link a b/ l/
COPY --link --chmod=644 --chown=3 a <<E1 <<E2 m/
x
E1
y
E2
RUN <<EOF
echo 1 $A
echo 2
EOF
RUN <<EOF
#!/bin/sh
echo shebang
EOF
RUN cat <<EOF
hey $A
EOF
RUN --mount=type=cache,target=/c echo $A $UNS "$B"
MAINTAINER me <x&y>
"#;
    let case = Case::new(text).arg("HTTP_PROXY", "q").image("busybox:latest", image_config(&[PATH], &[]));
    let times = "Interval:30s Timeout:0s StartPeriod:0s StartInterval:0s";
    assert_eq!(
        case.history(),
        [
            "ARG P=1",
            "ENV A=1 B=2",
            "ENV A=3",
            "RUN |1 P=1 /bin/sh -c echo trig # buildkit",
            "COPY a /trig # buildkit",
            &format!("HEALTHCHECK {{Test:[CMD-SHELL echo \"a b\"] {times} Retries:3}}"),
            "EXPOSE [53/udp 80/udp 81/udp 82/udp 90/tcp]",
            "STOPSIGNAL 9",
            "VOLUME [/a /b]",
            "SHELL [/bin/sh -e -c]",
            "ENTRYPOINT []",
            r#"CMD ["/bin/sh" "-e" "-c" "echo \"h\" 'x'"]"#,
            "LABEL x=y a b=c d",
            "USER 0:2",
            "WORKDIR /q/",
            "WORKDIR /q/r",
            "WORKDIR /",
            "COPY a b/ l/ # buildkit",
            "COPY --chown=3 --chmod=644 a <<E1 <<E2 m/ # buildkit",
            "RUN |1 P=1 /bin/sh -e -c echo 1 $A\necho 2\n # buildkit",
            "RUN |1 P=1 /bin/sh -e -c /dev/pipes/EOF # buildkit",
            "RUN |1 P=1 /bin/sh -e -c cat <<EOF\nhey $A\nEOF # buildkit",
            "RUN |1 P=1 /bin/sh -e -c echo $A $UNS \"$B\" # buildkit",
            "MAINTAINER me <x&y>",
        ]
    );
    assert_eq!(case.config().config.env, [PATH, "A=3", "B=2"]);
    let graph = case.lowered().graph;
    let names: Vec<&str> = graph.iter().map(|(_, v)| v.name.as_str()).filter(|n| n.contains("child")).collect();
    assert_eq!(
        names,
        [
            "[child  1/11] ONBUILD RUN echo trig",
            "[child  2/11] ONBUILD COPY a /trig",
            "[child  3/11] WORKDIR /q/",
            "[child  4/11] WORKDIR r",
            "[child  5/11] COPY --link a b/ l/",
            "[child  5/11] LINK COPY --link a b/ l/",
            "[child  6/11] COPY --link --chmod=644 --chown=3 a <<E1 <<E2 m/",
            "[child  7/11] RUN <<EOF (echo 1 3...)",
            "[child  8/11] RUN <<EOF (#!/bin/sh...)",
            "[child  9/11] RUN cat <<EOF",
            "[child 10/11] RUN --mount=type=cache,target=/c echo 3 $UNS \"2\"",
        ]
    );
}

#[test]
fn heredocs_of_triggers_go_with_them() {
    let text = "FROM scratch AS a\nONBUILD RUN <<EOF\necho hi\nEOF\nONBUILD COPY <<EOF /f\n$A\nEOF\nFROM a\n";
    let case = Case::new(text);
    assert_eq!(case.history(), ["RUN /bin/sh -c echo hi\n # buildkit", "COPY <<EOF /f # buildkit"]);
    assert!(case.graph().ends_with("mkfile EOF /f \"\\n\"\n"), "{}", case.graph());
}

#[test]
fn the_escape_directive_reaches_expansion() {
    let case = Case::new("# escape=`\nFROM scratch\nENV A=1\nLABEL a=`$A b=\\$A\n");
    assert_eq!(case.history()[1], "LABEL a=$A b=\\1");
}

/// There are a million million ways from the last stage down to the first.
#[test]
fn each_instruction_is_lowered_once_however_many_stages_use_it() {
    let n_stages = 60;
    let mut text = "FROM scratch AS s0\nCOPY f0 /\nFROM s0 AS s1\nCOPY f1 /\n".to_owned();
    for n in 2..n_stages {
        let _ = write!(text, "FROM s{} AS s{n}\nCOPY --from=s{} a /\nCOPY f{n} /\n", n - 1, n - 2);
    }
    let case = Case::new(&text);
    let facts = case.facts().0.facts;
    let copied = facts.iter().filter(|fact| matches!(fact.seen, Seen::ContextPath(_)));
    assert_eq!(copied.count(), n_stages);
    // Besides the copies: the empty file system and the context.
    assert_eq!(case.lowered().graph.len(), n_stages + (n_stages - 2) + 2);
}
