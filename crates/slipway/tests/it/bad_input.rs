//! What people are told about their mistakes, and that no input makes slipway panic.

use std::fs;
use std::process::Command;

use slipway_test::capability::Capability;
use slipway_test::case;

use crate::site::{Outcome, SLIPWAY, Site, busybox_flag, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("a_mistake_is_shown_in_its_line", a_mistake_is_shown_in_its_line),
    test("a_failing_step_shows_its_last_lines", a_failing_step_shows_its_last_lines),
    test("a_step_killed_by_a_signal_fails", a_step_killed_by_a_signal_fails),
    test("a_missing_source_names_the_rule_that_hides_it", a_missing_source_names_the_rule_that_hides_it),
    test("an_unknown_flag_is_a_usage_error", an_unknown_flag_is_a_usage_error),
    test("an_unknown_target_gets_a_suggestion", an_unknown_target_gets_a_suggestion),
    test("a_missing_context_or_dockerfile_is_named", a_missing_context_or_dockerfile_is_named),
    test("no_byte_of_a_step_is_lost", no_byte_of_a_step_is_lost),
    test("a_step_that_cannot_start_says_what_to_do", a_step_that_cannot_start_says_what_to_do),
    test("an_image_without_a_shell_says_what_to_do", an_image_without_a_shell_says_what_to_do),
    Test { name: "a_full_disk_is_named", needs: &[Capability::Root], run: a_full_disk_is_named },
    Test {
        name: "a_machine_without_namespaces_is_told",
        needs: &[Capability::Root],
        run: a_machine_without_namespaces_is_told,
    },
    test("odd_dockerfiles_are_refused", odd_dockerfiles_are_refused),
    test("a_dockerfile_that_is_too_long_is_not_cut", a_dockerfile_that_is_too_long_is_not_cut),
    test("no_mutation_of_a_dockerfile_makes_it_panic", no_mutation_of_a_dockerfile_makes_it_panic),
];

fn a_mistake_is_shown_in_its_line() {
    let site = Site::new("FROM busybox\n\nRUNN echo hello\nENV A=b\n");
    let stderr = site.build(&[]).failure();
    let expected = "\
Dockerfile:3
--------------------
   1 |     FROM busybox
   2 |     
   3 | >>> RUNN echo hello
";
    assert!(stderr.contains(expected), "{stderr}");
    let message = stderr.lines().last().unwrap();
    assert!(message.contains("unknown instruction: RUNN") && stderr.contains("did you mean"), "{stderr}");

    site.write("Dockerfile", "FROM busybox AS builder\nFROM scratch\nCOPY --from=biulder /bin /bin\n");
    let stderr = site.build(&[]).failure();
    assert!(stderr.contains("Dockerfile:3") && stderr.contains("builder"), "{stderr}");
}

fn a_failing_step_shows_its_last_lines() {
    let site = Site::new("FROM busybox\nRUN for i in $(seq 30); do echo line $i; done; echo reason >&2; exit 42\n");
    let stderr = site.build(&[]).failure();
    let (_, block) = stderr.split_once("------\n > [1/2] RUN for i in").unwrap_or_else(|| panic!("{stderr}"));
    let (block, rest) = block.split_once("------\n").unwrap();
    assert!(block.contains("line 30\n") && block.contains("reason\n") && !block.contains("line 2\n"), "{block}");
    assert!(rest.contains("   2 | >>> RUN for i in"), "{rest}");
    let message = rest.lines().last().unwrap();
    assert!(message.starts_with("ERROR: failed to build: failed to solve: process \"/bin/sh -c for i"), "{message}");
    assert!(message.ends_with("did not complete successfully: exit code: 42"), "{message}");
}

fn a_step_killed_by_a_signal_fails() {
    let site = Site::new("FROM busybox\nRUN sh -c 'kill -9 $$'; exit $?\n");
    let stderr = site.build(&[]).failure();
    assert!(stderr.ends_with("exit code: 137\n"), "{stderr}");
}

