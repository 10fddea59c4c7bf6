//! A step sees its secrets, and nothing else ever does.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use slipway_test::capability::Capability;
use slipway_test::image::{contains, contains_inside};

use crate::site::{Outcome, Site, files_below, run};
use crate::unprivileged::NewUser;
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("a_secret_file_is_found_nowhere", a_secret_file_is_found_nowhere),
    test("a_secret_variable_is_found_nowhere", a_secret_variable_is_found_nowhere),
    test("a_failing_step_does_not_keep_its_secret", a_failing_step_does_not_keep_its_secret),
    Test {
        name: "a_secret_is_found_nowhere_with_a_single_id",
        needs: &[Capability::NewUser],
        run: a_secret_is_found_nowhere_with_a_single_id,
    },
    test("a_missing_secret_is_named", a_missing_secret_is_named),
    test("an_agent_answers_the_step_and_nobody_else", an_agent_answers_the_step_and_nobody_else),
    test("keys_of_files_sign_for_the_step", keys_of_files_sign_for_the_step),
    test("keys_that_cannot_be_used_are_named", keys_that_cannot_be_used_are_named),
];

pub(crate) const CANARY: &str = "canary-7f3a91-of-the-secret";

/// Whether the file holds the text, compressed or not.
fn is_in(text: &str, file: &Path) -> bool {
    contains_inside(&fs::read(file).unwrap(), text.as_bytes())
}

/// Looks through all that a build wrote: the store, the outputs, and what it said.
#[track_caller]
pub(crate) fn assert_canary_nowhere(site: &Site, outcome: &Outcome) {
    let mut n_files = 0;
    for folder in ["store", "out", "home"] {
        for file in files_below(&site.path(folder)) {
            n_files += 1;
            assert!(!is_in(CANARY, &file), "the canary is in {}", file.display());
        }
    }
    assert!(n_files > 10, "there is too little to look through");
    assert!(!outcome.stderr.contains(CANARY), "{}", outcome.stderr);
    assert!(!contains(&outcome.stdout, CANARY.as_bytes()));
    site.assert_tidy();
}

const OUTPUTS: [&str; 3] =
    ["--output=type=image", "--output=type=oci,dest=../out/image.tar,compression=uncompressed", "--tag=app:1"];

/// The length is written into the image, so that the test knows that the step saw the secret.
const USE_FILE: &str = "FROM busybox
RUN --mount=type=secret,id=key wc -c < /run/secrets/key > /length
RUN --mount=type=secret,id=key,target=/root/.key,mode=0444,uid=7 cat /root/.key | wc -c >> /length; \
    [ $(stat -c %u:%a /root/.key) = 7:444 ]
RUN [ ! -e /run/secrets/key ] && [ ! -e /root/.key ] && echo said by a step
";

fn a_secret_file_is_found_nowhere() {
    let site = Site::new(USE_FILE);
    fs::create_dir(site.path("out")).unwrap();
    fs::write(site.path("key"), CANARY).unwrap();
    let outcome = site.build(&[&OUTPUTS[..], &["--secret=id=key,src=../key", "-o", "../out/files"]].concat()).success();
    assert_eq!(fs::read_to_string(site.path("out/files/length")).unwrap(), "27\n27\n");
    assert_canary_nowhere(&site, &outcome);
    let logs = files_below(&site.path("store/builds"));
    assert!(logs.iter().any(|file| is_in("said by a step", file)), "the search does not see what is in logs");
}

fn a_secret_variable_is_found_nowhere() {
    let site = Site::new(
        "FROM busybox\nRUN --mount=type=secret,id=key,env=KEY printf %s \"$KEY\" | wc -c > /length\nRUN [ -z \"$KEY\" ]\n",
    );
    fs::create_dir(site.path("out")).unwrap();
    let mut command = site.build_command(&OUTPUTS);
    command.args(["--secret=id=key,env=TOKEN", "-o", "../out/files", "."]).env("TOKEN", CANARY);
    let outcome = run(&mut command).success();
    assert_eq!(fs::read_to_string(site.path("out/files/length")).unwrap(), "27\n");
    assert_canary_nowhere(&site, &outcome);
}

