//! Answers one question: which images are there after a Compose project was built?
//!
//! A case is one of a table (see [`crate::recorded_table`]) whose command builds; its file `images` names the images that
//! are looked at, one a line. The answer holds the config and the layers of each.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::base::Base;
use crate::image::Image;
use crate::recorded_table::RecordedCase;

/// A label that says which version of Compose has built the image: every program has its own.
const VERSION_LABEL: &str = "com.docker.compose.version";

/// The images of a case, which has been carried out, with what is in them. `program` is what `save` is typed behind.
pub fn contents(case: &RecordedCase, program: &[&str], variables: &[(&str, &Path)], base: &Base) -> Result<String> {
    let mut text = String::new();
    for name in names(case)? {
        let folder = tempfile::tempdir()?;
        let archive = folder.path().join("image.tar");
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg("save").arg("-o").arg(&archive).arg(name);
        let saved = command.envs(variables.iter().copied()).output().context("run(save)")?;
        ensure!(saved.status.success(), "save {name}: {}", String::from_utf8_lossy(&saved.stderr));
        let content = Image::read(&archive)?.content(base)?;
        text.push_str(&format!("image {name}\n"));
        for line in content.lines() {
            text.push_str(&format!("  {}\n", without_version(line)));
        }
    }
    Ok(text)
}

/// The names of the images of a case.
pub fn names(case: &RecordedCase) -> Result<Vec<&str>> {
    let list = case.files.iter().find(|(name, _)| name == "images").context("the case has no file `images`")?;
    Ok(list.1.lines().collect())
}

/// The line of a summary, with every version of Compose called `any`.
fn without_version(line: &str) -> String {
    let start = format!("\"{VERSION_LABEL}\":\"");
    let Some((before, rest)) = line.split_once(&start) else { return line.to_owned() };
    let after = rest.split_once('"').map_or("", |(_, after)| after);
    format!("{before}{start}any\"{after}")
}
