//! Which line of a Dockerfile made each layer of an image?
//!
//! Layers have no names in them, so somebody has to remember: the records of builds know the layers that they made.
//! For an image that was built elsewhere its history is compared with a Dockerfile, if one is named ([`of_dockerfile`]).

mod of_dockerfile;

use slipway_analyze::{LayerSource, Origin, Place, Supplier};
use slipway_engine::BuildRecord;
use slipway_graph::step_name::StepName;

pub(super) use of_dockerfile::{DockerfileError, DockerfileQuestion};

/// The stage of a Dockerfile that has one only, without a name.
const ONLY_STAGE: &str = "image";

/// Says of each layer which line made it, as far as one of `builds`, the newest first, made it.
///
/// Of several builds the one counts that knows most of the layers: it made the image, the others what it is based on.
pub(super) fn from_records(layers: &mut [LayerSource<'_>], builds: &[BuildRecord]) {
    let knows = |build: &BuildRecord, layer: &LayerSource<'_>| {
        build.layers.iter().any(|known| known.diff_id.0.as_str() == layer.digest)
    };
    let n_known = |build: &&BuildRecord| layers.iter().filter(|layer| knows(build, layer)).count();
    let mut builds: Vec<&BuildRecord> = builds.iter().filter(|build| n_known(build) > 0).collect();
    builds.sort_by_cached_key(|build| std::cmp::Reverse(n_known(build)));
    for layer in layers {
        layer.origin = builds.iter().find_map(|build| {
            let known = build.layers.iter().find(|known| known.diff_id.0.as_str() == layer.digest)?;
            origin(&RecordedSteps(build), known.step?, &build.request.dockerfile)
        });
    }
}

/// A step that is known, from a build that is over or from a Dockerfile.
struct Step<'a> {
    name: StepName<'a>,
    lines: Option<(usize, usize)>,
    /// What it builds on, then what it takes files from.
    inputs: Vec<u32>,
    /// It only provides files.
    is_source: bool,
}

/// Steps by number.
trait Steps {
    fn step(&self, number: u32) -> Option<Step<'_>>;
}

struct RecordedSteps<'a>(&'a BuildRecord);

impl Steps for RecordedSteps<'_> {
    fn step(&self, number: u32) -> Option<Step<'_>> {
        let step = self.0.step(number)?;
        let vertex = step.vertex.as_ref()?;
        let (inputs, is_source) = (vertex.inputs.clone(), vertex.is_source);
        Some(Step { name: StepName(&step.name), lines: step.lines, inputs, is_source })
    }
}

/// What the step `number` of `file` has to do with the layer that it made.
fn origin(steps: &impl Steps, number: u32, file: &str) -> Option<Origin> {
    let step = steps.step(number)?;
    let (first_line, last_line) = step.lines?;
    let is_copy = ["COPY ", "ADD "].iter().any(|keyword| step.name.instruction().starts_with(keyword));
    let copied = step.inputs.iter().skip(1).filter(|_| is_copy);
    let copied = copied.filter_map(|input| supplier(&steps.step(*input)?)).next();
    let own_stage = step.name.stage().unwrap_or(ONLY_STAGE).to_owned();
    let from = match (step.is_source, copied) {
        (true, _) => Supplier::BaseImage(image_name(step.name).to_owned()),
        (false, Some(copied)) => copied,
        (false, None) => Supplier::Stage(own_stage),
    };
    let place = Place { file: file.to_owned(), first_line, last_line };
    Some(Origin { from, stage: step.name.stage().map(str::to_owned), place })
}

/// Whose files the result of `step` is; nobody's if they are the user's own.
fn supplier(step: &Step<'_>) -> Option<Supplier> {
    match (step.name.group(), step.is_source) {
        (Some(_), _) => Some(Supplier::Stage(step.name.stage().unwrap_or(ONLY_STAGE).to_owned())),
        (None, true) => step.name.0.starts_with("FROM ").then(|| Supplier::Image(image_name(step.name).to_owned())),
        (None, false) => None,
    }
}

/// What a `FROM` names, without its digest.
fn image_name(name: StepName<'_>) -> &str {
    let image = name.instruction();
    let image = image.strip_prefix("FROM ").unwrap_or(image);
    image.split_once('@').map_or(image, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Listed(Vec<(&'static str, Option<usize>, Vec<u32>, bool)>);

    impl Steps for Listed {
        fn step(&self, number: u32) -> Option<Step<'_>> {
            let (name, line, inputs, is_source) = self.0.get(number as usize)?;
            let (name, lines) = (StepName(name), line.map(|line| (line, line)));
            Some(Step { name, lines, inputs: inputs.clone(), is_source: *is_source })
        }
    }

    #[test]
    fn what_is_copied_belongs_to_who_made_it() {
        let steps = Listed(vec![
            ("[build 1/2] FROM docker.io/library/golang:1@sha256:aa", Some(1), vec![], true),
            ("[build 2/2] RUN make", Some(2), vec![0], false),
            ("[final 1/6] FROM docker.io/library/alpine:3", Some(3), vec![], true),
            ("[final 2/6] COPY --from=build /app /", Some(4), vec![2, 1], false),
            ("FROM docker.io/library/nginx:1", None, vec![], true),
            ("[final 3/6] COPY --from=nginx:1 /x /", Some(5), vec![3, 4], false),
            ("[internal] load build context", None, vec![], true),
            ("[final 4/6] COPY a b /", Some(6), vec![5, 6], false),
            ("[final 5/6] RUN --mount=from=build,target=/b cp /b/x /x", Some(7), vec![7, 1], false),
            ("[final 6/6] COPY --from=golang / /", Some(8), vec![8, 0], false),
        ]);
        let told = |number| origin(&steps, number, "Dockerfile").map(|origin| origin.to_string());
        for (number, expected) in [
            (1, "Dockerfile:2, stage build"),
            (2, "Dockerfile:3, stage final, base image docker.io/library/alpine:3"),
            (3, "Dockerfile:4, stage final, from stage build"),
            (5, "Dockerfile:5, stage final, from image docker.io/library/nginx:1"),
            (7, "Dockerfile:6, stage final"),
            (8, "Dockerfile:7, stage final"),
            (9, "Dockerfile:8, stage final, from stage build"),
        ] {
            assert_eq!(told(number).as_deref(), Some(expected), "step {number}");
        }
        assert_eq!((told(6), told(99)), (None, None));
    }
}
