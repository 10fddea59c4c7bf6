//! Development commands: `cargo xtask record [filter]`, `record-bake`, `record-compose`,
//! `record-compose-images`, `record-help`, `record-tables`, `registry …` and `tidy`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a development tool speaks to a terminal")]

mod bake;
mod compose;
mod help;
mod record;
mod recorded;
mod registry;
mod tables;
mod tidy;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <command>
  record [FILTER]  builds every case whose name contains FILTER on the reference and stores its answer
  record-bake [FILTER]
                   asks the reference again about every bake file of slipway's tables whose name contains FILTER
  record-compose [FILTER]
                   asks the reference again about every Compose project of the tables whose name contains FILTER
  record-compose-images [FILTER]
                   builds the Compose projects of the tables whose name contains FILTER, and stores what is in the images
  record-help      asks the reference again for the help of each command of slipway's tests
  record-tables    asks the reference again about every word and path pattern of slipway-dockerfile's tables
  registry [--listen ADDRESS] --dir DIR
                   serves a registry on a loopback address, its images in DIR
  tidy             checks what the compiler does not: crate edges, file names, where unsafe and printing are";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["record"] => record::run(&root(), ""),
        ["record", filter] => record::run(&root(), filter),
        ["record-bake", ref filter @ ..] if filter.len() < 2 => {
            record::peers(&root()).and_then(|peers| bake::run(&root(), &peers.join("enter"), &filter.concat()))
        }
        ["record-compose", ref filter @ ..] if filter.len() < 2 => {
            record::peers(&root()).and_then(|peers| compose::run(&root(), &peers.join("enter"), &filter.concat()))
        }
        ["record-compose-images", ref filter @ ..] if filter.len() < 2 => record::peers(&root()).and_then(|peers| {
            let enter = peers.join("enter");
            compose::run_images(&root(), &enter, &record::base(&enter)?, &filter.concat())
        }),
        ["record-help"] => record::peers(&root()).and_then(|peers| help::run(&root(), &peers.join("enter"))),
        ["record-tables"] => record::peers(&root()).and_then(|peers| tables::run(&root(), &peers.join("enter"))),
        ["registry", ..] => registry::run(arguments.iter().skip(1).cloned()),
        ["tidy"] => tidy::run(&root()),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the workspace: two folders above this crate.
fn root() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root.pop();
    root
}
