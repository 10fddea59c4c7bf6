//! The flags of `lint`.

use clap::{Args, ValueEnum};
use slipway_lint::{LabelKind, Severity};

/// The flags of `lint`.
#[derive(Debug, Args)]
pub(crate) struct LintArgs {
    /// Dockerfiles, folders to look for them in, or - for standard input; default ./Dockerfile
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<String>,
    /// How to write what is found
    #[arg(short, long, value_enum)]
    pub(crate) format: Option<Format>,
    /// The configuration file, in place of .slipway-lint.yaml, .hadolint.yaml and those of the user
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<String>,
    /// What a report calls the file
    #[arg(long, value_name = "NAME")]
    pub(crate) file_path_in_report: Option<String>,
    /// Do not ask ShellCheck about scripts, even if it is installed
    #[arg(long)]
    pub(crate) no_shellcheck: bool,
    /// Accepted; reports have no colours
    #[arg(long, hide = true)]
    no_color: bool,
    /// Rewrite what can be rewritten without changing the image, and show the difference
    #[arg(long)]
    pub(crate) fix: bool,
    /// With --fix: show the difference, and write nothing
    #[arg(long, requires = "fix")]
    pub(crate) dry_run: bool,
    /// A rule that is not wanted
    #[arg(long = "ignore", value_name = "RULE")]
    pub(crate) ignored: Vec<String>,
    /// Rules that are errors
    #[arg(long = "error", value_name = "RULE")]
    pub(crate) errors: Vec<String>,
    /// Rules that are warnings
    #[arg(long = "warning", value_name = "RULE")]
    pub(crate) warnings: Vec<String>,
    /// Rules that are hints
    #[arg(long = "info", value_name = "RULE")]
    pub(crate) infos: Vec<String>,
    /// Rules of taste
    #[arg(long = "style", value_name = "RULE")]
    pub(crate) styles: Vec<String>,
    /// A registry that bases may come from; `*` stands for anything
    #[arg(long = "trusted-registry", value_name = "HOST")]
    pub(crate) trusted_registries: Vec<String>,
    /// A label that has to be there, and what it holds (text, url, rfc3339, semver, spdx, hash, email)
    #[arg(long = "require-label", value_name = "NAME:KIND", value_parser = label)]
    pub(crate) labels: Vec<(String, LabelKind)>,
    /// No labels but the required ones
    #[arg(long)]
    pub(crate) strict_labels: bool,
    /// Findings below this do not make the command fail (error, warning, info, style, none)
    #[arg(short = 't', long, value_name = "SEVERITY", value_parser = severity)]
    pub(crate) failure_threshold: Option<Severity>,
    /// Exit with 0 whatever is found
    #[arg(long)]
    pub(crate) no_fail: bool,
    /// Comments in the files silence nothing
    #[arg(long)]
    pub(crate) disable_ignore_pragma: bool,
    /// List the rules
    #[arg(long)]
    pub(crate) rules: bool,
}

/// How findings are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// With the lines of the file, the reason and what to do
    #[default]
    Text,
    /// One line a finding
    #[value(alias = "short")]
    Tty,
    /// A list of objects
    Json,
    /// For code scanners
    Sarif,
    /// Annotations of GitHub Actions
    Github,
    /// One line a finding, as compilers of GNU write them
    Gnu,
    Checkstyle,
    Junit,
    Codeclimate,
    #[value(name = "gitlab_codeclimate")]
    GitlabCodeclimate,
    Codacy,
    Sonarqube,
}

fn severity(text: &str) -> Result<Severity, String> {
    text.parse().map_err(|error: slipway_lint::NoSeverity| error.to_string())
}

/// `NAME:KIND`.
pub(crate) fn label(text: &str) -> Result<(String, LabelKind), String> {
    let (name, kind) = text.split_once(':').unwrap_or((text, "text"));
    let kind = kind.parse().map_err(|error: slipway_lint::NoLabelKind| error.to_string())?;
    Ok((name.to_owned(), kind))
}
