//! What people can do about a step that did not start, where the reason says it.

use rustix::io::Errno;
use slipway_oci::Platform;
use slipway_sandbox::{ExecError, SpawnError};

use crate::rootfs::UserError;
use crate::store_disk::is_limit_of_namespaces;

/// What Dockerfiles mean by a shell if they do not say another.
const DEFAULT_SHELL: &str = "/bin/sh";

/// Advice on a program that was not started in an image for `platform`.
pub(super) fn on_start(error: &SpawnError, platform: &Platform) -> Option<String> {
    match error {
        SpawnError::Exec(ExecError::Unusable { program, answer }) => match Errno::from_io_error(answer)? {
            Errno::NOENT if program == DEFAULT_SHELL => Some(format!(
                "the image has no `{DEFAULT_SHELL}`, or not what that needs to run; write `RUN [\"program\", \
                 \"argument\"]`, which takes no shell, or name the image's own shell with `SHELL`"
            )),
            Errno::NOEXEC => {
                Some(format!("`{program}` is neither a program for {platform} nor a script that begins with `#!`"))
            }
            _ => None,
        },
        SpawnError::Setup(call) if is_limit_of_namespaces(call) => Some(
            "no more namespaces may be made here: as root, raise `/proc/sys/user/max_*_namespaces` (`sysctl -a | grep \
             max_.*_namespaces` shows them)"
                .to_owned(),
        ),
        SpawnError::Setup(call) => call.hint(),
        SpawnError::Exec(_) | SpawnError::InvalidId(_) | SpawnError::Nul(_) => None,
    }
}

/// Advice on a user or group that the image does not know.
pub(super) fn on_user(error: &UserError) -> Option<String> {
    match error {
        UserError::NoUser { name } => Some(format!(
            "`/etc/passwd` of the image has no user `{name}`; add one in a step before (`RUN adduser …` or `RUN useradd \
             …`), or give a number"
        )),
        UserError::NoGroup { name } => Some(format!(
            "`/etc/group` of the image has no group `{name}`; add one in a step before (`RUN addgroup …` or `RUN \
             groupadd …`), or give a number"
        )),
        UserError::IdOutOfRange { .. } => None,
    }
}
