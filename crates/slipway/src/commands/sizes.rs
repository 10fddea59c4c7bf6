//! `slipway sizes [OPTIONS] [PATH]`: every target of a Dockerfile, its base, and how large its image is.
//!
//! All targets are built with one graph: what they share is made once, and what is there already is not made again.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use serde::Serialize;
use slipway_dockerfile::{FileOrigin, Overview};
use slipway_engine::Inspector;
use slipway_graph::request::flags::BuildFlags;
use slipway_graph::request::{BuildRequest, NamedRequest};
use slipway_registry::Registry;
use slipway_store::{Bounds, LayerSizes, OverlayFlavor};

use crate::cli::sizes::{SizesArgs, SizesFormat};
use crate::commands::build::{self, TerminalUse, Terminals};
use crate::progress::{Reporter, Style};
use crate::report::CommandError;
use crate::surroundings::ThisMachine;
use crate::{client_config, place};

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
enum SizesError {
    #[error("sizes builds from folders; clone `{0}` first")]
    Remote(String),
    #[error("cannot write `{}`", path.display())]
    Output { path: PathBuf, source: io::Error },
}

/// A line of the table.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    target: String,
    /// What its files begin with, through all stages in between.
    base: String,
    /// The stages in between, the nearest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stages: Vec<String>,
    size_bytes: Option<u64>,
    compressed_bytes: Option<u64>,
}

/// Builds, and prints the table.
pub(crate) fn run(args: SizesArgs, is_debug: bool, words: &[OsString]) -> Result<(), CommandError> {
    let style = Style::choose(&args.progress, false).map_err(|error| CommandError::Options(error.into()))?;
    let (format, output) = (args.format, args.output.clone());
    let flags = flags_of(args);
    let request_of = |flags: &BuildFlags| {
        BuildRequest::from_flags(flags, &ThisMachine).map_err(|error| {
            let moment = error.moment();
            CommandError::of_flags(error.into(), moment, words)
        })
    };
    let request = request_of(&flags)?;
    if request.fetches_inputs() {
        return Err(CommandError::Options(SizesError::Remote(flags.context).into()));
    }
    // Before the first thread.
    let place = place::find(None)?;
    let overview = overview_of(&request)?;
    let targets = targets_of(&overview);
    let mut requests = Vec::with_capacity(targets.len());
    for target in &targets {
        let name = overview.stages[*target].name.clone();
        let target = if overview.stages[*target].is_named { name.clone() } else { String::new() };
        requests.push(NamedRequest { name, request: request_of(&BuildFlags { target, ..flags.clone() })? });
    }
    let terminal = TerminalUse { for_shell: false, for_steps: false };
    let built = build::carry_out(&requests, place, terminal, || Reporter::start(style, is_debug), Vec::new())?;
    let rows: Vec<Row> =
        targets.iter().zip(&built).map(|(target, built)| row(&overview, *target, built.size)).collect();
    let text = match format {
        SizesFormat::Table => table(&rows),
        SizesFormat::Markdown => markdown(&rows),
        SizesFormat::Json => {
            serde_json::to_string_pretty(&rows).expect("because a table of sizes has only text keys") + "\n"
        }
    };
    match output {
        None => io::stdout().write_all(text.as_bytes()).map_err(|error| CommandError::Options(error.into())),
        Some(path) => {
            fs::write(&path, text).map_err(|source| CommandError::Options(SizesError::Output { path, source }.into()))
        }
    }
}

fn flags_of(args: SizesArgs) -> BuildFlags {
    let SizesArgs { context, file, build_args, build_contexts, secrets, ssh, network, .. } = args;
    BuildFlags {
        context,
        file,
        build_args,
        build_contexts,
        secrets,
        ssh,
        network,
        // Who wants the digest of the manifest has the layers compressed. The file itself is written by `build` only.
        metadata_file: "/dev/null".to_owned(),
        ..BuildFlags::default()
    }
}

fn overview_of(request: &BuildRequest) -> Result<Overview, CommandError> {
    let registry = Registry::new(client_config::registry_config(request.is_offline));
    let store_root = client_config::store_root();
    let open_engine = || {
        let flavor = OverlayFlavor::Outside;
        build::engine_within(Bounds::default(), &store_root, flavor, registry.clone(), Terminals::default())
    };
    let silent = Reporter::start(Style::Silent, false);
    Inspector::new(&open_engine).overview(request, &mut io::stdin(), &silent).map_err(CommandError::Build)
}

