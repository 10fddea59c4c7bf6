//! Git repositories inside the test's process, served by smart HTTP as hosts of code do: `git http-backend` behind a
//! small HTTP server that counts requests, asks for credentials and redirects on demand.
//!
//! It listens on loopback only. What the server is told is remembered for tests that ask who was told what.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// When every commit is made, in seconds since 1970, so that all have the same hashes in every run.
pub const COMMIT_TIME: i64 = 1_577_934_245;

/// A running server. It stops when the value is dropped.
pub struct GitServer {
    address: SocketAddr,
    folder: TempDir,
    shared: Arc<Shared>,
}

/// One request that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitRequest {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The `Authorization` header.
    pub authorization: Option<String>,
}

#[derive(Default)]
struct Shared {
    repositories: PathBuf,
    /// The `Authorization` header that is asked for.
    wanted: Mutex<Option<String>>,
    redirect: Mutex<Option<String>>,
    requests: Mutex<Vec<GitRequest>>,
    is_stopped: AtomicBool,
}

/// What a commit holds at a path.
#[derive(Clone, Copy, Debug)]
pub enum Blob<'a> {
    File(&'a str),
    Program(&'a str),
    Link(&'a str),
    /// A submodule at this commit; its URL belongs into `.gitmodules`.
    Module(&'a str),
}

impl GitServer {
    /// A server on a free port, without repositories.
    pub fn start() -> Result<GitServer> {
        let folder = tempfile::Builder::new().prefix("slipway-git").tempdir()?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { repositories: folder.path().join("served"), ..Shared::default() });
        fs::create_dir(&shared.repositories)?;
        let server = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &server));
        Ok(GitServer { address, folder, shared })
    }

    /// `127.0.0.1:<port>`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The URL of the repository called `name`, without `.git`.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}.git", self.address)
    }

    /// Makes a commit on `branch` of the repository `name` (made if it is not there) that holds exactly `files`, and
    /// gives its hash.
    pub fn commit(&self, name: &str, branch: &str, files: &[(&str, Blob<'_>)]) -> Result<String> {
        let repository = self.repository(name)?;
        let index = self.folder.path().join("index");
        fs::remove_file(&index).ok();
        for (path, blob) in files {
            let (mode, object) = match blob {
                Blob::File(text) => ("100644", self.hash_object(&repository, text)?),
                Blob::Program(text) => ("100755", self.hash_object(&repository, text)?),
                Blob::Link(target) => ("120000", self.hash_object(&repository, target)?),
                Blob::Module(commit) => ("160000", (*commit).to_owned()),
            };
            let info = format!("{mode},{object},{path}");
            self.git(&repository, &["update-index", "--add", "--cacheinfo", &info], "")?;
        }
        let tree = self.git(&repository, &["write-tree"], "")?;
        let reference = format!("refs/heads/{branch}");
        let parent = self.git(&repository, &["rev-parse", "--verify", "-q", &reference], "").ok();
        let mut commit = vec!["commit-tree", "-m", "test", &tree];
        if let Some(parent) = &parent {
            commit.extend(["-p", parent]);
        }
        let commit = self.git(&repository, &commit, "")?;
        self.git(&repository, &["update-ref", &reference, &commit], "")?;
        Ok(commit)
    }

    /// Gives `commit` the tag `tag`; with a message it is an annotated one.
    pub fn tag(&self, name: &str, tag: &str, commit: &str, message: Option<&str>) -> Result<()> {
        let mut command = vec!["tag", tag, commit];
        if let Some(message) = message {
            command.extend(["-a", "-m", message]);
        }
        self.git(&self.repository(name)?, &command, "")?;
        Ok(())
    }

    /// Answers 401 from now on unless the `Authorization` header is this one.
    pub fn demand(&self, authorization: &str) {
        *locked(&self.shared.wanted) = Some(authorization.to_owned());
    }

    /// Sends everybody to the same path below `base_url` from now on.
    pub fn redirect_to(&self, base_url: &str) {
        *locked(&self.shared.redirect) = Some(base_url.to_owned());
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<GitRequest> {
        locked(&self.shared.requests).clone()
    }

    /// How often objects were asked for; asking what references there are does not count.
    pub fn n_fetches(&self) -> usize {
        // The second version of the protocol asks for references at the same place, with a smaller body.
        self.requests().iter().filter(|request| request.method == "FETCH").count()
    }

    fn repository(&self, name: &str) -> Result<PathBuf> {
        let path = self.shared.repositories.join(format!("{name}.git"));
        if !path.exists() {
            let made = path.to_string_lossy();
            self.git(self.folder.path(), &["init", "-q", "--bare", &made], "")?;
        }
        Ok(path)
    }

    fn hash_object(&self, repository: &Path, text: &str) -> Result<String> {
        self.git(repository, &["hash-object", "-w", "--stdin"], text)
    }

    fn git(&self, folder: &Path, args: &[&str], stdin: &str) -> Result<String> {
        let mut child = with_own_settings(&mut Command::new("git"))
            .args(args)
            .current_dir(folder)
            .env("GIT_INDEX_FILE", self.folder.path().join("index"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("run(git)")?;
        child.stdin.take().context("its input is piped")?.write_all(stdin.as_bytes())?;
        let Output { status, stdout, stderr } = child.wait_with_output()?;
        ensure!(status.success(), "git {}: {}", args.join(" "), String::from_utf8_lossy(&stderr));
        Ok(String::from_utf8(stdout)?.trim().to_owned())
    }
}

/// Nothing of the tester's own settings, and the same author and time always.
fn with_own_settings(command: &mut Command) -> &mut Command {
    let date = format!("{COMMIT_TIME} +0000");
    command
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "init.defaultBranch")
        .env("GIT_CONFIG_VALUE_0", "main")
        .env("GIT_AUTHOR_DATE", &date)
        .env("GIT_COMMITTER_DATE", &date);
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "test").env(format!("GIT_{role}_EMAIL"), "test@example.com");
    }
    command
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection, which then sees the flag.
        drop(TcpStream::connect(self.address));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("because nothing panics while it is held")
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming().flatten() {
        if shared.is_stopped.load(Ordering::Relaxed) {
            return;
        }
        let shared = Arc::clone(shared);
        // A connection that ends in an error was broken by the client.
        thread::spawn(move || shared.serve(&stream));
    }
}

impl Shared {
    /// Answers the one request of a connection.
    fn serve(&self, stream: &TcpStream) -> Result<()> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, target) = (words.next().context("a method")?, words.next().context("a target")?);
        let headers = read_headers(&mut reader)?;
        let body = read_body(&mut reader, &headers)?;
        let authorization = headers.get("authorization").cloned();
        let has_fetch = body.windows(13).any(|part| part == b"command=fetch");
        let shown = if has_fetch { "FETCH".to_owned() } else { method.clone() };
        locked(&self.requests).push(GitRequest { method: shown, target: target.clone(), authorization });
        let mut out = stream;
        if let Some(base_url) = locked(&self.redirect).clone() {
            write!(out, "HTTP/1.1 302 Found\r\nLocation: {base_url}{target}\r\n{END}")?;
            return Ok(());
        }
        let wanted = locked(&self.wanted).clone();
        if wanted.is_some() && wanted.as_ref() != headers.get("authorization") {
            write!(out, "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\n{END}")?;
            return Ok(());
        }
        out.write_all(&self.backend(&method, &target, &headers, &body)?)?;
        Ok(())
    }

    /// What `git http-backend` (a CGI program, RFC 3875) answers.
    fn backend(&self, method: &str, target: &str, headers: &BTreeMap<String, String>, body: &[u8]) -> Result<Vec<u8>> {
        let header = |name: &str| headers.get(name).map_or("", String::as_str);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut child = with_own_settings(&mut Command::new("git"))
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", &self.repositories)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("REQUEST_METHOD", method)
            .env("PATH_INFO", path)
            .env("QUERY_STRING", query)
            .env("CONTENT_TYPE", header("content-type"))
            .env("CONTENT_LENGTH", body.len().to_string())
            .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
            .env("GIT_PROTOCOL", header("git-protocol"))
            .env("REMOTE_ADDR", "127.0.0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut stdin = child.stdin.take().context("its input is piped")?;
        let sent = body.to_vec();
        let writer = thread::spawn(move || stdin.write_all(&sent));
        let answer = child.wait_with_output()?.stdout;
        // A backend that answers without reading has said why.
        writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?.ok();
        let end = answer.windows(4).position(|part| part == b"\r\n\r\n").context("an answer has a head")?;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
        let head: Vec<&str> = head.lines().filter(|line| !line.starts_with("Status: ")).collect();
        let body = &answer[end + 4..];
        let start = format!(
            "HTTP/1.1 {status}\r\n{}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            head.join("\r\n"),
            body.len()
        );
        Ok([start.as_bytes(), body].concat())
    }
}

/// `login` as basic authorization spells it.
pub fn base64(login: &str) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, login)
}

/// The end of the head of an answer without a body.
const END: &str = "Content-Length: 0\r\nConnection: close\r\n\r\n";

fn read_headers(reader: &mut impl BufRead) -> Result<BTreeMap<String, String>> {
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => drop(headers.insert(name.to_ascii_lowercase(), value.trim().to_owned())),
            None => return Ok(headers),
        }
    }
}

fn read_body(reader: &mut impl BufRead, headers: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    if headers.get("transfer-encoding").is_some_and(|value| value == "chunked") {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let size = u64::from_str_radix(line.trim(), 16).context("the size of a chunk")?;
            reader.take(size).read_to_end(&mut body)?;
            let mut end = String::new();
            reader.read_line(&mut end)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    let length = headers.get("content-length").map_or(Ok(0), |text| text.parse())?;
    reader.take(length).read_to_end(&mut body)?;
    Ok(body)
}
