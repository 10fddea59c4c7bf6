//! `--secret id=ID[,src=PATH][,env=NAME][,type=file|env][,key=true]` (`spec/cli.md` section 4.1; `key` is slipway's own).

use std::path::{Path, PathBuf};

use super::csv::{self, CsvError};
use super::{Moment, PathKind, Surroundings, parse_bool};
use crate::request::{Secret, SecretSource, SecretValue};

/// Why a `--secret` is refused.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error(transparent)]
    Csv(#[from] CsvError),
    #[error("invalid field '{field}' must be a key=value pair")]
    NoPair { field: String },
    #[error("unexpected key '{key}' in '{key}={value}'")]
    UnknownKey { key: String, value: String },
    #[error("unsupported secret type {kind:?}")]
    UnknownType { kind: String },
    #[error("invalid value {value:?} of 'key': expected true or false")]
    NoBoolean { value: String },
    #[error("secret missing ID")]
    NoId,
    #[error("failed to stat {path}: stat {path}: no such file or directory", path = path.display())]
    NoFile { path: PathBuf },
}

impl SecretError {
    pub(crate) fn moment(&self) -> Moment {
        match self {
            SecretError::NoId | SecretError::NoFile { .. } => Moment::Build,
            SecretError::Csv(_)
            | SecretError::NoPair { .. }
            | SecretError::UnknownKey { .. }
            | SecretError::UnknownType { .. }
            | SecretError::NoBoolean { .. } => Moment::Options,
        }
    }
}

/// The secret that `text` stands for; `None` if it is a variable that is not set.
pub(crate) fn parse(text: &str, surroundings: &dyn Surroundings) -> Result<Option<Secret>, SecretError> {
    let typed = Typed::parse(text)?;
    let is_keyed = typed.is_keyed;
    Ok(typed.find(surroundings)?.map(|(id, source)| Secret { id, source, is_keyed }))
}

#[derive(Default)]
struct Typed {
    id: Option<String>,
    source: Option<String>,
    env: Option<String>,
    is_variable: Option<bool>,
    is_keyed: bool,
}

impl Typed {
    fn parse(text: &str) -> Result<Typed, SecretError> {
        let fields = csv::fields(text)?;
        let pairs = csv::pairs(&fields).map_err(|field| SecretError::NoPair { field: field.to_owned() })?;
        let mut typed = Typed::default();
        for (key, value) in pairs {
            let value = value.to_owned();
            match (key.as_str(), value.as_str()) {
                ("id", "") => typed.id = None,
                ("id", _) => typed.id = Some(value),
                ("src" | "source", _) => typed.source = Some(value),
                ("env", _) => typed.env = Some(value),
                ("type", "file") => typed.is_variable = Some(false),
                ("type", "env") => typed.is_variable = Some(true),
                ("key", _) => typed.is_keyed = parse_bool(&value).ok_or(SecretError::NoBoolean { value })?,
                ("type", _) => return Err(SecretError::UnknownType { kind: value }),
                _ => return Err(SecretError::UnknownKey { key, value }),
            }
        }
        Ok(typed)
    }

    /// The id and where the value is.
    fn find(self, surroundings: &dyn Surroundings) -> Result<Option<(String, SecretSource)>, SecretError> {
        let id = self.id.ok_or(SecretError::NoId)?;
        let variable = match (self.is_variable, self.env, self.source) {
            // With `type=env`, `src` is the name of the variable.
            (Some(true), None, Some(source)) => source,
            (Some(true), env, _) => env.unwrap_or_else(|| id.clone()),
            (_, Some(env), None) => env,
            (None, None, None) if surroundings.variable(&id).is_some() => id.clone(),
            (_, _, path) => {
                let path = PathBuf::from(path.unwrap_or_else(|| id.clone()));
                let is_there = |path: &PathBuf| surroundings.kind_of(path) != PathKind::Missing;
                let found = [Some(path.clone()), at_home(&path, surroundings)].into_iter().flatten().find(is_there);
                return match found {
                    Some(path) => Ok(Some((id, SecretSource::File(path)))),
                    None => Err(SecretError::NoFile { path }),
                };
            }
        };
        let value = surroundings.variable(&variable);
        Ok(value.map(|value| (id, SecretSource::Value(SecretValue(value.into_bytes())))))
    }
}

/// What is meant by `~/path`: no shell replaces a tilde in the middle of a word, which people expect of `src=~/token`.
fn at_home(path: &Path, surroundings: &dyn Surroundings) -> Option<PathBuf> {
    let below = path.strip_prefix("~").ok()?;
    Some(Path::new(&surroundings.variable("HOME")?).join(below))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Made;
    use super::*;

    fn read(text: &str) -> String {
        let made = Made::default()
            .with_variable("TOKEN", "t0p")
            .with_variable("HOME", "/home/me")
            .with_path("key", PathKind::File)
            .with_path("/home/me/token", PathKind::File);
        match parse(text, &made) {
            Err(error) => error.to_string(),
            Ok(None) => "absent".to_owned(),
            Ok(Some(Secret { id, source, is_keyed })) => {
                let source = match source {
                    SecretSource::File(path) => format!("file {}", path.display()),
                    SecretSource::Value(value) => String::from_utf8(value.0).unwrap(),
                };
                format!("{id} = {source}{}", if is_keyed { ", keyed" } else { "" })
            }
        }
    }

    #[test]
    fn secrets_come_from_files_and_variables() {
        for (text, expected) in [
            ("id=TOKEN", "TOKEN = t0p"),
            ("id=key", "key = file key"),
            ("id=a,src=key", "a = file key"),
            ("id=TOKEN,source=key", "TOKEN = file key"),
            ("id=a,env=TOKEN", "a = t0p"),
            ("id=a,type=env,src=TOKEN", "a = t0p"),
            ("type=env,id=TOKEN", "TOKEN = t0p"),
            ("id=a,src=key,key=true", "a = file key, keyed"),
            ("id=TOKEN,key=0", "TOKEN = t0p"),
            ("id=TOKEN,key=often", "invalid value \"often\" of 'key': expected true or false"),
            ("id=a,env=UNSET", "absent"),
            ("src=key", "secret missing ID"),
            ("id=a,foo=b", "unexpected key 'foo' in 'foo=b'"),
            ("id", "invalid field 'id' must be a key=value pair"),
            ("id=a,type=zip", "unsupported secret type \"zip\""),
            ("id=a,src=~/token", "a = file /home/me/token"),
            ("id=a,src=~/nope", "failed to stat ~/nope: stat ~/nope: no such file or directory"),
            ("id=a,src=~nobody/token", "failed to stat ~nobody/token: stat ~nobody/token: no such file or directory"),
            ("id=a,src=nope", "failed to stat nope: stat nope: no such file or directory"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
