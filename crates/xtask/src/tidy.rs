//! Answers one question: does the code keep the rules that no compiler checks?
//!
//! Each rule is an absence: no crate edge that the architecture lacks, no file named after nothing, no `unsafe` outside
//! the sandbox, no crate without the workspace's lints, no printing and no environment outside the binary.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

/// Which crates of the workspace each crate may use. `slipway` may use every one below it.
const EDGES: [(&str, &[&str]); 17] = [
    ("slipway-oci", &[]),
    ("slipway-graph", &["slipway-oci"]),
    ("slipway-dockerfile", &["slipway-graph", "slipway-oci"]),
    ("slipway-solver", &["slipway-graph", "slipway-oci"]),
    ("slipway-store", &["slipway-oci"]),
    ("slipway-registry", &["slipway-oci"]),
    ("slipway-sandbox", &[]),
    ("slipway-cache", &["slipway-registry", "slipway-oci"]),
    (
        "slipway-engine",
        &[
            "slipway-solver",
            "slipway-store",
            "slipway-registry",
            "slipway-cache",
            "slipway-sandbox",
            "slipway-sbom",
            "slipway-archive",
            "slipway-dockerfile",
            "slipway-graph",
            "slipway-oci",
        ],
    ),
    ("slipway-archive", &[]),
    ("slipway-sbom", &[]),
    ("slipway-bake", &[]),
    ("slipway-compose", &[]),
    ("slipway-lint", &["slipway-dockerfile", "slipway-graph", "slipway-oci"]),
    ("slipway-report", &[]),
    ("slipway-analyze", &["slipway-archive", "slipway-oci"]),
    ("slipway-explorer", &["slipway-analyze"]),
];

/// For development only: they may use any crate, and any crate's tests may use `slipway-test`.
const DEVELOPMENT: [&str; 2] = ["slipway-test", "xtask"];

/// Names that say nothing about what a file is for.
const EMPTY_NAMES: [&str; 7] = ["util", "utils", "helper", "helpers", "common", "manager", "misc"];

/// The crates that may print and read the environment.
const SPEAKS: [&str; 3] = ["slipway", "slipway-test", "xtask"];

/// What `cargo metadata` says of a crate; unknown fields are left out.
#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// `null` for an ordinary dependency, else `dev` or `build`.
    kind: Option<String>,
    /// Set for crates of the workspace.
    path: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// Checks the workspace at `root`; the error lists every finding.
pub(crate) fn run(root: &Path) -> Result<()> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .context("run(cargo metadata)")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    let mut findings = Vec::new();
    for package in &metadata.packages {
        findings.extend(edges(package));
        findings.extend(lints(package, &fs::read_to_string(&package.manifest_path)?));
        let folder = package.manifest_path.parent().context("a manifest lies in a folder")?;
        for (path, text) in sources(folder)? {
            let place = path.strip_prefix(root).unwrap_or(&path);
            findings.extend(file_name(place));
            findings.extend(forbidden_words(&package.name, place, &text));
        }
    }
    ensure!(findings.is_empty(), "{} findings\n{}", findings.len(), findings.join("\n"));
    println!("tidy: {} crates, nothing found", metadata.packages.len());
    Ok(())
}

/// Every `.rs` file below `folder`, with its text.
fn sources(folder: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![folder.to_path_buf()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("read_dir({})", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path)?;
                found.insert(path, text);
            }
        }
    }
    Ok(found)
}

/// Edges between crates of the workspace that the architecture lacks.
fn edges(package: &Package) -> Vec<String> {
    let name = package.name.as_str();
    if DEVELOPMENT.contains(&name) {
        return Vec::new();
    }
    let inside = package.dependencies.iter().filter(|d| d.path.is_some());
    let is_allowed = |d: &&Dependency| {
        let is_test_edge = d.kind.as_deref() == Some("dev") && d.name == "slipway-test";
        is_test_edge || allowed_edge(name, &d.name)
    };
    inside
        .filter(|d| !is_allowed(d))
        .map(|d| format!("{name}: must not depend on {}; see the picture in ARCHITECTURE.md", d.name))
        .collect()
}

fn allowed_edge(from: &str, to: &str) -> bool {
    if from == "slipway" {
        return !DEVELOPMENT.contains(&to);
    }
    EDGES.iter().any(|(name, targets)| *name == from && targets.contains(&to))
}

/// A manifest without the workspace's lints.
fn lints(package: &Package, manifest: &str) -> Option<String> {
    let has_lints =
        manifest.split("[lints]").nth(1).is_some_and(|rest| rest.trim_start().starts_with("workspace = true"));
    (!has_lints).then(|| format!("{}: lacks `[lints] workspace = true`", package.name))
}

