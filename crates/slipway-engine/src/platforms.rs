//! For which platforms is something built, and what do they have in common?
//!
//! Each platform is lowered by itself; the graphs become one, in which a step that several platforms need is one
//! vertex (`spec/dockerfile.md` section 8.5).

use slipway_dockerfile::Lowered;
use slipway_graph::request::BuildRequest;
use slipway_graph::request::flags::parse_bool;
use slipway_graph::{Graph, VertexId};
use slipway_oci::{ImageConfig, Platform};

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
pub(crate) struct Blueprint {
    pub(crate) graph: Graph,
    /// One a platform, in the order of the request.
    pub(crate) images: Vec<ImagePlan>,
    pub(crate) is_multi: bool,
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
}

impl Blueprint {
    /// Puts what was lowered for each platform into one graph.
    pub(crate) fn of(lowered: Vec<Lowered>, is_multi: bool) -> Blueprint {
        let mut graph = Graph::new();
        let images = lowered.into_iter().map(|Lowered { graph: own, result, config, n_base_history, epoch }| {
            let places = graph.absorb(own);
            ImagePlan { result: places[result.0], config, n_base_history, epoch }
        });
        let images = images.collect();
        Blueprint { graph, images, is_multi }
    }
}
