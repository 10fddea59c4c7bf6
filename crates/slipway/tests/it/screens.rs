//! What is on the screen while a build runs and when it is over: at a terminal, in CI, and where programs read along.

use std::process::Command;

use crate::process::wait_until;
use crate::sharing::file_of_cache_mount;
use crate::shell::Typist;
use crate::site::{SLIPWAY, Site, busybox_flag, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("stages_that_run_together_are_shown_together", stages_that_run_together_are_shown_together),
    test("a_terminal_without_a_size_is_drawn_on", a_terminal_without_a_size_is_drawn_on),
    test("the_end_says_what_the_build_came_to", the_end_says_what_the_build_came_to),
    test("bake_sums_up_all_targets", bake_sums_up_all_targets),
    test("programs_read_what_they_know", programs_read_what_they_know),
    test("github_gets_groups_and_annotations", github_gets_groups_and_annotations),
    test("gitlab_gets_sections", gitlab_gets_sections),
    test("nobody_reads_and_the_build_goes_on", nobody_reads_and_the_build_goes_on),
];

const TWO: &str = "FROM busybox AS base
RUN echo base
FROM base AS left
RUN --mount=type=cache,id=left,target=/g echo from-left; touch /g/left; until [ -e /g/go ]; do sleep 0.02; done
FROM base AS right
RUN --mount=type=cache,id=right,target=/g echo from-right; touch /g/right; until [ -e /g/go ]; do sleep 0.02; done
FROM base
COPY --from=left /etc/passwd /a
COPY --from=right /etc/passwd /b
";

fn build(site: &Site) -> Command {
    let mut command = site.slipway();
    command.args(["build", "--network=none", &busybox_flag(), "."]);
    command
}

/// The pictures that were drawn one over the other.
fn pictures(screen: &str) -> Vec<&str> {
    screen.split("\x1b[?2026h").collect()
}

fn stages_that_run_together_are_shown_together() {
    let site = Site::new(TWO);
    let typist = Typist::start(build(&site).env("NO_COLOR", "1"));
    let together = [
        "├─ left",
        "├─ right",
        "▶ RUN --mount=type=cache,id=left",
        "▶ RUN --mount=type=cache,id=right",
        "2 running",
        "[+] Building ",
    ];
    wait_until("both stages are in one picture", || {
        pictures(&typist.screen()).iter().any(|picture| together.iter().all(|part| picture.contains(part)))
    });
    // The window has 131 columns: room for two.
    wait_until("what both write is shown", || {
        let screen = typist.screen();
        screen.contains(" from-left ") && screen.contains("│ from-right")
    });
    for stage in ["left", "right"] {
        let mark = file_of_cache_mount(&site, stage).unwrap();
        std::fs::write(mark.with_file_name("go"), "").unwrap();
    }
    let (code, screen) = typist.end();
    assert_eq!(code, Some(0), "{screen}");
    assert!(!screen.contains("\x1b[3") && !screen.contains("\x1b[1m"), "no colours are wanted: {screen:?}");
    let last = pictures(&screen).last().unwrap().to_string();
    assert!(last.contains("FINISHED") && last.contains(" => [left 1/1] RUN --mount=type=cache,id=left"), "{last}");
}

fn a_terminal_without_a_size_is_drawn_on() {
    let site = Site::new("FROM busybox\nRUN echo x; sleep 0.4\n");
    let mut command = site.with_own_environment(Command::new("sh"));
    let line = format!("stty cols 0 rows 0; exec {SLIPWAY} build --network=none '{}' .", busybox_flag());
    let (code, screen) = Typist::start(command.args(["-c", &line])).end();
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.contains("FINISHED"), "{screen}");
}

