//! `slipway fsck`: is the store what it promises to be?
//!
//! Every record leads to a committed snapshot, every blob has the bytes that its digest says, every layer the files that
//! its digest speaks of, every name leads to an image whose layers are there. Exits with 0 if so, or if all that is damaged was set aside, else with 1.

use std::io::{self, Write as _};

use slipway_store::{Finding, Store};

use crate::cli::fsck::FsckArgs;
use crate::place;
use crate::report::CommandError;

/// Checks, says what it found, and sets it aside if that is wanted.
pub(crate) fn run(args: &FsckArgs) -> Result<(), CommandError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| CommandError::Options(error);
    let place = place::find(None)?;
    let flavor = place::enter(place)?;
    let store = Store::open(&place::store_root(place), flavor).map_err(|error| failed(error.into()))?;
    // A database that cannot be read at all was replaced when the store was opened.
    let replaced = store.take_remarks();
    let mut findings = store.fsck().map_err(|error| failed(error.into()))?;
    let is_readable = !findings.iter().any(|finding| matches!(finding, Finding::Database { .. }));
    let mut n_unknown = 0;
    if !args.quick && is_readable {
        let contents = store.fsck_contents().map_err(|error| failed(error.into()))?;
        // A blob of another size has other bytes, too.
        let is_new =
            |finding: &Finding| finding.blob().is_none_or(|blob| findings.iter().all(|f| f.blob() != Some(blob)));
        findings.extend(contents.into_iter().filter(is_new).collect::<Vec<_>>());
        let layers = slipway_engine::check_layers(&store, flavor).map_err(|error| failed(error.into()))?;
        findings.extend(layers.findings);
        n_unknown = layers.n_unknown;
    }
    if args.repair {
        findings = store.repair(findings).map_err(|error| failed(error.into()))?;
    }
    let text = text(&replaced, &findings, n_unknown, args.repair);
    io::stdout().write_all(text.as_bytes()).map_err(|error| failed(error.into()))?;
    let is_left = !findings.is_empty() && !args.repair;
    if is_left { Err(CommandError::Findings) } else { Ok(()) }
}

fn text(replaced: &[String], findings: &[Finding], n_unknown: usize, is_repaired: bool) -> String {
    let lines = findings.iter().map(|finding| format!("{finding}\n"));
    let last = match (findings.len(), is_repaired) {
        (0, _) => "the store is sound\n".to_owned(),
        (n, true) => format!("{n} found and set aside; the next build makes anew what it needs\n"),
        (n, false) => format!("{n} found; `slipway fsck --repair` sets them aside\n"),
    };
    let unknown = match n_unknown {
        0 => String::new(),
        n => format!("layers that there is nothing to compare with any more: {n}\n"),
    };
    replaced.iter().map(|remark| format!("{remark}\n")).chain(lines).chain([unknown, last]).collect()
}
