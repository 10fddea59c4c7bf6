//! What the machine says when flags are given their meaning.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use slipway_graph::request::flags::{PathKind, Surroundings};

use crate::env_vars;

/// The machine that slipway runs on.
pub(crate) struct ThisMachine;

impl Surroundings for ThisMachine {
    fn variable(&self, name: &str) -> Option<String> {
        env_vars::named_by_user(name)
    }

    fn kind_of(&self, path: &Path) -> PathKind {
        match fs::metadata(path).map(|metadata| metadata.file_type()) {
            Err(_) => PathKind::Missing,
            Ok(kind) if kind.is_dir() => PathKind::Folder,
            Ok(kind) if kind.is_socket() => PathKind::Socket,
            Ok(_) => PathKind::File,
        }
    }

    fn is_stdout_terminal(&self) -> bool {
        rustix::termios::isatty(rustix::stdio::stdout())
    }

    fn working_dir(&self) -> PathBuf {
        std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"))
    }
}