fn a_failing_step_does_not_keep_its_secret() {
    let site =
        Site::new("FROM busybox\nRUN echo x > /x\nRUN --mount=type=secret,id=key wc -c /run/secrets/key; exit 9\n");
    fs::create_dir(site.path("out")).unwrap();
    fs::write(site.path("key"), CANARY).unwrap();
    let outcome = site.build(&["--secret=id=key,src=../key"]);
    assert_eq!(outcome.exit_code, Some(1));
    assert!(outcome.stderr.contains("27 /run/secrets/key"), "{}", outcome.stderr);
    assert_canary_nowhere(&site, &outcome);
}

/// There a thread of the build takes part in what the step does.
fn a_secret_is_found_nowhere_with_a_single_id() {
    let site = Site::new(USE_FILE);
    let user = NewUser::new(&site);
    fs::write(site.path("key"), CANARY).unwrap();
    let output = format!("--output=type=oci,dest={},compression=uncompressed", site.path("user/image.tar").display());
    let arguments = ["--sandbox=single-id", "--secret=id=key,src=../key", &output, "--progress=rawjson"];
    let outcome = user.build(&site.path("ctx"), &arguments).success();
    assert!(!outcome.stderr.contains(CANARY), "{}", outcome.stderr);
    let files = files_below(&site.path("user"));
    assert!(files.len() > 10, "there is too little to look through");
    for file in files {
        assert!(!is_in(CANARY, &file), "the canary is in {}", file.display());
    }
}

fn a_missing_secret_is_named() {
    let site = Site::new("FROM busybox\nRUN --mount=type=secret,id=wanted,required true\n");
    let stderr = site.build(&[]).failure();
    assert!(stderr.ends_with("secret wanted: not found\n"), "{stderr}");
    let stderr = site.build(&["--secret=id=wanted,src=no-such-file"]).failure();
    assert!(stderr.contains("no-such-file"), "{stderr}");
}

/// A program that asks the agent at `SSH_AUTH_SOCK` for its keys and prints how long the answer is.
const CLIENT: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
int main(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv("SSH_AUTH_SOCK");
    if (!path) return 2;
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int agent = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(agent, (struct sockaddr *)&address, sizeof address)) return 3;
    if (write(agent, "\0\0\0\1\13", 5) != 5) return 4;
    char answer[256];
    size_t length = 0;
    ssize_t n;
    while (length < 4 || length < 4u + answer[3]) {
        if ((n = read(agent, answer + length, sizeof answer - length)) <= 0) return 5;
        length += n;
    }
    printf("%zu\n", length);
    return 0;
}
"#;

/// An agent that answers every request with the canary. It stops when dropped.
struct Agent {
    socket: PathBuf,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    fn start(socket: &Path) -> Agent {
        let listener = UnixListener::bind(socket).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            for client in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let mut client = client.unwrap();
                let mut request = [0; 5];
                if client.read_exact(&mut request).is_ok() {
                    let length = u32::try_from(CANARY.len()).unwrap().to_be_bytes();
                    client.write_all(&[&length[..], CANARY.as_bytes()].concat()).ok();
                }
            }
        });
        Agent { socket: socket.to_owned(), is_over, thread: Some(thread) }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Wakes the thread, which then sees the flag.
        std::os::unix::net::UnixStream::connect(&self.socket).ok();
        self.thread.take().map(JoinHandle::join);
    }
}