fn a_missing_source_names_the_rule_that_hides_it() {
    let site = Site::new("FROM busybox\nCOPY src/main.c /src/\n");
    site.write("src/main.c", "int main;\n");
    site.write(".dockerignore", "# not these\n\n*.o\nsrc\n");
    let stderr = site.build(&[]).failure();
    assert!(stderr.contains("src/main.c"), "{stderr}");
    let names_rule = |line: &str| line.contains("src") && (line.contains(":4") || line.contains("line 4"));
    assert!(stderr.lines().any(|line| line.contains(".dockerignore") && names_rule(line)), "{stderr}");
    fs::remove_file(site.path("ctx/.dockerignore")).unwrap();
    site.build(&[]).success();

    site.write("Dockerfile", "FROM busybox\nCOPY nothing /src/\n");
    let stderr = site.build(&[]).failure();
    assert!(stderr.lines().last().unwrap().contains("\"/nothing\": not found"), "{stderr}");
}

fn an_unknown_flag_is_a_usage_error() {
    let site = Site::new("FROM scratch\n");
    let outcome = site.build(&["--no-such-flag"]);
    assert_eq!(outcome.exit_code, Some(125), "{}", outcome.stderr);
    assert!(outcome.stderr.starts_with("unknown flag: --no-such-flag\n"), "{}", outcome.stderr);
    assert!(!site.path("store").exists(), "nothing is touched before the flags are understood");
    for flag in ["--secret=id", "--mount=x", "--allow=everything", "--network=zzz", "--output=type=zzz"] {
        let outcome = site.build(&[flag]);
        assert!(matches!(outcome.exit_code, Some(1 | 125)), "{flag}: {}", outcome.stderr);
    }
}

fn an_unknown_target_gets_a_suggestion() {
    let site = Site::new("FROM busybox AS production\nFROM busybox AS development\n");
    let stderr = site.build(&["--target=prodcution"]).failure();
    assert!(stderr.contains("prodcution") && stderr.contains("production"), "{stderr}");
}

fn a_missing_context_or_dockerfile_is_named() {
    let site = Site::new("FROM scratch\n");
    let stderr = run(site.slipway().args(["build", "no-such-folder"])).failure();
    assert!(stderr.contains("\"no-such-folder\" not found"), "{stderr}");
    let stderr = site.build(&["-f", "Other.Dockerfile"]).failure();
    assert!(stderr.contains("Other.Dockerfile") && stderr.contains("no such file"), "{stderr}");
}

/// What is shown has a limit, as with the reference builder; what the build hands on has none.
fn no_byte_of_a_step_is_lost() {
    let site = Site::new("FROM busybox\nRUN head -c 10000000 /dev/zero; head -c 1000000 /dev/zero >&2\n");
    // Both streams are in base64: four characters for three bytes, padded with `=`.
    let n_shown = |variables: &[(&str, &str)]| {
        let mut command = site.build_command(&["--progress=rawjson", "--no-cache", "--network=none", "."]);
        let outcome = run(command.envs(variables.iter().copied())).success();
        let logs = outcome.stderr.split("\"data\":\"").skip(1).filter_map(|rest| rest.split('"').next());
        logs.map(|data| data.len() / 4 * 3 - data.matches('=').count()).sum::<usize>()
    };
    let unlimited = [("BUILDKIT_STEP_LOG_MAX_SIZE", "-1"), ("BUILDKIT_STEP_LOG_MAX_SPEED", "-1")];
    assert_eq!(n_shown(&unlimited), 11_000_000);
    let n_by_default = n_shown(&[]);
    assert!((1..5_000_000).contains(&n_by_default), "{n_by_default}");
}

/// The line in front of the last one, which says what can be done.
#[track_caller]
fn hint_of(stderr: &str) -> &str {
    let hint = stderr.lines().rev().nth(1).and_then(|line| line.strip_prefix("hint: "));
    hint.unwrap_or_else(|| panic!("there is no hint: {stderr}"))
}

#[track_caller]
fn assert_ends_with(stderr: &str, end: &str) {
    assert!(stderr.ends_with(&format!("{end}\n")), "{stderr}");
}

