//! The checks of a build (`spec/dockerfile.md` section 9) as findings: how bad each is, its `DL` id, and its fix.
//!
//! They need a lowered Dockerfile. Bases are taken for images without anything in their config: a linter asks no
//! registry, so what depends on a base (its platform, its variables) stays unsaid.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use slipway_dockerfile::lint::{self, CheckOptions, LintInputs, Warning};
use slipway_dockerfile::{
    Args, Diagnostic, Dockerfile, Facts, IgnoreRules, Instruction, Keyword, KnownImage, KnownImages, LowerInputs,
    Lowering, Span, lower,
};
use slipway_graph::op::ImageOrigin;
use slipway_oci::{Digest, ImageConfig, Platform};

use crate::source::{Base, Source};
use crate::{Edit, Findings, Rule, Severity};

/// So many rounds of questions about images are answered. Each round gets past a base at least.
const MAX_ROUNDS: usize = 1000;
/// Behind so many mistakes nothing is judged anymore.
const MAX_MISTAKES: usize = 20;

/// The checks as rules. Their severities are those of the rules with the same meaning, else `warning`.
pub(crate) fn rules() -> &'static [Rule] {
    static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
        let rule = |check: &&'static lint::Rule| {
            let keyword = match check.name {
                "MultipleInstructionsDisallowed" => Keyword::Cmd,
                _ => Keyword::From,
            };
            let severity = alias(check.name, keyword).map_or(Severity::Warning, |(_, severity)| severity);
            Rule { id: check.name, severity, summary: check.description, advice: "" }
        };
        lint::RULES.iter().map(rule).collect()
    });
    &RULES
}

/// Ids of other linters for checks of a build.
pub const ALIASES: [&str; 11] =
    ["DL3000", "DL3012", "DL3024", "DL3025", "DL3029", "DL3063", "DL3064", "DL3065", "DL4000", "DL4003", "DL4004"];

/// The `DL` rule of the same meaning, and how bad that is said to be.
fn alias(check: &str, keyword: Keyword) -> Option<(&'static str, Severity)> {
    Some(match (check, keyword) {
        ("WorkdirRelativePath", _) => ("DL3000", Severity::Error),
        ("MultipleInstructionsDisallowed", Keyword::Healthcheck) => ("DL3012", Severity::Error),
        ("MultipleInstructionsDisallowed", Keyword::Cmd) => ("DL4003", Severity::Warning),
        ("MultipleInstructionsDisallowed", _) => ("DL4004", Severity::Error),
        ("DuplicateStageName", _) => ("DL3024", Severity::Error),
        ("JSONArgsRecommended", _) => ("DL3025", Severity::Warning),
        ("FromPlatformFlagConstDisallowed", _) => ("DL3029", Severity::Warning),
        ("ReservedStageName", _) => ("DL3063", Severity::Warning),
        ("SecretsUsedInArgOrEnv", _) => ("DL3064", Severity::Warning),
        ("RedundantTargetPlatform", _) => ("DL3065", Severity::Warning),
        ("MaintainerDeprecated", _) => ("DL4000", Severity::Error),
        _ => return None,
    })
}

/// `errors`: what is wrong with the form of the file.
pub(crate) fn check(source: &Source<'_>, errors: &[Diagnostic], findings: &mut Findings<'_>) {
    let dockerfile = source.dockerfile;
    for warning in warnings(dockerfile, errors).into_iter().filter(|warning| !is_guess(source, warning)) {
        let instruction = dockerfile.instructions.iter().find(|i| i.span == warning.span);
        let keyword = instruction.map_or(Keyword::From, |instruction| instruction.keyword);
        let same = alias(warning.rule.name, keyword);
        let Some(rule) = rules().iter().find(|rule| rule.id == warning.rule.name) else { continue };
        let severity = same.map_or(rule.severity, |(_, severity)| severity);
        let severity = findings.severity(rule.id, same.map(|(id, _)| id), severity);
        let finding = findings.add(rule, warning.lines, warning.message);
        finding.alias = same.map(|(id, _)| id);
        finding.severity = severity;
        finding.edits = instruction.map(|found| edits(rule.id, dockerfile, found)).unwrap_or_default();
    }
}

