//! Parts of a command that are commands themselves: what is built and pulled is so in a namespace of its own.

use std::process::Command;

use crate::cli::compose::ComposeArgs;

/// The program that runs now.
pub(super) fn slipway() -> Command {
    Command::new("/proc/self/exe")
}

/// `compose` of the program that runs now, with the flags before the command as they were typed.
pub(super) fn compose(all: &ComposeArgs) -> Command {
    let mut command = slipway();
    command.arg("compose");
    for (flag, values) in [("--file", &all.files), ("--env-file", &all.env_files), ("--profile", &all.profiles)] {
        for value in values {
            command.args([flag, value]);
        }
    }
    for (flag, value) in [
        ("--project-name", &all.project_name),
        ("--project-directory", &all.project_directory),
        ("--progress", &all.progress),
    ] {
        if let Some(value) = value {
            command.args([flag, value]);
        }
    }
    for (flag, is_set) in [("--compatibility", all.compatibility), ("--all-resources", all.all_resources)] {
        if is_set {
            command.arg(flag);
        }
    }
    command
}
