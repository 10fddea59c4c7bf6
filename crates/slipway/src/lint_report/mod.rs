//! What `slipway lint` writes: each format, or family of formats, in a file.

mod github;
mod json;
mod quality;
mod sarif;
mod text;
mod xml;

use slipway_lint::Finding;

use crate::cli::lint::Format;

/// A file and what was found in it.
pub(crate) struct Linted {
    /// As the user named it.
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) findings: Vec<Finding>,
}

/// Everything that was found, as it is printed.
pub(crate) fn render(format: Format, files: &[Linted]) -> String {
    match format {
        Format::Text => text::blocks(files),
        Format::Tty => text::lines(files),
        Format::Gnu => text::gnu_lines(files),
        Format::Json => json::list(files),
        Format::Sarif => sarif::log(files),
        Format::Github => github::annotations(files),
        Format::Checkstyle => xml::checkstyle(files),
        Format::Junit => xml::junit(files),
        Format::Codeclimate => quality::codeclimate(files),
        Format::GitlabCodeclimate => quality::gitlab(files),
        Format::Codacy => quality::codacy(files),
        Format::Sonarqube => quality::sonarqube(files),
    }
}

/// The id that other tools know: that of the `DL` rule, where there is one.
fn code(finding: &Finding) -> &str {
    finding.alias.unwrap_or(&finding.id)
}