fn an_agent_answers_the_step_and_nobody_else() {
    let site = Site::new(
        "FROM busybox
COPY client /client
RUN --mount=type=ssh /client > /length
RUN [ -z \"$SSH_AUTH_SOCK\" ]
",
    );
    fs::create_dir(site.path("out")).unwrap();
    fs::write(site.path("client.c"), CLIENT).unwrap();
    let mut compile = Command::new("cc");
    compile.arg("-static").arg("-o").arg(site.path("ctx/client")).arg(site.path("client.c"));
    run(&mut compile).success();
    let agent = Agent::start(&site.path("agent.sock"));
    let mut command = site.build_command(&OUTPUTS);
    command.args(["--ssh=default", "-o", "../out/files", "."]).env("SSH_AUTH_SOCK", &agent.socket);
    let outcome = run(&mut command).success();
    let length = format!("{}\n", 4 + CANARY.len());
    assert_eq!(fs::read_to_string(site.path("out/files/length")).unwrap(), length);
    assert_canary_nowhere(&site, &outcome);
    let without = site.build(&["--no-cache"]).failure();
    assert!(without.contains("SSH"), "{without}");
}

/// Makes a key; `more` are further arguments.
fn make_key(site: &Site, name: &str, more: &[&str]) -> PathBuf {
    let path = site.path(name);
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-C", CANARY, "-f"]).arg(&path).args(more);
    run(&mut command).success();
    path
}

/// The step cannot have OpenSSH's programs in an image of busybox alone: the host's are mounted with their libraries.
fn keys_of_files_sign_for_the_step() {
    let site = Site::new(
        "FROM busybox
RUN --mount=type=bind,from=host,target=/host --mount=type=ssh,mode=0666,target=/agent --mount=type=ssh,id=other \\
    export LD_LIBRARY_PATH=$(echo /host/lib/*-linux-gnu | tr ' ' :) && [ $SSH_AUTH_SOCK = /agent ] && stat -c %a /agent && \\
    cp /host/lib64/ld-linux-x86-64.so.2 /ld && cp /host/public /tmp/public && ADD='/ld /host/ssh-add' && \\
    $ADD -L && $ADD -T /tmp/public && echo signed; $ADD -D || echo refused; SSH_AUTH_SOCK=/run/buildkit/ssh_agent.1 $ADD -L; true
",
    );
    let ed25519 = make_key(&site, "ed25519", &["-t", "ed25519", "-N", ""]);
    let rsa = make_key(&site, "rsa", &["-t", "rsa", "-b", "2048", "-N", ""]);
    let host = site.path("host");
    fs::create_dir_all(host.join("lib64")).unwrap();
    fs::create_dir_all(host.join("lib/x86_64-linux-gnu")).unwrap();
    fs::copy("/usr/bin/ssh-add", host.join("ssh-add")).unwrap();
    fs::copy("/lib64/ld-linux-x86-64.so.2", host.join("lib64/ld-linux-x86-64.so.2")).unwrap();
    let libraries = run(Command::new("ldd").arg("/usr/bin/ssh-add")).success();
    for library in
        String::from_utf8(libraries.stdout).unwrap().split_whitespace().filter(|word| word.starts_with("/lib/"))
    {
        let name = Path::new(library).file_name().unwrap();
        fs::copy(library, host.join("lib/x86_64-linux-gnu").join(name)).unwrap();
    }
    let public = [&ed25519, &rsa].map(|key| fs::read_to_string(key.with_extension("pub")).unwrap());
    fs::write(host.join("public"), public.concat()).unwrap();
    fs::create_dir(site.path("out")).unwrap();
    let context = format!("--build-context=host={}", host.display());
    let keys = format!("--ssh=default={},{}", ed25519.display(), rsa.display());
    let other = format!("--ssh=other={}", rsa.display());
    let outcome = site.build(&[&context, &keys, &other, "-o", "../out/files"]).success();
    let stderr = &outcome.stderr;
    for public in &public {
        let blob = public.split(' ').nth(1).unwrap();
        assert!(stderr.contains(blob), "{stderr}");
    }
    assert!(stderr.contains(" 666\n") && stderr.contains(" signed\n") && stderr.contains(" refused\n"), "{stderr}");
    assert!(!stderr.contains(CANARY), "the comments of keys tell about the user: {stderr}");
    site.assert_tidy();
}

fn keys_that_cannot_be_used_are_named() {
    let site = Site::new("FROM busybox\nRUN --mount=type=ssh true\n");
    make_key(&site, "encrypted", &["-t", "ed25519", "-N", "passphrase"]);
    fs::write(site.path("junk"), "no key\n").unwrap();
    for (name, reason) in
        [("encrypted", "ssh: this private key is passphrase protected; "), ("junk", "ssh: no key found")]
    {
        let stderr = site.build(&[&format!("--ssh=default=../{name}")]).failure();
        let expected = format!(
            "ERROR: failed to build: failed to convert agent config {{default [../{name}] false}}: failed to convert agent config for ID: \"default\": failed to parse ../{name}: {reason}"
        );
        assert!(stderr.contains(&expected), "{stderr}");
    }
}
