//! `slipway report [BUILD]`: one page of HTML about a build, which a browser shows without a network.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use slipway_report::html;
use slipway_store::Store;

use crate::cli::report::ReportArgs;
use crate::commands::builds::{self, NoBuildError};
use crate::report::CommandError;
use crate::{build_report, place};

/// The page cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{}`", path.display())]
struct PageError {
    path: PathBuf,
    source: io::Error,
}

/// Writes the page, and says where it is.
pub(crate) fn run(args: &ReportArgs) -> Result<(), CommandError> {
    write(args)?;
    if args.output == Path::new("-") {
        return Ok(());
    }
    let said = format!("The report is in {}\n", args.output.display());
    io::stderr().write_all(said.as_bytes()).map_err(|error| CommandError::Options(error.into()))
}

/// Writes the page.
pub(crate) fn write(args: &ReportArgs) -> Result<(), CommandError> {
    let failed = |error: NoBuildError| CommandError::Options(error.into());
    // Before the first thread. What layers measure only their owner can find out.
    let place = place::find(None)?;
    let flavor = place::enter(place)?;
    let store = Store::open(&place::store_root(place), flavor).map_err(|error| CommandError::Options(error.into()))?;
    let all = builds::records(&store).map_err(failed)?;
    let record = builds::find(&all, args.build.as_deref()).map_err(failed)?;
    let against = args.against.as_deref().map(|other| builds::find(&all, Some(other)));
    let against = against.transpose().map_err(failed)?;
    let page = html(&build_report::of(&store, record, &all, against));
    if args.output == Path::new("-") {
        return io::stdout().write_all(page.as_bytes()).map_err(|error| CommandError::Options(error.into()));
    }
    let failed = |source| CommandError::Options(PageError { path: args.output.clone(), source }.into());
    fs::write(&args.output, page).map_err(failed)
}
