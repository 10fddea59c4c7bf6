//! How bad a finding is.

use std::fmt;
use std::str::FromStr;

/// From what breaks things to what is a matter of taste. Ordered: `Error` is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is said.
    Ignore,
    Style,
    Info,
    Warning,
    Error,
}

/// Not the name of a severity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no severity (try error, warning, info, style or ignore)")]
pub struct NoSeverity(String);

impl FromStr for Severity {
    type Err = NoSeverity;

    fn from_str(text: &str) -> Result<Severity, NoSeverity> {
        Ok(match text {
            "error" => Severity::Error,
            "warning" => Severity::Warning,
            "info" => Severity::Info,
            "style" => Severity::Style,
            "ignore" | "none" => Severity::Ignore,
            _ => return Err(NoSeverity(text.to_owned())),
        })
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
            Severity::Style => "style",
            Severity::Ignore => "ignore",
        })
    }
}