fn a_step_that_cannot_start_says_what_to_do() {
    let site = Site::new("FROM busybox\nUSER nobody-here\nRUN true\n");
    let stderr = site.build(&[]).failure();
    assert_ends_with(&stderr, "unable to find user nobody-here: no matching entries in passwd file");
    assert!(hint_of(&stderr).contains("`/etc/passwd` of the image has no user `nobody-here`"), "{stderr}");
    site.write("Dockerfile", "FROM busybox\nUSER 1:none-such\nRUN true\n");
    let stderr = site.build(&[]).failure();
    assert_ends_with(&stderr, "unable to find group none-such: no matching entries in group file");
    assert!(hint_of(&stderr).contains("`/etc/group` of the image has no group `none-such`"), "{stderr}");
    site.write("program", "neither an ELF file nor a script");
    site.write("Dockerfile", "FROM busybox\nCOPY --chmod=755 program /\nRUN [\"/program\"]\n");
    let stderr = site.build(&[]).failure();
    assert_ends_with(&stderr, "exit code: 255: exec: \"/program\": exec format error");
    let hint = hint_of(&stderr);
    assert!(hint.starts_with("`/program` is neither a program for linux/") && hint.contains("`#!/bin/sh`"), "{stderr}");
    for (step, hint) in [
        ("USER 2147483648\nRUN true", "users and groups have numbers from 0 to 2147483647"),
        ("RUN [\"nothing-here\"]", "no folder of `PATH` in the image has `nothing-here`; install it"),
        ("RUN [\"/nothing\"]", "`/nothing` is not in the image"),
        ("COPY --chmod=644 program /\nRUN [\"/program\"]", "the user of this step may not execute `/program`; `chmod"),
    ] {
        site.write("Dockerfile", &format!("FROM busybox\n{step}\n"));
        let stderr = site.build(&[]).failure();
        assert!(hint_of(&stderr).starts_with(hint), "{stderr}");
    }
}

fn an_image_without_a_shell_says_what_to_do() {
    let site = Site::new("FROM scratch\nCOPY Dockerfile /\nRUN true\n");
    let stderr = site.build(&[]).failure();
    assert_ends_with(&stderr, "exit code: 1: exec: \"/bin/sh\": no such file or directory");
    let hint = hint_of(&stderr);
    assert!(hint.starts_with("the image has no `/bin/sh`") && hint.contains("`SHELL`"), "{stderr}");
}

/// Builds with a store on a disk of so many bytes, which ends with the build.
fn build_on_small_disk(site: &Site, size: &str) -> Outcome {
    let disk = site.path("disk");
    fs::create_dir_all(&disk).unwrap();
    let script = "mount -t tmpfs -o size=$0 none \"$SLIPWAY_ROOT\" && exec \"$@\"";
    let mut command = site.with_own_environment(Command::new("unshare"));
    command.env("SLIPWAY_ROOT", &disk).args([
        "--mount",
        "sh",
        "-c",
        script,
        size,
        SLIPWAY,
        "build",
        "--progress=plain",
    ]);
    run(command.args([&busybox_flag(), "."]))
}

fn a_full_disk_is_named() {
    let site = Site::new("FROM busybox\nRUN head -c 20000000 /dev/zero > /big\n");
    let has_hint = |stderr: &str| {
        let hint = hint_of(stderr);
        assert!(hint.starts_with("the disk that holds the store is full; make room where"), "{stderr}");
        assert!(hint.contains(&site.name("disk")) && hint.contains("`SLIPWAY_ROOT`"), "{stderr}");
    };
    // A step says it in words of its own.
    let stderr = build_on_small_disk(&site, "12m").failure();
    assert_ends_with(&stderr, "did not complete successfully: exit code: 1");
    has_hint(&stderr);
    fs::write(site.path("ctx/big"), vec![1; 20_000_000]).unwrap();
    site.write("Dockerfile", "FROM busybox\nCOPY big /\n");
    let stderr = build_on_small_disk(&site, "12m").failure();
    assert!(stderr.lines().last().unwrap().contains("No space left on device"), "{stderr}");
    has_hint(&stderr);
    // With enough room nothing is said about it.
    site.write("Dockerfile", "FROM busybox\nRUN exit 3\n");
    let stderr = build_on_small_disk(&site, "64m").failure();
    assert!(!stderr.contains("hint: "), "{stderr}");
}

/// Limits of namespaces are kept by each user namespace, so that this one can have its own.
fn a_machine_without_namespaces_is_told() {
    let site = Site::new("FROM busybox\nRUN --network=none true\n");
    let build = |limit: &str, more: &[&str]| {
        let script = format!("echo 0 > /proc/sys/user/{limit} && exec \"$@\"");
        let mut command = site.with_own_environment(Command::new("unshare"));
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"]).args(more);
        run(command.args([SLIPWAY, "build", "--progress=plain", &busybox_flag(), "."]))
    };
    // Somebody who could not do it but for a user namespace.
    let stderr = build("max_user_namespaces", &["setpriv", "--bounding-set=-all", "--inh-caps=-all"]).failure();
    assert!(stderr.lines().last().unwrap().contains("cannot create a user namespace: "), "{stderr}");
    let hint = hint_of(&stderr);
    assert!(hint.contains("`user.max_user_namespaces = 0` forbids it") && hint.contains("sysctl -w"), "{stderr}");
    let stderr = build("max_pid_namespaces", &[]).failure();
    assert!(stderr.lines().last().unwrap().contains("clone(new namespaces): No space left on device"), "{stderr}");
    assert!(hint_of(&stderr).contains("`/proc/sys/user/max_*_namespaces`"), "{stderr}");
}

