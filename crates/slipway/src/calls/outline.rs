//! `--call=outline`: what can be given to a build of the target.

use serde::Serialize;
use slipway_dockerfile::{Outline, OutlineArg, OutlineMount};

use super::table::table;
use super::{Location, base64, json};

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args: Vec<Arg<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<Mount<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ssh: Vec<Mount<'a>>,
    sources: [String; 1],
}

#[derive(Serialize)]
struct Arg<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    value: &'a str,
    location: Location,
}

#[derive(Serialize)]
struct Mount<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    required: bool,
    location: Location,
}

/// For programs. `source` is the text of the Dockerfile.
pub(crate) fn as_json(outline: &Outline, source: &str) -> String {
    json(&Answer {
        name: outline.name.as_deref(),
        description: outline.description.as_deref(),
        args: outline.args.iter().map(arg).collect(),
        secrets: outline.secrets.iter().map(mount).collect(),
        ssh: outline.ssh.iter().map(mount).collect(),
        sources: [base64(source)],
    })
}

fn arg(arg: &OutlineArg) -> Arg<'_> {
    let OutlineArg { name, value, description, lines } = arg;
    Arg { name, description: description.as_deref(), value, location: Location::of(*lines) }
}

fn mount(mount: &OutlineMount) -> Mount<'_> {
    Mount { name: &mount.id, required: mount.is_required, location: Location::of(mount.lines) }
}

/// For people: a table for each kind of parameter.
pub(crate) fn as_text(outline: &Outline) -> String {
    let mut blocks = Vec::new();
    let head: Vec<[&str; 2]> = [("TARGET:", &outline.name), ("DESCRIPTION:", &outline.description)]
        .into_iter()
        .filter_map(|(title, text)| Some([title, text.as_deref()?]))
        .collect();
    if !head.is_empty() {
        blocks.push(table(&head, 1));
    }
    if !outline.args.is_empty() {
        let mut rows = vec![["BUILD ARG", "VALUE", "DESCRIPTION"]];
        rows.extend(
            outline.args.iter().map(|a| [a.name.as_str(), &a.value, a.description.as_deref().unwrap_or_default()]),
        );
        blocks.push(table(&rows, 3));
    }
    for (title, mounts) in [("SECRET", &outline.secrets), ("SSH", &outline.ssh)] {
        if !mounts.is_empty() {
            let mut rows = vec![[title, "REQUIRED"]];
            rows.extend(mounts.iter().map(|m| [m.id.as_str(), if m.is_required { "true" } else { "" }]));
            blocks.push(table(&rows, 3));
        }
    }
    blocks.into_iter().map(|block| block + "\n").collect()
}
