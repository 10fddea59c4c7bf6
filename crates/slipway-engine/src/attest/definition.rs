//! The steps of a result, in the words of BuildKit's graphs (`ops.proto`), for who reads provenance.
//!
//! What a step does and what it does it to is told as BuildKit tells it. Left out are attributes that only steer how
//! BuildKit's client and daemon send each other files, and names of digests of its own encoding: a step is called by the
//! digest of the JSON that stands here.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use slipway_graph::git::redacted;
use slipway_graph::op::{
    CacheSharing, CopyAction, Exec, FileAction, FileOp, HostAddress, ImageOrigin, ImageSource, Mode, Mount, Network,
    Op, Owner, OwnerId, Security, Source, Unpack,
};
use slipway_graph::{Graph, LineRange, Pins, Vertex, VertexId};
use slipway_oci::{Digest, Platform};

use super::materials;

/// All steps that a result needs.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    /// Inputs before their users; the last one stands for the result.
    steps: Vec<Value>,
    /// Names of steps by their digests.
    digests: BTreeMap<String, String>,
    /// Names of steps, and where in the Dockerfile they come from.
    locations: Vec<(String, Option<LineRange>)>,
    /// By vertex; none for those that are no step.
    names: Vec<Option<String>>,
}

/// The inputs of a step, each once. An empty file system is none.
struct Inputs {
    steps: Vec<String>,
    /// By input of the vertex.
    places: Vec<Option<usize>>,
}

/// Steps that nobody gave a name have this one, which BuildKit does not spell out.
const DEFAULT_HOSTNAME: &str = "buildkitsandbox";

const MOUNT_SECRET: u32 = 1;
const MOUNT_SSH: u32 = 2;
const MOUNT_CACHE: u32 = 3;
const MOUNT_TMPFS: u32 = 4;

impl Definition {
    /// `pins`: what names were found to stand for.
    pub(super) fn of(graph: &Graph, result: VertexId, pins: &Pins) -> Definition {
        let names = vec![None; graph.len()];
        let mut definition = Definition { steps: Vec::new(), digests: BTreeMap::new(), locations: Vec::new(), names };
        for id in in_order(graph, result) {
            let vertex = graph.vertex(id);
            if vertex.op == Op::Source(Source::Scratch) {
                continue;
            }
            let inputs = Inputs::of(vertex, &definition.names);
            let name = definition.add(op(vertex, &inputs, pins), inputs.steps);
            definition.locations.push((name.clone(), vertex.lines));
            definition.names[id.0] = Some(name);
        }
        if let Some(last) = definition.output(result) {
            definition.add(json!({"Op": {}}), vec![last]);
        }
        definition
    }

    fn add(&mut self, op: Value, inputs: Vec<String>) -> String {
        let name = format!("step{}", self.steps.len());
        self.digests.insert(Digest::of(json!([op, inputs]).to_string().as_bytes()).to_string(), name.clone());
        let mut step = json!({"id": name, "op": op});
        if !inputs.is_empty() {
            step["inputs"] = json!(inputs);
        }
        self.steps.push(step);
        name
    }

    /// What the files that `vertex` gives are called; `None` if it gives none.
    pub(super) fn output(&self, vertex: VertexId) -> Option<String> {
        self.names[vertex.0].as_ref().map(|name| format!("{name}:0"))
    }

    /// `None` without a step.
    pub(super) fn build_config(&self) -> Option<Value> {
        let config = json!({"llbDefinition": self.steps, "digestMapping": self.digests});
        (!self.steps.is_empty()).then_some(config)
    }

    /// Where in the Dockerfile each step comes from.
    pub(super) fn locations(&self) -> Value {
        let ranges = |lines: &Option<LineRange>| match lines {
            None => json!({}),
            Some(LineRange { first, last }) => {
                let line = |line: usize| json!({"start": {"line": line}, "end": {"line": line}});
                json!({"locations": [{"ranges": (*first..=*last).map(line).collect::<Vec<_>>()}]})
            }
        };
        self.locations.iter().map(|(name, lines)| (name.clone(), ranges(lines))).collect::<Map<_, _>>().into()
    }
}