/// A file or folder named after nothing.
fn file_name(path: &Path) -> Option<String> {
    let is_empty = |part: &str| EMPTY_NAMES.contains(&part.trim_end_matches(".rs"));
    let found = path.iter().filter_map(|part| part.to_str()).find(|part| is_empty(part))?;
    Some(format!("{}: `{found}` does not say what it is for", path.display()))
}

/// Lines with words that belong to other crates. Comments do not count.
fn forbidden_words(package: &str, path: &Path, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    // Tests and benchmarks have a terminal of their own.
    let speaks = SPEAKS.contains(&package) || path.iter().any(|part| part == "tests" || part == "benches");
    for (index, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let mut report = |what: &str| findings.push(format!("{}:{}: {what}", path.display(), index + 1));
        if package != "slipway-sandbox" && is_unsafe(code) {
            report("only slipway-sandbox may be unsafe");
        }
        if speaks {
            continue;
        }
        if code.contains("env::var") {
            report("only the binary reads the environment");
        }
        if ["println!", "print!"].iter().any(|word| has_word(code, word)) || has_word(code, "eprintln!") {
            report("only the binary prints");
        }
    }
    findings
}

/// Whether `code` opens something unsafe: the word alone may stand in a text.
fn is_unsafe(code: &str) -> bool {
    const KEYWORD: &str = "unsafe";
    ["{", "fn ", "impl ", "extern ", "trait "].iter().any(|next| has_word(code, &format!("{KEYWORD} {next}")))
}

/// Whether `word` is in `code`, not as a part of a longer name.
fn has_word(code: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + word.len()..]);
        !before.ends_with(is_name) && (!word.ends_with(is_name) || !after.starts_with(is_name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        let dependency = |(name, kind): &(&str, Option<&str>)| Dependency {
            name: (*name).to_owned(),
            kind: kind.map(str::to_owned),
            path: name.starts_with("slipway").then(|| PathBuf::from("x")),
        };
        let dependencies = dependencies.iter().map(dependency).collect();
        Package { name: name.to_owned(), manifest_path: PathBuf::new(), dependencies }
    }

    #[test]
    fn an_edge_upwards_or_sideways_is_found() {
        assert_eq!(edges(&package("slipway-oci", &[("slipway-graph", None)])).len(), 1);
        assert_eq!(edges(&package("slipway-store", &[("slipway-registry", None)])).len(), 1);
        assert_eq!(edges(&package("slipway-unknown", &[("slipway-oci", None)])).len(), 1);
    }

    #[test]
    fn edges_of_the_picture_are_fine() {
        assert_eq!(edges(&package("slipway-engine", &[("slipway-solver", None), ("serde", None)])), [""; 0]);
        assert_eq!(edges(&package("slipway", &[("slipway-bake", None)])), [""; 0]);
    }

    #[test]
    fn the_test_crate_is_for_tests() {
        assert_eq!(edges(&package("slipway-oci", &[("slipway-test", Some("dev"))])), [""; 0]);
        assert_eq!(edges(&package("slipway", &[("slipway-test", None)])).len(), 1);
    }

    #[test]
    fn lints_must_be_the_workspaces() {
        assert_eq!(lints(&package("a", &[]), "[lints]\nworkspace = true\n"), None);
        assert!(lints(&package("a", &[]), "[lints.rust]\nx = \"warn\"\n").is_some());
    }

    #[test]
    fn empty_names_are_found_in_files_and_folders() {
        assert!(file_name(Path::new("src/util.rs")).is_some());
        assert!(file_name(Path::new("src/common/a.rs")).is_some());
        assert!(file_name(Path::new("src/utility_bill.rs")).is_none());
    }

    #[test]
    fn words_are_found_outside_comments_only() {
        let find = |package: &str, text: &str| forbidden_words(package, Path::new("a.rs"), text).len();
        let block = concat!("uns", "afe { x() }");
        assert_eq!(find("slipway-store", block), 1);
        assert_eq!(find("slipway-store", concat!("pub uns", "afe fn x()")), 1);
        assert_eq!(find("slipway-sandbox", block), 0);
        assert_eq!(find("slipway-store", &format!("// {block}")), 0);
        assert_eq!(find("slipway-store", "#![deny(unsafe_code)]"), 0);
        assert_eq!(find("slipway-store", "std::env::var(\"A\"); println!();"), 2);
        let test = Path::new("crates/slipway-store/tests/a.rs");
        assert_eq!(forbidden_words("slipway-store", test, "println!()").len(), 0);
        assert_eq!(find("slipway", "std::env::var(\"A\"); println!();"), 0);
    }
}
