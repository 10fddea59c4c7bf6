//! What do pinned names stand for now, for `slipway update`, and which names are those of one build among several?

use std::error::Error;

use slipway_graph::op::{GitSource, HttpSource, Op, Source};
use slipway_graph::request::BuildRequest;
use slipway_graph::{GitReference, Graph, Pins, VertexId};
use slipway_oci::{Digest, Reference};
use slipway_solver::Cancel;

use crate::engine::Engine;
use crate::ops::RemoteSources;

/// A name in a lock file that no build can have put there.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` in slipway.lock is no git reference")]
struct NoGitReferenceError(String);

impl Engine {
    /// The names of `pins` with what registries, servers and remotes say now. `request` brings secrets and agents; that it
    /// has no pins is what makes everybody be asked.
    pub fn look_up_pins(&self, pins: &Pins, request: &BuildRequest) -> Result<Pins, Box<dyn Error + Send + Sync>> {
        let (sources, cancel) = (RemoteSources::default(), Cancel::new());
        let image = |name: &String| -> Result<Digest, Box<dyn Error + Send + Sync>> {
            Ok(self.registry.resolve_descriptor(&name.parse::<Reference>()?)?.digest)
        };
        let url = |name: &String| {
            let http = HttpSource { url: name.clone(), filename: String::new(), checksum: None };
            sources.http.digest(&http, self.http_inputs(request))
        };
        let git = |name: &String| -> Result<String, Box<dyn Error + Send + Sync>> {
            let reference = GitReference::in_dockerfile(name).ok_or_else(|| NoGitReferenceError(name.clone()))??;
            Ok(sources.git.commit(&GitSource::from(reference), self.git_inputs(request, &cancel))?)
        };
        let mut now = Pins::default();
        for name in pins.images.keys() {
            now.images.insert(name.clone(), image(name)?);
        }
        for name in pins.urls.keys() {
            now.urls.insert(name.clone(), url(name)?);
        }
        for name in pins.git.keys() {
            now.git.insert(name.clone(), git(name)?);
        }
        Ok(now)
    }
}

/// Of `pins`, those of names that `results` need: what a lock file of their own has to hold.
pub(crate) fn named_by(graph: &Graph, results: &[VertexId], pins: &Pins) -> Pins {
    let reachable = graph.reachable(results);
    let mut named = Pins::default();
    for (_, vertex) in graph.iter().filter(|(id, _)| reachable[id.0]) {
        match &vertex.op {
            Op::Source(Source::Image(image)) => {
                // It has its digest by now, whether or not the Dockerfile says so.
                let name = Pins::name_of_image(&image.reference.without_digest());
                named.images.extend(name.and_then(|name| pins.images.get_key_value(&name)).map(owned));
            }
            Op::Source(Source::Http(http)) => {
                let name = Pins::name_of_url(http);
                named.urls.extend(name.and_then(|name| pins.urls.get_key_value(&name)).map(owned));
            }
            Op::Source(Source::Git(git)) => {
                let name = Pins::name_of_git(&git.remote, &git.revision);
                named.git.extend(name.and_then(|name| pins.git.get_key_value(&name)).map(owned));
            }
            Op::Source(Source::Local(_) | Source::Scratch) | Op::Exec(_) | Op::File(_) | Op::Merge => {}
        }
    }
    named
}

fn owned<T: Clone>((name, pin): (&String, &T)) -> (String, T) {
    (name.clone(), pin.clone())
}
