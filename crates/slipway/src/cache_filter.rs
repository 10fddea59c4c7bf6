//! Which records does a user mean: `--filter` of `du` and `prune` (`spec/cli.md` section 7.3).
//!
//! A deliberate difference: `inuse`, `mutable`, `immutable`, `shared` and `private` work, bare or with a boolean; the
//! reference accepts them and never finds anything.

use std::time::Duration;

use regex::Regex;
use slipway_graph::duration::duration_of;
use slipway_graph::request::flags::parse_bool;
use slipway_store::Usage;

const SWITCHES: [&str; 5] = ["inuse", "mutable", "immutable", "shared", "private"];

/// What all filters of a command ask for together.
#[derive(Debug, Default)]
pub(crate) struct CacheFilter {
    conditions: Vec<Condition>,
    /// Not used for so long.
    unused_for: Option<Duration>,
}

#[derive(Debug)]
struct Condition {
    key: String,
    value: String,
    /// What is searched for, if it is not the whole value that counts.
    pattern: Option<Regex>,
    is_negated: bool,
}

/// Why filters mean nothing.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum FilterError {
    #[error("conflicting filters \"until\" and \"unused-for\"")]
    Conflict,
    #[error("\"{key}\" filter expects only one value")]
    Several { key: String },
    #[error("\"{key}\" filter expects a duration (e.g., '24h'): time: invalid duration {value:?}")]
    Duration { key: String, value: String },
    #[error("\"{key}\" filter expects true or false, not `{value}`")]
    Switch { key: String, value: String },
    #[error("filter `{text}` is no regular expression")]
    Regex { text: String, source: Box<regex::Error> },
    #[error("unknown filter \"{key}\"")]
    Unknown { key: String },
}

/// For the parser of the flag: the form only.
pub(crate) fn check_form(text: &str) -> Result<String, &'static str> {
    match text.contains('=') || SWITCHES.contains(&text.trim().to_lowercase().as_str()) {
        true => Ok(text.to_owned()),
        false => Err("bad format of filter (expected name=value)"),
    }
}

impl CacheFilter {
    /// Reads filters of the right form.
    pub(crate) fn parse(texts: &[String]) -> Result<CacheFilter, FilterError> {
        let mut filter = CacheFilter::default();
        let mut durations: Vec<(String, String)> = Vec::new();
        for text in texts {
            let (key, value) = text.split_once('=').unwrap_or((text, "true"));
            let (key, value) = (key.trim().to_lowercase(), value.to_owned());
            if key == "until" || key == "unused-for" {
                durations.push((key, value));
                continue;
            }
            let (is_negated, is_pattern) = (key.ends_with('!'), key.ends_with('~'));
            let key = key.trim_end_matches(['!', '~']).to_owned();
            let is_switch = SWITCHES.contains(&key.as_str());
            if !is_switch && !["id", "parents", "description", "type"].contains(&key.as_str()) {
                return Err(FilterError::Unknown { key });
            }
            if is_switch && parse_bool(&value).is_none() {
                return Err(FilterError::Switch { key, value });
            }
            let is_other = |c: &Condition| c.key == key && c.is_negated == is_negated && c.value != value;
            if filter.conditions.iter().any(is_other) {
                return Err(FilterError::Several { key });
            }
            let pattern = (is_pattern || key == "id" && !is_negated).then(|| Regex::new(&value)).transpose();
            let pattern =
                pattern.map_err(|source| FilterError::Regex { text: text.clone(), source: Box::new(source) })?;
            filter.conditions.push(Condition { key, value, pattern, is_negated });
        }
        filter.unused_for = unused_for(&durations)?;
        Ok(filter)
    }

    /// Whether `usage` is meant.
    pub(crate) fn matches(&self, usage: &Usage, now_ns: i64) -> bool {
        let is_old = self.unused_for.is_none_or(|limit| {
            let last_ns = usage.last_used_ns.or(usage.created_ns);
            last_ns.is_some_and(|last| i128::from(now_ns) - i128::from(last) > limit.as_nanos() as i128)
        });
        is_old && self.conditions.iter().all(|condition| condition.holds(usage) != condition.is_negated)
    }
}

