//! Answers one question: what does the reference builder make of each case?
//!
//! 1. lay the case out in a temporary folder
//! 2. carry its runs out on BuildKit, beside which `$SLIPWAY_PEERS/enter` (default `../shared/peers`) runs commands
//! 3. check what the case claims about exit codes and error texts
//! 4. write the answer into the section `expect/reference`

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use slipway_test::base::Base;
use slipway_test::builder::{Builder, Outcome};
use slipway_test::case::{self, Case};
use slipway_test::expectation;
use slipway_test::workspace::Workspace;

/// The reference's name for the base image of the cases.
const BUSYBOX: &str = "127.0.0.1:5000/library/busybox";

/// Records every case below `<root>/cases` whose name contains `filter`.
pub(crate) fn run(root: &Path, filter: &str) -> Result<()> {
    let enter = peers(root)?.join("enter");
    let base = base(&enter)?;
    let builder = Builder {
        program: [enter.as_os_str(), "docker".as_ref(), "buildx".as_ref()].map(Into::into).to_vec(),
        // The reference has no bridge network, so its steps use the host's.
        flags: ["--progress=plain", "--provenance=false", "--network=host"].map(Into::into).to_vec(),
        env: Vec::new(),
    };
    let cases = root.join("cases");
    let (mut n_recorded, mut failed) = (0, Vec::new());
    for path in case::find(&cases)? {
        let case = Case::read(&cases, &path)?;
        if !case.name.contains(filter) {
            continue;
        }
        match record(&case, &path, &builder, &base) {
            Ok(()) => n_recorded += 1,
            Err(error) => failed.push(format!("{}: {error:#}", case.name)),
        }
    }
    println!("{n_recorded} cases recorded");
    ensure!(failed.is_empty(), "{} cases could not be recorded:\n{}", failed.len(), failed.join("\n"));
    Ok(())
}

/// The folder of the reference builders.
pub(crate) fn peers(root: &Path) -> Result<PathBuf> {
    let peers = env::var_os("SLIPWAY_PEERS").map_or_else(|| root.join("../shared/peers"), PathBuf::from);
    ensure!(peers.join("enter").exists(), "no reference builder at {}; set SLIPWAY_PEERS", peers.display());
    Ok(peers.canonicalize()?)
}

/// The base image of the reference.
pub(crate) fn base(enter: &Path) -> Result<Base> {
    let output = Command::new(enter).args(["crane", "config", BUSYBOX]).output().context("run(crane config)")?;
    ensure!(output.status.success(), "crane config {BUSYBOX}: {}", String::from_utf8_lossy(&output.stderr));
    Base::from_config(&output.stdout)
}

fn record(case: &Case, path: &Path, builder: &Builder, base: &Base) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let workspace = Workspace::new(folder.path(), &salt()?)?;
    let outcomes = builder.build_all(case, &workspace)?;
    verify_claims(case, &outcomes)?;
    let answer = expectation::answer(&outcomes, &workspace, base)?;
    let text = fs::read_to_string(path)?;
    fs::write(path, case::with_answer(&text, "reference", &answer))?;
    Ok(())
}

/// What the client says when it is not the builder that refuses: nobody answered, or the connection broke.
const NO_ANSWER: [&str; 6] = [
    "Cannot connect to the Docker daemon",
    "error during connect",
    "failed to dial gRPC",
    "failed to list workers",
    "rpc error: code = Unavailable",
    "chroot: ",
];

/// Fails if what the reference `said` while it failed is no answer: a dead daemon says nothing about a Dockerfile.
pub(crate) fn ensure_answered(said: &str) -> Result<()> {
    let broken = said.lines().find(|line| NO_ANSWER.iter().any(|text| line.contains(text)));
    broken.map_or(Ok(()), |line| Err(anyhow!("the reference builder cannot be reached: {line}")))
}

/// Checks the hand-written claims of a case, so that none of them contradicts the reference without saying so.
fn verify_claims(case: &Case, outcomes: &[Outcome]) -> Result<()> {
    let differs = |what: &str| case.differs.iter().any(|(w, _)| w == what);
    for (run, outcome) in case.runs.iter().zip(outcomes) {
        let succeeded = outcome.exit_code == Some(0);
        if !succeeded {
            ensure_answered(&outcome.stderr)?;
        }
        ensure!(succeeded != run.must_fail || differs("outcome"), "`{run}`: {}", outcome.stderr);
    }
    let Some(last) = outcomes.last() else { bail!("no runs") };
    for text in case.answer("stderr").unwrap_or_default().lines() {
        ensure!(last.stderr.contains(text) || differs("stderr"), "no `{text}` in:\n{}", last.stderr);
    }
    for text in case.answer("absent").unwrap_or_default().lines() {
        let Some(product) = &last.product else { bail!("`expect/absent` needs a result") };
        ensure!(!product.contains(text)?, "`{text}` is in the reference's result");
    }
    Ok(())
}

/// Eight characters that no earlier run had.
fn salt() -> Result<String> {
    let nanoseconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos();
    Ok(format!("{:08x}", (nanoseconds / 1_000) & 0xffff_ffff))
}

#[cfg(test)]
mod tests {
    use super::ensure_answered;

    #[test]
    fn a_broken_connection_is_no_answer() {
        for said in [
            "ERROR: Cannot connect to the Docker daemon at unix:///run/d.sock. Is the docker daemon running?",
            "#1 [internal] load\nERROR: failed to build: failed to receive status: rpc error: code = Unavailable desc = \
             error reading from server: EOF",
        ] {
            assert!(ensure_answered(said).is_err(), "{said}");
        }
        for said in [
            "ERROR: failed to build: failed to solve: rpc error: code = Unknown desc = syntax error in pattern",
            "ERROR: failed to solve: failed to load remote: dial tcp 127.0.0.1:1: connect: connection refused",
        ] {
            assert!(ensure_answered(said).is_ok(), "{said}");
        }
    }
}
