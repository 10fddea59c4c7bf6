//! Which line of a Dockerfile made each layer of an image that somebody else built?
//!
//! The Dockerfile is read as for a build, with an image of which nothing is known in the place of each that it names.
//! That gives the history that BuildKit would write, an entry a layer, and it is compared with the image's, in the words
//! that all builders share: what a `RUN` runs, where a `COPY` puts something. What has no counterpart is not known; but
//! what lies below the first line is the base image, if that line has one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::{fs, io};

use slipway_analyze::{LayerSource, Origin};
use slipway_dockerfile::{Diagnostic, KnownImage, KnownImages, LowerInputs, Lowered, Lowering, lower, parse};
use slipway_graph::op::{ImageOrigin, Op};
use slipway_graph::step_name::StepName;
use slipway_graph::{Graph, VertexId};
use slipway_oci::{ChainId, Digest, ImageConfig, Platform};

use super::{Step, Steps, origin};

/// More layers and lines than this are not compared: images have 127 layers at most.
const MAX_COMPARED: usize = 1000;
const SHELL: &str = "/bin/sh -c ";
/// What older builders put in front of all but `RUN`.
const NO_RUN: &str = "#(nop) ";

/// Why a Dockerfile cannot be compared with an image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DockerfileError {
    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("`{}` is no Dockerfile that can be built: {reason}", path.display())]
    Bad { path: PathBuf, reason: String },
}

/// The Dockerfile that an image is said to be built from.
#[derive(Clone, Debug)]
pub(crate) struct DockerfileQuestion {
    pub(crate) path: PathBuf,
    pub(crate) target: Option<String>,
    pub(crate) build_args: BTreeMap<String, String>,
    pub(crate) platform: Platform,
}

impl DockerfileQuestion {
    /// Says of each layer of which nothing is known which line made it, as far as there is one that fits.
    pub(crate) fn answer(&self, layers: &mut [LayerSource<'_>]) -> Result<(), DockerfileError> {
        let read = |source| DockerfileError::Read { path: self.path.clone(), source };
        let text = fs::read(&self.path).map_err(read)?;
        let lowered = self.lowered(&text).map_err(|reason| DockerfileError::Bad { path: self.path.clone(), reason })?;
        let made = made_layers(&lowered);
        let ours: Vec<String> = made.iter().map(|(_, command)| canonical(command)).collect();
        let theirs: Vec<String> = layers.iter().map(|layer| canonical(&layer.command)).collect();
        let matches = aligned(&theirs, &ours);
        let (steps, file) = (PlannedSteps(&lowered.graph), self.path.display().to_string());
        let base = bottom(&lowered).and_then(|bottom| origin(&steps, number_of(bottom), &file));
        let is_base_known = matches.iter().flatten().next() == Some(&0);
        let n_below = matches.iter().position(Option::is_some).filter(|_| is_base_known).unwrap_or(0);
        for (index, (layer, found)) in layers.iter_mut().zip(matches).enumerate() {
            let line = || -> Option<Origin> {
                match found {
                    Some(place) => origin(&steps, number_of(made[place].0), &file),
                    None => base.clone().filter(|_| index < n_below),
                }
            };
            layer.origin = layer.origin.take().or_else(line);
        }
        Ok(())
    }

    fn lowered(&self, text: &[u8]) -> Result<Lowered, String> {
        let told = |problems: &[Diagnostic]| problems.first().map_or_else(String::new, Diagnostic::headline);
        let (dockerfile, _) = parse(text);
        let target = self.target.as_deref();
        let inputs = LowerInputs { target, ..LowerInputs::plain(self.platform.clone(), &self.build_args) };
        let mut known = KnownImages::new();
        loop {
            match lower(&dockerfile, &inputs, &known).0.map_err(|problems| told(&problems))? {
                Lowering::Done(lowered) => return Ok(*lowered),
                Lowering::NeedImages(questions) => {
                    known.extend(questions.into_iter().map(|question| (question.key, unknown_image())));
                }
                Lowering::NeedTime(_) => return Err("SOURCE_DATE_EPOCH refers to a repository".to_owned()),
            }
        }
    }
}

/// What stands for a base image: neither its settings nor its files matter here. One without layers would be no source.
fn unknown_image() -> KnownImage {
    let manifest = Digest::of(b"an image that is not looked at");
    let chain_id = Some(ChainId(manifest.clone()));
    KnownImage { origin: ImageOrigin::Registry, manifest, chain_id, config: ImageConfig::default() }
}

/// The steps that make layers, bottom first, with what the history says of each.
fn made_layers(lowered: &Lowered) -> Vec<(VertexId, String)> {
    let mut vertices = Vec::new();
    let mut current = lowered.result;
    loop {
        let vertex = lowered.graph.vertex(current);
        let maker = match (&vertex.op, vertex.inputs.as_slice()) {
            (Op::Source(_), _) => break,
            // What is merged onto something is a layer of its own.
            (Op::Merge, [_, top]) => *top,
            _ => current,
        };
        vertices.push(maker);
        let Some(below) = vertex.inputs.first() else { break };
        current = *below;
    }
    vertices.reverse();
    let history = lowered.config.history.iter().skip(lowered.n_base_history).filter(|entry| !entry.empty_layer);
    let commands = history.map(|entry| entry.created_by.clone().unwrap_or_default());
    vertices.into_iter().zip(commands).collect()
}

/// What the image begins with.
fn bottom(lowered: &Lowered) -> Option<VertexId> {
    let mut current = lowered.result;
    while !matches!(lowered.graph.vertex(current).op, Op::Source(_)) {
        current = *lowered.graph.vertex(current).inputs.first()?;
    }
    Some(current)
}

struct PlannedSteps<'a>(&'a Graph);

