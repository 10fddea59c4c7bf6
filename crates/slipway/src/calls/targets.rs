//! `--call=targets`: which stages there are.

use serde::Serialize;
use slipway_dockerfile::Target;

use super::table::table;
use super::{Location, base64, json};

#[derive(Serialize)]
struct Answer<'a> {
    targets: Vec<TargetAnswer<'a>>,
    sources: [String; 1],
}

#[derive(Serialize)]
struct TargetAnswer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(rename = "default", skip_serializing_if = "std::ops::Not::not")]
    is_default: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    base: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<&'a str>,
    location: Location,
}

/// For programs. `source` is the text of the Dockerfile.
pub(crate) fn as_json(targets: &[Target], source: &str) -> String {
    json(&Answer { targets: targets.iter().map(TargetAnswer::of).collect(), sources: [base64(source)] })
}

impl TargetAnswer<'_> {
    fn of(target: &Target) -> TargetAnswer<'_> {
        TargetAnswer {
            name: target.name.as_deref(),
            is_default: target.is_default,
            description: target.description.as_deref(),
            base: &target.base,
            platform: target.platform.as_deref(),
            location: Location::of(target.lines),
        }
    }
}

/// For people.
pub(crate) fn as_text(targets: &[Target]) -> String {
    let names: Vec<String> = targets
        .iter()
        .map(|target| match (target.name.as_deref().unwrap_or_default(), target.is_default) {
            ("", true) => "(default)".to_owned(),
            (name, true) => format!("{name} (default)"),
            (name, false) => name.to_owned(),
        })
        .collect();
    let mut rows = vec![["TARGET", "DESCRIPTION"]];
    rows.extend(
        names
            .iter()
            .zip(targets)
            .map(|(name, target)| [name.as_str(), target.description.as_deref().unwrap_or_default()]),
    );
    table(&rows, 1)
}
