//! Further programs in a container that runs already: `slipway exec`, and tests of its health. Files that are put into it
//! or taken out of it: `guest_files.rs`.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use slipway_sandbox::{
    ControlGroup, Credentials, Network, Privilege, ResourceLimit, Running, SpawnError, Spec, Special, Surroundings,
};

use super::mounts::mount_error;
use super::{ExecError, Place, Run};
use crate::ops::{emulators, limit};
use crate::rootfs::{Accounts, ProcessUser};

/// What is known of a container by who starts further programs in it.
pub struct GuestHost {
    pub(super) process: OwnedFd,
    /// The number of the process, as this one sees it.
    pub(super) id: u32,
    accounts: Accounts,
    user: ProcessUser,
    env: Vec<OsString>,
    cwd: PathBuf,
    privilege: Privilege,
    special: Special,
    rlimits: Vec<ResourceLimit>,
    user_namespace: Option<OwnedFd>,
    group: Arc<Option<ControlGroup>>,
}

/// A further program. What it does not say is as for the container's own.
#[derive(Clone, Debug, Default)]
pub struct Guest {
    pub args: Vec<String>,
    /// `NAME=value`, in addition to the container's variables.
    pub env: Vec<String>,
    pub cwd: Option<String>,
    pub user: Option<String>,
    /// May do all that slipway itself may.
    pub is_privileged: bool,
}

/// What a further program is connected to; to nothing where there is nothing.
#[derive(Debug, Default)]
pub struct GuestEnds {
    /// In the place of the three others.
    pub terminal: Option<OwnedFd>,
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

/// Why a further program did not start.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    #[error("{0}")]
    User(String),
    #[error("{0}")]
    Prepare(String),
    #[error(transparent)]
    Start(SpawnError),
}

impl GuestError {
    /// As for a container that does not start.
    pub fn exit_code(&self) -> u8 {
        match self {
            GuestError::User(_) | GuestError::Prepare(_) => 1,
            GuestError::Start(error) => crate::container::exit_code(error),
        }
    }
}

impl GuestHost {
    pub(super) fn new(
        run: &Run<'_>,
        place: &Place<'_>,
        running: &Running,
        (privilege, special): (Privilege, &Special),
        group: Arc<Option<ControlGroup>>,
    ) -> Result<GuestHost, ExecError> {
        let user_namespace = emulators::namespace(&place.emulation)
            .map_err(|source| ExecError::Prepare { path: "user namespace".to_owned(), source })?;
        Ok(GuestHost {
            process: mount_error("/", running.descriptor())?,
            id: running.id(),
            accounts: place.accounts.clone(),
            user: place.user.clone(),
            env: run.exec.env.iter().map(OsString::from).collect(),
            cwd: PathBuf::from(&run.exec.cwd),
            privilege,
            // It has a first process already.
            special: Special { has_init: false, ..special.clone() },
            rlimits: run.resource_limits()?,
            user_namespace,
            group,
        })
    }

    /// Starts a program. As every sandboxed process it is killed when the calling thread ends; it ends with the
    /// container.
    ///
    /// # Errors
    /// There is no such user or program, or the container has ended.
    pub fn start(&self, guest: &Guest, ends: GuestEnds) -> Result<Running, GuestError> {
        let prepare = |error: &dyn std::error::Error| GuestError::Prepare(error.to_string());
        let user = match &guest.user {
            Some(text) => self.accounts.process_user(text).map_err(|error| GuestError::User(error.to_string()))?,
            None => self.user.clone(),
        };
        let null = || File::options().read(true).write(true).open("/dev/null").map(OwnedFd::from);
        let or_null = |end: Option<OwnedFd>| end.map_or_else(null, Ok).map_err(|error| prepare(&error));
        let copy = self.process.try_clone().map_err(|error| prepare(&error))?;
        let user_namespace = self.user_namespace.as_ref().map(OwnedFd::try_clone).transpose();
        let spec = Spec {
            surroundings: Surroundings::Of(copy),
            args: guest.args.iter().map(OsString::from).collect(),
            env: self.environment(guest, &user),
            cwd: guest.cwd.as_ref().map_or_else(|| self.cwd.clone(), PathBuf::from),
            credentials: Credentials { uid: user.uid, gid: user.gid, groups: user.groups },
            hostname: String::new(),
            network: Network::Host,
            user_namespace: user_namespace.map_err(|error| prepare(&error))?,
            privilege: if guest.is_privileged { Privilege::Insecure } else { self.privilege },
            mounts: Vec::new(),
            control_groups: limit::entrances((*self.group).as_ref()).map_err(|error| prepare(&error))?,
            rlimits: self.rlimits.clone(),
            shm_size_bytes: 0,
            is_root_readonly: false,
            shuffles_folders: false,
            special: self.special.clone(),
            terminal: ends.terminal,
            stdin: ends.stdin,
            stdout: or_null(ends.stdout)?,
            stderr: or_null(ends.stderr)?,
        };
        slipway_sandbox::spawn(&spec).map_err(GuestError::Start)
    }

    /// The container's variables, with those that were given in their place; `HOME` is that of the user.
    fn environment(&self, guest: &Guest, user: &ProcessUser) -> Vec<OsString> {
        let name_of = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
        let given: Vec<String> = guest.env.iter().map(|pair| name_of(pair)).collect();
        let kept = self.env.iter().filter(|pair| !given.contains(&name_of(&pair.to_string_lossy())));
        let mut env: Vec<OsString> = kept.cloned().chain(guest.env.iter().map(OsString::from)).collect();
        if !env.iter().any(|pair| pair.to_string_lossy().starts_with("HOME=")) {
            env.push(format!("HOME={}", user.home).into());
        }
        env
    }
}
