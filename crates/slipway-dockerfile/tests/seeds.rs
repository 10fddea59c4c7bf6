//! Answers one question: can every Dockerfile of a collection be parsed and lowered, whichever of its stages is built?
//!
//! The collection is a folder of `*.txt` files with fenced `dockerfile` blocks in them, named by `SLIPWAY_SEEDS`
//! (default: `../shared/seeds` beside the workspace). Nobody has to have it: without it nothing is run, and said so.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use slipway_dockerfile::{Dockerfile, Keyword, KnownImage, KnownImages, LowerInputs, Lowering, lower, parse};
use slipway_graph::op::ImageOrigin;
use slipway_oci::{ChainId, Digest, ImageConfig, Platform};

/// The folder with the collection.
const SEEDS: &str = "SLIPWAY_SEEDS";

/// More rounds of questions than any chain of bases needs.
const MAX_ROUNDS: usize = 20;

/// Blocks that no builder takes: a part of their text, and of what is said about them.
///
/// The first shows two ways to name a stage, so its only stage up to there copies from itself.
const INVALID: [(&str, &str); 1] = [("# Hard to maintain\nFROM node:20\nCOPY --from=0", "circular dependency")];

/// One fenced block.
struct Block {
    /// `file:line` of the fence.
    place: String,
    text: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let folder = env::var_os(SEEDS)
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/seeds"), PathBuf::from);
    let blocks = match blocks_below(&folder) {
        Ok(blocks) => blocks,
        Err(error) => {
            say(&format!("the seeds were not run, because `{}` cannot be read: {error}", folder.display()));
            return ExitCode::SUCCESS;
        }
    };
    let trials = blocks.into_iter().map(|block| {
        Trial::test(block.place.clone(), move || {
            check(&block.text).map_err(|why| Failed::from(why + "\n" + &block.text))
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn blocks_below(folder: &Path) -> io::Result<Vec<Block>> {
    let mut files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    let mut blocks = Vec::new();
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        blocks.extend(blocks_of(&name, &fs::read_to_string(&file)?));
    }
    Ok(blocks)
}

fn blocks_of(name: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        let is_fence = line.trim_start().starts_with("```");
        match (&mut open, is_fence) {
            (None, true) if line.trim() == "```dockerfile" => {
                open = Some(Block { place: format!("{name}:{}", index + 1), text: String::new() });
            }
            (Some(_), true) => blocks.extend(open.take()),
            (Some(block), false) => block.text += &format!("{line}\n"),
            (None, _) => {}
        }
    }
    blocks
}

/// Parses a block and lowers each of its stages.
fn check(text: &str) -> Result<(), String> {
    let expected = INVALID.iter().find(|(part, _)| text.contains(part)).map(|(_, expected)| *expected);
    match (check_stages(text), expected) {
        (Ok(()), Some(_)) => Err("is listed as invalid, but was accepted".to_owned()),
        (Err(why), Some(expected)) if why.contains(expected) => Ok(()),
        (outcome, _) => outcome,
    }
}

fn check_stages(text: &str) -> Result<(), String> {
    let dockerfile = parsed(text)?;
    // A snippet shows what stands in some stage.
    let dockerfile = if has_stage(&dockerfile) { dockerfile } else { parsed(&format!("FROM scratch\n{text}"))? };
    for end in ends_of_stages(&dockerfile) {
        let mut up_to_stage = dockerfile.clone();
        up_to_stage.instructions.truncate(end);
        lower_all(&up_to_stage).map_err(|why| format!("the stage that ends before instruction {end}: {why}"))?;
    }
    Ok(())
}

fn parsed(text: &str) -> Result<Dockerfile, String> {
    match parse(text.as_bytes()) {
        (dockerfile, findings) if findings.is_empty() => Ok(dockerfile),
        (_, findings) => Err(format!("{findings:?}")),
    }
}

fn has_stage(dockerfile: &Dockerfile) -> bool {
    dockerfile.instructions.iter().any(|instruction| instruction.keyword == Keyword::From)
}

/// Where each stage ends, as a number of instructions from the start of the file.
fn ends_of_stages(dockerfile: &Dockerfile) -> Vec<usize> {
    let starts = dockerfile.instructions.iter().enumerate().filter(|(_, i)| i.keyword == Keyword::From);
    starts.map(|(index, _)| index).skip(1).chain([dockerfile.instructions.len()]).collect()
}

/// Lowers the last stage; every image that is asked for is there, with an empty config.
fn lower_all(dockerfile: &Dockerfile) -> Result<(), String> {
    let no_args = BTreeMap::new();
    let inputs = LowerInputs::plain(Platform::new("linux", "amd64", None), &no_args);
    let mut known = KnownImages::new();
    for _ in 0..MAX_ROUNDS {
        match lower(dockerfile, &inputs, &known).0.map_err(|findings| format!("{findings:?}"))? {
            Lowering::Done(_) | Lowering::NeedTime(_) => return Ok(()),
            Lowering::NeedImages(questions) => {
                known.extend(questions.into_iter().map(|question| (question.key, made_up(&question.written))));
            }
        }
    }
    Err(format!("still asks for images after {MAX_ROUNDS} rounds"))
}

fn made_up(name: &str) -> KnownImage {
    let digest = Digest::of(name.as_bytes());
    KnownImage {
        origin: ImageOrigin::Registry,
        manifest: digest.clone(),
        chain_id: Some(ChainId(digest)),
        config: ImageConfig::default(),
    }
}

/// Writes to the terminal, past the harness.
fn say(line: &str) {
    // A closed pipe is no reason to fail the tests.
    writeln!(io::stdout(), "{line}").ok();
}