/// What `result` needs, and itself: inputs before their users, and the first input with all that it needs before the
/// next one.
fn in_order(graph: &Graph, result: VertexId) -> Vec<VertexId> {
    let (mut order, mut is_known) = (Vec::new(), vec![false; graph.len()]);
    let mut open = vec![(result, 0)];
    while let Some((id, n_inputs_done)) = open.pop() {
        match graph.vertex(id).inputs.get(n_inputs_done) {
            Some(input) => {
                open.push((id, n_inputs_done + 1));
                if !std::mem::replace(&mut is_known[input.0], true) {
                    open.push((*input, 0));
                }
            }
            None => order.push(id),
        }
    }
    order
}

impl Inputs {
    fn of(vertex: &Vertex, names: &[Option<String>]) -> Inputs {
        let mut inputs = Inputs { steps: Vec::new(), places: Vec::new() };
        for input in &vertex.inputs {
            let Some(name) = &names[input.0] else {
                inputs.places.push(None);
                continue;
            };
            let step = format!("{name}:0");
            let known = inputs.steps.iter().position(|other| *other == step);
            inputs.places.push(Some(known.unwrap_or(inputs.steps.len())));
            if known.is_none() {
                inputs.steps.push(step);
            }
        }
        inputs
    }

    /// Where the input of the vertex is in the list; -1 if it is empty.
    fn place(&self, input: usize) -> i64 {
        self.places.get(input).copied().flatten().map_or(-1, |place| i64::try_from(place).unwrap_or(-1))
    }
}

fn op(vertex: &Vertex, inputs: &Inputs, pins: &Pins) -> Value {
    let platform =
        |op: Value, platform: &Platform| json!({"Op": op, "platform": go_platform(platform), "constraints": {}});
    match &vertex.op {
        Op::Source(Source::Image(image)) => platform(json!({"source": image_source(image, pins)}), &image.platform),
        Op::Source(other) => json!({"Op": {"source": source(other)}, "constraints": {}}),
        Op::Exec(step) => platform(exec(step, inputs), &vertex.platform),
        Op::File(file) => json!({"Op": {"file": {"actions": actions(file, inputs)}}, "constraints": {}}),
        Op::Merge => {
            let merged: Vec<Value> =
                (0..vertex.inputs.len()).map(|input| json!({"input": inputs.place(input)})).collect();
            json!({"Op": {"merge": {"inputs": merged}}, "constraints": {}})
        }
    }
}

fn go_platform(platform: &Platform) -> Value {
    let mut value = json!({"Architecture": platform.architecture, "OS": platform.os});
    if let Some(variant) = &platform.variant {
        value["Variant"] = json!(variant);
    }
    value
}

fn image_source(image: &ImageSource, pins: &Pins) -> Value {
    let scheme = match image.origin {
        ImageOrigin::Registry | ImageOrigin::Store => "docker-image",
        ImageOrigin::OciLayout(_) => "oci-layout",
    };
    let reference = image.written.with_default_tag();
    let digest = match reference.digest() {
        Some(_) => String::new(),
        None => format!("@{}", materials::digest_of(image, pins)),
    };
    json!({"identifier": format!("{scheme}://{reference}{digest}")})
}

fn source(source: &Source) -> Value {
    match source {
        Source::Local(local) => json!({"identifier": format!("local://{}", local.name)}),
        Source::Http(http) => {
            let mut attributes = json!({"http.filename": http.filename});
            if let Some(checksum) = &http.checksum {
                attributes["http.checksum"] = json!(checksum.as_str());
            }
            json!({"identifier": redacted(&http.url), "attrs": attributes})
        }
        Source::Git(git) => {
            let url = redacted(git.remote.url());
            let mut attributes = json!({"git.fullurl": url});
            if git.keeps_git_dir {
                attributes["git.keepgitdir"] = json!("true");
            }
            let subdir = if git.subdir.is_empty() { String::new() } else { format!(":{}", git.subdir) };
            let place = url.split_once("://").map_or(url.as_str(), |(_, place)| place);
            json!({"identifier": format!("git://{place}#{}{subdir}", git.revision), "attrs": attributes})
        }
        Source::Image(_) | Source::Scratch => json!({}),
    }
}