impl Steps for PlannedSteps<'_> {
    fn step(&self, number: u32) -> Option<Step<'_>> {
        let (_, vertex) = self.0.iter().nth(usize::try_from(number).ok()?)?;
        Some(Step {
            name: StepName(&vertex.name),
            lines: vertex.lines.map(|lines| (lines.first, lines.last)),
            inputs: vertex.inputs.iter().map(|input| number_of(*input)).collect(),
            is_source: matches!(vertex.op, Op::Source(_)),
        })
    }
}

fn number_of(vertex: VertexId) -> u32 {
    u32::try_from(vertex.0).expect("because a graph has fewer vertices than a Dockerfile has bytes")
}

/// What all builders say of a command, whatever they put around it.
///
/// | builder | `RUN make` | `COPY a /b/` |
/// |---|---|---|
/// | BuildKit | `RUN /bin/sh -c make # buildkit` | `COPY a /b/ # buildkit` |
/// | the one before it, Buildah | `/bin/sh -c make` | `/bin/sh -c #(nop) COPY file:aa… in /b/ ` |
/// | Kaniko | `RUN make` | `COPY a /b/` |
fn canonical(command: &str) -> String {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let command = command.trim();
    let command = command.strip_suffix("# buildkit").unwrap_or(command).trim();
    let plain = command.strip_prefix(SHELL).unwrap_or(command);
    let plain = plain.trim_start().strip_prefix(NO_RUN).unwrap_or(plain).trim();
    match plain.split_once(char::is_whitespace) {
        Some((keyword @ ("COPY" | "ADD"), rest)) => {
            let rest: Vec<&str> = rest.split_whitespace().filter(|word| !word.starts_with("--")).collect();
            format!("{keyword} {}", rest.last().copied().unwrap_or_default())
        }
        Some((keyword @ "WORKDIR", rest)) => format!("{keyword} {}", words(rest)),
        _ => format!("RUN {}", words(script(plain))),
    }
}

/// What a `RUN` runs, without the values of build arguments (`|1 A=b`) and the shell.
fn script(run: &str) -> &str {
    let run = run.strip_prefix("RUN ").unwrap_or(run).trim_start();
    if !run.starts_with(['/', '|']) {
        return run;
    }
    run.split_once(" -c ").map_or(run, |(_, script)| script)
}

