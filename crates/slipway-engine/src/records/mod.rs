//! What is known of a build when it is over, and why its steps had to run.
//!
//! ```text
//! mod        the record: request, steps, results
//! recorder   collects it while the build goes on
//! audience   whose record a step belongs to, where several builds go on together
//! log        what the steps wrote
//! note       the ingredients of one step's key
//! explain    compares the notes of two builds
//! ```
//!
//! A record names the notes of its steps by their definition keys. A note is written by the build that first missed
//! the key; builds that hit refer to it, so a build with nothing to do writes one small row. No secret value is in any
//! of it: values of variables that are called like secrets, and logins in URLs, are left out.

pub(crate) mod audience;
mod explain;
mod log;
mod note;
pub(crate) mod recorder;

use serde::{Deserialize, Serialize};
use slipway_graph::request::{BuildRequest, ContextLocation, DockerfileLocation};
use slipway_graph::{LineRange, git};
use slipway_oci::Digest;
use slipway_solver::Hit;
use slipway_store::{FsError, Store};

pub use explain::{Break, Explanation, FileChange, Outcome, Reason, StepExplanation, explain};
pub use log::{LogError, LogPiece, LogReader, read_log};
pub use note::PartKind;

/// A build that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRecord {
    pub id: String,
    pub request: RequestSummary,
    /// Nanoseconds since 1970.
    pub started_ns: i64,
    /// Nanoseconds since 1970.
    pub completed_ns: i64,
    pub status: Status,
    /// Why there is no result.
    pub error: Option<String>,
    /// Digest of the image config.
    pub image_id: Option<Digest>,
    /// In the order in which they became known.
    pub steps: Vec<StepRecord>,
}

/// How a build ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Completed,
    Error,
    Canceled,
}

/// What was asked for, as far as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestSummary {
    /// A path without links, or a URL without login.
    pub context: String,
    pub dockerfile: String,
    pub target: Option<String>,
    pub platforms: Vec<String>,
    /// Values of those that are called like secrets are left out.
    pub build_args: Vec<(String, String)>,
    pub labels: Vec<(String, String)>,
    pub tags: Vec<String>,
    /// Their ids.
    pub secrets: Vec<String>,
}

/// What became of one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Counted from 0 in the order in which steps were thought of; the log names steps by it.
    pub number: u32,
    pub name: String,
    /// Lines of the Dockerfile, the first and the last.
    pub lines: Option<(usize, usize)>,
    /// Nanoseconds since 1970; `None` if nothing was done for it.
    pub started_ns: Option<i64>,
    /// Nanoseconds since 1970; `None` if it was not finished.
    pub completed_ns: Option<i64>,
    pub error: Option<String>,
    pub is_canceled: bool,
    /// Why it did not run.
    pub hit: Option<HitKind>,
    /// For steps that have a key.
    pub vertex: Option<VertexRecord>,
}

/// What makes a step comparable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VertexRecord {
    /// Its definition key, which names its note.
    pub key: Digest,
    /// Numbers of the steps whose results it uses.
    pub inputs: Vec<u32>,
    /// Results of earlier builds were not to be used.
    pub ignores_cache: bool,
    /// It only provides files: a base image, a folder, a URL.
    pub is_source: bool,
}

/// See [`Hit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HitKind {
    NotNeeded,
    Definition,
    Identity,
    Content,
}

impl From<Hit> for HitKind {
    fn from(hit: Hit) -> HitKind {
        match hit {
            Hit::NotNeeded => HitKind::NotNeeded,
            Hit::Definition => HitKind::Definition,
            Hit::Identity => HitKind::Identity,
            Hit::Content => HitKind::Content,
        }
    }
}

impl BuildRecord {
    /// All builds that `store` remembers, the newest first. What cannot be read is left out: it was written by another
    /// version, or is damaged.
    pub fn all(store: &Store) -> Result<Vec<BuildRecord>, FsError> {
        let kept = store.builds()?;
        Ok(kept.iter().filter_map(|build| serde_json::from_slice(&build.record).ok()).collect())
    }