fn exec(exec: &Exec, inputs: &Inputs) -> Value {
    let mut meta = Map::new();
    meta.insert("args".to_owned(), json!(exec.args));
    meta.insert("env".to_owned(), json!(exec.env));
    meta.insert("cwd".to_owned(), json!(exec.cwd));
    if !exec.user.is_empty() {
        meta.insert("user".to_owned(), json!(exec.user));
    }
    if !exec.extra_hosts.is_empty() {
        let host = |(name, address): &(String, HostAddress)| match address {
            HostAddress::Fixed(address) => json!({"Host": name, "IP": address.to_string()}),
            HostAddress::Gateway => json!({"Host": name, "IP": "host-gateway"}),
        };
        meta.insert("extraHosts".to_owned(), exec.extra_hosts.iter().map(host).collect());
    }
    if !exec.hostname.is_empty() && exec.hostname != DEFAULT_HOSTNAME {
        meta.insert("hostname".to_owned(), json!(exec.hostname));
    }
    if !exec.ulimits.is_empty() {
        let limit = exec.ulimits.iter().map(|l| json!({"Name": l.kind, "Soft": l.soft, "Hard": l.hard}));
        meta.insert("ulimit".to_owned(), limit.collect());
    }
    meta.insert("removeMountStubsRecursive".to_owned(), json!(true));
    let mut step = json!({"meta": meta, "mounts": mounts(exec, inputs)});
    match exec.network {
        Network::Default => {}
        Network::Host => step["network"] = json!(1),
        Network::None => step["network"] = json!(2),
    }
    if exec.security == Security::Insecure {
        step["security"] = json!(1);
    }
    let variables: Vec<Value> = exec.mounts.iter().filter_map(secret_variable).collect();
    if !variables.is_empty() {
        step["secretenv"] = json!(variables);
    }
    json!({"exec": step})
}

fn mounts(exec: &Exec, inputs: &Inputs) -> Vec<Value> {
    let mut root = with_input(inputs.place(0), "/");
    root.remove("output");
    let mut mounts = vec![Value::Object(root)];
    mounts.extend(exec.mounts.iter().filter_map(|mount| mount_value(mount, inputs)));
    if let Some(size) = exec.shm_size_bytes {
        mounts.push(tmpfs("/dev/shm", Some(size)));
    }
    mounts.sort_by(|one, other| one["dest"].as_str().cmp(&other["dest"].as_str()));
    mounts
}

/// A mount whose writes are not kept.
fn with_input(input: i64, target: &str) -> Map<String, Value> {
    let mut mount = Map::new();
    if input != 0 {
        mount.insert("input".to_owned(), json!(input));
    }
    mount.insert("dest".to_owned(), json!(target));
    mount.insert("output".to_owned(), json!(-1));
    mount
}

fn tmpfs(target: &str, size_bytes: Option<u64>) -> Value {
    let mut mount = with_input(-1, target);
    mount.insert("mountType".to_owned(), json!(MOUNT_TMPFS));
    mount.insert("TmpfsOpt".to_owned(), size_bytes.map_or(json!({}), |size| json!({"size": size})));
    mount.into()
}

fn mount_value(mount: &Mount, inputs: &Inputs) -> Option<Value> {
    let value = match mount {
        Mount::Bind { input, source, target, is_readonly } => {
            let mut value = with_input(inputs.place(*input), target);
            if source != "/" && !source.is_empty() {
                value.insert("selector".to_owned(), json!(source));
            }
            if *is_readonly {
                value.insert("readonly".to_owned(), json!(true));
            }
            value.into()
        }
        Mount::Cache(cache) => {
            let mut value = with_input(cache.from.map_or(-1, |from| inputs.place(from)), &cache.target);
            if cache.is_readonly {
                value.insert("readonly".to_owned(), json!(true));
            }
            value.insert("mountType".to_owned(), json!(MOUNT_CACHE));
            let mut options = json!({"ID": cache.id});
            match cache.sharing {
                CacheSharing::Shared => {}
                CacheSharing::Private => options["sharing"] = json!(1),
                CacheSharing::Locked => options["sharing"] = json!(2),
            }
            value.insert("cacheOpt".to_owned(), options);
            value.into()
        }
        Mount::Tmpfs { target, size_bytes, .. } => tmpfs(target, *size_bytes),
        Mount::Secret(secret) => {
            let target = secret.target.as_ref()?;
            let options = lent(&secret.id, secret.mode, (secret.uid, secret.gid), secret.is_required);
            json!({"input": -1, "dest": target, "mountType": MOUNT_SECRET, "secretOpt": options})
        }
        Mount::Ssh(ssh) => {
            let options = lent(&ssh.id, ssh.mode, (ssh.uid, ssh.gid), ssh.is_required);
            json!({"input": -1, "dest": ssh.target, "mountType": MOUNT_SSH, "SSHOpt": options})
        }
    };
    Some(value)
}

