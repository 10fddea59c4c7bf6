//! `-e` and `--env-file`: which variables did the user ask for?

use std::fs;
use std::io;

use crate::env_vars;

/// Why variables cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvError {
    #[error("--env-file: open {path}: {}", crate::commands::run::environment::reason(.error))]
    File { path: String, error: io::Error },
    #[error("no variable name on line '{0}'")]
    NoName(String),
    #[error("variable '{0}' contains whitespaces")]
    Blank(String),
    #[error("invalid environment variable: {0}")]
    Empty(String),
}

/// What the system says, without its number.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        _ => error.to_string(),
    }
}

/// The variables as `NAME=value`: those of files, and then those of flags. What is named without a value and is not set
/// here is left out.
pub(crate) fn read(files: &[String], flags: &[String]) -> Result<Vec<String>, EnvError> {
    let mut env = Vec::new();
    for path in files {
        let bytes = fs::read(path).map_err(|error| EnvError::File { path: path.clone(), error })?;
        let text = String::from_utf8(bytes)
            .map_err(|_| EnvError::File { path: path.clone(), error: io::ErrorKind::InvalidData.into() })?;
        env.extend(of_file(&text, env_vars::named_by_user)?);
    }
    for text in flags {
        if text.is_empty() || text.starts_with('=') {
            return Err(EnvError::Empty(text.clone()));
        }
        env.extend(with_value(text, env_vars::named_by_user));
    }
    Ok(env)
}

/// One variable a line: nothing is quoted, nothing is expanded.
fn of_file(text: &str, from_here: impl Fn(&str) -> Option<String>) -> Result<Vec<String>, EnvError> {
    let mut env = Vec::new();
    for line in text.trim_start_matches('\u{feff}').lines().map(str::trim_start) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split_once('=').map_or(line, |(name, _)| name);
        if name.is_empty() {
            return Err(EnvError::NoName(line.to_owned()));
        }
        if name.contains(char::is_whitespace) {
            return Err(EnvError::Blank(name.to_owned()));
        }
        env.extend(with_value(line, &from_here));
    }
    Ok(env)
}

fn with_value(text: &str, from_here: impl Fn(&str) -> Option<String>) -> Option<String> {
    match text.contains('=') {
        true => Some(text.to_owned()),
        false => from_here(text).map(|value| format!("{text}={value}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_variable_a_line() {
        let from_here = |name: &str| (name == "HERE").then(|| "set".to_owned());
        let text = "\u{feff}# comment\n\n  A=1 # 2\nB=\nHERE\nNOT_HERE\nQ=\"x\"\r\n";
        assert_eq!(of_file(text, from_here).unwrap(), ["A=1 # 2", "B=", "HERE=set", "Q=\"x\""]);
    }

    #[test]
    fn a_file_that_is_not_there_is_told_once() {
        let error = read(&["/absent/file".to_owned()], &[]).unwrap_err();
        let told = slipway_engine::chain(&error);
        assert_eq!(told, "--env-file: open /absent/file: no such file or directory");
    }

    #[test]
    fn lines_that_are_no_variables_are_told() {
        let message = |text| of_file(text, |_| None).unwrap_err().to_string();
        assert_eq!(message("=x"), "no variable name on line '=x'");
        assert_eq!(message("a b=x"), "variable 'a b' contains whitespaces");
    }
}
