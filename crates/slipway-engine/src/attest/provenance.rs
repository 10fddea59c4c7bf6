//! How was a result made? The predicates of SLSA, versions 0.2 and 1, as BuildKit fills them in
//! (`spec/dockerfile.md` section 8.7).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};
use slipway_graph::request::{self, BuildRequest, ContextLocation, DockerfileLocation, Extent, Slsa, WorkTree};
use slipway_graph::{Graph, Pins, VertexId};
use slipway_oci::{Descriptor, Digest, Platform};

use super::definition::Definition;
use super::materials::{self, Lent, Material, Used};
use super::parameters;
use crate::assemble::rfc3339;
use crate::build::SourceFile;
use crate::observe;

const BUILD_TYPE_V02: &str = "https://mobyproject.org/buildkit@v1";
const BUILD_TYPE_V1: &str = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md";
const METADATA_V02: &str = "https://mobyproject.org/buildkit@v1#metadata";
const HERMETIC_V02: &str = "https://mobyproject.org/buildkit@v1#hermetic";

/// When a build took place, and its name.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// Different from that of every other build.
    pub(crate) id: String,
    /// Nanoseconds since 1970.
    pub(crate) started_ns: i64,
    /// Nanoseconds since 1970.
    pub(crate) finished_ns: i64,
}

/// What a build that is over is known by.
#[derive(Clone, Copy)]
pub(crate) struct Made<'a> {
    pub(crate) request: &'a BuildRequest,
    pub(crate) dockerfile: &'a SourceFile,
    pub(crate) graph: &'a Graph,
    /// What names were found to stand for.
    pub(crate) pins: &'a Pins,
    pub(crate) run: &'a Run,
}

/// Everything that can be told about how one image was made.
#[derive(Clone, Debug)]
pub(crate) struct Provenance {
    pub(super) wish: request::Provenance,
    run: Run,
    used: Used,
    /// Where the Dockerfile is from, if not from this machine.
    config_uri: Option<String>,
    entry_point: String,
    args: BTreeMap<String, String>,
    work_tree: WorkTree,
    /// Names of folders that were lent to the build.
    locals: Vec<String>,
    dockerfile: SourceFile,
    definition: Definition,
    /// Outputs of steps whose files are the lowest layers of the image, and how many layers that is from the top.
    stacks: Vec<(String, usize)>,
}

impl Provenance {
    /// About the image of `result`, told as `wish` says.
    pub(crate) fn of(made: Made<'_>, result: VertexId, wish: request::Provenance) -> Provenance {
        let Made { request, dockerfile, graph, pins, run } = made;
        let used = materials::used(graph, result, pins);
        let definition = Definition::of(graph, result, pins);
        let stacks = stacks(graph, result, &definition);
        Provenance {
            wish,
            run: run.clone(),
            config_uri: materials::uri_of_context(&request.context),
            entry_point: entry_point(request, dockerfile),
            args: parameters::of(request),
            work_tree: request.work_tree.clone(),
            locals: locals(request, &used),
            used,
            dockerfile: dockerfile.clone(),
            definition,
            stacks,
        }
    }

