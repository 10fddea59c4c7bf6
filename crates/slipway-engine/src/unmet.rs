//! What does a build lack? All of it at once, before anything runs: pins with `--locked`, with `--offline` what would have
//! to be fetched.

use std::fmt::Write as _;

use slipway_graph::op::{Op, Source};
use slipway_graph::request::LockUse;
use slipway_graph::{LineRange, Pins, VertexId};
use slipway_oci::Digest;
use slipway_solver::{Cache as _, Ops as _};

use crate::failure::BuildFailure;
use crate::images::{self, ImageError};
use crate::ops::http::HttpError;
use crate::ops::{EngineCache, EngineOps, OpError, Output};

/// Something that a build lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unmet {
    kind: Kind,
    /// `image alpine:3.20`, `URL http://…`
    what: String,
    /// Who needs it.
    lines: Option<LineRange>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Pin,
    InStore,
}

/// Everything that a build lacks; of both kinds the pins, because they say what is to be fetched.
#[derive(Debug, thiserror::Error)]
#[error("{}", text(.0))]
struct UnmetError(Vec<Unmet>);

impl Unmet {
    /// What the error of looking up an image says is lacking; `None` if it is about something else.
    pub(crate) fn of_image(error: &(dyn std::error::Error + 'static), lines: LineRange) -> Option<Unmet> {
        let (kind, image) = match error.downcast_ref::<ImageError>()? {
            ImageError::NotPinned { image } => (Kind::Pin, image),
            ImageError::NotInStore { image } => (Kind::InStore, image),
            _ => return None,
        };
        Some(Unmet { kind, what: format!("image {image}"), lines: Some(lines) })
    }
}

/// The failure of a build that lacks `unmet`, which is something.
pub(crate) fn failure(unmet: Vec<Unmet>) -> BuildFailure {
    let kind = if unmet.iter().any(|one| one.kind == Kind::Pin) { Kind::Pin } else { Kind::InStore };
    let mut told: Vec<Unmet> = Vec::new();
    for one in unmet {
        if one.kind == kind && !told.contains(&one) {
            told.push(one);
        }
    }
    let lines = told.iter().find_map(|one| one.lines);
    let hint = match kind {
        Kind::Pin => "`slipway build --lock` adds what is missing",
        Kind::InStore => "one build without `--offline` fetches what is missing",
    };
    let name = "what the build lacks".to_owned();
    BuildFailure::Step { lines, name, source: Box::new(UnmetError(told)), hint: Some(hint.to_owned()) }
}

fn text(unmet: &[Unmet]) -> String {
    let is_pin = unmet.iter().any(|one| one.kind == Kind::Pin);
    let mut text = if is_pin { "slipway.lock lacks" } else { "--offline, and the store lacks" }.to_owned();
    for Unmet { what, lines, .. } in unmet {
        let line = lines.map(|lines| format!(" (line {})", lines.first)).unwrap_or_default();
        let _ = write!(text, "\n  {what}{line}");
    }
    text
}

/// What the graph of `ops` needs for `results` and cannot have.
pub(crate) fn of(ops: &EngineOps<'_>, results: &[VertexId]) -> Result<Vec<Unmet>, OpError> {
    let reachable = ops.graph.reachable(results);
    let unpinned: Vec<Unmet> =
        (0..reachable.len()).filter(|id| reachable[*id]).filter_map(|id| unpinned(ops, VertexId(id))).collect();
    match ops.registry.is_offline() && unpinned.is_empty() {
        true => not_in_store(ops, results, &reachable),
        false => Ok(unpinned),
    }
}

fn unpinned(ops: &EngineOps<'_>, id: VertexId) -> Option<Unmet> {
    let (vertex, session) = (ops.graph.vertex(id), ops.session(id));
    let what = match &vertex.op {
        _ if session.lock != Some(LockUse::Require) => return None,
        Op::Source(Source::Http(http)) => {
            let name = Pins::name_of_url(http).filter(|name| !session.pins.urls.contains_key(name))?;
            format!("URL {name}")
        }
        Op::Source(Source::Git(git)) => {
            let name =
                Pins::name_of_git(&git.remote, &git.revision).filter(|name| !session.pins.git.contains_key(name))?;
            format!("git reference {name}")
        }
        _ => return None,
    };
    Some(Unmet { kind: Kind::Pin, what, lines: vertex.lines })
}

/// Goes the way of the solver, from the results to the first hits, and looks at the sources that it comes to.
fn not_in_store(ops: &EngineOps<'_>, results: &[VertexId], reachable: &[bool]) -> Result<Vec<Unmet>, OpError> {
    let mut unmet = Vec::new();
    let mut keys: Vec<Option<Digest>> = vec![None; reachable.len()];
    for (id, vertex) in ops.graph.iter().filter(|(id, _)| reachable[id.0]) {
        let inputs: Option<Vec<Digest>> = vertex.inputs.iter().map(|input| keys[input.0].clone()).collect();
        let Some(inputs) = inputs else { continue };
        match ops.definition_key(id, &inputs) {
            Ok(key) => keys[id.0] = Some(key),
            Err(error) => unmet.extend(lacking_source(ops, id, &error)),
        }
    }
    let cache = EngineCache { store: ops.store, registry: ops.registry, imports: ops.imports };
    let (mut open, mut is_seen) = (results.to_vec(), vec![false; reachable.len()]);
    while let Some(id) = open.pop() {
        let vertex = ops.graph.vertex(id);
        if std::mem::replace(&mut is_seen[id.0], true) {
            continue;
        }
        let hit = match &keys[id.0] {
            Some(key) if !vertex.ignores_cache => cache.lookup(key)?,
            _ => None,
        };
        // What a base image promises would have to be fetched.
        let is_promise = matches!(&hit, Some(Output::Remote(remote)) if remote.is_of_image());
        if hit.is_none() || is_promise {
            unmet.extend(lacking_content(ops, id)?);
            open.extend(&vertex.inputs);
        }
    }
    unmet.sort_by_key(|one| one.lines.map(|lines| lines.first));
    Ok(unmet)
}

/// A source of which not even the key can be known.
fn lacking_source(ops: &EngineOps<'_>, id: VertexId, error: &OpError) -> Option<Unmet> {
    let is_missing = match error {
        OpError::Http(error) => matches!(**error, HttpError::NotInStore { .. }),
        OpError::Git(error) => error.is_offline(),
        _ => false,
    };
    let vertex = ops.graph.vertex(id);
    let what = match &vertex.op {
        Op::Source(Source::Http(http)) => format!("URL {}", slipway_graph::git::redacted(&http.url)),
        Op::Source(Source::Git(git)) => format!("git reference {}#{}", git.remote.url(), git.revision),
        _ => return None,
    };
    is_missing.then_some(Unmet { kind: Kind::InStore, what, lines: vertex.lines })
}

/// What a source that has to be unpacked or checked out lacks.
fn lacking_content(ops: &EngineOps<'_>, id: VertexId) -> Result<Vec<Unmet>, OpError> {
    let vertex = ops.graph.vertex(id);
    let whats = match &vertex.op {
        Op::Source(Source::Image(image)) => {
            let layers = images::missing_layers(image, ops.store).map_err(Box::new)?;
            layers.iter().map(|layer| format!("layer {layer} of {}", image.reference.familiar())).collect()
        }
        Op::Source(Source::Git(git)) => match ops.sources.git.is_here(git, ops.git_inputs(id)) {
            Ok(true) => Vec::new(),
            Ok(false) => vec![format!("commit of git reference {}#{}", git.remote.url(), git.revision)],
            // That it is not resolved has been said.
            Err(_) => Vec::new(),
        },
        _ => Vec::new(),
    };
    Ok(whats.into_iter().map(|what| Unmet { kind: Kind::InStore, what, lines: vertex.lines }).collect())
}
