//! For which platforms is something built, and what do they, and other builds, have in common?
//!
//! Each platform is lowered by itself; the graphs, and those of all requests that are carried out together, become one,
//! in which a step that several need is one vertex (`spec/dockerfile.md` section 8.5).

use std::collections::BTreeMap;
use std::sync::Arc;

use slipway_dockerfile::Lowered;
use slipway_graph::request::BuildRequest;
use slipway_graph::request::flags::parse_bool;
use slipway_graph::{Graph, VertexId};
use slipway_oci::{ImageConfig, Platform};

use crate::unmet::Unmet;

/// `BUILDKIT_MULTI_PLATFORM` does not go together with the rest of the request.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MultiPlatformError {
    #[error("invalid boolean value for multi-platform: {0}")]
    NoBoolean(String),
    #[error("conflicting config: returning multiple target platforms is not allowed")]
    Forbidden,
}

/// What a request says about platforms.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Platforms {
    /// At least one, in the order of the request.
    pub(crate) targets: Vec<Platform>,
    /// Whether somebody asked for them; otherwise the base image decides what the config says.
    pub(crate) is_explicit: bool,
    /// Whether the result is an index, be it of one image.
    pub(crate) is_multi: bool,
}

impl Platforms {
    pub(crate) fn of(request: &BuildRequest) -> Result<Platforms, MultiPlatformError> {
        let stated = match request.build_args.get("BUILDKIT_MULTI_PLATFORM").map(String::as_str) {
            None | Some("") => None,
            Some(text) => Some(parse_bool(text).ok_or_else(|| MultiPlatformError::NoBoolean(text.to_owned()))?),
        };
        let has_several = request.platforms.len() > 1;
        if has_several && stated == Some(false) {
            return Err(MultiPlatformError::Forbidden);
        }
        let is_multi = stated.unwrap_or(has_several);
        Ok(match request.platforms.is_empty() {
            true => Platforms { targets: vec![Platform::host()], is_explicit: false, is_multi },
            false => Platforms { targets: request.platforms.clone(), is_explicit: true, is_multi },
        })
    }
}

/// What a Dockerfile means for all platforms of a request.
#[derive(Debug)]
pub(crate) struct Recipe {
    /// In the order of the request.
    pub(crate) images: Vec<(Platform, Arc<Lowered>)>,
    pub(crate) is_multi: bool,
    /// Images that could not be looked up, and are something unknown in the graphs.
    pub(crate) unmet: Vec<Unmet>,
}

/// What several requests come to, in one graph.
#[derive(Debug, Default)]
pub(crate) struct Blueprint {
    pub(crate) graph: Graph,
    /// By vertex: the request that brought it.
    pub(crate) owners: Vec<usize>,
    /// By request.
    pub(crate) results: BTreeMap<usize, ResultPlan>,
    /// As [`Recipe::unmet`], of all requests.
    pub(crate) unmet: Vec<Unmet>,
}

/// The result of a request before its layers are there.
#[derive(Debug)]
pub(crate) struct ResultPlan {
    /// One a platform, in the order of the request.
    pub(crate) images: Vec<ImagePlan>,
    pub(crate) is_multi: bool,
}

impl ResultPlan {
    /// What makes the images, one a platform.
    pub(crate) fn vertices(&self) -> Vec<VertexId> {
        self.images.iter().map(|image| image.result).collect()
    }

    /// What is searched for packages besides the images.
    pub(crate) fn scanned(&self) -> impl Iterator<Item = VertexId> {
        self.images.iter().flat_map(|image| image.scanned.values().copied())
    }
}

/// An image before its layers are there.
#[derive(Debug)]
pub(crate) struct ImagePlan {
    /// Its root file system.
    pub(crate) result: VertexId,
    /// As [`Lowered::config`].
    pub(crate) config: ImageConfig,
    /// As [`Lowered::n_base_history`].
    pub(crate) n_base_history: usize,
    /// As [`Lowered::epoch`].
    pub(crate) epoch: Option<i64>,
    /// As [`Lowered::scanned`].
    pub(crate) scanned: BTreeMap<String, VertexId>,
}

impl Blueprint {
    /// Adds what the request `index` comes to. Steps that an earlier one has are those of that one.
    pub(crate) fn add(&mut self, index: usize, recipe: Recipe) {
        let images = recipe.images.into_iter().map(|(_, lowered)| {
            let Lowered { graph, result, config, n_base_history, epoch, scanned } = Arc::unwrap_or_clone(lowered);
            let places = self.graph.absorb(graph);
            let scanned = scanned.into_iter().map(|(name, vertex)| (name, places[vertex.0])).collect();
            ImagePlan { result: places[result.0], config, n_base_history, epoch, scanned }
        });
        let images = images.collect();
        self.unmet.extend(recipe.unmet);
        self.owners.resize(self.graph.len(), index);
        self.results.insert(index, ResultPlan { images, is_multi: recipe.is_multi });
    }

    /// By vertex: the requests that need it, the one that brought it first.
    pub(crate) fn users(&self) -> Vec<Vec<usize>> {
        let mut users: Vec<Vec<usize>> = self.owners.iter().map(|owner| vec![*owner]).collect();
        for (index, result) in &self.results {
            let results: Vec<VertexId> = result.vertices().into_iter().chain(result.scanned()).collect();
            let needed = self.graph.reachable(&results);
            for (vertex, _) in needed.iter().enumerate().filter(|(_, is_needed)| **is_needed) {
                if self.owners[vertex] != *index {
                    users[vertex].push(*index);
                }
            }
        }
        users
    }
}
