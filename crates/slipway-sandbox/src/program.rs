//! Finds the program that a step asks for, and becomes it.

use std::ffi::{CString, OsStr, OsString, c_char};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::ptr;

use rustix::fs::{Access, AtFlags, CWD, FileType};
use rustix::io::Errno;

/// Why a program could not be executed, in the words of container runtimes.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// No directory of `PATH` holds an executable file of this name.
    #[error("exec: \"{program}\": executable file not found in $PATH")]
    NotInPath {
        /// The name that was looked up.
        program: String,
    },
    /// The file is not there or cannot be executed.
    #[error("exec: \"{program}\": {}", reason(answer))]
    Unusable {
        /// Path of the file inside the root.
        program: String,
        /// What the kernel answered; the text says it.
        answer: io::Error,
    },
}

impl ExecError {
    /// The exit code of a step whose program could not be executed, as BuildKit reports it: its runtime looks at the
    /// file before it starts the process, and at what is in the file afterwards.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Unusable { answer, .. } if answer.raw_os_error() == Some(libc::ENOEXEC) => 255,
            Self::NotInPath { .. } | Self::Unusable { .. } => 1,
        }
    }

    fn unusable(program: &OsStr, answer: impl Into<io::Error>) -> Self {
        Self::Unusable { program: program.to_string_lossy().into_owned(), answer: answer.into() }
    }
}

/// The kernel's answer without Rust's `(os error 2)`.
fn reason(answer: &io::Error) -> String {
    match answer.raw_os_error() {
        Some(libc::ENOENT) => "no such file or directory".to_owned(),
        Some(libc::ENOTDIR) => "not a directory".to_owned(),
        Some(libc::EISDIR) => "is a directory".to_owned(),
        Some(libc::EACCES | libc::EPERM) => "permission denied".to_owned(),
        Some(libc::ENOEXEC) => "exec format error".to_owned(),
        _ => answer.to_string(),
    }
}

/// Replaces this process by the program; returns only if that fails.
///
/// The lookup happens in the current root, as the current user.
pub(crate) fn become_program(args: Vec<OsString>, env: Vec<OsString>) -> ExecError {
    let name = args.first().cloned().unwrap_or_default();
    let path = match find(&name, &env) {
        Ok(path) => path,
        Err(error) => return error,
    };
    let program = path.into_os_string();
    match execve(program.clone(), args, env) {
        Ok(never) => match never {},
        Err(error) => ExecError::unusable(&program, error),
    }
}

fn find(name: &OsStr, env: &[OsString]) -> Result<PathBuf, ExecError> {
    if name.as_bytes().contains(&b'/') {
        check_executable(Path::new(name)).map_err(|errno| ExecError::unusable(name, errno))?;
        return Ok(PathBuf::from(name));
    }
    search_path(env)
        .map(|directory| Path::new(OsStr::from_bytes(directory)).join(name))
        .find(|candidate| check_executable(candidate).is_ok())
        .ok_or_else(|| ExecError::NotInPath { program: name.to_string_lossy().into_owned() })
}

/// The directories of `PATH`. Relative ones are left out: they would make the working directory a part of the search.
fn search_path(env: &[OsString]) -> impl Iterator<Item = &[u8]> {
    env.iter()
        .rev()
        .find_map(|variable| variable.as_bytes().strip_prefix(b"PATH="))
        .unwrap_or_default()
        .split(|byte| *byte == b':')
        .filter(|directory| directory.starts_with(b"/"))
}

fn check_executable(path: &Path) -> Result<(), Errno> {
    let status = rustix::fs::stat(path)?;
    if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)
}

fn execve(program: OsString, args: Vec<OsString>, env: Vec<OsString>) -> io::Result<std::convert::Infallible> {
    let program = c_string(program)?;
    let args = args.into_iter().map(c_string).collect::<io::Result<Vec<_>>>()?;
    let env = env.into_iter().map(c_string).collect::<io::Result<Vec<_>>>()?;
    // SAFETY: all three hold C strings that outlive the call, and both arrays end with a null pointer.
    unsafe { libc::execve(program.as_ptr(), pointers(&args).as_ptr(), pointers(&env).as_ptr()) };
    Err(io::Error::last_os_error())
}

fn c_string(text: OsString) -> io::Result<CString> {
    CString::new(text.into_vec()).map_err(io::Error::from)
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directories(env: &[&str]) -> Vec<String> {
        let env: Vec<OsString> = env.iter().map(OsString::from).collect();
        search_path(&env).map(|directory| String::from_utf8_lossy(directory).into_owned()).collect()
    }

    #[test]
    fn the_last_path_of_the_environment_counts() {
        assert_eq!(directories(&["PATH=/a", "XPATH=/x", "PATH=/b:/c"]), ["/b", "/c"]);
    }

    #[test]
    fn relative_directories_are_not_searched() {
        assert_eq!(directories(&["PATH=:.:bin:/bin:"]), ["/bin"]);
        assert!(directories(&[]).is_empty());
    }

    #[test]
    fn errors_read_as_those_of_container_runtimes() {
        let env = ["PATH=/nonexistent".into()];
        let text = |name: &str| find(OsStr::new(name), &env).expect_err("because it is not there").to_string();
        assert_eq!(text("foo"), "exec: \"foo\": executable file not found in $PATH");
        assert_eq!(text("/nope/x"), "exec: \"/nope/x\": no such file or directory");
        assert_eq!(text("/etc/passwd"), "exec: \"/etc/passwd\": permission denied");
        assert_eq!(text("/etc"), "exec: \"/etc\": is a directory");
    }
}
