//! Which files of this machine does a build read, and which does it write?

use std::fs;
use std::path::{Path, PathBuf};

use slipway_dockerfile::IgnoreRules;
use slipway_graph::request::{
    BuildRequest, CachePlace, ContextLocation, Destination, DockerfileLocation, NamedContext, Output, SecretSource,
};

use super::is_within;

/// Files that a build reads, as absolute paths.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    pub(super) folders: Vec<Folder>,
    pub(super) files: Vec<PathBuf>,
    /// What builds write themselves, which may lie in a context.
    pub(super) written: Vec<PathBuf>,
}

/// A folder of files, but for those that its ignore file leaves out.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// Of these, the first that is there counts.
    ignore_files: Vec<PathBuf>,
    /// If no ignore file is there.
    patterns: Vec<String>,
}

impl Folder {
    /// The rules as they are now.
    pub(super) fn rules(&self) -> IgnoreRules {
        let rules = match self.ignore_files.iter().find_map(|path| fs::read(path).ok()) {
            Some(text) => IgnoreRules::parse(&text),
            None => IgnoreRules::from_patterns(self.patterns.iter().map(String::as_str)),
        };
        // What is wrong with them is told by the build.
        rules.unwrap_or_default()
    }
}

impl Sources {
    /// Single files.
    pub(crate) fn of_files(files: impl IntoIterator<Item = PathBuf>) -> Sources {
        let files = files.into_iter().map(|path| absolute(&path)).collect();
        Sources { files, ..Sources::default() }
    }

    /// A file, or a folder but for what `ignored`, patterns as in `.dockerignore`, leaves out.
    pub(crate) fn of_path(path: &Path, ignored: Vec<String>) -> Sources {
        if path.is_file() {
            return Sources::of_files([path.to_owned()]);
        }
        let folder = Folder { path: absolute(path), ignore_files: Vec::new(), patterns: ignored };
        Sources { folders: vec![folder], ..Sources::default() }
    }

    /// A context that is a folder, and the Dockerfile of its build.
    pub(crate) fn of_context(context: &Path, dockerfile: Option<&Path>) -> Sources {
        let mut sources = Sources::of_files(dockerfile.map(Path::to_owned));
        sources.add_folder(context, dockerfile.map(own_ignore_file));
        sources
    }

    /// Adds a further context.
    pub(crate) fn and_context(mut self, context: &Path) -> Sources {
        self.add_folder(context, None);
        self
    }

    /// The context, the Dockerfile, further contexts and secrets, as far as they are files of this machine.
    pub(crate) fn of_request(request: &BuildRequest) -> Sources {
        let mut sources = Sources::default();
        let dockerfile = match (&request.dockerfile, &request.context) {
            (DockerfileLocation::Path(path), _) => Some(path.clone()),
            (DockerfileLocation::Default, ContextLocation::Folder(context)) => Some(context.join("Dockerfile")),
            _ => None,
        };
        let own_ignore_file = dockerfile.as_deref().map(own_ignore_file);
        if let ContextLocation::Folder(context) = &request.context {
            sources.add_folder(context, own_ignore_file);
        }
        for context in request.named_contexts.values() {
            match context {
                NamedContext::Folder(path) => sources.add_folder(path, None),
                NamedContext::OciLayout { path, .. } => sources.files.push(absolute(&path.join("index.json"))),
                NamedContext::Image(_) | NamedContext::Url(_) | NamedContext::Target(_) => {}
            }
        }
        sources.files.extend(dockerfile.map(|path| absolute(&path)));
        let secrets = request.secrets.iter().filter_map(|secret| match &secret.source {
            SecretSource::File(path) => Some(absolute(path)),
            SecretSource::Value(_) => None,
        });
        sources.files.extend(secrets);
        sources.written = written(request).iter().map(|path| absolute(path)).collect();
        sources
    }

    fn add_folder(&mut self, path: &Path, own_ignore_file: Option<PathBuf>) {
        let ignore_files = own_ignore_file.into_iter().chain([path.join(".dockerignore")]);
        let ignore_files: Vec<PathBuf> = ignore_files.map(|path| absolute(&path)).collect();
        self.files.extend(ignore_files.iter().cloned());
        self.folders.push(Folder { path: absolute(path), ignore_files, patterns: Vec::new() });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.folders.is_empty() && self.files.is_empty()
    }

    /// Whether `path`, which has changed, is one of these files.
    pub(crate) fn has(&self, path: &Path) -> bool {
        let is_in = |folder: &Folder| {
            path.strip_prefix(&folder.path).is_ok_and(|relative| {
                let verdict = folder.rules().verdict_from_root(relative.as_os_str().as_encoded_bytes());
                !verdict.is_excluded()
            })
        };
        self.files.iter().any(|file| file == path)
            || (self.folders.iter().any(is_in) && !self.written.iter().any(|written| is_within(path, written)))
    }
}

/// The ignore file that is for one Dockerfile alone.
fn own_ignore_file(dockerfile: &Path) -> PathBuf {
    let mut path = dockerfile.to_owned();
    path.as_mut_os_string().push(".dockerignore");
    path
}

/// A path that stays the same whatever it is compared with; `..` and links are as they were typed.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).map(|path| path.components().collect()).unwrap_or_else(|_| path.to_owned())
}

/// What a build writes beside images.
fn written(request: &BuildRequest) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = request.iidfile.iter().chain(&request.metadata_file).cloned().collect();
    paths.extend(request.lock_file());
    for output in &request.outputs {
        let dest = match output {
            Output::Oci { dest, .. } | Output::Docker { dest, .. } | Output::Tar { dest, .. } => dest,
            Output::Local { dest, .. } => {
                paths.push(dest.clone());
                continue;
            }
            Output::Image(_) | Output::Load { .. } | Output::CacheOnly => continue,
        };
        if let Destination::File(path) | Destination::Folder(path) = dest {
            paths.push(path.clone());
        }
    }
    let caches = request.cache_to.iter().filter_map(|target| match &target.place {
        CachePlace::Local { path, .. } => Some(path.clone()),
        _ => None,
    });
    paths.extend(caches);
    paths
}