fn lent(id: &str, mode: u32, (uid, gid): (u32, u32), is_required: bool) -> Value {
    let mut options = json!({"ID": id});
    for (key, id) in [("uid", uid), ("gid", gid)] {
        if id != 0 {
            options[key] = json!(id);
        }
    }
    options["mode"] = json!(mode);
    if !is_required {
        options["optional"] = json!(true);
    }
    options
}

fn secret_variable(mount: &Mount) -> Option<Value> {
    let Mount::Secret(secret) = mount else { return None };
    let mut variable = json!({"ID": secret.id, "name": secret.env.as_ref()?});
    if !secret.is_required {
        variable["optional"] = json!(true);
    }
    Some(variable)
}

/// Each action works on what the one before it left; only the last result is kept.
fn actions(file: &FileOp, inputs: &Inputs) -> Vec<Value> {
    let n_inputs = i64::try_from(inputs.steps.len()).unwrap_or(i64::MAX);
    let last = file.actions.len().saturating_sub(1);
    let action = |(index, action): (usize, &FileAction)| {
        let before = i64::try_from(index).unwrap_or(i64::MAX) - 1;
        let input = if index == 0 { inputs.place(0) } else { n_inputs.saturating_add(before) };
        let output = if index == last { 0 } else { -1 };
        let (secondary, action) = match action {
            FileAction::Copy(copy) => (inputs.place(copy.input), json!({"copy": copy_value(copy)})),
            FileAction::Mkfile(file) => {
                let path = match file.dest.ends_with('/') {
                    true => format!("{}{}", file.dest, file.name),
                    false => file.dest.clone(),
                };
                let mut value = json!({"path": path, "mode": mode_number(file.mode.as_ref()).unwrap_or(0o644)});
                value["data"] = json!(STANDARD.encode(&file.data));
                (-1, json!({"mkfile": owned(value, file.owner.as_ref(), -1)}))
            }
            FileAction::Mkdir(folder) => {
                let value = json!({"path": folder.path, "mode": folder.mode, "makeParents": true});
                let mtime_ns = folder.mtime.map_or(-1, |seconds| seconds.saturating_mul(1_000_000_000));
                (-1, json!({"mkdir": owned(value, folder.owner.as_ref(), mtime_ns)}))
            }
        };
        json!({"input": input, "secondaryInput": secondary, "output": output, "Action": action})
    };
    file.actions.iter().enumerate().map(action).collect()
}

fn copy_value(copy: &CopyAction) -> Value {
    let mut value = json!({"src": copy.source, "dest": copy.dest});
    value["mode"] = json!(mode_number(copy.mode.as_ref()).map_or(-1, i64::from));
    if let Some(Mode::Symbolic(text)) = &copy.mode {
        value["modeStr"] = json!(text);
    }
    value["followSymlink"] = json!(true);
    value["dirCopyContents"] = json!(true);
    if copy.unpack == Unpack::IfArchive {
        value["attemptUnpackDockerCompatibility"] = json!(true);
    }
    value["createDestPath"] = json!(true);
    value["allowWildcard"] = json!(true);
    value["allowEmptyWildcard"] = json!(true);
    if !copy.excludes.is_empty() {
        value["exclude_patterns"] = json!(copy.excludes);
    }
    owned(value, copy.owner.as_ref(), -1)
}

fn mode_number(mode: Option<&Mode>) -> Option<u32> {
    match mode {
        Some(Mode::Octal(mode)) => Some(*mode),
        Some(Mode::Symbolic(_)) | None => None,
    }
}

fn owned(mut value: Value, owner: Option<&Owner>, mtime_ns: i64) -> Value {
    let id = |id: &OwnerId| match id {
        OwnerId::Number(number) => json!({"User": {"byId": number}}),
        OwnerId::Name(name) => json!({"User": {"byName": {"name": name}}}),
    };
    if let Some(owner) = owner {
        let mut names = json!({"user": id(&owner.user)});
        if let Some(group) = &owner.group {
            names["group"] = id(group);
        }
        value["owner"] = names;
    }
    value["timestamp"] = json!(mtime_ns);
    value
}

#[cfg(test)]
mod tests {
    use slipway_graph::op::{FolderId, LocalSource, MkdirAction};

    use super::*;

    fn vertex(op: Op, inputs: &[VertexId]) -> Vertex {
        Vertex {
            op,
            inputs: inputs.to_vec(),
            platform: "linux/amd64".parse().unwrap(),
            name: String::new(),
            ignores_cache: false,
            lines: Some(LineRange { first: 2, last: 3 }),
        }
    }

