//! Looking through an image at a terminal: keys in, screens out, as tmux shows them.

use std::process::Command;
use std::time::Duration;

use slipway_test::capability::Capability;

use crate::Test;
use crate::analyze::wasteful;
use crate::process::wait_until;
use crate::site::{SLIPWAY, Site};

pub(crate) const TESTS: &[Test] = &[
    Test {
        name: "layers_are_looked_through_at_a_terminal",
        needs: &[Capability::Tmux],
        run: layers_are_looked_through,
    },
    Test { name: "a_file_is_taken_out_of_a_layer", needs: &[Capability::Tmux], run: a_file_is_taken_out },
    Test { name: "without_its_terminal_nothing_goes_on", needs: &[Capability::Tmux], run: without_its_terminal },
    Test { name: "a_terminal_without_a_size", needs: &[Capability::Tmux], run: a_terminal_without_a_size },
    Test { name: "an_idle_screen_writes_nothing", needs: &[Capability::Tmux], run: an_idle_screen_writes_nothing },
    Test { name: "stages_are_shown_at_a_key", needs: &[Capability::Tmux], run: stages_are_shown_at_a_key },
    Test {
        name: "a_narrow_terminal_shows_one_side",
        needs: &[Capability::Tmux],
        run: a_narrow_terminal_shows_one_side,
    },
];

/// A terminal with a server of its own, which ends with the test.
struct Terminal<'a> {
    site: &'a Site,
    socket: String,
}

impl<'a> Terminal<'a> {
    /// Looks through `img.tar`. What the terminal shows when that is over ends in `ended N`.
    fn start(site: &'a Site, columns: &str) -> Terminal<'a> {
        Terminal::start_with(site, columns, "")
    }

    fn start_with(site: &'a Site, columns: &str, trap: &str) -> Terminal<'a> {
        let terminal = Terminal { site, socket: site.path("tmux").display().to_string() };
        let script = format!("{trap}{SLIPWAY} dive docker-archive://img.tar; echo ended $?; sleep 1000");
        let mut command = site.with_own_environment(Command::new("tmux"));
        command.args([
            "-S",
            &terminal.socket,
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            columns,
            "-y",
            "24",
            &script,
        ]);
        assert!(command.status().unwrap().success());
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = self.site.with_own_environment(Command::new("tmux"));
        let output = command.args(["-S", &self.socket]).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Types keys as tmux calls them.
    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn wait_for(&self, text: &str) -> String {
        let mut screen = String::new();
        wait_until(&format!("the screen shows {text}"), || {
            screen = self.tmux(&["capture-pane", "-p"]);
            screen.contains(text)
        });
        screen
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

fn layers_are_looked_through() {
    let site = wasteful();
    let terminal = Terminal::start(&site, "120");
    let screen = terminal.wait_for("Image efficiency score: 60 %");
    for part in
        ["┃● Layers", "│ Current Layer Contents", "Potential wasted space: 200 B", "    2         200 B  /a", "└── b"]
    {
        assert!(screen.contains(part), "{part} is missing in\n{screen}");
    }
    terminal.press(&["Down"]);
    terminal.wait_for("Command:\nmake 1");
    terminal.press(&["Tab", "C-f", "b"]);
    let screen = terminal.wait_for("Path filter: b");
    assert!(screen.contains("┃● Current Layer Contents") && !screen.contains("── a"), "{screen}");
    terminal.press(&["Enter", "q"]);
    let screen = terminal.wait_for("ended 0");
    assert!(!screen.contains("Layers"), "the terminal is given back as it was: {screen}");
}

fn a_file_is_taken_out() {
    let site = wasteful();
    let terminal = Terminal::start(&site, "120");
    terminal.wait_for("└── b");
    terminal.press(&["Tab", "Down", "C-e"]);
    terminal.wait_for("wrote ./b");
    assert_eq!(std::fs::read(site.path("ctx/b")).unwrap(), vec![b'x'; 50]);
    terminal.press(&["C-e"]);
    terminal.wait_for("cannot write ./b: File exists");
    terminal.press(&["C-c"]);
    terminal.wait_for("ended 0");
}

/// Whether the program is told of it by a signal or not.
fn without_its_terminal() {
    for trap in ["", "trap '' HUP; exec "] {
        let site = wasteful();
        Terminal::start_with(&site, "120", trap).wait_for("└── b");
        site.wait_until_no_process();
    }
}

fn a_narrow_terminal_shows_one_side() {
    let site = wasteful();
    let terminal = Terminal::start(&site, "60");
    let screen = terminal.wait_for("Image Details");
    assert!(!screen.contains("Current Layer Contents"), "{screen}");
    terminal.press(&["Tab"]);
    assert!(!terminal.wait_for("Current Layer Contents").contains("Image Details"));
    terminal.tmux(&["resize-window", "-x", "120", "-y", "30"]);
    let screen = terminal.wait_for("Image Details");
    assert!(screen.contains("Current Layer Contents"), "{screen}");
}

/// It is drawn on as if it were of the usual size.
fn an_idle_screen_writes_nothing() {
    let site = wasteful();
    let terminal = Terminal::start(&site, "120");
    terminal.wait_for("Image efficiency score: 60 %");
    let written = site.path("written");
    terminal.tmux(&["pipe-pane", &format!("cat > {}", written.display())]);
    wait_until("the pipe is there", || written.exists());
    // Several times as long as it waits for a key at once.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(std::fs::read(&written).unwrap(), b"");
    terminal.press(&["Down"]);
    wait_until("the next picture is written", || std::fs::metadata(&written).unwrap().len() > 0);
}

fn a_terminal_without_a_size() {
    let site = wasteful();
    let terminal = Terminal::start_with(&site, "120", "stty cols 0 rows 0; ");
    let screen = terminal.wait_for("Image efficiency score: 60 %");
    assert!(screen.contains("│ Current Layer Contents"), "{screen}");
    terminal.press(&["q"]);
    terminal.wait_for("ended 0");
}

fn stages_are_shown_at_a_key() {
    let site = wasteful();
    let terminal = Terminal::start(&site, "120");
    terminal.wait_for("Made by: not known");
    terminal.press(&["s"]);
    let screen = terminal.wait_for("Where the bytes come from");
    assert!(screen.contains("     150 B       250 B  not known") && !screen.contains("Image Details"), "{screen}");
    terminal.press(&["s"]);
    terminal.wait_for("Image Details");
    terminal.press(&["q"]);
    terminal.wait_for("ended 0");
}
