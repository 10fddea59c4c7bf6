//! What are the files that `COPY` without `--from` reads? A folder of the host, or something remote.

use slipway_oci::Platform;

use crate::git::redacted;
use crate::graph::{Graph, Vertex, VertexId};
use crate::op::{CopyAction, FileAction, FileOp, FolderId, GitSource, HttpSource, LocalSource, Op, Source, Unpack};

/// The main build context (`spec/dockerfile.md` section 5.4). Ignore files belong to folders only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MainContext {
    /// A folder of the host; an archive on standard input is unpacked to one.
    Folder(FolderId),
    Git(GitSource),
    /// One file at a URL, called [`MainContext::FILE`].
    File(HttpSource),
    /// What is in the archive at a URL.
    Archive(HttpSource),
}

impl MainContext {
    /// How the file of a context is called that is one file.
    pub const FILE: &str = "context";

    /// Adds the vertex that gives the files.
    pub fn add_to(&self, graph: &mut Graph, platform: &Platform) -> VertexId {
        let mut add = |op, inputs, name: &str| {
            let (platform, name) = (platform.clone(), name.to_owned());
            graph.add(Vertex { op, inputs, platform, name, ignores_cache: false, lines: None })
        };
        const DOWNLOAD: &str = "[internal] load remote build context";
        match self {
            MainContext::Folder(folder) => {
                let local = LocalSource { name: "context".to_owned(), folder: *folder };
                add(Op::Source(Source::Local(local)), Vec::new(), "[internal] load build context")
            }
            MainContext::Git(git) => {
                let name = format!("[internal] load git source {}", git_name(git));
                add(Op::Source(Source::Git(git.clone())), Vec::new(), &name)
            }
            MainContext::File(http) => add(Op::Source(Source::Http(http.clone())), Vec::new(), DOWNLOAD),
            MainContext::Archive(http) => {
                let scratch = add(Op::Source(Source::Scratch), Vec::new(), "[internal] scratch");
                let archive = add(Op::Source(Source::Http(http.clone())), Vec::new(), DOWNLOAD);
                let unpack = CopyAction {
                    input: 1,
                    source: format!("/{}", http.filename),
                    dest: "/".to_owned(),
                    has_wildcard: false,
                    unpack: Unpack::IfArchive,
                    owner: None,
                    mode: None,
                    excludes: Vec::new(),
                    parents_root: None,
                };
                let op = Op::File(FileOp { actions: vec![FileAction::Copy(unpack)] });
                add(op, vec![scratch, archive], "[internal] unpack remote build context")
            }
        }
    }
}

fn git_name(git: &GitSource) -> String {
    let mut name = redacted(git.remote.url());
    if !git.revision.is_empty() || !git.subdir.is_empty() {
        name += &format!("#{}", git.revision);
    }
    if !git.subdir.is_empty() {
        name += &format!(":{}", git.subdir);
    }
    name
}
