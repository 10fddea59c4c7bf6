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
            Errno::NOENT => Some(format!(
                "`{program}` is not in the image, or not the interpreter or loader that it names; install it in a step \
                 before"
            )),
            Errno::ACCESS => Some(format!(
                "the user of this step may not execute `{program}`; `chmod +x` in a step before, or `USER`, helps"
            )),
            Errno::NOEXEC => Some(format!(
                "`{program}` is neither a program for {platform} nor a script that begins with `#!`; take one that is made \
                 for {platform}, or write `#!/bin/sh` in its first line"
            )),
            _ => None,
        },
        SpawnError::Exec(ExecError::NotInPath { program }) => Some(format!(
            "no folder of `PATH` in the image has `{program}`; install it in a step before, or give its whole path"
        )),
        SpawnError::Setup(call) if is_limit_of_namespaces(call) => Some(
            "no more namespaces may be made here: as root, raise `/proc/sys/user/max_*_namespaces` (`sysctl -a | grep \
             max_.*_namespaces` shows them)"
                .to_owned(),
        ),
        SpawnError::Setup(call) => call.hint(),
        SpawnError::InvalidId(_) | SpawnError::Nul(_) => None,
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
        UserError::IdOutOfRange { .. } => Some("users and groups have numbers from 0 to 2147483647".to_owned()),
    }
}
