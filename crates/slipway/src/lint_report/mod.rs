//! What `slipway lint` writes, one format a file.

mod github;
mod json;
mod sarif;
mod text;

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
        Format::Json => json::list(files),
        Format::Sarif => sarif::log(files),
        Format::Github => github::annotations(files),
    }
}

/// The id that other tools know: that of the `DL` rule, where there is one.
fn code(finding: &Finding) -> &'static str {
    finding.alias.unwrap_or(finding.id)
}