/// A variable that nothing in the file defines may come from a base that nobody looked at; then only what looks like a
/// slip of the pen is told.
fn is_guess(source: &Source<'_>, warning: &Warning) -> bool {
    let stage = source.stages.iter().rposition(|stage| stage.from.span.start <= warning.span.start);
    let bottom = stage.and_then(|stage| source.chain(stage).pop()).map(|bottom| &source.stages[bottom].base);
    warning.rule.name == "UndefinedVar"
        && matches!(bottom, Some(Base::Image(_)))
        && !warning.message.contains("did you mean")
}

/// What the checks say. Lowering ends at a mistake, and so would they; what follows it is judged as if the instruction
/// with the mistake were not there.
fn warnings(dockerfile: &Dockerfile, form_errors: &[Diagnostic]) -> Vec<Warning> {
    let mut left = dockerfile.clone();
    let mut all: Vec<Warning> = Vec::new();
    for _ in 0..MAX_MISTAKES {
        let (facts, errors) = lowered(&left, form_errors);
        let options = CheckOptions::of(&left, &BTreeMap::new()).unwrap_or_default();
        let ignore_rules = IgnoreRules::default();
        let inputs = LintInputs { options: &options, ignore_rules: &ignore_rules };
        for warning in lint::lint(&left, &facts, &errors, inputs) {
            let is_known = |known: &Warning| known.span == warning.span && known.message == warning.message;
            if !all.iter().any(is_known) {
                all.push(warning);
            }
        }
        let is_wrong = |instruction: &Instruction| {
            // Without these, others would seem to be wrong.
            let is_needed = matches!(instruction.keyword, Keyword::From | Keyword::Arg | Keyword::Env);
            !is_needed && errors.iter().any(|error| error.lines == instruction.lines)
        };
        let n_instructions = left.instructions.len();
        left.instructions.retain(|instruction| !is_wrong(instruction));
        if left.instructions.len() == n_instructions {
            break;
        }
    }
    all
}

/// What lowering finds out, and the mistakes that it ends at.
fn lowered(dockerfile: &Dockerfile, form_errors: &[Diagnostic]) -> (Facts, Vec<Diagnostic>) {
    let no_args = BTreeMap::new();
    let platform = Platform::new("linux", "amd64", None);
    let plain = LowerInputs { needs_all_stages: true, ..LowerInputs::plain(platform, &no_args) };
    let (mut known, mut times) = (KnownImages::new(), Vec::new());
    let rounds = if form_errors.is_empty() { MAX_ROUNDS } else { 0 };
    for _ in 0..rounds {
        let (outcome, facts) = lower(dockerfile, &LowerInputs { source_times: &times, ..plain.clone() }, &known);
        match outcome {
            Ok(Lowering::NeedImages(questions)) => {
                let answers = questions.into_iter().map(|question| {
                    let image = nothing_known(&question.key.platform);
                    (question.key, image)
                });
                known.extend(answers);
            }
            Ok(Lowering::NeedTime(source)) => times.push((*source, None)),
            Ok(Lowering::Done(_)) => return (facts, Vec::new()),
            Err(errors) => return (facts, errors),
        }
    }
    (Facts::default(), form_errors.to_vec())
}

/// An image of which nothing can be said.
fn nothing_known(platform: &Platform) -> KnownImage {
    KnownImage {
        origin: ImageOrigin::Registry,
        manifest: Digest::of(b""),
        chain_id: None,
        config: ImageConfig {
            os: platform.os.clone(),
            architecture: platform.architecture.clone(),
            variant: platform.variant.clone(),
            ..ImageConfig::default()
        },
    }
}

