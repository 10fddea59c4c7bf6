//! The second filter of a step that has a supervisor: it stops the calls that are answered by it.
//!
//! The kernel asks every filter and takes the strictest word: what the profile refuses is refused, whatever this says.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use super::{ABIS, OFFSET_ARCH, OFFSET_FIRST_ARGUMENT, OFFSET_NR, answer, jump_if, load, with_program};
use crate::supervisor::{self, Duties, When};

/// Bytes of a register in `struct seccomp_data`.
const ARGUMENT_BYTES: u32 = 8;

/// Installs the filter and returns where the calls arrive. Needs CAP_SYS_ADMIN, as it comes without `no_new_privs`.
pub(crate) fn install(duties: Duties) -> io::Result<OwnedFd> {
    // A caller that has been noticed waits for its answer whatever signals come, or the interrupted call would be made
    // again after it has had its effect. Kernels before 5.19 do not know that.
    let patient = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let program = program(duties);
    let descriptor = match with_program(&program, patient) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            with_program(&program, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER)
        }
        answer => answer,
    }?;
    let descriptor = RawFd::try_from(descriptor).expect("because the kernel returns a descriptor");
    // SAFETY: the kernel has just opened it for us; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn program(duties: Duties) -> Vec<libc::sock_filter> {
    let allow = || answer(libc::SECCOMP_RET_ALLOW);
    let ask = || answer(libc::SECCOMP_RET_USER_NOTIF);
    let native = ABIS[0].audit_arch;
    let mut program = vec![load(OFFSET_ARCH), jump_if(libc::BPF_JEQ, native, 1, 0), allow(), load(OFFSET_NR)];
    for call in supervisor::supervised(duties) {
        let number = u32::try_from(call.number).expect("because call numbers are small");
        let (argument, comparison, value) = match call.when {
            When::Always => {
                program.extend([jump_if(libc::BPF_JEQ, number, 0, 1), ask()]);
                continue;
            }
            When::HasBits(argument, bits) => (argument, libc::BPF_JSET, bits),
            When::Equals(argument, value) => (argument, libc::BPF_JEQ, value),
        };
        let register = load(OFFSET_FIRST_ARGUMENT + argument * ARGUMENT_BYTES);
        let holds = jump_if(comparison, value, 0, 1);
        program.extend([jump_if(libc::BPF_JEQ, number, 0, 4), register, holds, ask(), allow()]);
    }
    program.push(allow());
    program
}

#[cfg(test)]
mod tests {
    use super::super::tests::run_with;
    use super::*;

    const OWNERS: Duties = Duties { owners: true, order: false };

    fn verdict(number: libc::c_long, arguments: [u64; 3]) -> u32 {
        verdict_of(OWNERS, number, arguments)
    }

    fn verdict_of(duties: Duties, number: libc::c_long, arguments: [u64; 3]) -> u32 {
        run_with(&program(duties), ABIS[0].audit_arch, u32::try_from(number).unwrap(), &arguments)
    }

    #[test]
    fn owners_and_ids_are_asked_about() {
        for number in [libc::SYS_fchownat, libc::SYS_setresuid, libc::SYS_getgroups, libc::SYS_statx] {
            assert_eq!(verdict(number, [0; 3]), libc::SECCOMP_RET_USER_NOTIF, "{number}");
        }
        for number in [libc::SYS_read, libc::SYS_clone, libc::SYS_unlinkat, libc::SYS_openat2] {
            assert_eq!(verdict(number, [0; 3]), libc::SECCOMP_RET_ALLOW, "{number}");
        }
    }

    #[test]
    fn each_duty_has_its_calls() {
        let order = Duties { owners: false, order: true };
        for (duties, stat, list) in
            [(OWNERS, true, false), (order, false, true), (Duties { order: true, ..OWNERS }, true, true)]
        {
            for (number, is_asked) in [(libc::SYS_statx, stat), (libc::SYS_getdents64, list), (libc::SYS_read, false)] {
                let expected = if is_asked { libc::SECCOMP_RET_USER_NOTIF } else { libc::SECCOMP_RET_ALLOW };
                assert_eq!(verdict_of(duties, number, [0; 3]), expected, "{duties:?} {number}");
            }
        }
    }

    #[test]
    fn opening_is_the_kernels_business_unless_it_makes_a_file() {
        let create = u64::from((libc::O_CREAT | libc::O_WRONLY).cast_unsigned());
        assert_eq!(verdict(libc::SYS_openat, [0, 0, create]), libc::SECCOMP_RET_USER_NOTIF);
        assert_eq!(verdict(libc::SYS_openat, [0, create, 0]), libc::SECCOMP_RET_ALLOW);
    }

    #[test]
    fn programs_of_other_architectures_are_not_asked_about() {
        let number = u32::try_from(libc::SYS_fchownat).unwrap();
        assert_eq!(run_with(&program(OWNERS), 0x4000_0003, number, &[0; 3]), libc::SECCOMP_RET_ALLOW);
    }
}
