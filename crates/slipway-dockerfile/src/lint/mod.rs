//! What is allowed in a Dockerfile and yet doubtful (`spec/dockerfile.md` section 9).
//!
//! One file a rule, or a close family of rules: what it is called, then when it fires, then tests. Rules look at the
//! syntax tree and at the [`Facts`] that lowering reports. The order of the warnings is that of the reference builder:
//! what shows in the text alone, then names and casing, then bases, then each instruction of each stage.

mod base_image_platform;
mod consistent_instruction_casing;
mod copy_ignored_file;
mod default_arg_in_from;
mod definition_description;
mod expose;
mod from_casing;
mod from_platform;
mod json_args_recommended;
mod legacy_key_value_format;
mod maintainer_deprecated;
mod multiple_instructions;
mod no_empty_continuation;
mod options;
mod secrets_in_arg_or_env;
mod stage_names;
mod undefined_variable;
mod workdir_relative_path;

#[cfg(test)]
mod tests;

use slipway_graph::LineRange;

use crate::facts::{Facts, Place};
use crate::{Diagnostic, Dockerfile, IgnoreRules, Instruction, Span};

pub use consistent_instruction_casing::most_keywords_are_lower;
pub use options::{CheckOptionError, CheckOptions, CheckOptionsError};

/// A rule by its name and what it is about.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    pub name: &'static str,
    /// One sentence, without a full stop.
    pub description: &'static str,
    /// The last part of the address of its documentation; empty if it has none.
    page: &'static str,
    /// Silent unless it is asked for by name.
    pub is_experimental: bool,
}

impl Rule {
    const fn new(name: &'static str, page: &'static str, description: &'static str) -> Rule {
        Rule { name, description, page, is_experimental: false }
    }

    /// Where the rule is explained.
    pub fn url(&self) -> Option<String> {
        (!self.page.is_empty()).then(|| format!("https://docs.docker.com/go/dockerfile/rule/{}/", self.page))
    }
}

/// All rules, in the order of the reference's list.
pub const RULES: [&Rule; 22] = [
    &from_casing::STAGE_NAME,
    &from_casing::AS,
    &no_empty_continuation::RULE,
    &consistent_instruction_casing::RULE,
    &stage_names::DUPLICATE,
    &stage_names::RESERVED,
    &json_args_recommended::RULE,
    &maintainer_deprecated::RULE,
    &undefined_variable::IN_FROM,
    &workdir_relative_path::RULE,
    &undefined_variable::IN_STAGE,
    &multiple_instructions::RULE,
    &legacy_key_value_format::RULE,
    &base_image_platform::RULE,
    &from_platform::REDUNDANT,
    &secrets_in_arg_or_env::RULE,
    &default_arg_in_from::RULE,
    &from_platform::CONSTANT,
    &copy_ignored_file::RULE,
    &definition_description::RULE,
    &expose::PROTOCOL,
    &expose::FORMAT,
];

/// A rule fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub rule: &'static Rule,
    /// One line.
    pub message: String,
    /// The instruction.
    pub span: Span,
    /// All its physical lines.
    pub lines: LineRange,
}

impl Warning {
    /// Rule, message and line, as progress shows them.
    pub fn short(&self) -> String {
        format!("{}: {} (line {})", self.rule.name, self.message, self.lines.first)
    }
}

/// What rules depend on apart from the file.
#[derive(Clone, Copy, Debug)]
pub struct LintInputs<'a> {
    pub options: &'a CheckOptions,
    /// Those of the build context.
    pub ignore_rules: &'a IgnoreRules,
}

/// The warnings about a file.
///
/// `facts` are what lowering reported; none if the file could not even be parsed. `errors` are the mistakes in it:
/// nothing is said about what follows the first one.
pub fn lint(dockerfile: &Dockerfile, facts: &Facts, errors: &[Diagnostic], inputs: LintInputs<'_>) -> Vec<Warning> {
    let mut findings = Findings { options: inputs.options, warnings: Vec::new() };
    // A file that falls apart before there are instructions: the reference builder has seen none of them.
    if !facts.is_lowered && errors.iter().any(|error| !error.is_about_form) {
        return findings.warnings;
    }
    no_empty_continuation::check(dockerfile, &mut findings);
    let broken = errors.iter().filter(|error| error.is_about_form).map(|error| error.lines.first).min();
    for instruction in &dockerfile.instructions {
        if broken.is_some_and(|line| instruction.lines.first > line) {
            break;
        }
        from_casing::check(instruction, &mut findings);
        maintainer_deprecated::check(instruction, &mut findings);
        if broken != Some(instruction.lines.first) {
            definition_description::check(instruction, &mut findings);
        }
    }
    if broken.is_some() {
        return findings.warnings;
    }
    stage_names::check(dockerfile, &mut findings);
    consistent_instruction_casing::check(dockerfile, &mut findings);
    let mut earlier = multiple_instructions::Earlier::default();
    for fact in &facts.facts {
        default_arg_in_from::check(fact, &mut findings);
        undefined_variable::check(fact, &mut findings);
        from_platform::check(fact, &mut findings);
        base_image_platform::check(fact, &mut findings);
        legacy_key_value_format::check(fact, &mut findings);
        secrets_in_arg_or_env::check(fact, &mut findings);
        expose::check(fact, &mut findings);
        workdir_relative_path::check(fact, &mut findings);
        earlier.check(fact, &mut findings);
        json_args_recommended::check(fact, &mut findings);
        copy_ignored_file::check(fact, inputs.ignore_rules, &mut findings);
    }
    findings.warnings
}

/// The warnings so far, and which are wanted.
struct Findings<'a> {
    options: &'a CheckOptions,
    warnings: Vec<Warning>,
}

impl Findings<'_> {
    /// Adds a warning, unless the file or the comment above the instruction silences the rule.
    fn add(&mut self, rule: &'static Rule, place: &Place, message: String) {
        if self.options.wants(rule, place.check.as_deref()) {
            self.warnings.push(Warning { rule, message, span: place.span, lines: place.lines });
        }
    }

    fn add_at(&mut self, rule: &'static Rule, instruction: &Instruction, message: String) {
        self.add(rule, &Place::of(instruction), message);
    }
}
