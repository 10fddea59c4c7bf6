//! Judges Dockerfiles: what builds well and still is a bad idea.
//!
//! Three kinds of rules, told apart by their ids: the checks of a build (`FromAsCasing`; they live in
//! `slipway-dockerfile`, here they get severities and fixes), the well-known `DL` rules (`spec/analyze.md` section 8) and
//! those about stages (`BuildToolsInFinalStage`). No I/O: text in, findings out.

mod build_checks;
mod fix;
mod form;
mod registry_pattern;
mod rules;
mod scripts;
mod severity;
mod shell;
mod silence;
mod source;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use slipway_dockerfile::{Diagnostic, Dockerfile, Span, with_form_errors};
use slipway_graph::LineRange;

pub use build_checks::ALIASES;
pub use fix::{Edit, fixed};
pub use rules::{LabelKind, NoLabelKind, all_rules};
pub use scripts::{Dialect, Script, ShellFinding, scripts};
pub use severity::{NoSeverity, Severity};

use silence::Silences;
use source::{Source, Step};

/// A rule: what it is called, how bad a breach is, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    pub id: &'static str,
    /// Unless the options say otherwise.
    pub severity: Severity,
    /// What is found, in a few words.
    pub summary: &'static str,
    /// Why that is bad, and what to do instead.
    pub advice: &'static str,
}

/// Something that a rule found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// That of a rule, or of a finding of another linter.
    pub id: Cow<'static, str>,
    /// The same under the name that other linters give it.
    pub alias: Option<&'static str>,
    pub severity: Severity,
    /// One line, without a full stop.
    pub message: String,
    pub advice: &'static str,
    pub lines: LineRange,
    /// What to change so that the rule is kept and the image stays the same; empty where only a person can tell.
    pub edits: Vec<Edit>,
}

/// What rules depend on apart from the file.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Ids of rules that are not wanted.
    pub ignored: BTreeSet<String>,
    /// Severities by id, over those of the rules.
    pub severities: BTreeMap<String, Severity>,
    /// Patterns of registries that bases may come from; empty permits all.
    pub trusted_registries: Vec<String>,
    /// Labels that have to be there, and what they hold.
    pub label_schema: BTreeMap<String, LabelKind>,
    /// Labels that the schema lacks are not wanted.
    pub has_strict_labels: bool,
    /// Comments silence nothing.
    pub disables_comments: bool,
    /// Whether the build context has an ignore file; `None` if nobody looked.
    pub has_ignore_file: Option<bool>,
    /// What a linter of shell scripts found in the file's [`scripts`].
    pub shell_findings: Vec<ShellFinding>,
}

/// For those who allow no exceptions.
pub(crate) const SILENCED: Rule = Rule::new(
    "DL1001",
    Severity::Ignore,
    "comment that silences rules",
    "Do what the rule asks for, or switch it off for all files in the configuration",
);

/// What is found in `dockerfile`, in the order of its lines; `errors` are those of the parser. Rules whose severity is
/// [`Severity::Ignore`] are silent.
pub fn lint(dockerfile: &Dockerfile, errors: Vec<Diagnostic>, options: &Options) -> Vec<Finding> {
    let source = Source::of(dockerfile, options.has_ignore_file);
    let mut findings = Findings { options, found: Vec::new() };
    let errors = with_form_errors(dockerfile, errors);
    form::check(dockerfile, &errors, &mut findings);
    build_checks::check(&source, &errors, &mut findings);
    // Without a stage there is nothing to judge.
    if !source.stages.is_empty() {
        for family in rules::FAMILIES {
            (family.check)(&source, &mut findings);
        }
    }
    let silences = match options.disables_comments {
        true => Silences::default(),
        false => Silences::of(&dockerfile.text),
    };
    for &line in &silences.lines {
        findings.add(&SILENCED, LineRange { first: line, last: line }, SILENCED.summary);
    }
    options.shell_findings.iter().for_each(|finding| findings.add_foreign(finding));
    let mut found = findings.found;
    found.retain(|finding| {
        let line = first_line_of_instruction(dockerfile, finding.lines.first);
        let ids = [Some(finding.id.as_ref()), finding.alias];
        let is_silent = ids.into_iter().flatten().any(|id| options.ignored.contains(id) || silences.covers(id, line));
        finding.severity != Severity::Ignore && !is_silent
    });
    found.sort_by(|a, b| (a.lines.first, &a.id).cmp(&(b.lines.first, &b.id)));
    // The same can be said of several places in a line.
    found.dedup();
    found
}

/// Where the instruction begins that `line` belongs to; `line` itself if it belongs to none.
fn first_line_of_instruction(dockerfile: &Dockerfile, line: usize) -> usize {
    let instructions = &dockerfile.instructions;
    let n_before = instructions.partition_point(|instruction| instruction.lines.first <= line);
    let lines = n_before.checked_sub(1).map(|index| instructions[index].lines);
    lines.filter(|lines| lines.last >= line).map_or(line, |lines| lines.first)
}