    /// The step with this number.
    pub fn step(&self, number: u32) -> Option<&StepRecord> {
        self.steps.iter().find(|step| step.number == number)
    }
}

impl StepRecord {
    /// A step of which nothing is known yet.
    fn new(number: u32) -> StepRecord {
        StepRecord {
            number,
            name: String::new(),
            lines: None,
            started_ns: None,
            completed_ns: None,
            error: None,
            is_canceled: false,
            hit: None,
            vertex: None,
        }
    }

    /// Whether work was done for it.
    pub fn ran(&self) -> bool {
        self.started_ns.is_some() && self.hit.is_none()
    }

    /// The stage that it belongs to: `build`, `stage-1`; `None` in a file with one stage and beside stages.
    pub fn stage(&self) -> Option<&str> {
        // The words in brackets are platform, stage and count; the first two only where they are needed.
        let words = self.counter()?.rsplit_once(' ').map(|(words, _)| words.trim_end())?;
        let stage = words.rsplit(' ').next().unwrap_or(words);
        (!stage.contains('/')).then_some(stage)
    }

    /// The instruction, without stage and count.
    pub fn instruction(&self) -> &str {
        match self.counter() {
            Some(counter) => self.name[counter.len() + 2..].trim_start(),
            None => &self.name,
        }
    }

    /// `build 2/3` of `[build 2/3] RUN make`.
    fn counter(&self) -> Option<&str> {
        let (counter, _) = self.name.strip_prefix('[')?.split_once(']')?;
        let (position, total) = counter.rsplit(' ').next()?.split_once('/')?;
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        (is_number(position) && is_number(total)).then_some(counter)
    }
}

impl RequestSummary {
    fn of(request: &BuildRequest) -> RequestSummary {
        let context = match &request.context {
            ContextLocation::Folder(path) => path.canonicalize().unwrap_or_else(|_| path.clone()).display().to_string(),
            ContextLocation::Stdin => "-".to_owned(),
            ContextLocation::Git(reference) => reference.remote.url().to_owned(),
            ContextLocation::Http(url) => git::redacted(url),
        };
        let dockerfile = match &request.dockerfile {
            DockerfileLocation::Default | DockerfileLocation::Inline(_) => "Dockerfile".to_owned(),
            DockerfileLocation::Path(path) => path.display().to_string(),
            DockerfileLocation::Stdin => "-".to_owned(),
            DockerfileLocation::Url(url) => git::redacted(url),
        };
        let shown = |(name, value): (&String, &String)| (name.clone(), note::shown_value(name, value));
        RequestSummary {
            context,
            dockerfile,
            target: request.target.clone(),
            platforms: request.platforms.iter().map(ToString::to_string).collect(),
            build_args: request.build_args.iter().map(shown).collect(),
            labels: request.labels.iter().map(shown).collect(),
            tags: request.tags.iter().map(|tag| tag.familiar()).collect(),
            secrets: request.secrets.iter().map(|secret| secret.id.clone()).collect(),
        }
    }
}

fn lines_of(lines: LineRange) -> (usize, usize) {
    (lines.first, lines.last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_steps_can_be_taken_apart() {
        for (name, stage, instruction) in [
            ("[build 2/3] RUN make", Some("build"), "RUN make"),
            ("[build  2/13] RUN [ -f x ]", Some("build"), "RUN [ -f x ]"),
            ("[2/3] RUN make", None, "RUN make"),
            ("[linux/amd64 build 2/3] RUN make", Some("build"), "RUN make"),
            ("[linux/amd64 2/3] RUN make", None, "RUN make"),
            (
                "[internal] load build definition from Dockerfile",
                None,
                "[internal] load build definition from Dockerfile",
            ),
            ("exporting to image", None, "exporting to image"),
        ] {
            let step = StepRecord { name: name.to_owned(), ..StepRecord::new(0) };
            assert_eq!((step.stage(), step.instruction()), (stage, instruction), "{name}");
        }
    }
}
