//! What does `SOURCE_DATE_EPOCH` say? A time, or something that has one (`spec/dockerfile.md` section 8.8).

use slipway_graph::op::Source;
use slipway_graph::{LineRange, MainContext};

use crate::globals::Globals;
use crate::instructions::Command;
use crate::lower::{LowerInputs, remote_source};
use crate::stage_builder::{error_at, error_in};
use crate::stages::{Outside, Stage, Stages, context_called};
use crate::{Diagnostic, Instruction, Span, expand};

pub(crate) const NAME: &str = "SOURCE_DATE_EPOCH";

/// The value while it is worked out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Epoch {
    /// Seconds since 1970, as written; `None` takes back what others say.
    Stated(Option<i64>),
    /// When this changed last; `None` is something without a time, such as a folder of the host.
    Of(Option<Box<Source>>),
}

/// The build arg, else the default of a global `ARG`.
pub(crate) fn find(
    stages: &Stages<'_>,
    globals: &Globals,
    escape: char,
    inputs: &LowerInputs<'_>,
) -> Result<Epoch, Diagnostic> {
    let text = inputs.build_args.get(NAME).cloned().or_else(|| globals.get(NAME)).unwrap_or_default();
    if text.is_empty() {
        return Ok(Epoch::Stated(None));
    }
    if let Ok(seconds) = text.parse() {
        return Ok(Epoch::Stated(Some(seconds)));
    }
    if text == "context" {
        return Ok(Epoch::Of(match inputs.main_context {
            MainContext::Folder(_) => None,
            MainContext::Git(git) => Some(Box::new(Source::Git(git.clone()))),
            MainContext::File(http) | MainContext::Archive(http) => Some(Box::new(Source::Http(http.clone()))),
        }));
    }
    let anywhere = |message: String| error_in(Span::default(), LineRange { first: 1, last: 1 }, message);
    if let Some(outside) = context_called(&text, &inputs.target_platform, inputs).map_err(anywhere)? {
        let source = outside.remote_source().map_err(anywhere)?;
        return Ok(Epoch::Of(source.map(Box::new)));
    }
    let stage = stages.called(&text).ok_or_else(|| anywhere(format!("invalid {NAME}: {text}")))?;
    source_of_stage(stage, globals, escape, inputs).map(|source| Epoch::Of(Some(Box::new(source))))
}

/// What a stage fetches that does nothing else.
fn source_of_stage(
    stage: &Stage<'_>,
    globals: &Globals,
    escape: char,
    inputs: &LowerInputs<'_>,
) -> Result<Source, Diagnostic> {
    let error = |instruction: &Instruction, message: &str| {
        error_at(instruction, instruction.span, format!("{NAME} stage {message}"))
    };
    if stage.base_text != "scratch" {
        return Err(error(stage.from, "must use FROM scratch"));
    }
    let mut variables = globals.clone();
    variables.set(NAME, String::new());
    let mut found = None;
    for line in &stage.lines {
        let instruction: &Instruction = &line.instruction;
        let wrong = |message: String| error_at(instruction, instruction.span, message);
        let fill_in = |text: &str, variables: &Globals| {
            expand::expand(text, escape, |name| variables.get(name)).map_err(|e| e.to_string())
        };
        match &line.command {
            Command::Arg(arg) => {
                for (name, default) in arg.declared() {
                    let value = match (inputs.build_args.get(name), default) {
                        (Some(given), _) => given.clone(),
                        (None, Some(default)) => fill_in(default, &variables).map_err(wrong)?,
                        (None, None) => continue,
                    };
                    variables.set(name, value);
                }
            }
            Command::Copy(copy) if copy.is_add() => {
                let source = copy.only_remote(|text| fill_in(text, &variables)).map_err(wrong)?;
                let source = source.ok_or_else(|| error(instruction, "source must be a single HTTP(S) or Git ADD"))?;
                if found.replace(source).is_some() {
                    return Err(error(instruction, "must contain exactly one remote ADD"));
                }
            }
            _ => {
                let reason = "does not meet source-only requirements: unsupported";
                let keyword = instruction.keyword.as_str();
                return Err(error(instruction, &format!("{reason} {keyword} instruction")));
            }
        }
    }
    found.ok_or_else(|| error(stage.from, "must contain exactly one remote ADD"))
}

