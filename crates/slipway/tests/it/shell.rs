//! Shells in the place of steps, typed into through a terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use crate::process::wait_until;
use crate::site::{Site, busybox_flag, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("a_failed_step_is_as_it_was_left", a_failed_step_is_as_it_was_left),
    test("a_shell_opens_at_a_line", a_shell_opens_at_a_line),
    test("an_image_without_a_shell_gets_a_toolbox", an_image_without_a_shell_gets_a_toolbox),
    test("without_a_terminal_there_is_a_hint", without_a_terminal_there_is_a_hint),
];

/// A program at a terminal, and somebody who types.
pub(crate) struct Typist {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    terminal: Option<OwnedFd>,
}

impl Typist {
    pub(crate) fn start(command: &mut Command) -> Typist {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let terminal = ioctl_tiocgptpeer(&master, flags).unwrap();
        tcsetwinsize(&terminal, Winsize { ws_row: 41, ws_col: 131, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let end = || Stdio::from(terminal.try_clone().unwrap());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        // Its copies of the terminal would keep it open for ever.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let screen = Arc::new(Mutex::new(String::new()));
        let (shared, mut from) = (Arc::clone(&screen), File::from(master.try_clone().unwrap()));
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n_read @ 1..) = from.read(&mut buffer) {
                let mut text = shared.lock().unwrap_or_else(PoisonError::into_inner);
                text.push_str(&String::from_utf8_lossy(&buffer[..n_read]));
            }
        });
        Typist { child, keyboard: master.into(), screen, reader: Some(reader), terminal: Some(terminal) }
    }

    /// All that was on the screen so far.
    pub(crate) fn screen(&self) -> String {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        wait_until(&format!("`{text}` is on the screen: {}", self.screen()), || self.screen().contains(text));
    }

    /// Types a line.
    pub(crate) fn types(&mut self, line: &str) {
        writeln!(self.keyboard, "{line}").unwrap();
    }

    /// Types a command whose output has to hold `expected`, which the command itself must not.
    #[track_caller]
    pub(crate) fn asks(&mut self, command: &str, expected: &str) {
        assert!(!command.contains(expected));
        self.types(command);
        let mut screen = String::new();
        wait_until(&format!("`{command}` shows `{expected}`"), || {
            screen = self.screen();
            screen.contains(expected)
        });
    }

    /// Leaves the shell; gives the exit code and all that was on the screen.
    #[track_caller]
    pub(crate) fn leave(mut self) -> (Option<i32>, String) {
        self.types("exit");
        self.end()
    }

    /// Waits for the end; gives the exit code and all that was on the screen.
    #[track_caller]
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let mut status = None;
        wait_until("slipway ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let is_as_before = tcgetattr(self.terminal.as_ref().unwrap()).unwrap();
        assert!(is_as_before.local_modes.contains(rustix::termios::LocalModes::ECHO), "the terminal was left raw");
        // The reader sees the end when nobody holds the terminal any more.
        drop(self.terminal.take());
        self.reader.take().unwrap().join().unwrap();
        (status.unwrap().code(), self.screen())
    }
}

impl Drop for Typist {
    fn drop(&mut self) {
        // After a test that failed it waits for more to be typed.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn a_failed_step_is_as_it_was_left() {
    let site = Site::new(
        "FROM busybox
         RUN echo app:x:7:8::/:/bin/sh >> /etc/passwd && mkdir /w && chown 7:8 /w
         WORKDIR /w
         USER app
         ENV GREETING=hello
         RUN --mount=type=tmpfs,target=/scratch echo made > file; exit 3
        ",
    );
    let mut command = site.build_command(&["--on-failure=shell", "--progress=plain", "."]);
    let mut typist = Typist::start(command.env("TERM", "vt100"));
    typist.wait_for("did not complete successfully: exit code: 3\r\nA shell in its place, as user app");
    typist.asks("cat file | sed s/^/is:/", "is:made");
    typist.asks("echo $(id -u):$(id -g):$(pwd):$GREETING:$TERM", "7:8:/w:hello:vt100");
    typist.asks("grep -c ' /scratch ' /proc/mounts | sed s/^/n:/", "n:1");
    typist.asks("stty size | sed s/^/size:/", "size:41 131");
    typist.asks("echo more > file; echo $((40 + 2)):written", "42:written");
    let (code, screen) = typist.leave();
    assert_eq!(code, Some(1), "{screen}");
    assert!(screen.contains("ERROR: failed to build"), "{screen}");
    site.assert_tidy();
}

fn a_shell_opens_at_a_line() {
    let site = Site::new(
        "FROM busybox AS one
ARG NAME=value
COPY Dockerfile /copied
RUN --mount=type=secret,id=s,target=/secret echo ran > /ran
RUN rm /copied
FROM busybox
COPY --from=one /ran /
",
    );
    let start = |point: &str| {
        let mut command = site.slipway();
        command.args(["shell", point, "--progress=plain", &busybox_flag(), "--secret=id=s,env=HOME"]);
        Typist::start(&mut command)
    };
    let mut typist = start("one:4");
    typist.wait_for("nothing of this step has run");
    typist.asks("ls /copied /ran /secret 2>/dev/null | tr '\\n' ,; echo \"[$NAME]\"", "/copied,/secret,[value]");
    let (code, screen) = typist.leave();
    assert_eq!(code, Some(0), "{screen}");
    let mut typist = start("one");
    typist.asks("ls /copied /ran 2>/dev/null | tr '\\n' ,; echo .", "/ran,.");
    typist.leave();
    let mut typist = start("one:6");
    typist.wait_for("line 6 is not in stage one, which has lines 1 to 5");
    wait_until("slipway ends", || typist.child.try_wait().unwrap().is_some());
    site.assert_tidy();
}

fn an_image_without_a_shell_gets_a_toolbox() {
    let site = Site::new("FROM scratch\nCOPY Dockerfile /copied\nRUN [\"/nothing\"]\n");
    let mut typist = Typist::start(&mut site.build_command(&["--on-failure=shell", "."]));
    typist.wait_for("A shell in its place");
    typist.asks("ls / | tr '\\n' ,", "copied,dev,");
    let (code, _) = typist.leave();
    assert_eq!(code, Some(1));
    let mut typist = Typist::start(site.build_command(&["--on-failure=shell", "."]).env("PATH", "/nonexistent"));
    typist.wait_for("install the package `busybox-static`");
    wait_until("slipway ends", || typist.child.try_wait().unwrap().is_some());
    site.assert_tidy();
}

fn without_a_terminal_there_is_a_hint() {
    let site = Site::new("FROM busybox\nRUN false\n");
    let refused = site.build(&["--on-failure=shell"]).failure();
    assert_eq!(refused.matches("--on-failure=shell needs a terminal").count(), 1, "{refused}");
    let refused = run(site.slipway().args(["shell", "0", "."])).failure();
    assert!(refused.contains("a shell needs a terminal on standard input and standard error"), "{refused}");
}