    pub(super) fn predicate_type(&self) -> &'static str {
        match self.wish.slsa {
            Slsa::V02 => "https://slsa.dev/provenance/v0.2",
            Slsa::V1 => "https://slsa.dev/provenance/v1",
        }
    }

    pub(super) fn predicate(&self, layers: &[Descriptor]) -> Value {
        let extent = self.wish.extent;
        match self.wish.slsa {
            Slsa::V02 => {
                let mut predicate = self.head_v02(extent);
                self.add_details_v02(&mut predicate, layers, extent);
                predicate
            }
            Slsa::V1 => self.predicate_v1(layers, extent),
        }
    }

    /// What the metadata file of a build says: in version 0.2, with all parameters.
    pub(crate) fn in_metadata(&self, extent: Extent) -> Value {
        let mut predicate = self.head_v02(Extent::Max);
        if extent == Extent::Max {
            self.add_details_v02(&mut predicate, &[], Extent::Max);
        }
        predicate
    }

    /// Version 0.2 without steps, times and sources.
    fn head_v02(&self, extent: Extent) -> Value {
        let mut predicate = json!({"builder": {"id": self.wish.builder_id}, "buildType": BUILD_TYPE_V02});
        if !self.used.materials.is_empty() {
            predicate["materials"] = value(&self.used.materials);
        }
        predicate["invocation"] = json!({
            "configSource": self.config_source("entryPoint"),
            "parameters": self.parameters(extent),
            "environment": {"platform": Platform::host().to_string()},
        });
        predicate
    }

    fn add_details_v02(&self, predicate: &mut Value, layers: &[Descriptor], extent: Extent) {
        if let Some(config) = self.build_config(extent) {
            predicate["buildConfig"] = config;
        }
        predicate["metadata"] = json!({
            "buildInvocationID": self.run.id,
            "buildStartedOn": rfc3339(self.run.started_ns),
            "buildFinishedOn": rfc3339(self.run.finished_ns),
            "completeness": {
                "parameters": parameters::told(&self.args, extent).1,
                "environment": true,
                "materials": self.knows_all_materials(),
            },
            "reproducible": self.wish.is_reproducible,
        });
        predicate["metadata"][METADATA_V02] = self.details(layers, extent);
        if self.is_hermetic() {
            predicate["metadata"][HERMETIC_V02] = json!(true);
        }
    }

    fn predicate_v1(&self, layers: &[Descriptor], extent: Extent) -> Value {
        let mut definition = json!({"buildType": BUILD_TYPE_V1});
        if !self.used.materials.is_empty() {
            definition["resolvedDependencies"] = value(&self.used.materials);
        }
        definition["externalParameters"] =
            json!({"configSource": self.config_source("path"), "request": self.parameters(extent)});
        let mut internal = json!({});
        if let Some(config) = self.build_config(extent) {
            internal["buildConfig"] = config;
        }
        internal["builderPlatform"] = json!(Platform::host().to_string());
        definition["internalParameters"] = internal;
        let mut metadata = json!({
            "invocationId": self.run.id,
            "startedOn": rfc3339(self.run.started_ns),
            "finishedOn": rfc3339(self.run.finished_ns),
            "buildkit_metadata": self.details(layers, extent),
        });
        if self.is_hermetic() {
            metadata["buildkit_hermetic"] = json!(true);
        }
        metadata["buildkit_completeness"] = json!({
            "request": parameters::told(&self.args, extent).1,
            "resolvedDependencies": self.knows_all_materials(),
        });
        if self.wish.is_reproducible {
            metadata["buildkit_reproducible"] = json!(true);
        }
        json!({
            "buildDefinition": definition,
            "runDetails": {"builder": {"id": self.wish.builder_id}, "metadata": metadata},
        })
    }

    /// `path_key`: what the version calls the name of the Dockerfile.
    fn config_source(&self, path_key: &str) -> Value {
        let mut source = json!({});
        if let Some(uri) = &self.config_uri {
            source["uri"] = json!(uri);
            let material = self.used.materials.iter().find(|material| material.uri == *uri);
            if let Some(Material { digest: Some(digest), .. }) = material {
                source["digest"] = value(digest);
            }
        }
        source[path_key] = json!(self.entry_point);
        source
    }

    fn parameters(&self, extent: Extent) -> Value {
        let mut parameters = json!({"frontend": "dockerfile.v0"});
        let (args, _) = parameters::told(&self.args, extent);
        if !args.is_empty() {
            parameters["args"] = json!(args);
        }
        if extent == Extent::Max {
            let mut put = |key: &str, lent: &[Lent]| {
                if !lent.is_empty() {
                    parameters[key] = value(lent);
                }
            };
            put("secrets", &self.used.secrets);
            put("ssh", &self.used.ssh);
        }
        if !self.locals.is_empty() {
            parameters["locals"] = self.locals.iter().map(|name| json!({"name": name})).collect();
        }
        parameters
    }

    fn build_config(&self, extent: Extent) -> Option<Value> {
        self.definition.build_config().filter(|_| extent == Extent::Max)
    }

    /// The commit; sources and layers.
    fn details(&self, layers: &[Descriptor], extent: Extent) -> Value {
        let mut details = json!({});
        let commit = commit(&self.work_tree);
        if !commit.is_empty() {
            details["vcs"] = json!(commit);
        }
        if extent == Extent::Min {
            return details;
        }
        let (name, data) = (&self.dockerfile.name, STANDARD.encode(&self.dockerfile.text));
        let info = json!({"filename": name, "language": "Dockerfile", "data": data});
        details["source"] = json!({"locations": self.definition.locations(), "infos": [info]});
        let stack = |(output, n_above): &(String, usize)| {
            let below = layers.get(..layers.len().checked_sub(*n_above)?)?;
            (!below.is_empty()).then(|| (output.clone(), json!([below])))
        };
        let stacks: Map<String, Value> = self.stacks.iter().filter_map(stack).collect();
        if !stacks.is_empty() {
            details["layers"] = stacks.into();
        }
        details
    }

    /// What folders of the machine held nobody can look up.
    fn knows_all_materials(&self) -> bool {
        self.locals.is_empty()
    }

    fn is_hermetic(&self) -> bool {
        self.knows_all_materials() && !self.used.reaches_network
    }
}

