//! Answers one question: does the real binary do what every case in `cases/` expects?
//!
//! One test a case file. A case passes when its runs end as they should, what they make is what the reference made,
//! and — for free — the last build carried out once more runs no step and makes the same image.

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use libtest_mimic::{Arguments, Failed, Trial};
use slipway_test::base::{self, Base};
use slipway_test::builder::{Builder, Outcome};
use slipway_test::capability::Capability;
use slipway_test::case::{self, Case, Run};
use slipway_test::expectation;
use slipway_test::workspace::Workspace;

/// Capabilities whose lack is a failure: words with commas between them.
const REQUIRE: &str = "SLIPWAY_TEST_REQUIRE";

/// The program under test and the folder of the cases, for a user who cannot look into the workspace.
const BINARY: &str = "SLIPWAY_TEST_BINARY";
const CASES: &str = "SLIPWAY_TEST_CASES";

/// What all cases share.
struct Bench {
    /// Removed when the last case is done.
    folder: tempfile::TempDir,
    base: Base,
    /// The cases that were not run, and why.
    not_run: Mutex<Vec<String>>,
}

impl Bench {
    fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("slipway-cases").tempdir()?;
        let layout = folder.path().join("busybox");
        fs::create_dir(&layout)?;
        let base = base::write_busybox(&layout)?;
        Ok(Self { folder, base, not_run: Mutex::default() })
    }

    /// The binary under test, with a store and a home of its own in `root`.
    fn slipway(&self, root: &Path) -> Builder {
        let busybox = format!("--build-context=busybox=oci-layout://{}", self.folder.path().join("busybox").display());
        let env = [("SLIPWAY_ROOT", root.join("store")), ("HOME", root.join("home"))];
        Builder {
            program: vec![env::var_os(BINARY).unwrap_or_else(|| env!("CARGO_BIN_EXE_slipway").into())],
            flags: ["--progress=plain".into(), busybox.into()].to_vec(),
            env: env.map(|(name, path)| (name.into(), path.into())).to_vec(),
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            say(&format!("the cases cannot be run: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    let root = match env::var_os(CASES) {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases").canonicalize()?,
    };
    let required = env::var(REQUIRE).unwrap_or_default();
    // Other test programs read the same variable, so it may hold their words too.
    let required: Vec<Capability> = required.split(',').filter_map(|word| word.parse().ok()).collect();
    let bench = Arc::new(Bench::new()?);
    let mut trials = Vec::new();
    for path in case::find(&root)? {
        trials.push(trial(&root, &path, &required, &bench));
    }
    let conclusion = libtest_mimic::run(arguments, trials);
    let not_run = bench.not_run.lock().expect("no test panics while it holds the list");
    if !not_run.is_empty() && !arguments.list {
        let mut reasons = not_run.clone();
        reasons.sort();
        reasons.dedup();
        say(&format!("{} of the cases were not run, because: {}", not_run.len(), reasons.join("; ")));
    }
    Ok(conclusion.exit_code())
}

/// The test of one case file. A file that cannot be read is a failing test, not a missing one.
fn trial(root: &Path, path: &Path, required: &[Capability], bench: &Arc<Bench>) -> Trial {
    let name = path.strip_prefix(root).unwrap_or(path).with_extension("").to_string_lossy().into_owned();
    let case = match Case::read(root, path) {
        Ok(case) => case,
        Err(error) => return Trial::test(name, move || Err(Failed::from(format!("{error:#}")))),
    };
    let mut needs = Capability::of_every_build();
    needs.extend(&case.needs);
    if let Some((missing, reason)) = needs.iter().find_map(|c| Some((c, c.missing()?))) {
        let reason = format!("{} is missing ({reason})", missing.name());
        if required.contains(missing) {
            return Trial::test(name, move || Err(Failed::from(format!("{reason}, and {REQUIRE} asks for it"))));
        }
        let kind = format!("not run, because {reason}");
        bench.not_run.lock().expect("no test panics while it holds the list").push(reason);
        return Trial::test(name, || Ok(())).with_kind(kind).with_ignored_flag(true);
    }
    let bench = Arc::clone(bench);
    Trial::test(name, move || {
        let result = test(&case, &bench).map_err(|e| Failed::from(format!("{}\n{e:#}", case.about)))?;
        result.map_err(|difference| Failed::from(format!("{}\n{difference}", case.about)))
    })
}

/// The outer error means that the case could not be tried, the inner one that slipway is wrong.
fn test(case: &Case, bench: &Bench) -> Result<Result<(), String>> {
    let folder = tempfile::Builder::new().tempdir_in(bench.folder.path())?;
    let slipway = bench.slipway(folder.path());
    fs::create_dir(folder.path().join("home"))?;
    let workspace = Workspace::new(&folder.path().join("work"), "5a17ed00")?;
    let outcomes = slipway.build_all(case, &workspace)?;
    if let Err(difference) = expectation::check(case, &outcomes, &workspace, &bench.base) {
        return Ok(Err(difference));
    }
    let last = case.runs.last().context("a case has a run")?;
    if last.must_fail || last.is_call() {
        return Ok(Ok(()));
    }
    build_again(last, &slipway, &workspace)
}

/// Carries `run` out two more times: neither may run a step, and both must give the same image.
fn build_again(run: &Run, slipway: &Builder, workspace: &Workspace) -> Result<Result<(), String>> {
    let id_files: [PathBuf; 2] = ["first.id", "second.id"].map(|name| workspace.beside(name));
    // Only images have an id.
    let makes_image = !run.is_bake() && run.output().is_none_or(|o| o.contains("type=oci"));
    let mut ids = Vec::new();
    for file in &id_files {
        let mut again = run.clone();
        if makes_image {
            again.arguments.insert(1, format!("--iidfile={}", file.display()));
        }
        let outcome = slipway.build(&again, workspace)?;
        if let Some(problem) = ran_again(run, &outcome) {
            return Ok(Err(problem));
        }
        if makes_image {
            ids.push(fs::read_to_string(file).with_context(|| format!("read({})", file.display()))?);
        }
    }
    if run.uses_cache() && ids.windows(2).any(|pair| pair[0] != pair[1]) {
        return Ok(Err(format!("the same build gave two images: {}", ids.join(" and "))));
    }
    Ok(Ok(()))
}

fn ran_again(run: &Run, outcome: &Outcome) -> Option<String> {
    if outcome.exit_code != Some(0) {
        return Some(format!("the same build failed the second time:\n{}", outcome.stderr));
    }
    if run.uses_cache() && !outcome.steps.ran.is_empty() {
        return Some(format!("the same build ran steps again:\n{}", outcome.steps.ran.join("\n")));
    }
    None
}

/// Writes to the terminal, past the harness: the last line of a run is ours.
fn say(line: &str) {
    // A closed pipe is no reason to fail the tests.
    writeln!(io::stdout(), "{line}").ok();
}