fn the_end_says_what_the_build_came_to() {
    let site = Site::new("FROM busybox\nRUN head -c 100000 /dev/zero > /a; sleep 0.3\nRUN true\n");
    let plain = |arguments: &[&str]| site.build(&[&["--network=none"], arguments].concat()).success().stderr;
    let text = plain(&["--summary"]);
    for expected in [
        " 3 steps: 0 cached, 3 ran\n",
        "\n image: ",
        "\n slowest: ",
        "] RUN head -c 100000 /dev/zero > /a; sleep 0.3\n",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    site.write(
        "Dockerfile",
        "FROM busybox\nRUN head -c 100000 /dev/zero > /a; sleep 0.3\nRUN head -c 50000 /dev/zero > /b\n",
    );
    let text = plain(&["--summary"]);
    for expected in [" 3 steps: 2 cached, 1 ran; the cache saved ", "kB since the build before)\n"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(text.contains("(+5"), "{text}");
    let (_, screen) = Typist::start(&mut build(&site)).end();
    assert!(screen.contains(" 3 steps: 3 cached, 0 ran; the cache saved "), "{screen}");
    site.assert_tidy();
}

fn bake_sums_up_all_targets() {
    let site = Site::new("FROM busybox AS base\nRUN echo x\nFROM base AS a\nRUN echo a\nFROM base AS b\nRUN echo b\n");
    let targets = "target \"a\" { target = \"a\" }\ntarget \"b\" { target = \"b\" }\ngroup \"default\" { targets = [\"a\", \"b\"] }\n";
    site.write("docker-bake.hcl", targets);
    let layout = busybox_flag().replace("--build-context=busybox=", "--set=*.contexts.busybox=");
    let mut command = site.slipway();
    let outcome = run(command.args(["bake", "--summary", "--progress=plain", &layout, "--allow=fs.read=*"])).success();
    for expected in [" 4 steps: 0 cached, 4 ran\n", " image a: ", " image b: "] {
        assert!(outcome.stderr.contains(expected), "{expected}: {}", outcome.stderr);
    }
}

/// Neither summary nor marks, in a CI system either, where a format is asked for.
fn programs_read_what_they_know() {
    let site = Site::new("FROM busybox\nRUN echo x\n");
    for (style, variable) in [("plain", "CI"), ("plain", "GITHUB_ACTIONS"), ("rawjson", "GITHUB_ACTIONS")] {
        let mut command = site.slipway();
        command.args(["build", "--network=none", "--no-cache", &busybox_flag()]).env(variable, "true");
        let text = run(command.args([&format!("--progress={style}"), "."])).success().stderr;
        assert!(!text.contains("::group::") && !text.contains(" cached, "), "{text}");
        if style == "rawjson" {
            assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{text}");
            assert!(text.contains("\"inputs\":[\"sha256:"), "{text}");
        }
    }
}

fn github_gets_groups_and_annotations() {
    let site = Site::new("FROM busybox\nMAINTAINER me\nRUN echo ::error::fake; exit 3\n");
    let told = run(build(&site).env("GITHUB_ACTIONS", "true")).failure();
    let lines: Vec<&str> = told.lines().collect();
    let opened = lines.iter().filter(|line| line.starts_with("::group::#")).count();
    assert!(opened > 1 && opened == lines.iter().filter(|line| **line == "::endgroup::").count(), "{told}");
    assert!(told.contains("\n::warning file=Dockerfile,line=2,endLine=2,title=MaintainerDeprecated::"), "{told}");
    assert!(told.contains("\n::error file=Dockerfile,line=3,endLine=3,title=Build failed::process"), "{told}");
    assert!(!told.contains("\n::error::fake"), "{told}");
}

fn gitlab_gets_sections() {
    let site = Site::new("FROM busybox\nRUN echo x\n");
    let told = run(build(&site).env("GITLAB_CI", "true")).success().stderr;
    let (starts, ends) = (told.matches("section_start:").count(), told.matches("section_end:").count());
    assert!(starts > 1 && starts == ends, "{told}");
    assert!(told.contains(" 2 steps: "), "{told}");
}

fn nobody_reads_and_the_build_goes_on() {
    let site = Site::new("FROM busybox\nRUN seq 100000; sleep 0.2; seq 100000\n");
    let mut command = site.with_own_environment(Command::new("sh"));
    let line = format!(
        "{SLIPWAY} build --network=none --summary --progress=plain --iidfile=../id '{}' . 2>&1 | true",
        busybox_flag()
    );
    run(command.args(["-c", &line])).success();
    wait_until("the image is there", || site.path("id").exists());
    site.assert_tidy();
}