/// What to write instead, where that is sure to build the same.
fn edits(id: &str, dockerfile: &Dockerfile, instruction: &Instruction) -> Vec<Edit> {
    let text = &dockerfile.text;
    let replace = |span: Span, text: String| vec![Edit { span, text }];
    match (id, &instruction.args) {
        ("RedundantTargetPlatform", _) => {
            let Some(flag) = instruction.flags.iter().find(|flag| flag.name == "platform") else { return Vec::new() };
            let blank = text[flag.span.end..].find(|c| !matches!(c, ' ' | '\t')).unwrap_or(0);
            replace(Span { start: flag.span.start, end: flag.span.end + blank }, String::new())
        }
        ("FromAsCasing", Args::Words(words)) if words.len() == 3 => {
            let is_lower = instruction.keyword_word.text == instruction.keyword_word.text.to_lowercase();
            replace(words[1].span, if is_lower { "as" } else { "AS" }.to_owned())
        }
        ("StageNameCasing", Args::Words(words)) if words.len() == 3 => {
            replace(words[2].span, words[2].text.to_lowercase())
        }
        ("ConsistentInstructionCasing", _) => {
            let word = &instruction.keyword_word;
            let is_lower = lint::most_keywords_are_lower(dockerfile);
            replace(word.span, if is_lower { word.text.to_lowercase() } else { word.text.to_uppercase() })
        }
        ("LegacyKeyValueFormat", Args::Pairs { pairs, is_legacy: true }) => match &pairs[..] {
            // Other values would need quotes, and which ones depends on what is in them.
            [(key, value)] if !value.text.is_empty() && value.text.chars().all(is_plain) => {
                replace(Span { start: key.span.start, end: value.span.end }, format!("{}={}", key.text, value.text))
            }
            _ => Vec::new(),
        },
        ("NoEmptyContinuation", _) => empty_lines(text, instruction.span),
        _ => Vec::new(),
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '+' | ',' | '@' | '%')
}

/// Takes the empty lines out of `span`.
fn empty_lines(text: &str, span: Span) -> Vec<Edit> {
    let mut start = span.start;
    let mut edits = Vec::new();
    for line in text[span.range()].split_inclusive('\n') {
        if line.trim().is_empty() {
            edits.push(Edit { span: Span { start, end: start + line.len() }, text: String::new() });
        }
        start += line.len();
    }
    edits
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_fix, check_hits, check_silent};

    #[test]
    fn checks_of_a_build_speak_without_a_registry() {
        check_hits("WorkdirRelativePath", &["WORKDIR x\n"]);
        check_hits("JSONArgsRecommended", &["CMD x y\n"]);
        check_hits("MultipleInstructionsDisallowed", &["CMD [\"a\"]\nCMD [\"b\"]\n"]);
        check_hits("UndefinedVar", &["FROM scratch\nENV A=$B\n", "ENV VERSION=1\nENV A=$VERSON\n"]);
        // The base may well define it.
        check_silent("UndefinedVar", &["ENV A=$JAVA_HOME\n"]);
    }

    #[test]
    fn what_follows_a_mistake_is_judged_too() {
        let text = "EXPOSE 80000\nCOPY --chmod=x a /a\nCMD x\nCMD y\nFROM b:1\nWORKDIR z\n";
        for id in ["DL3011", "JSONArgsRecommended", "MultipleInstructionsDisallowed", "WorkdirRelativePath"] {
            check_hits(id, &[&format!("FROM a:1\n{text}")]);
        }
        check_silent("JSONArgsRecommended", &["EXPOSE 80000\nCMD [\"x\"]\n"]);
    }

    #[test]
    fn spellings_are_fixed() {
        check_fix("FromAsCasing", "from a:1 AS b\n", "from a:1 as b\n");
        check_fix("StageNameCasing", "FROM a:1 AS Bc\n", "FROM a:1 AS bc\n");
        check_fix("ConsistentInstructionCasing", "FROM a:1\nrun x\n", "FROM a:1\nRUN x\n");
        check_fix("LegacyKeyValueFormat", "FROM a:1\nENV a b\n", "FROM a:1\nENV a=b\n");
        check_fix("LegacyKeyValueFormat", "FROM a:1\nENV a b c\n", "FROM a:1\nENV a b c\n");
        check_fix("NoEmptyContinuation", "FROM a:1\nRUN x \\\n\n  y\n", "FROM a:1\nRUN x \\\n  y\n");
        let redundant = "FROM --platform=$TARGETPLATFORM a:1\n";
        check_fix("RedundantTargetPlatform", redundant, "FROM a:1\n");
    }

    #[test]
    fn other_linters_names_are_known() {
        check_silent("WorkdirRelativePath", &["# hadolint ignore=DL3000\nWORKDIR x\n"]);
    }
}