/// For each of `theirs` the one of `ours` that it is equal to: the longest sequence in the order of both, as late as
/// possible.
fn aligned(theirs: &[String], ours: &[String]) -> Vec<Option<usize>> {
    let mut matches = vec![None; theirs.len()];
    if theirs.len().max(ours.len()) > MAX_COMPARED {
        return matches;
    }
    // How long the sequence is in the first so many of both.
    let mut lengths = vec![vec![0_u16; ours.len() + 1]; theirs.len() + 1];
    for (row, their) in theirs.iter().enumerate() {
        for (column, our) in ours.iter().enumerate() {
            lengths[row + 1][column + 1] = match their == our {
                true => lengths[row][column] + 1,
                false => lengths[row][column + 1].max(lengths[row + 1][column]),
            };
        }
    }
    let (mut row, mut column) = (theirs.len(), ours.len());
    while row > 0 && column > 0 {
        if theirs[row - 1] == ours[column - 1] {
            (row, column) = (row - 1, column - 1);
            matches[row] = Some(column);
        } else if lengths[row - 1][column] >= lengths[row][column - 1] {
            row -= 1;
        } else {
            column -= 1;
        }
    }
    matches
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use super::*;

    #[test]
    fn builders_say_the_same_in_other_words() {
        for (expected, commands) in [
            (
                "RUN make && make install",
                &[
                    "RUN /bin/sh -c make &&     make install # buildkit",
                    "RUN |2 A=b C=d /bin/sh -c make && make install # buildkit",
                    "RUN /bin/bash -o pipefail -c make && make install # buildkit",
                    "/bin/sh -c make && make install",
                    "make && make install",
                    "RUN make && make install",
                ][..],
            ),
            (
                "COPY /b/",
                &[
                    "COPY a x /b/ # buildkit",
                    "/bin/sh -c #(nop) COPY dir:ab12 in /b/ ",
                    "#(nop) COPY a in /b/",
                    "COPY --link a /b/",
                ],
            ),
            ("WORKDIR /app", &["WORKDIR /app", "/bin/sh -c #(nop) WORKDIR /app"]),
            ("ADD /", &["/bin/sh -c #(nop) ADD file:00 in / "]),
        ] {
            for command in commands {
                assert_eq!(canonical(command), expected, "{command}");
            }
        }
    }

    #[test]
    fn sequences_are_aligned_from_their_ends() {
        let list = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        for (theirs, ours, expected) in [
            ("xyab", "ab", vec![None, None, Some(0), Some(1)]),
            ("xab", "aqb", vec![None, Some(0), Some(2)]),
            ("aa", "a", vec![None, Some(0)]),
            ("x", "", vec![None]),
            ("", "a", vec![]),
        ] {
            assert_eq!(aligned(&list(theirs), &list(ours)), expected, "{theirs} {ours}");
        }
    }

    const DOCKERFILE: &str = "\
FROM golang AS build
ARG V=1
RUN make
FROM alpine AS final
ENV X=/srv
WORKDIR $X
COPY --from=build /app /bin/
RUN strip \\
  /bin/app
COPY --link conf /etc/
CMD [\"app\"]
";

    fn told(history: &[&str]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Dockerfile");
        fs::write(&path, DOCKERFILE).unwrap();
        let layer = |command: &&str| LayerSource {
            id: String::new(),
            digest: String::new(),
            command: (*command).to_owned(),
            origin: None,
            compressed_bytes: None,
            open: Box::new(|| Ok(Box::new(Cursor::new([])) as Box<dyn Read>)),
        };
        let mut layers: Vec<_> = history.iter().map(layer).collect();
        let platform = Platform::host();
        let question = DockerfileQuestion { path: path.clone(), target: None, build_args: BTreeMap::new(), platform };
        question.answer(&mut layers).unwrap();
        let shown = |layer: &LayerSource<'_>| layer.origin.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
        layers.iter().map(|layer| shown(layer).replace(&path.display().to_string(), "")).collect()
    }

    #[test]
    fn layers_are_found_in_a_dockerfile() {
        let all = [
            ":4, stage final, base image docker.io/library/alpine:latest",
            ":6, stage final",
            ":7, stage final, from stage build",
            ":8-9, stage final",
            ":10, stage final",
        ];
        let buildkit = [
            "ADD rootfs / # buildkit",
            "WORKDIR /srv",
            "COPY /app /bin/ # buildkit",
            "RUN /bin/sh -c strip   /bin/app # buildkit",
            "COPY conf /etc/ # buildkit",
        ];
        assert_eq!(told(&buildkit), all);
        let buildah = [
            "#(nop) ADD file:0 in / ",
            "#(nop) WORKDIR /srv",
            "#(nop) COPY dir:1 in /bin/ ",
            "strip   /bin/app",
            "#(nop) COPY file:2 in /etc/ ",
        ];
        assert_eq!(told(&buildah), all);
        // What is not in the file is not known, and so is what is below, if its first line is not there.
        let changed = ["ADD rootfs /", "COPY /app /bin/", "RUN apk add curl", "COPY conf /etc/"];
        assert_eq!(told(&changed), ["?", all[2], "?", all[4]]);
        assert_eq!(told(&["COPY other /other"]), ["?"]);
    }
}
