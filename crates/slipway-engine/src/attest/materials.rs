//! Of what was a result made? The sources that its steps read, each with its digest.

use serde::Serialize;
use slipway_graph::git::redacted;
use slipway_graph::op::{Exec, ImageOrigin, ImageSource, Mount, Network, Op, Source};
use slipway_graph::request::ContextLocation;
use slipway_graph::{Graph, Pins, VertexId};
use slipway_oci::Digest;

use super::purl;
use super::statement::DigestSet;

/// A source from outside of the machine.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Material {
    pub(crate) uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<DigestSet>,
}

/// A secret or an ssh agent that steps may ask for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Lent {
    pub(crate) id: String,
    #[serde(rename = "optional", skip_serializing_if = "is_false")]
    pub(crate) is_optional: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !value
}

/// What the steps of a result use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Used {
    /// Images, then repositories, then files; each kind sorted.
    pub(crate) materials: Vec<Material>,
    /// Sorted.
    pub(crate) secrets: Vec<Lent>,
    /// Sorted.
    pub(crate) ssh: Vec<Lent>,
    /// Names of folders of the host; sorted.
    pub(crate) folders: Vec<String>,
    /// Whether a step could reach others.
    pub(crate) reaches_network: bool,
}

/// What `result` is made of. `pins`: what names were found to stand for.
pub(super) fn used(graph: &Graph, result: VertexId, pins: &Pins) -> Used {
    let is_needed = graph.reachable(&[result]);
    let mut used = Used::default();
    let (mut images, mut repositories, mut files) = (Vec::new(), Vec::new(), Vec::new());
    for (_, vertex) in graph.iter().filter(|(id, _)| is_needed[id.0]) {
        match &vertex.op {
            Op::Source(Source::Image(image)) => {
                let digest = DigestSet::of(digest_of(image, pins));
                let uri = purl::of_image(&image.written, Some(&image.platform));
                images.push(Material { uri, digest: Some(digest) });
            }
            Op::Source(Source::Git(git)) => {
                let pinned = Pins::name_of_git(&git.remote, &git.revision);
                let commit = match &pinned {
                    Some(name) => pins.git.get(name),
                    None => Some(&git.revision),
                };
                let uri = git_uri(git.remote.url(), &git.revision);
                repositories.push(Material { uri, digest: commit.map(|commit| DigestSet::of_commit(commit)) });
            }
            Op::Source(Source::Http(http)) => {
                let found = Pins::name_of_url(http).and_then(|name| pins.urls.get(&name)).cloned();
                let stated = http.checksum.as_ref().and_then(|checksum| checksum.as_str().parse().ok());
                let digest = found.or(stated).map(|digest| DigestSet::of(&digest));
                files.push(Material { uri: redacted(&http.url), digest });
            }
            Op::Source(Source::Local(local)) => used.folders.push(local.name.clone()),
            Op::Exec(exec) => used.add_step(exec),
            Op::Source(Source::Scratch) | Op::File(_) | Op::Merge => {}
        }
    }
    for kind in [images, repositories, files] {
        used.add_materials(kind);
    }
    for list in [&mut used.secrets, &mut used.ssh] {
        list.sort();
        // One that a step has to have is not optional, whatever others say.
        list.dedup_by(|later, kept| later.id == kept.id);
    }
    used.folders.sort();
    used.folders.dedup();
    used
}

/// What the name of `image` stands for.
pub(super) fn digest_of<'a>(image: &'a ImageSource, pins: &'a Pins) -> &'a Digest {
    let pinned = Pins::name_of_image(&image.written).and_then(|name| pins.images.get(&name));
    // What was built here stands for itself, whatever a registry has under the name.
    let named = image.written.digest().or(pinned).filter(|_| image.origin == ImageOrigin::Registry);
    named.unwrap_or(&image.manifest)
}

/// Where the context is that is no folder.
pub(super) fn uri_of_context(context: &ContextLocation) -> Option<String> {
    match context {
        ContextLocation::Folder(_) | ContextLocation::Stdin => None,
        ContextLocation::Git(git) => Some(git_uri(git.remote.url(), &git.revision)),
        ContextLocation::Http(url) => Some(redacted(url)),
    }
}

fn git_uri(remote: &str, revision: &str) -> String {
    match revision {
        "" => redacted(remote),
        revision => format!("{}#{revision}", redacted(remote)),
    }
}

impl Used {
    fn add_materials(&mut self, mut kind: Vec<Material>) {
        kind.sort_by(|a, b| a.uri.cmp(&b.uri));
        kind.dedup_by(|a, b| a.uri == b.uri);
        self.materials.append(&mut kind);
    }

    fn add_step(&mut self, exec: &Exec) {
        self.reaches_network |= exec.network != Network::None;
        for mount in &exec.mounts {
            match mount {
                Mount::Secret(secret) => {
                    self.secrets.push(Lent { id: secret.id.clone(), is_optional: !secret.is_required });
                }
                Mount::Ssh(ssh) => self.ssh.push(Lent { id: ssh.id.clone(), is_optional: !ssh.is_required }),
                Mount::Bind { .. } | Mount::Cache(_) | Mount::Tmpfs { .. } => {}
            }
        }
    }
}
