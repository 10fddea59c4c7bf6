//! Commands about local images, compared with the record of what Docker answers: `recorded/image_commands.txt`.

use std::fmt::Write as _;
use std::process::Stdio;

use regex::Regex;

use crate::drop_in::with_links;
use crate::site::{Site, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[test("answers_are_those_of_docker", answers_are_those_of_docker)];

const RECORD: &str = include_str!("recorded/image_commands.txt");
const COMMAND: &str = "$ docker ";

fn answers_are_those_of_docker() {
    let (_, dockerfile) = RECORD.split_once("-- Dockerfile --\n").unwrap();
    let (dockerfile, _) = dockerfile.split_once("--\n").unwrap();
    let site = Site::new(dockerfile);
    site.build(&["--tag=recorded/app:1", "--tag=recorded/app:2"]).success();
    let masks = masks();
    let mut differences = String::new();
    let mut n_commands = 0;
    for expected in RECORD.split(&format!("\n{COMMAND}")).skip(1) {
        let (line, expected) = expected.split_once('\n').unwrap();
        let outcome = run(with_links(&site, "sh").args(["-c", &format!("docker {line}")]).stdin(Stdio::null()));
        let (stdout, stderr) =
            (masked(&masks, &String::from_utf8_lossy(&outcome.stdout)), masked(&masks, &outcome.stderr));
        let mut found = format!("[exit {}]\n{stdout}", outcome.exit_code.unwrap());
        if !stderr.is_empty() {
            write!(found, "[stderr]\n{stderr}").unwrap();
        }
        if found.trim_end() != expected.trim_end() {
            write!(differences, "{COMMAND}{line}\n-- Docker\n{expected}\n-- slipway\n{found}\n").unwrap();
        }
        n_commands += 1;
    }
    assert!(n_commands > 100, "the record has {n_commands} commands only");
    assert!(differences.is_empty(), "{differences}");
}

/// What differs from machine to machine and from minute to minute, and what stands for it in the record.
fn masks() -> Vec<(Regex, &'static str)> {
    let masks = [
        (r"(?m)^Error response from daemon: ", "Error: "),
        (r"sha256:[0-9a-f]{64}", "sha256:X"),
        (r"\b[0-9a-f]{12}\b", "X12"),
        (r"(\b[0-9]+|About an?|Less than a) (second|minute|hour)s? ago", "AGE"),
        (r"\b[0-9.]+(kB|MB|B)\b", "SIZE"),
        (r"20[0-9-]+T[0-9:.]+Z", "TIME"),
        (r"20[0-9-]+ [0-9:]+ \+0000 UTC", "TIME"),
        (r" {2,}", "  "),
        (r"(?m) +$", ""),
    ];
    masks.map(|(pattern, mask)| (Regex::new(pattern).unwrap(), mask)).into()
}

fn masked(masks: &[(Regex, &'static str)], text: &str) -> String {
    masks.iter().fold(text.to_owned(), |text, (pattern, mask)| pattern.replace_all(&text, *mask).into_owned())
}
