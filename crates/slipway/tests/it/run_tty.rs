//! Steps that write to a terminal, because the user wants that and has a screen.

use std::process::Command;

use crate::shell::Typist;
use crate::site::{SLIPWAY, Site, busybox_flag, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("steps_get_a_terminal_where_one_is_wanted_and_there", steps_get_a_terminal_where_one_is_wanted_and_there),
    test("colors_reach_the_screen_and_other_sequences_do_not", colors_reach_the_screen_and_other_sequences_do_not),
    test("the_log_of_a_terminal_is_whole", the_log_of_a_terminal_is_whole),
    test("bake_gives_steps_a_terminal_too", bake_gives_steps_a_terminal_too),
];

/// Says which of its descriptors are terminals, and what else a program could go by.
const ASK: &str = "for fd in 0 1 2; do [ ! -t $fd ] || echo terminal $fd; done; \
                   (: < /dev/tty) 2>/dev/null && echo controlling; env | grep -E '^(TERM|COLUMNS|LINES)'; \
                   [ ! -t 1 ] || stty size <&1; echo asked";

/// What the step numbered `step` wrote, according to the record of the build.
fn logged(site: &Site, step: &str) -> String {
    let outcome = run(site.slipway().args(["builds", "logs", "^0", step])).success();
    String::from_utf8(outcome.stdout).unwrap()
}

/// Builds at a terminal.
fn build_at_terminal(command: &mut Command) -> String {
    let (code, screen) = Typist::start(command).end();
    assert_eq!(code, Some(0), "{screen}");
    screen
}

fn steps_get_a_terminal_where_one_is_wanted_and_there() {
    let site = Site::new(&format!("FROM busybox\nUSER 1000\nRUN {ASK}\n"));
    let command = |arguments: &[&str]| {
        let mut command = site.slipway();
        command.args(["build", "--no-cache", "--network=none", &busybox_flag()]).args(arguments).arg(".");
        command
    };
    // The window of the tests has 41 rows and 131 columns, of which nine are in front of what steps write.
    let with_terminal = "terminal 1\nterminal 2\n41 122\nasked\n";
    build_at_terminal(&mut command(&["--run-tty"]));
    assert_eq!(logged(&site, "RUN"), with_terminal);
    build_at_terminal(command(&[]).env("SLIPWAY_RUN_TTY", "1"));
    assert_eq!(logged(&site, "RUN"), with_terminal);
    for (arguments, variable) in [(vec![], "0"), (vec!["--run-tty", "--progress=plain"], "1")] {
        build_at_terminal(command(&arguments).env("SLIPWAY_RUN_TTY", variable));
        assert_eq!(logged(&site, "RUN"), "asked\n", "{arguments:?}");
    }
    run(&mut command(&["--run-tty"])).success();
    assert_eq!(logged(&site, "RUN"), "asked\n", "the screen is no terminal");
    site.assert_tidy();
}

/// A step that fails is drawn with its last lines, however fast it was.
fn colors_reach_the_screen_and_other_sequences_do_not() {
    let print = r"printf '\033[1;35mcolo\033[0mured\033]0;title\007 \033[31;42mand\033[2J\033[5A more\n'";
    let site = Site::new(&format!("FROM busybox\nRUN {print}; exit 3\n"));
    let mut command = site.slipway();
    command.args(["build", "--network=none", "--run-tty", &busybox_flag(), "."]);
    let (code, screen) = Typist::start(&mut command).end();
    assert_eq!(code, Some(1), "{screen}");
    let drawn = " => => # \x1b[1;35mcolo\x1b[0mured \x1b[31;42mand more\x1b[0m";
    assert!(screen.contains(drawn), "{screen:?}");
    assert!(!screen.contains("\x1b]0;") && !screen.contains("\x1b[2J") && !screen.contains("\x1b[5A m"), "{screen:?}");
    assert_eq!(
        logged(&site, "RUN"),
        "\x1b[1;35mcolo\x1b[0mured\x1b]0;title\x07 \x1b[31;42mand\x1b[2J\x1b[5A more\n",
        "the log has every byte"
    );
    let (_, screen) = Typist::start(command.env("NO_COLOR", "1")).end();
    assert!(screen.contains(" => => # coloured and more"), "{screen:?}");
}

fn the_log_of_a_terminal_is_whole() {
    let site = Site::new("FROM busybox\nRUN seq 200000; printf 'a\\tb\\r\\nc' >&2; printf d > /dev/stdout\n");
    let mut command = site.slipway();
    build_at_terminal(command.args(["build", "--network=none", "--run-tty", &busybox_flag(), "."]));
    let expected: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
    let log = logged(&site, "RUN");
    assert_eq!(log.len(), expected.len() + "a\tb\r\ncd".len());
    assert!(log == expected + "a\tb\r\ncd", "some bytes are not those that were written");
}

fn bake_gives_steps_a_terminal_too() {
    let site = Site::new(&format!("FROM busybox\nRUN --network=none {ASK}\n"));
    let layout = busybox_flag().replace("--build-context=busybox=", "--set=*.contexts.busybox=");
    let mut command = site.with_own_environment(Command::new(SLIPWAY));
    site.write("docker-bake.hcl", "target \"default\" {}\n");
    build_at_terminal(command.args(["bake", "--run-tty", &layout, "--allow=fs.read=*"]));
    assert!(logged(&site, "RUN").starts_with("terminal 1\nterminal 2\n"));
}
