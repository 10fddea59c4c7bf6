//! Answers one question: can this machine run the case at all?
//!
//! Each capability is probed once a process, by doing the thing in a child. A case that needs a missing one is
//! reported as not run, with the probe's words as the reason, and never as passed.

use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::OnceLock;

use anyhow::{Error, bail};

/// Something that a machine may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// Mounting overlayfs, in a user namespace unless root.
    Overlay,
    /// Creating a user namespace.
    UserNamespace,
    /// Many ids: those of root, or a range of subordinate ids and the programs that map them.
    SubordinateIds,
    /// Files of any owner, beyond the end of a range of subordinate ids, too: root has that, and who has only one id.
    AnyId,
    /// Being root, for what only root can prepare (files of other owners).
    Root,
    /// Making a user with subordinate ids, and running programs as that user.
    NewUser,
    /// A helper that gives steps a private network, and the device that it needs.
    PrivateNetwork,
    /// Making control groups that limit memory and processes.
    ControlGroups,
    /// Control groups of version 2 that can limit memory; often version 1 has that controller.
    ControlGroupsTwo,
    /// QEMU for arm64 programs on a machine that does not run them itself, and a kernel that lets users register it.
    Emulator,
    /// `strace`, which makes system calls fail.
    Strace,
    /// `moto_server`, a server that speaks S3 (`scripts/s3-server` installs it).
    S3Server,
    /// `tmux`, which shows what a terminal shows.
    Tmux,
    /// Chromium, which shows pages without a screen.
    Chromium,
    /// `docker-registry`, Debian's registry (`scripts/docker-registry` fetches it).
    DockerRegistry,
    /// `openssl`, which makes certificates and serves with them.
    OpenSsl,
    /// Making and mounting file systems of these kinds in files.
    Ext4,
    Xfs,
    Btrfs,
}

impl Capability {
    const ALL: [Self; 19] = [
        Self::Overlay,
        Self::UserNamespace,
        Self::SubordinateIds,
        Self::AnyId,
        Self::Root,
        Self::NewUser,
        Self::PrivateNetwork,
        Self::ControlGroups,
        Self::ControlGroupsTwo,
        Self::Emulator,
        Self::Strace,
        Self::S3Server,
        Self::Tmux,
        Self::Chromium,
        Self::DockerRegistry,
        Self::OpenSsl,
        Self::Ext4,
        Self::Xfs,
        Self::Btrfs,
    ];

    /// What every build needs from the machine.
    pub fn of_every_build() -> Vec<Self> {
        if is_root() { vec![Self::Overlay] } else { vec![Self::UserNamespace, Self::Overlay] }
    }