/// The findings so far.
struct Findings<'a> {
    options: &'a Options,
    found: Vec<Finding>,
}

impl Rule {
    const fn new(id: &'static str, severity: Severity, summary: &'static str, advice: &'static str) -> Rule {
        Rule { id, severity, summary, advice }
    }
}

impl Findings<'_> {
    fn add(&mut self, rule: &'static Rule, lines: LineRange, message: impl Into<String>) -> &mut Finding {
        self.found.push(Finding {
            id: Cow::Borrowed(rule.id),
            alias: None,
            severity: self.severity(rule.id, None, rule.severity),
            message: message.into(),
            advice: rule.advice,
            lines,
            edits: Vec::new(),
        });
        let last = self.found.len() - 1;
        &mut self.found[last]
    }

    fn add_foreign(&mut self, finding: &ShellFinding) {
        let ShellFinding { code, severity, line, message } = finding;
        self.found.push(Finding {
            id: Cow::Owned(code.clone()),
            alias: None,
            severity: self.severity(code, None, *severity),
            message: message.clone(),
            advice: "",
            lines: LineRange { first: *line, last: *line },
            edits: Vec::new(),
        });
    }

    /// A finding about `step` that says what the rule says.
    fn add_at(&mut self, rule: &'static Rule, step: &Step<'_>) -> &mut Finding {
        self.add(rule, step.lines, rule.summary)
    }

    fn severity(&self, id: &str, alias: Option<&str>, default: Severity) -> Severity {
        let chosen = alias.and_then(|alias| self.options.severities.get(alias));
        chosen.or_else(|| self.options.severities.get(id)).copied().unwrap_or(default)
    }
}

impl Finding {
    /// Puts `text` in the place of `span`, unless that is nowhere in the file (words of triggers).
    fn replace(&mut self, span: Span, text: impl Into<String>) -> &mut Finding {
        if span.start < span.end {
            self.edits.push(Edit { span, text: text.into() });
        }
        self
    }

    /// Puts `text` behind the word at `span`.
    fn insert_after(&mut self, span: Span, text: impl Into<String>) -> &mut Finding {
        if span.start < span.end {
            self.edits.push(Edit { span: Span { start: span.end, end: span.end }, text: text.into() });
        }
        self
    }
}

#[cfg(test)]
mod testing {
    use super::*;

    fn found(text: &str, id: &str, options: &Options) -> Vec<Finding> {
        let (dockerfile, errors) = slipway_dockerfile::parse(text.as_bytes());
        lint(&dockerfile, errors, options).into_iter().filter(|finding| finding.id == id).collect()
    }

    /// Options under which all rules speak.
    pub(crate) fn all_speak() -> Options {
        let severities = all_rules().into_iter().filter(|rule| rule.severity == Severity::Ignore);
        Options {
            severities: severities.map(|rule| (rule.id.to_owned(), Severity::Info)).collect(),
            has_ignore_file: Some(true),
            ..Options::default()
        }
    }

    /// Each text breaks the rule; `FROM a:1` goes in front of those without a stage. What can be fixed is silent when
    /// it is.
    pub(crate) fn check_hits(id: &str, texts: &[&str]) {
        check_hits_with(id, &all_speak(), texts);
    }

    /// The same for rules that speak only if `options` ask for it.
    pub(crate) fn check_hits_with(id: &str, options: &Options, texts: &[&str]) {
        for text in texts {
            let text = with_stage(text);
            let findings = found(&text, id, options);
            assert!(!findings.is_empty(), "{id} is silent about:\n{text}");
            let edits: Vec<Edit> = findings.iter().flat_map(|finding| finding.edits.clone()).collect();
            if findings.iter().all(|finding| !finding.edits.is_empty()) {
                let fixed = fixed(&text, &edits);
                assert_eq!(found(&fixed, id, options), [], "{id} still speaks about:\n{fixed}");
                let (_, errors) = slipway_dockerfile::parse(fixed.as_bytes());
                assert_eq!(errors, [], "{fixed}");
            }
        }
    }

    /// No text breaks the rule.
    pub(crate) fn check_silent(id: &str, texts: &[&str]) {
        check_silent_with(id, &all_speak(), texts);
    }

    /// The same for rules that speak only if `options` ask for it.
    pub(crate) fn check_silent_with(id: &str, options: &Options, texts: &[&str]) {
        for text in texts {
            let text = with_stage(text);
            assert_eq!(found(&text, id, options), [], "{id} speaks about:\n{text}");
        }
    }

    /// What the fixes of `id` make of `text`.
    pub(crate) fn check_fix(id: &str, text: &str, expected: &str) {
        let findings = found(text, id, &all_speak());
        let edits: Vec<Edit> = findings.into_iter().flat_map(|finding| finding.edits).collect();
        assert_eq!(fixed(text, &edits), expected);
    }

    fn with_stage(text: &str) -> String {
        let has_stage = text.lines().any(|line| line.trim_start().to_uppercase().starts_with("FROM "));
        if has_stage { text.to_owned() } else { format!("FROM a:1\n{text}") }
    }
}