fn odd_dockerfiles_are_refused() {
    let site = Site::new("");
    let garbage: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let long_line = [b"FROM scratch\nRUN ".as_slice(), &vec![b'x'; 3 << 20]].concat();
    let continued = [b"FROM scratch\nRUN a".as_slice(), &b" \\\n".repeat(50_000)].concat();
    let many_stages = (0..3_000).map(|n| format!("FROM scratch AS s{n}\n")).collect::<String>() + "RUNN x\n";
    let endless = "ARG A=${A:-${A:-".repeat(20_000);
    for text in [
        b"".as_slice(),
        b"# only a comment\n",
        b"\0\0\0",
        b"\xff\xfe",
        &garbage,
        &long_line,
        &continued,
        many_stages.as_bytes(),
        endless.as_bytes(),
    ] {
        fs::write(site.path("ctx/Dockerfile"), text).unwrap();
        let outcome = site.build(&[]);
        let start = String::from_utf8_lossy(&text[..text.len().min(20)]).into_owned();
        assert_eq!(outcome.exit_code, Some(1), "{start}");
        assert_no_panic(&outcome, &start);
    }
}

fn a_dockerfile_that_is_too_long_is_not_cut() {
    let site = Site::new("");
    fs::write(site.path("ctx/Dockerfile"), "FROM scratch\n".repeat(1_300_000)).unwrap();
    let stderr = site.build(&[]).failure();
    assert!(stderr.contains("failed to read dockerfile: open Dockerfile: longer than 16 MiB"), "{stderr}");
}

fn assert_no_panic(outcome: &Outcome, text: &str) {
    assert!(matches!(outcome.exit_code, Some(0 | 1)), "{:?}: {}\n{text}", outcome.exit_code, outcome.stderr);
    assert!(!outcome.stderr.contains("panicked"), "{}\n{text}", outcome.stderr);
}

/// Dockerfiles of the cases, with something cut, doubled or put in. Only what can be known before a step runs is of
/// interest, so that the target is a stage that all of them begin with.
fn no_mutation_of_a_dockerfile_makes_it_panic() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases");
    let mut corpus = Vec::new();
    for path in case::find(&root).unwrap() {
        let text = fs::read_to_string(path).unwrap();
        corpus.extend(text.split_once("-- Dockerfile --\n").map(|(_, files)| {
            files.split_inclusive('\n').take_while(|line| !line.starts_with("-- ")).collect::<String>()
        }));
    }
    corpus.sort();
    let site = Site::new("");
    let mut random = Random(1);
    for _ in 0..150 {
        let original = &corpus[random.below(corpus.len())];
        let mutated = mutate(original.as_bytes(), &mut random);
        let text = [b"FROM scratch AS nothing\n".as_slice(), &mutated].concat();
        fs::write(site.path("ctx/Dockerfile"), &text).unwrap();
        assert_no_panic(&site.build(&["--target=nothing"]), &String::from_utf8_lossy(&text));
    }
}

/// The same numbers in every run, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }
}

fn mutate(original: &[u8], random: &mut Random) -> Vec<u8> {
    const INSERTS: [&[u8]; 16] = [
        b"\\\n",
        b"\"",
        b"'",
        b"${",
        b"}",
        b"<<EOF",
        b"\0",
        b"\xff",
        b"[",
        b"--from=",
        b"\n",
        b"$",
        b"=",
        b"\t#",
        b"\xc3\xa9",
        b"--mount=type=",
    ];
    let mut text = original.to_vec();
    for _ in 0..=random.below(4) {
        let (first, second) = (random.below(text.len() + 1), random.below(text.len() + 1));
        let range = first.min(second)..first.max(second);
        match random.below(3) {
            0 => text.drain(range).for_each(drop),
            1 => text.splice(first..first, INSERTS[random.below(INSERTS.len())].iter().copied()).for_each(drop),
            _ => {
                let copy = text[range].to_vec();
                text.splice(first..first, copy).for_each(drop);
            }
        }
    }
    text
}
