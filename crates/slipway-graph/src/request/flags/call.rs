//! `--call` and `--check`: what is to be done with the Dockerfile instead of building it (`spec/cli.md` section 5.5).

use super::{Moment, csv, parse_bool};
use crate::request::{Call, Method};

/// Why `--call` means nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    #[error("invalid print value: {0}")]
    Value(String),
    #[error("invalid print field: {0}")]
    Field(String),
    #[error("invalid ignorestatus print value: {value}: strconv.ParseBool: parsing {value:?}: invalid syntax")]
    IgnoreStatus { value: String },
    #[error("unsupported request frontend.{0}; there are build, check, outline, targets and subrequests.describe")]
    Unknown(String),
}

impl CallError {
    /// When the reference builder would have refused.
    pub(super) fn moment(&self) -> Moment {
        match self {
            CallError::Value(_) | CallError::Field(_) | CallError::IgnoreStatus { .. } => Moment::Options,
            CallError::Unknown(_) => Moment::Solve,
        }
    }
}

/// `name[,format=json][,ignorestatus=bool]`; `None` is an ordinary build.
pub fn parse(text: &str, is_check: bool) -> Result<Option<Call>, CallError> {
    let text = if is_check { "check" } else { text };
    let fields = csv::fields(text).map_err(|_| CallError::Value(text.to_owned()))?;
    let mut call = Call { method: Method::Check, is_json: false, ignores_status: false };
    let mut name = None;
    for field in &fields {
        match field.split_once('=') {
            Some(("format", format)) => call.is_json = format == "json",
            Some(("ignorestatus", value)) => {
                call.ignores_status =
                    parse_bool(value).ok_or_else(|| CallError::IgnoreStatus { value: value.to_owned() })?;
            }
            Some(_) => return Err(CallError::Field(field.to_string())),
            None if name.is_some() => return Err(CallError::Value(text.to_owned())),
            None => name = Some(field.to_string()),
        }
    }
    call.method = match name.as_deref().unwrap_or_default() {
        "" | "build" => return Ok(None),
        "check" | "lint" => Method::Check,
        "outline" => Method::Outline,
        "targets" => Method::Targets,
        "subrequests.describe" => Method::Describe,
        other => return Err(CallError::Unknown(other.to_owned())),
    };
    Ok(Some(call))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_in_any_order() {
        let call = |method, is_json, ignores_status| Ok(Some(Call { method, is_json, ignores_status }));
        for (text, expected) in [
            ("", Ok(None)),
            ("build,format=json", Ok(None)),
            ("lint", call(Method::Check, false, false)),
            ("format=json,outline", call(Method::Outline, true, false)),
            ("targets,format=text", call(Method::Targets, false, false)),
            ("check,ignorestatus=1", call(Method::Check, false, true)),
            ("a,b", Err(CallError::Value("a,b".to_owned()))),
            ("check,x=1", Err(CallError::Field("x=1".to_owned()))),
            ("foo", Err(CallError::Unknown("foo".to_owned()))),
        ] {
            assert_eq!(parse(text, false), expected, "{text}");
        }
        assert_eq!(parse("outline", true), call(Method::Check, false, false));
    }
}
