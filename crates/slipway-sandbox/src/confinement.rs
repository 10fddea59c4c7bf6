//! What around this process may be what refuses it namespaces and mounts, and how is that lifted?
//!
//! The kernel answers with "operation not permitted", whoever it is that does not permit it. So this looks at those who
//! usually do, once something was refused.

use std::fs;

/// Advice for a process that was refused something which its own rights would allow.
pub(crate) fn advice() -> String {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    advice_for(&read("/proc/self/mountinfo"), &read("/proc/self/status"), &read("/proc/self/attr/current"))
}

/// The arguments are what the files of [`advice`] hold.
fn advice_for(mountinfo: &str, status: &str, security_label: &str) -> String {
    if !mountinfo.lines().any(|line| line.split(' ').nth(4) == Some("/")) {
        return "this process is in a chroot, where the kernel makes no user namespaces; run it outside, or as root"
            .to_owned();
    }
    let mut causes = Vec::new();
    let mut changes = Vec::new();
    if status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2")) {
        causes.push("a system call filter is in force (seccomp)".to_owned());
        changes.push("`--security-opt seccomp=unconfined`");
    }
    let profile = security_label.trim_matches(['\0', '\n', ' ']);
    // AppArmor writes its mode behind the name; SELinux writes a label with colons.
    if profile.ends_with(')') {
        causes.push(format!("the AppArmor profile `{profile}` is in force"));
        changes.push("`--security-opt apparmor=unconfined`");
    } else if profile.contains(':') && !profile.contains(":unconfined_t") {
        causes.push(format!("SELinux confines it (`{profile}`)"));
        changes.push("`--security-opt label=disable`");
    }
    if causes.is_empty() {
        return "neither seccomp nor AppArmor nor SELinux confines this process; it may be in a chroot, where the kernel \
                makes no user namespaces, or lack capabilities: run it as root, a container with `--privileged`"
            .to_owned();
    }
    format!("{}; run the container with {}", causes.join(" and "), changes.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "21 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n";

    #[test]
    fn each_obstacle_has_its_way_out() {
        let of = |status: &str, label: &str| advice_for(ROOT, status, label);
        let docker = of("Name:\tx\nSeccomp:\t2\n", "docker-default (enforce)\n");
        assert!(
            docker.ends_with("`--security-opt seccomp=unconfined` `--security-opt apparmor=unconfined`"),
            "{docker}"
        );
        assert!(of("Seccomp:\t2\n", "unconfined\n").ends_with("with `--security-opt seccomp=unconfined`"));
        assert!(of("Seccomp:\t0\n", "system_u:system_r:container_t:s0:c1\0").ends_with("label=disable`"));
        assert!(of("Seccomp:\t0\n", "u:r:unconfined_t:s0\0").contains("--privileged"));
        assert!(of("Seccomp:\t0\nSeccomp_filters:\t2\n", "").contains("--privileged"));
    }

    #[test]
    fn a_chroot_has_no_mount_at_its_root() {
        assert!(advice_for("22 21 0:5 / /proc rw - proc proc rw\n", "Seccomp:\t2\n", "").contains("in a chroot"));
    }
}