/// 25 characters that no other build has: the time and the process are in them.
pub(crate) fn new_run_id(started_ns: i64) -> String {
    let digest = Digest::of(format!("{started_ns} {}", std::process::id()).as_bytes());
    digest.hex().chars().take(25).collect()
}

fn value(facts: &(impl Serialize + ?Sized)) -> Value {
    serde_json::to_value(facts).expect("because texts and numbers are always JSON")
}

/// What is known of a work tree, as BuildKit calls its parts.
fn commit(WorkTree { revision, source, folders }: &WorkTree) -> BTreeMap<String, &str> {
    let places = folders.iter().map(|(name, place)| (format!("localdir:{name}"), place.as_str()));
    let facts = [("revision", revision), ("source", source)];
    let facts = facts.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.as_deref()?)));
    places.chain(facts).collect()
}

/// The steps that each add a layer to the image of `result`, and how many layers come after theirs.
fn stacks(graph: &Graph, result: VertexId, definition: &Definition) -> Vec<(String, usize)> {
    let steps = observe::exported(graph, result);
    let bottom = steps.first().map_or(Some(result), |first| graph.vertex(*first).inputs.first().copied());
    let all: Vec<VertexId> = bottom.into_iter().chain(steps).collect();
    let n_steps = all.len();
    let stack = |(index, step): (usize, &VertexId)| Some((definition.output(*step)?, n_steps - 1 - index));
    all.iter().enumerate().filter_map(stack).collect()
}

/// The name of the Dockerfile, as who looks for it where it is from needs it.
fn entry_point(request: &BuildRequest, dockerfile: &SourceFile) -> String {
    match (&request.context, &request.dockerfile) {
        (ContextLocation::Git(_) | ContextLocation::Http(_), DockerfileLocation::Path(path)) => {
            path.to_string_lossy().into_owned()
        }
        _ => dockerfile.name.clone(),
    }
}

/// The folders that were lent: that of the context, that of the Dockerfile, and what named contexts are used.
fn locals(request: &BuildRequest, used: &Used) -> Vec<String> {
    let mut locals = used.folders.clone();
    if matches!(request.context, ContextLocation::Folder(_) | ContextLocation::Stdin) {
        locals.extend(["context".to_owned(), "dockerfile".to_owned()]);
    } else if request.dockerfile == DockerfileLocation::Stdin {
        locals.push("dockerfile".to_owned());
    }
    locals.sort();
    locals.dedup();
    locals
}
