//! The stages of a file as somebody who wants to look at them sees them: what steps they have, what these take files
//! from, and which stages the target needs. No image has to be known for that.

use slipway_graph::LineRange;
use slipway_graph::git::redacted;

use crate::facts::FactLog;
use crate::instructions::Command;
use crate::lower::LowerInputs;
use crate::stages::{Line, Origin, Outside, Stages};
use crate::step_name::{summary, with_upper_keyword};
use crate::{Diagnostic, Dockerfile};

/// All stages of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// In the order of the file.
    pub stages: Vec<StageOverview>,
    /// The index of the stage to build.
    pub target: usize,
}

/// A stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageOverview {
    /// As in step names: lower case, `stage-1` if it has none.
    pub name: String,
    /// Whether it can be asked for by that name.
    pub is_named: bool,
    pub base: FileOrigin,
    /// The `FROM`.
    pub lines: LineRange,
    /// Whether the target needs it.
    pub is_reached: bool,
    pub steps: Vec<StepOverview>,
}

/// An instruction that makes files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepOverview {
    /// As written, on one line; the first line of a script.
    pub text: String,
    pub lines: LineRange,
    /// Besides what the stage has so far, in the order of the instruction.
    pub takes_from: Vec<FileOrigin>,
}

/// Where files come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileOrigin {
    /// By index.
    Stage(usize),
    /// As written, variables filled in.
    Image(String),
    /// A named context, or the build context, which is called `context`.
    Context(String),
    Scratch,
}

/// Takes a file apart.
///
/// # Errors
/// What keeps the stages from being known, with the texts of the reference builder.
pub fn overview(dockerfile: &Dockerfile, inputs: &LowerInputs<'_>) -> Result<Overview, Vec<Diagnostic>> {
    let log = FactLog::default();
    let (found, _) = Stages::split(&dockerfile.instructions, dockerfile.directives.escape, inputs, &log)?;
    let target = found.target(inputs.target).map_err(|error| vec![error])?;
    let stages = found.stages.iter().enumerate().map(|(index, stage)| StageOverview {
        name: found.display_name(index),
        is_named: stage.name.is_some(),
        base: file_origin(&stage.base),
        lines: stage.from.lines,
        is_reached: false,
        steps: stage.lines.iter().filter(|line| line.command.is_step()).map(|l| step(l, &found, inputs)).collect(),
    });
    let mut overview = Overview { stages: stages.collect(), target };
    overview.mark_reached();
    Ok(overview)
}

fn step(line: &Line<'_>, stages: &Stages<'_>, inputs: &LowerInputs<'_>) -> StepOverview {
    let needs = line.command.needs().into_iter();
    // What is wrong with a name is told when the stage is built.
    let named = needs.filter_map(|need| stages.origin_of_need(need, inputs).ok()).map(|origin| file_origin(&origin));
    let reads_context = matches!(&line.command, Command::Copy(copy) if copy.reads_context());
    let context = reads_context.then(|| FileOrigin::Context("context".to_owned()));
    StepOverview {
        text: summary(&with_upper_keyword(&line.instruction.logical_line)),
        lines: line.instruction.lines,
        takes_from: named.chain(context).collect(),
    }
}

fn file_origin(origin: &Origin) -> FileOrigin {
    match origin {
        Origin::Stage(index) => FileOrigin::Stage(*index),
        Origin::Outside(Outside::Scratch) => FileOrigin::Scratch,
        Origin::Outside(Outside::Image { written, .. }) => FileOrigin::Image(written.clone()),
        Origin::Outside(Outside::Folder { name }) => FileOrigin::Context(name.clone()),
        Origin::Outside(Outside::Url { url, .. }) => FileOrigin::Context(redacted(url)),
        Origin::Outside(Outside::Linked(_)) => FileOrigin::Context("another target".to_owned()),
    }
}

impl Overview {
    fn mark_reached(&mut self) {
        let mut open = vec![self.target];
        while let Some(index) = open.pop() {
            let stage = &mut self.stages[index];
            if stage.is_reached {
                continue;
            }
            stage.is_reached = true;
            let origins = stage.steps.iter().flat_map(|step| &step.takes_from).chain([&stage.base]);
            open.extend(origins.filter_map(|origin| match origin {
                FileOrigin::Stage(index) => Some(*index),
                FileOrigin::Image(_) | FileOrigin::Context(_) | FileOrigin::Scratch => None,
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use slipway_oci::Platform;

    use super::*;
    use crate::parse;

    const TEXT: &str = "\
ARG GO=1.21
FROM golang:${GO} AS Build
ENV A=b
COPY go.mod main.go ./
ADD https://host/file /
RUN --mount=from=tools,target=/t <<EOF
make
EOF
FROM build AS test
RUN go test
FROM scratch
COPY --from=build /app /
COPY --from=nginx:1 /x /
FROM busybox AS tools
";

    fn seen(target: Option<&str>) -> Result<Overview, Vec<Diagnostic>> {
        let args = BTreeMap::from([("GO".to_owned(), "1.22".to_owned())]);
        let inputs = LowerInputs { target, ..LowerInputs::plain(Platform::host(), &args) };
        overview(&parse(TEXT.as_bytes()).0, &inputs)
    }

    #[test]
    fn stages_have_steps_and_what_these_take_from() {
        let found = seen(Some("test")).unwrap();
        let build = &found.stages[0];
        assert_eq!((build.name.as_str(), &build.base), ("build", &FileOrigin::Image("golang:1.22".to_owned())));
        let steps: Vec<_> = build.steps.iter().map(|step| (step.text.as_str(), step.takes_from.as_slice())).collect();
        let context = [FileOrigin::Context("context".to_owned())];
        let expected: [(&str, &[FileOrigin]); 3] = [
            ("COPY go.mod main.go ./", &context),
            ("ADD https://host/file /", &[]),
            ("RUN --mount=from=tools,target=/t <<EOF", &[FileOrigin::Stage(3)]),
        ];
        assert_eq!(steps, expected);
        let last = &found.stages[2];
        assert_eq!((last.name.as_str(), last.is_named, &last.base), ("stage-2", false, &FileOrigin::Scratch));
        let taken: Vec<_> = last.steps.iter().flat_map(|step| step.takes_from.clone()).collect();
        assert_eq!(taken, [FileOrigin::Stage(0), FileOrigin::Image("nginx:1".to_owned())]);
    }

    #[test]
    fn the_target_reaches_what_it_needs() {
        let reached = |target| seen(target).unwrap().stages.iter().map(|stage| stage.is_reached).collect::<Vec<_>>();
        assert_eq!(reached(Some("TEST")), [true, true, false, true]);
        assert_eq!(reached(None), [false, false, false, true]);
        let told = seen(Some("tset")).unwrap_err()[0].message.clone();
        assert_eq!(told, "target stage \"tset\" could not be found (did you mean test?)");
    }
}
