//! What do pinned names stand for now? For `slipway update`.

use std::error::Error;

use slipway_graph::op::{GitSource, HttpSource};
use slipway_graph::request::BuildRequest;
use slipway_graph::{GitReference, Pins};
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