impl Outside {
    /// What is fetched, if it is a repository or a file at a URL.
    fn remote_source(&self) -> Result<Option<Source>, String> {
        match self {
            Outside::Url { name, url } => remote_source(name, url).map(Some),
            Outside::Scratch | Outside::Image { .. } | Outside::Folder { .. } | Outside::Linked(_) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use slipway_graph::request::NamedContext;

    use crate::lower::tests::Case;

    fn asked(case: &Case) -> String {
        format!("{:?}", case.time_asked())
    }

    #[test]
    fn a_stage_that_only_fetches_has_a_time() {
        let text =
            "ARG SOURCE_DATE_EPOCH=Src\nARG H=h\nFROM scratch AS src\nARG F=f\nADD https://$H/$F /\nFROM scratch\n";
        assert!(asked(&Case::new(text)).contains("url: \"https://h/f\""), "{}", asked(&Case::new(text)));
        let told = asked(&Case::new(text).arg("F", "g.git"));
        assert!(told.contains("Git(") && told.contains("https://h/g.git"), "{told}");
        for (line, message) in [
            ("COPY a /", "does not meet source-only requirements: unsupported COPY instruction"),
            ("ADD a /", "source must be a single HTTP(S) or Git ADD"),
            ("ADD https://h/a https://h/b /", "source must be a single HTTP(S) or Git ADD"),
            ("ADD https://h/a /\nADD https://h/b /", "must contain exactly one remote ADD"),
            ("ARG X", "must contain exactly one remote ADD"),
        ] {
            let text = format!("ARG SOURCE_DATE_EPOCH=s\nFROM scratch AS s\n{line}\nFROM scratch\n");
            assert_eq!(Case::new(&text).errors(), [format!("SOURCE_DATE_EPOCH stage {message}")], "{line}");
        }
        let based = "ARG SOURCE_DATE_EPOCH=s\nFROM x AS s\nADD https://h/f /\n";
        assert_eq!(Case::new(based).errors(), ["SOURCE_DATE_EPOCH stage must use FROM scratch"]);
    }

    #[test]
    fn contexts_may_have_a_time() {
        let case = || Case::new("ARG SOURCE_DATE_EPOCH\nFROM scratch\nARG SOURCE_DATE_EPOCH\n");
        let of = |name: &str, value: NamedContext| case().arg("SOURCE_DATE_EPOCH", name).context(name, value);
        let url = of("u", NamedContext::Url("https://h/f".to_owned()));
        assert!(asked(&url).contains("url: \"https://h/f\""), "{}", asked(&url));
        // What has no time leaves the variable empty.
        for without in [of("f", NamedContext::Folder("d".into())), case().arg("SOURCE_DATE_EPOCH", "context")] {
            assert_eq!(without.lowered().epoch, None);
            assert_eq!(without.history(), ["ARG SOURCE_DATE_EPOCH="]);
        }
    }

    #[test]
    fn the_variable_is_the_time_that_was_found() {
        let text =
            "ARG SOURCE_DATE_EPOCH=s\nFROM scratch AS s\nADD https://h/f /\nFROM scratch\nARG SOURCE_DATE_EPOCH\n";
        for case in [Case::new(text), Case::new(text).arg("SOURCE_DATE_EPOCH", "s")] {
            let case = case.time(Some(7));
            assert_eq!(case.lowered().epoch, Some(7));
            assert_eq!(case.history(), ["ARG SOURCE_DATE_EPOCH=7"]);
        }
        assert_eq!(Case::new(text).arg("SOURCE_DATE_EPOCH", "+8").history(), ["ARG SOURCE_DATE_EPOCH=+8"]);
    }
}
