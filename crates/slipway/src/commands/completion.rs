//! `completion` and `man`: what shells complete, and manual pages, both made from the flags themselves.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use crate::cli::completion::{CompletionArgs, ManArgs};
use crate::cli::{self, link_name};
use crate::report::CommandError;

/// Prints the script for a shell. It completes what this program was called to ask for it.
pub(crate) fn run(args: &CompletionArgs, words: &[OsString]) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli::command(), link_name::of(words), &mut script);
    io::stdout().write_all(&script).map_err(|error| CommandError::Options(error.into()))
}

/// Writes a page for each command.
pub(crate) fn man(args: &ManArgs) -> Result<(), CommandError> {
    let folder = Path::new(&args.folder);
    fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(cli::command(), folder))
        .map_err(|error| CommandError::Told(format!("ERROR: write manual pages to `{}`: {error}\n", folder.display())))
}
