//! Which contexts may a build read, and which Dockerfile does it carry out? Step a of a build.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use slipway_dockerfile::{Dockerfile, IgnoreRules};
use slipway_graph::MainContext;
use slipway_graph::op::FolderId;
use slipway_graph::request::{BuildRequest, ContextLocation, ContextModes, DockerfileLocation, NamedContext};
use tempfile::TempDir;

use crate::build::SourceFile;
use crate::contexts::{Contexts, ContextsError};
use crate::remote_context::{self, RemoteContext};
use crate::rootfs::Root;
use crate::stdin_context::{self, StdinContext};

/// Why the Dockerfile cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("unable to prepare context: path \"{}\" not found", .0.display())]
    NoContext(PathBuf),
    #[error("failed to read dockerfile: open {name}: no such file or directory")]
    NoDockerfile { name: String },
    #[error("failed to read dockerfile: open {name}")]
    ReadDockerfile { name: String, source: io::Error },
    #[error("ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles")]
    TwoDockerfiles,
    #[error("cannot look into the context")]
    Context(#[source] io::Error),
    #[error("the base image of the stage cannot be resolved")]
    Unresolved,
    #[error("cannot make a folder for the context")]
    TemporaryFolder(#[source] io::Error),
}

/// What had to be fetched before the Dockerfile can be read.
#[derive(Default)]
pub(crate) struct Fetched {
    pub(crate) context: Option<RemoteContext>,
    /// The Dockerfile at a URL.
    pub(crate) dockerfile: Option<Vec<u8>>,
}

/// Contexts and Dockerfile of a build, found and read.
pub(crate) struct Inputs {
    pub(crate) main_context: MainContext,
    /// Named contexts that are folders.
    pub(crate) folders: BTreeMap<String, FolderId>,
    /// As people know the file.
    dockerfile_name: String,
    /// Where it lies, as typed; the name if it lies nowhere.
    dockerfile_path: String,
    pub(crate) dockerfile_text: Vec<u8>,
    /// A context that came as an archive lies here; removed with the value.
    _temporary: Option<TempDir>,
}

impl Inputs {
    /// The file that was parsed, for messages.
    pub(crate) fn source(&self, dockerfile: &Dockerfile) -> SourceFile {
        SourceFile {
            name: self.dockerfile_name.clone(),
            path: self.dockerfile_path.clone(),
            text: dockerfile.text.clone(),
        }
    }

    /// The ignore rules of the main context; what is remote has none.
    pub(crate) fn ignore_rules(&self, contexts: &Contexts) -> Result<IgnoreRules, ContextsError> {
        match self.main_context {
            MainContext::Folder(folder) => {
                let ignore = contexts.get(folder)?.ignore();
                Ok(ignore.map(|ignore| ignore.rules.clone()).unwrap_or_default())
            }
            MainContext::Git(_) | MainContext::File(_) | MainContext::Archive(_) => Ok(IgnoreRules::default()),
        }
    }
}

/// Step a. The folders go into `contexts`.
pub(crate) fn find_inputs(
    request: &BuildRequest,
    fetched: Fetched,
    stdin: &mut dyn Read,
    contexts: &mut Contexts,
) -> Result<Inputs, Box<dyn Error + Send + Sync>> {
    let modes = request.context_modes;
    let folders = add_named(contexts, &request.named_contexts, modes);
    let mut temporary = None;
    let folder = match &request.context {
        ContextLocation::Git(_) | ContextLocation::Http(_) => {
            let remote = fetched.context.expect("because a context that is elsewhere is fetched first");
            let found = match dockerfile_beside(&request.dockerfile, fetched.dockerfile, stdin)? {
                Some(found) => found,
                None => remote.dockerfile(&request.dockerfile)?,
            };
            return Ok(Inputs {
                main_context: remote.context,
                folders,
                dockerfile_path: found.name.clone(),
                dockerfile_name: found.name,
                dockerfile_text: found.text,
                _temporary: None,
            });
        }
        ContextLocation::Folder(path) if !path.is_dir() => return Err(InputError::NoContext(path.clone()).into()),
        ContextLocation::Folder(path) => path.clone(),
        ContextLocation::Stdin => match stdin_context::read(stdin)? {
            StdinContext::Folder(unpacked) => {
                let path = unpacked.path().to_owned();
                temporary = Some(unpacked);
                path
            }
            StdinContext::Dockerfile(text) => {
                if request.dockerfile != DockerfileLocation::Default {
                    return Err(InputError::TwoDockerfiles.into());
                }
                let empty = tempfile::tempdir().map_err(InputError::TemporaryFolder)?;
                let main = contexts.add(empty.path().to_owned(), None, modes);
                let dockerfile_name = "Dockerfile".to_owned();
                let dockerfile_path = dockerfile_name.clone();
                return Ok(Inputs {
                    main_context: MainContext::Folder(main),
                    folders,
                    dockerfile_name,
                    dockerfile_path,
                    dockerfile_text: text,
                    _temporary: Some(empty),
                });
            }
        },
    };
    let in_archive = temporary.is_some();
    let found = match dockerfile_beside(&request.dockerfile, fetched.dockerfile, stdin)? {
        Some(found) => found,
        // What a stranger packed may hold links to anywhere.
        None if in_archive => {
            let files = Root::open(&folder).map_err(InputError::Context)?;
            remote_context::read(&files, &remote_context::dockerfile_path(&files, &request.dockerfile))?
        }
        None => read_dockerfile(&folder, &request.dockerfile)?,
    };
    let dockerfile_path = match (&found.path, &request.dockerfile) {
        (Some(path), _) => path.strip_prefix("./").unwrap_or(path).to_string_lossy().into_owned(),
        (None, DockerfileLocation::Stdin) => "stdin".to_owned(),
        (None, _) => found.name.clone(),
    };
    let own_ignore_file = found.path.map(|mut path| {
        path.as_mut_os_string().push(".dockerignore");
        path
    });
    let main = match in_archive {
        true => contexts.add_unpacked(folder, modes),
        false => contexts.add(folder, own_ignore_file, modes),
    };
    let (dockerfile_name, dockerfile_text) = (found.name, found.text);
    let main_context = MainContext::Folder(main);
    Ok(Inputs { main_context, folders, dockerfile_name, dockerfile_path, dockerfile_text, _temporary: temporary })
}

/// A Dockerfile that was found.
pub(crate) struct FoundDockerfile {
    /// Where on this machine it lies, if it does.
    pub(crate) path: Option<PathBuf>,
    /// As people know it.
    pub(crate) name: String,
    pub(crate) text: Vec<u8>,
}

/// A Dockerfile that is not in the context: in the request, on standard input, or what was `fetched` from its URL.
fn dockerfile_beside(
    location: &DockerfileLocation,
    fetched: Option<Vec<u8>>,
    stdin: &mut dyn Read,
) -> Result<Option<FoundDockerfile>, InputError> {
    let text = match location {
        DockerfileLocation::Default | DockerfileLocation::Path(_) => return Ok(None),
        DockerfileLocation::Inline(text) => text.clone().into_bytes(),
        DockerfileLocation::Url(_) => fetched.expect("because a Dockerfile that is elsewhere is fetched first"),
        DockerfileLocation::Stdin => {
            read_text(stdin).map_err(|source| InputError::ReadDockerfile { name: "-".to_owned(), source })?
        }
    };
    Ok(Some(FoundDockerfile { path: None, name: "Dockerfile".to_owned(), text }))
}

/// Looks for the Dockerfile on this machine. `folder` is the context; paths are relative to the working directory.
fn read_dockerfile(
    folder: &Path,
    location: &DockerfileLocation,
) -> Result<FoundDockerfile, Box<dyn Error + Send + Sync>> {
    let path = match location {
        DockerfileLocation::Path(path) => path.clone(),
        DockerfileLocation::Default
        | DockerfileLocation::Inline(_)
        | DockerfileLocation::Stdin
        | DockerfileLocation::Url(_) => {
            let usual = folder.join("Dockerfile");
            let lower_case = folder.join("dockerfile");
            if !usual.exists() && lower_case.exists() { lower_case } else { usual }
        }
    };
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let file = match std::fs::File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(InputError::NoDockerfile { name }.into()),
        Err(source) => return Err(InputError::ReadDockerfile { name, source }.into()),
    };
    let text = read_text(file).map_err(|source| InputError::ReadDockerfile { name: name.clone(), source })?;
    Ok(FoundDockerfile { path: Some(path), name, text })
}

/// As large as a million stages; to build those takes 1.5 GB.
const MAX_DOCKERFILE_BYTES: u64 = 16 << 20;

/// The text of a Dockerfile. One that is too long is an error: its beginning would be something else.
pub(crate) fn read_text(file: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.take(MAX_DOCKERFILE_BYTES + 1).read_to_end(&mut text)?;
    match text.len() as u64 > MAX_DOCKERFILE_BYTES {
        true => Err(io::Error::other(format!("longer than {} MiB", MAX_DOCKERFILE_BYTES >> 20))),
        false => Ok(text),
    }
}

fn add_named(
    contexts: &mut Contexts,
    named: &BTreeMap<String, NamedContext>,
    modes: ContextModes,
) -> BTreeMap<String, FolderId> {
    let folders = named.iter().filter_map(|(name, context)| match context {
        NamedContext::Folder(path) => Some((name.clone(), contexts.add(path.clone(), None, modes))),
        NamedContext::Image(_) | NamedContext::OciLayout { .. } | NamedContext::Url(_) | NamedContext::Target(_) => {
            None
        }
    });
    folders.collect()
}
