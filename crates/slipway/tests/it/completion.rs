//! Completions and manual pages, as shells and `man` read them.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::site::{SLIPWAY, Site, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("bash_completes_commands_and_flags", bash_completes_commands_and_flags),
    test("shells_understand_their_scripts", shells_understand_their_scripts),
    test("every_command_has_a_page", every_command_has_a_page),
];

/// The script for `shell`, asked for under the name `program`.
fn script(site: &Site, program: &str, shell: &str) -> String {
    let link = site.path(program);
    if !link.exists() {
        symlink(SLIPWAY, &link).unwrap();
    }
    let mut command = site.with_own_environment(Command::new(link));
    String::from_utf8(run(command.args(["completion", shell])).success().stdout).unwrap()
}

fn bash_completes_commands_and_flags() {
    let site = Site::new("");
    for (program, line, expected) in [
        ("slipway", "slipway bui", "build"),
        ("slipway", "slipway build --build-c", "--build-context"),
        ("slipway", "slipway compose conf", "config"),
        ("docker", "docker build --no-cache-f", "--no-cache-filter"),
        ("docker", "docker buildx ba", "bake"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
        let n = words.len() - 1;
        let asked = format!(
            "COMP_WORDS=({line}); COMP_CWORD={n}; _{program} {program} {last} {before}; echo \"${{COMPREPLY[@]}}\"\n"
        );
        let answer = told(Path::new("bash"), &["--norc"], &(script(&site, program, "bash") + &asked));
        assert!(answer.split_whitespace().any(|word| word == expected), "{line}: {answer}");
    }
}

fn shells_understand_their_scripts() {
    let site = Site::new("");
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    for shell in ["bash", "zsh", "fish"] {
        for program in ["slipway", "docker"] {
            let script = script(&site, program, shell);
            assert!(script.contains(program) && script.contains("no-cache-filter"), "{script}");
            // A shell that this machine lacks cannot be asked.
            let found = std::env::split_paths(&search_path).map(|folder| folder.join(shell)).find(|path| path.exists());
            if let Some(found) = found {
                told(&found, &["-n"], &script);
            }
        }
    }
}

/// What a shell that reads `script` prints.
#[track_caller]
fn told(shell: &Path, arguments: &[&str], script: &str) -> String {
    let mut child = Command::new(shell)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(script.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{}: {stderr}", shell.display());
    String::from_utf8(output.stdout).unwrap()
}

fn every_command_has_a_page() {
    let site = Site::new("");
    run(site.slipway().args(["man", &site.name("man")])).success();
    let help = String::from_utf8(run(site.slipway().arg("--help")).success().stdout).unwrap();
    let names: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Build:")
        .take_while(|line| *line != "Options:")
        .filter_map(|line| line.strip_prefix("  "))
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(names.len() > 20 && names.contains(&"compose"), "{help}");
    for name in names {
        let page = fs::read_to_string(site.path("man").join(format!("slipway-{name}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS") && page.contains("Examples:"), "{name}: {page}");
    }
}
