//! `slipway compose images`, `ls` and `port`: what there is of projects.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use slipway_engine::chain;

use super::location::Location;
use super::services::{containers_of, project_name};
use super::{told, write_out};
use crate::cli::compose::{ListProjectsArgs, ServiceImagesArgs, ServicePortArgs};
use crate::commands::du::size_with;
use crate::commands::images::age;
use crate::commands::local_images::{self, config_of, id, layer_sizes, repository_and_tag};
use crate::containers::{self, Known};
use crate::report::CommandError;
use crate::stack::{CONFIG_FILES, NUMBER, ONE_OFF, PROJECT};

/// Lines whose columns are at least 20 wide, but for the last, as Compose's are.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count() + 3).max().unwrap_or(0).max(20)
    };
    let line = |row: &Vec<String>| {
        let (last, others) = row.split_last().expect("because a row has cells");
        let cells = others.iter().enumerate().map(|(column, cell)| format!("{cell:0$}", width(column)));
        cells.chain([last.clone(), "\n".to_owned()]).collect::<String>()
    };
    rows.iter().map(line).collect()
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

fn check_format(format: &str) -> Result<bool, CommandError> {
    match format {
        "" | "table" | "pretty" => Ok(false),
        "json" => Ok(true),
        other => Err(told(format!("format value {other:?} could not be parsed: invalid formatting value"))),
    }
}

/// `compose images`: which images the containers were made from.
pub(super) fn images(args: &ServiceImagesArgs, location: &Location) -> Result<(), CommandError> {
    let is_json = check_format(&args.format)?;
    let project = project_name(&args.services, location)?;
    let store = local_images::open_store()?;
    let (mut ids, mut rows, mut values) = (Vec::new(), Vec::new(), Vec::new());
    rows.push(row(&["CONTAINER", "REPOSITORY", "TAG", "PLATFORM", "IMAGE ID", "SIZE", "CREATED"]));
    for known in containers_of(&project, &args.services)? {
        let failed = |error: local_images::LocalImageError| told(chain(&error));
        let name = &known.config.request.image;
        let image = local_images::find(&store, name).map_err(failed)?;
        let config = config_of(&store, &image.record).map_err(failed)?;
        let size_bytes: u64 = layer_sizes(&store, &image.record).map_err(failed)?.iter().sum();
        let (repository, tag) = image.asked.as_ref().map_or((name.clone(), None), repository_and_tag);
        let tag = tag.unwrap_or_else(|| "<none>".to_owned());
        let platform = config.platform().to_string();
        let created: Option<Timestamp> = image.record.created.as_deref().and_then(|time| time.parse().ok());
        let ago = created.map_or_else(|| "N/A".to_owned(), |time| age(time, Timestamp::now()));
        values.push(json!({
            "ID": image.record.config.to_string(),
            "ContainerName": known.config.name,
            "Repository": repository,
            "Tag": tag,
            "Platform": platform,
            "Size": size_bytes,
            "Created": created.map(|time| time.to_string()),
        }));
        let id = id(&image.record.config, false);
        rows.push(vec![known.config.name, repository, tag, platform, id, size_with(size_bytes, 3), ago]);
        ids.push(image.record.config.hex().to_owned());
    }
    ids.sort();
    ids.dedup();
    write_out(&match (args.quiet, is_json) {
        (true, _) => ids.iter().map(|id| format!("{id}\n")).collect(),
        (false, true) => format!("{}\n", Value::from(values)),
        (false, false) => table(&rows),
    })
}

/// `compose ls`: which projects have containers. By themselves those of which something runs.
pub(super) fn projects(args: &ListProjectsArgs) -> Result<(), CommandError> {
    let is_json = check_format(&args.format)?;
    let mut wanted = Vec::new();
    for filter in &args.filters {
        match filter.split_once('=') {
            Some(("name", name)) => wanted.push(name),
            _ => return Err(told(format!("invalid filter '{}'", filter.split('=').next().unwrap_or_default()))),
        }
    }
    let mut projects: BTreeMap<String, Vec<Known>> = BTreeMap::new();
    for known in containers::all().map_err(|error| told(chain(&error)))? {
        let project = known.label(PROJECT).to_owned();
        if !project.is_empty() && known.label(ONE_OFF) != "True" {
            projects.entry(project).or_default().push(known);
        }
    }
    projects.retain(|name, known| {
        let is_named = wanted.is_empty() || wanted.iter().any(|part| name.contains(part));
        is_named && (args.all || known.iter().any(|known| known.state.is_live()))
    });
    let cells: Vec<[String; 3]> = projects
        .iter()
        .map(|(name, known)| [name.clone(), statuses(known), known[0].label(CONFIG_FILES).to_owned()])
        .collect();
    write_out(&match (args.quiet, is_json) {
        (true, _) => cells.iter().map(|[name, ..]| format!("{name}\n")).collect(),
        (false, true) => {
            let value =
                |[name, status, files]: &[String; 3]| json!({"Name": name, "Status": status, "ConfigFiles": files});
            format!("{}\n", Value::from(cells.iter().map(value).collect::<Vec<_>>()))
        }
        (false, false) => {
            let mut rows = vec![row(&["NAME", "STATUS", "CONFIG FILES"])];
            rows.extend(cells.into_iter().map(Vec::from));
            table(&rows)
        }
    })
}

/// `exited(1), running(2)`
fn statuses(known: &[Known]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for known in known {
        *counts.entry(known.state.status.to_string()).or_default() += 1;
    }
    counts.iter().map(|(status, n)| format!("{status}({n})")).collect::<Vec<_>>().join(", ")
}

/// `compose port`: where a port of a service is on this machine.
pub(super) fn port(args: &ServicePortArgs, location: &Location) -> Result<(), CommandError> {
    let services = std::slice::from_ref(&args.service);
    let project = project_name(services, location)?;
    let known = containers_of(&project, services)?;
    let is_meant = |known: &&Known| {
        known.label(ONE_OFF) != "True" && args.index.is_none_or(|index| known.label(NUMBER) == index.to_string())
    };
    let Some(known) = known.iter().find(is_meant) else {
        return Err(told(format!("service {:?} is not running", args.service)));
    };
    let ports = &known.state.ports;
    let is_asked = |port: &&slipway_engine::OpenPort| {
        port.container_port == args.port && port.protocol.to_string() == args.protocol
    };
    match ports.iter().find(is_asked) {
        Some(port) => write_out(&format!("{}\n", port.host)),
        None => {
            let all: Vec<String> = ports.iter().map(|port| format!("{}/{}", port.host.port(), port.protocol)).collect();
            let (asked, name) = (format!("{}/{}", args.port, args.protocol), &known.config.name);
            Err(told(format!("no port {asked} for container {name}: {}", all.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_composes() {
        let rows = [row(&["NAME", "STATUS", "FILES"]), row(&["a-name-of-twenty-one-", "running(1)", "/x"])];
        let expected = "NAME                    STATUS              FILES\n\
                        a-name-of-twenty-one-   running(1)          /x\n";
        assert_eq!(table(&rows), expected);
    }
}