/// The stages that can be asked for: those with a name of their own, and the last one. Of several with one name it is
/// the last.
fn targets_of(overview: &Overview) -> Vec<usize> {
    let last = overview.stages.len().saturating_sub(1);
    let is_last_of_name = |index: usize| {
        let stage = &overview.stages[index];
        stage.is_named && overview.stages[index + 1..].iter().all(|later| later.name != stage.name)
    };
    (0..overview.stages.len()).filter(|index| *index == last || is_last_of_name(*index)).collect()
}

fn row(overview: &Overview, target: usize, size: Option<LayerSizes>) -> Row {
    let mut stages = Vec::new();
    let mut current = target;
    let base = loop {
        match &overview.stages[current].base {
            FileOrigin::Stage(index) => {
                stages.push(overview.stages[*index].name.clone());
                current = *index;
            }
            FileOrigin::Image(name) | FileOrigin::Context(name) => break name.clone(),
            FileOrigin::Scratch => break "scratch".to_owned(),
        }
    };
    Row {
        target: overview.stages[target].name.clone(),
        base,
        stages,
        size_bytes: size.and_then(|size| size.plain_bytes),
        compressed_bytes: size.and_then(|size| size.compressed_bytes),
    }
}

impl Row {
    fn cells(&self) -> [String; 4] {
        let size = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), slipway_report::size);
        let base = match self.stages.as_slice() {
            [] => self.base.clone(),
            stages => format!("{} ({})", self.base, stages.join(" < ")),
        };
        [self.target.clone(), base, size(self.size_bytes), size(self.compressed_bytes)]
    }
}

const TITLES: [&str; 4] = ["TARGET", "BASE", "SIZE", "COMPRESSED"];

fn table(rows: &[Row]) -> String {
    let lines: Vec<[String; 4]> =
        std::iter::once(TITLES.map(str::to_owned)).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let [target, base, size, compressed] = [width(0), width(1), width(2), width(3)];
    let line = |[a, b, c, d]: &[String; 4]| format!("{a:target$}   {b:base$}   {c:>size$}   {d:>compressed$}\n");
    lines.iter().map(line).collect()
}

fn markdown(rows: &[Row]) -> String {
    let line = |cells: &[String; 4]| {
        let cells = cells.each_ref().map(|cell| cell.replace('|', "\\|"));
        format!("| {} |\n", cells.join(" | "))
    };
    let head = line(&["Target", "Base image", "Size", "Compressed"].map(str::to_owned));
    let lines = rows.iter().map(|row| line(&row.cells()));
    [head, "|---|---|---:|---:|\n".to_owned()].into_iter().chain(lines).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use slipway_dockerfile::{LowerInputs, overview, parse};
    use slipway_oci::Platform;

    use super::*;

    fn rows(text: &str) -> Vec<Row> {
        let args = BTreeMap::new();
        let found = overview(&parse(text.as_bytes()).0, &LowerInputs::plain(Platform::host(), &args)).unwrap();
        let size = LayerSizes { plain_bytes: Some(1_020_000_000), compressed_bytes: None };
        targets_of(&found).into_iter().map(|target| row(&found, target, Some(size))).collect()
    }

    #[test]
    fn targets_are_those_that_can_be_asked_for() {
        let rows =
            rows("FROM rust:1.75 AS base\nFROM base\nFROM base AS x\nFROM x AS test\nFROM ab AS x\nFROM scratch\n");
        let told: Vec<String> = rows.iter().map(|row| row.cells().join(" ")).collect();
        let expected = [
            "base rust:1.75 1.02GB unknown",
            "test rust:1.75 (x < base) 1.02GB unknown",
            "x ab 1.02GB unknown",
            "stage-5 scratch 1.02GB unknown",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn tables_have_columns() {
        let rows = rows("FROM rust:1.75 AS base\nFROM base AS test\n");
        let expected = "\
TARGET   BASE                 SIZE   COMPRESSED
base     rust:1.75          1.02GB      unknown
test     rust:1.75 (base)   1.02GB      unknown
";
        assert_eq!(table(&rows), expected);
        let expected = "\
| Target | Base image | Size | Compressed |
|---|---|---:|---:|
| base | rust:1.75 | 1.02GB | unknown |
| test | rust:1.75 (base) | 1.02GB | unknown |
";
        assert_eq!(markdown(&rows), expected);
    }
}