    /// The word that `needs:` and `SLIPWAY_TEST_REQUIRE` use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::UserNamespace => "userns",
            Self::SubordinateIds => "subid",
            Self::AnyId => "any-id",
            Self::Root => "root",
            Self::NewUser => "new-user",
            Self::PrivateNetwork => "private-network",
            Self::ControlGroups => "cgroups",
            Self::ControlGroupsTwo => "cgroups-2",
            Self::Emulator => "emulator",
            Self::Strace => "strace",
            Self::S3Server => "s3-server",
            Self::Tmux => "tmux",
            Self::Chromium => "chromium",
            Self::DockerRegistry => "docker-registry",
            Self::OpenSsl => "openssl",
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// Why the machine lacks this, or `None` if it has it.
    pub fn missing(self) -> Option<&'static str> {
        static PROBED: [OnceLock<Option<String>>; Capability::ALL.len()] =
            [const { OnceLock::new() }; Capability::ALL.len()];
        PROBED[self as usize].get_or_init(|| self.probe()).as_deref()
    }

    fn probe(self) -> Option<String> {
        // In a mount namespace of its own, over a folder that is there anyway: nothing is left behind.
        let mount = "mount -t tmpfs none /tmp && cd /tmp && mkdir lower upper work merged && \
                     mount -t overlay none -o userxattr,lowerdir=lower,upperdir=upper,workdir=work merged";
        match self {
            Self::Overlay if is_root() => fails("overlayfs", &["unshare", "-m", "sh", "-c", mount]),
            Self::Overlay => fails("overlayfs", &["unshare", "-Urm", "sh", "-c", mount]),
            Self::UserNamespace => fails("a user namespace", &["unshare", "-Ur", "true"]),
            Self::SubordinateIds if is_root() => None,
            Self::AnyId if is_root() || Self::SubordinateIds.probe().is_some() => None,
            Self::AnyId => Some("a range of subordinate ids has an end".to_owned()),
            Self::SubordinateIds => {
                fails("mapping subordinate ids", &["unshare", "-U", "--map-auto", "--map-root-user", "true"])
            }
            Self::Root => (!is_root()).then(|| "the tests do not run as root".to_owned()),
            Self::NewUser => {
                let has_all =
                    "for program in useradd userdel setpriv newuidmap; do command -v $program || exit 1; done";
                Self::Root.probe().or_else(|| fails("useradd, setpriv or newuidmap", &["sh", "-c", has_all]))
            }
            Self::ControlGroups => Self::Root.probe().or_else(|| {
                let can_make = "for top in /sys/fs/cgroup/memory /sys/fs/cgroup; do
                    [ -e $top/cgroup.procs ] && mkdir $top/probe-$$ && rmdir $top/probe-$$ && exit; done; exit 1";
                fails("a writable control group", &["sh", "-c", can_make])
            }),
            Self::ControlGroupsTwo => Self::ControlGroups.probe().or_else(|| {
                let has_memory = "for top in /sys/fs/cgroup /sys/fs/cgroup/unified; do
                    grep -qw memory $top/cgroup.controllers 2>/dev/null && exit; done
                    echo 'version 2 has no memory controller' >&2; exit 1";
                fails("control groups", &["sh", "-c", has_memory])
            }),
            Self::Emulator => {
                let has_all = "[ \"$(uname -m)\" != aarch64 ] && command -v qemu-aarch64-static &&
                    printf '6.7\\n%s\\n' \"$(uname -r)\" | sort -VC";
                fails("qemu-aarch64-static, another machine or Linux 6.7", &["sh", "-c", has_all])
            }
            Self::Strace => fails("strace", &["strace", "-f", "--inject=chdir:error=EIO:when=1", "true"]),
            Self::S3Server => fails("moto_server", &["sh", "-c", "command -v moto_server"]),
            Self::Tmux => fails("tmux", &["tmux", "-V"]),
            Self::Chromium => fails("chromium", &["chromium", "--version"]),
            Self::DockerRegistry => fails("docker-registry", &["sh", "-c", "command -v docker-registry"]),
            Self::OpenSsl => fails("openssl", &["openssl", "version"]),
            Self::Ext4 | Self::Xfs | Self::Btrfs => Self::Root.probe().or_else(|| {
                let mount = "mount -t tmpfs none /mnt && cd /mnt && truncate -s 400m disk &&
                    mkfs.$0 -q disk >&2 && mkdir on && mount -o loop disk on";
                fails("a file system in a file", &["unshare", "-m", "sh", "-c", mount, self.name()])
            }),
            Self::PrivateNetwork => {
                let has_all = "{ command -v slirp4netns || command -v pasta; } && : <> /dev/net/tun";
                fails("slirp4netns or pasta, or /dev/net/tun", &["sh", "-c", has_all])
            }
        }
    }
}

impl FromStr for Capability {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        match Self::ALL.into_iter().find(|c| c.name() == word) {
            Some(capability) => Ok(capability),
            None => bail!("there is no capability `{word}`"),
        }
    }
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    static ROOT: OnceLock<bool> = OnceLock::new();
    *ROOT.get_or_init(|| Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout.trim_ascii() == b"0"))
}

/// Runs `command`; the reason why it does not succeed, if it does not.
fn fails(what: &str, command: &[&str]) -> Option<String> {
    let output = Command::new(command[0]).args(&command[1..]).stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!("{what}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Some(format!("{what}: {}: {error}", command[0])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_capabilities() {
        for capability in Capability::ALL {
            assert_eq!(capability.name().parse::<Capability>().ok(), Some(capability));
        }
    }

    #[test]
    fn a_failing_probe_gives_its_words() {
        let reason = fails("luck", &["sh", "-c", "echo none left >&2; false"]);
        assert_eq!(reason.as_deref(), Some("luck: none left"));
        assert_eq!(fails("luck", &["true"]), None);
    }
}