    fn copy(input: usize, source: &str) -> FileAction {
        FileAction::Copy(CopyAction {
            input,
            source: source.to_owned(),
            dest: "/d/".to_owned(),
            has_wildcard: true,
            unpack: Unpack::Never,
            owner: Some(Owner { user: OwnerId::Number(1), group: None }),
            mode: None,
            excludes: Vec::new(),
            parents_root: None,
        })
    }

    /// As the reference wrote `FROM scratch`, `WORKDIR /w`, `COPY --chown=1 a b* /d/`.
    #[test]
    fn steps_are_told_in_the_words_of_the_reference() {
        let mut graph = Graph::new();
        let scratch = graph.add(vertex(Op::Source(Source::Scratch), &[]));
        let local = LocalSource { name: "context".to_owned(), folder: FolderId(0) };
        let context = graph.add(vertex(Op::Source(Source::Local(local)), &[]));
        let mkdir = MkdirAction { path: "/w".to_owned(), mode: 0o755, owner: None, mtime: None };
        let workdir = graph.add(vertex(Op::File(FileOp { actions: vec![FileAction::Mkdir(mkdir)] }), &[scratch]));
        let both = FileOp { actions: vec![copy(1, "/a"), copy(1, "/b*")] };
        let result = graph.add(vertex(Op::File(both), &[workdir, context]));
        let definition = Definition::of(&graph, result, &Pins::default());
        let config = definition.build_config().unwrap();
        let copied = |src: &str| {
            json!({"copy": {
                "src": src, "dest": "/d/", "owner": {"user": {"User": {"byId": 1}}}, "mode": -1, "followSymlink": true,
                "dirCopyContents": true, "createDestPath": true, "allowWildcard": true, "allowEmptyWildcard": true,
                "timestamp": -1,
            }})
        };
        assert_eq!(
            config["llbDefinition"],
            json!([
                {"id": "step0", "op": {"Op": {"file": {"actions": [{
                    "input": -1, "secondaryInput": -1, "output": 0,
                    "Action": {"mkdir": {"path": "/w", "mode": 493, "makeParents": true, "timestamp": -1}},
                }]}}, "constraints": {}}},
                {"id": "step1", "op": {"Op": {"source": {"identifier": "local://context"}}, "constraints": {}}},
                {"id": "step2", "op": {"Op": {"file": {"actions": [
                    {"input": 0, "secondaryInput": 1, "output": -1, "Action": copied("/a")},
                    {"input": 2, "secondaryInput": 1, "output": 0, "Action": copied("/b*")},
                ]}}, "constraints": {}}, "inputs": ["step0:0", "step1:0"]},
                {"id": "step3", "op": {"Op": {}}, "inputs": ["step2:0"]},
            ])
        );
        let names: Vec<&Value> = config["digestMapping"].as_object().unwrap().values().collect();
        assert_eq!(names.len(), 4);
        let line = |line: u32| json!({"start": {"line": line}, "end": {"line": line}});
        assert_eq!(definition.locations()["step2"], json!({"locations": [{"ranges": [line(2), line(3)]}]}));
        assert_eq!(definition.output(scratch), None);
    }

    #[test]
    fn nothing_is_made_by_no_step() {
        let mut graph = Graph::new();
        let scratch = graph.add(vertex(Op::Source(Source::Scratch), &[]));
        assert_eq!(Definition::of(&graph, scratch, &Pins::default()).build_config(), None);
    }

    #[test]
    fn the_value_of_a_secret_is_nowhere_and_its_id_is() {
        let secret = slipway_graph::op::SecretMount {
            id: "tok".to_owned(),
            target: Some("/run/secrets/tok".to_owned()),
            env: Some("TOK".to_owned()),
            mode: 0o400,
            uid: 0,
            gid: 7,
            is_required: false,
        };
        let inputs = Inputs { steps: Vec::new(), places: vec![None] };
        let mount = mount_value(&Mount::Secret(secret.clone()), &inputs).unwrap();
        let options = json!({"ID": "tok", "gid": 7, "mode": 256, "optional": true});
        let expected = json!({"input": -1, "dest": "/run/secrets/tok", "mountType": 1, "secretOpt": options});
        assert_eq!(mount, expected);
        let variable = secret_variable(&Mount::Secret(secret)).unwrap();
        assert_eq!(variable, json!({"ID": "tok", "name": "TOK", "optional": true}));
    }
}