impl Condition {
    fn holds(&self, usage: &Usage) -> bool {
        let parents = || usage.parents.iter().map(String::as_str).collect::<Vec<_>>().join(";");
        let is = |found: bool| parse_bool(&self.value) == Some(found);
        let fits = |text: &str| self.pattern.as_ref().map_or(text == self.value, |pattern| pattern.is_match(text));
        match self.key.as_str() {
            "id" => fits(&usage.name),
            "parents" => fits(&parents()),
            "description" => fits(&usage.description),
            "type" => fits(&usage.record_type),
            "inuse" => is(usage.is_in_use),
            "mutable" => is(usage.is_mutable()),
            "immutable" => is(!usage.is_mutable()),
            "shared" => is(usage.is_of_image),
            "private" => is(!usage.is_of_image),
            _ => false,
        }
    }
}

fn unused_for(durations: &[(String, String)]) -> Result<Option<Duration>, FilterError> {
    let [(key, value), rest @ ..] = durations else { return Ok(None) };
    if rest.iter().any(|(other, _)| other != key) {
        return Err(FilterError::Conflict);
    }
    if rest.iter().any(|(_, other)| other != value) {
        return Err(FilterError::Several { key: key.clone() });
    }
    let wrong = || FilterError::Duration { key: key.clone(), value: value.clone() };
    duration_of(value).map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use slipway_store::UsageKind;

    use super::*;

    fn parse(texts: &[&str]) -> Result<CacheFilter, FilterError> {
        CacheFilter::parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    fn usage() -> Usage {
        Usage {
            name: "abc-1".to_owned(),
            kind: UsageKind::CacheMount,
            record_type: "exec.cachemount".to_owned(),
            description: "cached mount /c".to_owned(),
            parents: ["p".to_owned(), "q".to_owned()].into(),
            created_ns: Some(0),
            last_used_ns: Some(10_000_000_000),
            n_uses: 1,
            size_bytes: 1,
            is_in_use: false,
            is_of_image: false,
        }
    }

    #[test]
    fn all_filters_have_to_agree() {
        for (filters, expected) in [
            (&["id=abc"][..], true),
            (&["id=bc"], true),
            (&["id=^bc"], false),
            (&["id!=abc"], true),
            (&["id!=abc-1"], false),
            (&["description~=mount.*c$"], true),
            (&["description=mount"], false),
            (&["type~=^regular|internal$"], false),
            (&["parents~=^p"], true),
            (&["ID =abc", "type=regular"], false),
            (&["type!=regular"], true),
            (&["parents=p;q"], true),
            (&["parents=p"], false),
            (&["description=cached mount /c"], true),
            (&["mutable", "inuse=false", "private=1"], true),
            (&["immutable"], false),
            (&["until=5s"], true),
            (&["unused-for=1m"], false),
        ] {
            let found = parse(filters).unwrap().matches(&usage(), 20_000_000_000);
            assert_eq!(found, expected, "{filters:?}");
        }
    }

    #[test]
    fn mistakes_have_the_texts_of_the_reference() {
        for (filters, expected) in [
            (&["until=1h", "unused-for=2h"][..], "conflicting filters \"until\" and \"unused-for\""),
            (&["type=a", "type=b"], "\"type\" filter expects only one value"),
            (&["until=zz"], "\"until\" filter expects a duration (e.g., '24h'): time: invalid duration \"zz\""),
        ] {
            assert_eq!(parse(filters).unwrap_err().to_string(), expected);
        }
        assert_eq!(check_form("x"), Err("bad format of filter (expected name=value)"));
        assert!(check_form("inuse").is_ok());
        for bad in ["id=(", "type~=["] {
            assert_eq!(parse(&[bad]).unwrap_err().to_string(), format!("filter `{bad}` is no regular expression"));
        }
        assert!(matches!(parse(&["zzz=a"]), Err(FilterError::Unknown { .. })));
    }
}
