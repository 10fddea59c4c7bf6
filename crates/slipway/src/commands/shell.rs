//! `slipway shell STAGE[:LINE] [OPTIONS] [PATH | URL | -]`: builds up to a point and opens a shell there.

use std::ffi::OsString;

use slipway_engine::{BuildError, BuildFailure};

use crate::cli::build::ShellArgs;
use crate::commands::build;
use crate::report::CommandError;
use crate::shell_seat;

/// Nobody can type into the shell.
#[derive(Debug, thiserror::Error)]
#[error("a shell needs a terminal on standard input and standard error")]
struct NoTerminalError;

/// Nobody wants to be thrown out of a shell because a file was written.
#[derive(Debug, thiserror::Error)]
#[error("a shell cannot be used with --watch")]
struct WatchedShellError;

/// Builds what comes before the point; the shell is the last step, and there is no image.
pub(crate) fn run(args: ShellArgs, is_debug: bool, words: &[OsString]) -> Result<(), CommandError> {
    if !shell_seat::is_there() {
        return Err(CommandError::Preparation(Box::new(NoTerminalError)));
    }
    let ShellArgs { point, build: mut args } = args;
    if args.watch {
        return Err(CommandError::Options(Box::new(WatchedShellError)));
    }
    args.shell = point;
    if args.contexts.is_empty() {
        args.contexts.push(".".to_owned());
    }
    match build::run(args, is_debug, words) {
        // The build ends where somebody has sat down.
        Err(CommandError::Build(BuildError { failure: BuildFailure::Canceled, .. })) => Ok(()),
        outcome => outcome,
    }
}
