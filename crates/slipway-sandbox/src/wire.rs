//! How a spec reaches the first process of a sandbox, and how its failure comes back.
//!
//! Both ends are the same program, so the format has no versions: numbers are eight bytes, little-endian; texts and
//! lists are preceded by their length; descriptors go as their numbers, which the first process inherits.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::call::CallError;
use crate::capabilities::Capabilities;
use crate::mounts::Attributes;
use crate::program::ExecError;
use crate::spec::{Credentials, Mount, Network, Privilege, Resource, ResourceLimit, Spec, Special, Surroundings};

/// What the first process reports when it could not start the program.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A call of the set-up failed.
    Call(CallError),
    /// The program could not be executed.
    Exec(ExecError),
}

pub(crate) fn encode(spec: &Spec) -> Vec<u8> {
    let Spec {
        surroundings,
        args,
        env,
        cwd,
        credentials,
        hostname,
        network,
        user_namespace,
        privilege,
        mounts,
        control_groups,
        rlimits,
        shm_size_bytes,
        is_root_readonly,
        shuffles_folders,
        special,
        terminal,
        stdin,
        stdout,
        stderr,
    } = spec;
    let mut out = Writer::default();
    match surroundings {
        Surroundings::Own { root, attach_at } => {
            out.flag(false);
            out.descriptor(root);
            out.text(attach_at.as_os_str());
        }
        Surroundings::Of(process) => {
            out.flag(true);
            out.descriptor(process);
        }
    }
    out.list(args, |out, arg| out.text(arg));
    out.list(env, |out, variable| out.text(variable));
    out.text(cwd.as_os_str());
    out.number(credentials.uid.into());
    out.number(credentials.gid.into());
    out.list(&credentials.groups, |out, group| out.number((*group).into()));
    out.text(OsStr::new(hostname));
    match network {
        Network::Host => out.number(0),
        Network::None => out.number(1),
        Network::Joined(namespace) => {
            out.number(2);
            out.descriptor(namespace);
        }
    }
    out.flag(user_namespace.is_some());
    user_namespace.iter().for_each(|namespace| out.descriptor(namespace));
    match privilege {
        Privilege::Sandboxed(capabilities) => {
            out.flag(false);
            out.number(capabilities.bits());
        }
        Privilege::Insecure => out.flag(true),
    }
    out.list(mounts, |out, mount| {
        out.text(mount.target.as_os_str());
        out.descriptor(&mount.source);
        out.attributes(mount.attributes);
        out.flag(mount.is_device);
    });
    out.list(control_groups, |out, entrance| out.descriptor(entrance));
    out.list(rlimits, |out, limit| {
        out.number(limit.resource as u64);
        out.number(limit.soft);
        out.number(limit.hard);
    });
    out.number(*shm_size_bytes);
    out.flag(*is_root_readonly);
    out.flag(*shuffles_folders);
    let Special { has_init, forbids_new_privileges, is_unfiltered, shares_host_name, kernel_settings } = special;
    for flag in [has_init, forbids_new_privileges, is_unfiltered, shares_host_name] {
        out.flag(*flag);
    }
    out.list(kernel_settings, |out, (name, value)| {
        out.text(OsStr::new(name));
        out.text(OsStr::new(value));
    });
    for end in [terminal, stdin] {
        out.flag(end.is_some());
        end.iter().for_each(|end| out.descriptor(end));
    }
    out.descriptor(stdout);
    out.descriptor(stderr);
    out.bytes
}

/// `adopt` turns a descriptor's number into the descriptor; it is called once for each.
pub(crate) fn decode(bytes: &[u8], adopt: &mut dyn FnMut(RawFd) -> OwnedFd) -> io::Result<Spec> {
    let mut from = Reader { rest: bytes };
    Ok(Spec {
        surroundings: match from.flag()? {
            false => Surroundings::Own { root: adopt(from.descriptor()?), attach_at: from.text()?.into() },
            true => Surroundings::Of(adopt(from.descriptor()?)),
        },
        args: from.list(Reader::text)?,
        env: from.list(Reader::text)?,
        cwd: from.text()?.into(),
        credentials: Credentials { uid: from.id()?, gid: from.id()?, groups: from.list(Reader::id)? },
        hostname: from.string()?,
        network: match from.number()? {
            0 => Network::Host,
            1 => Network::None,
            2 => Network::Joined(adopt(from.descriptor()?)),
            _ => return Err(malformed()),
        },
        user_namespace: if from.flag()? { Some(adopt(from.descriptor()?)) } else { None },
        privilege: match from.flag()? {
            true => Privilege::Insecure,
            false => Privilege::Sandboxed(Capabilities::from_bits(from.number()?)),
        },
        mounts: from.list(|from| {
            Ok(Mount {
                target: from.text()?.into(),
                source: adopt(from.descriptor()?),
                attributes: from.attributes()?,
                is_device: from.flag()?,
            })
        })?,
        control_groups: from.list(|from| Ok(adopt(from.descriptor()?)))?,
        rlimits: from.list(|from| {
            Ok(ResourceLimit { resource: from.resource()?, soft: from.number()?, hard: from.number()? })
        })?,
        shm_size_bytes: from.number()?,
        is_root_readonly: from.flag()?,
        shuffles_folders: from.flag()?,
        special: Special {
            has_init: from.flag()?,
            forbids_new_privileges: from.flag()?,
            is_unfiltered: from.flag()?,
            shares_host_name: from.flag()?,
            kernel_settings: from.list(|from| Ok((from.string()?, from.string()?)))?,
        },
        terminal: if from.flag()? { Some(adopt(from.descriptor()?)) } else { None },
        stdin: if from.flag()? { Some(adopt(from.descriptor()?)) } else { None },
        stdout: adopt(from.descriptor()?),
        stderr: adopt(from.descriptor()?),
    })
}

pub(crate) fn encode_failure(failure: &Failure) -> Vec<u8> {
    let mut out = Writer::default();
    match failure {
        Failure::Call(CallError { call, source }) => {
            out.number(0);
            out.text(OsStr::new(call));
            out.errno(source);
        }
        Failure::Exec(ExecError::NotInPath { program }) => {
            out.number(1);
            out.text(OsStr::new(program));
        }
        Failure::Exec(ExecError::Unusable { program, answer }) => {
            out.number(2);
            out.text(OsStr::new(program));
            out.errno(answer);
        }
    }
    out.bytes
}

pub(crate) fn decode_failure(bytes: &[u8]) -> io::Result<Failure> {
    let mut from = Reader { rest: bytes };
    Ok(match from.number()? {
        0 => Failure::Call(CallError { call: from.string()?, source: from.errno()? }),
        1 => Failure::Exec(ExecError::NotInPath { program: from.string()? }),
        2 => Failure::Exec(ExecError::Unusable { program: from.string()?, answer: from.errno()? }),
        _ => return Err(malformed()),
    })
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "malformed message")
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn number(&mut self, number: u64) {
        self.bytes.extend(number.to_le_bytes());
    }

    fn flag(&mut self, flag: bool) {
        self.number(flag.into());
    }

    fn length(&mut self, length: usize) {
        self.number(length as u64);
    }

    fn text(&mut self, text: &OsStr) {
        self.length(text.len());
        self.bytes.extend(text.as_bytes());
    }

    fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.length(items.len());
        items.iter().for_each(|item| write(self, item));
    }

    fn descriptor(&mut self, descriptor: &OwnedFd) {
        self.number(descriptor.as_raw_fd().cast_unsigned().into());
    }

    fn attributes(&mut self, Attributes { readonly, nosuid, nodev, noexec }: Attributes) {
        [readonly, nosuid, nodev, noexec].into_iter().for_each(|flag| self.flag(flag));
    }

    /// The number of a kernel error; our own errors (a malformed message) count as `EINVAL`.
    fn errno(&mut self, error: &io::Error) {
        self.number(error.raw_os_error().unwrap_or(libc::EINVAL).cast_unsigned().into());
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take(&mut self, length: usize) -> io::Result<&[u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self) -> io::Result<u64> {
        let bytes = self.take(8)?.try_into().expect("because eight bytes were taken");
        Ok(u64::from_le_bytes(bytes))
    }

    fn length(&mut self) -> io::Result<usize> {
        usize::try_from(self.number()?).map_err(|_| malformed())
    }

    fn id(&mut self) -> io::Result<u32> {
        u32::try_from(self.number()?).map_err(|_| malformed())
    }

    fn flag(&mut self) -> io::Result<bool> {
        Ok(self.number()? != 0)
    }

    fn text(&mut self) -> io::Result<OsString> {
        let length = self.length()?;
        Ok(OsString::from_vec(self.take(length)?.to_vec()))
    }

    fn string(&mut self) -> io::Result<String> {
        self.text()?.into_string().map_err(|_| malformed())
    }

    fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> io::Result<T>) -> io::Result<Vec<T>> {
        let length = self.length()?;
        (0..length).map(|_| read(self)).collect()
    }

    fn descriptor(&mut self) -> io::Result<RawFd> {
        Ok(self.id()?.cast_signed())
    }

    fn attributes(&mut self) -> io::Result<Attributes> {
        Ok(Attributes { readonly: self.flag()?, nosuid: self.flag()?, nodev: self.flag()?, noexec: self.flag()? })
    }

    fn resource(&mut self) -> io::Result<Resource> {
        Resource::ALL.get(self.length()?).copied().ok_or_else(malformed)
    }

    fn errno(&mut self) -> io::Result<io::Error> {
        Ok(io::Error::from_raw_os_error(self.id()?.cast_signed()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn some_descriptor() -> OwnedFd {
        File::open("/dev/null").expect("because every machine has it").into()
    }

    fn some_spec() -> Spec {
        Spec {
            surroundings: Surroundings::Own { root: some_descriptor(), attach_at: "/tmp/root".into() },
            args: vec!["sh".into(), "-c".into(), OsString::from_vec(vec![b'e', 0xff])],
            env: vec!["PATH=/bin".into(), String::new().into()],
            cwd: "/".into(),
            credentials: Credentials { uid: 1000, gid: u32::MAX - 1, groups: vec![1, 2] },
            hostname: "buildkitsandbox".to_owned(),
            network: Network::Joined(some_descriptor()),
            user_namespace: Some(some_descriptor()),
            privilege: Privilege::Sandboxed(Capabilities::DOCKER),
            mounts: vec![Mount {
                target: "/run/secrets/a".into(),
                source: some_descriptor(),
                attributes: Attributes { readonly: true, nosuid: false, nodev: true, noexec: false },
                is_device: true,
            }],
            control_groups: vec![some_descriptor()],
            rlimits: vec![ResourceLimit { resource: Resource::Nofile, soft: 1024, hard: u64::MAX }],
            shm_size_bytes: 64 << 20,
            is_root_readonly: true,
            shuffles_folders: true,
            special: Special {
                has_init: true,
                forbids_new_privileges: false,
                is_unfiltered: true,
                shares_host_name: false,
                kernel_settings: vec![("kernel/shmmax".to_owned(), "1".to_owned())],
            },
            terminal: Some(some_descriptor()),
            stdin: Some(some_descriptor()),
            stdout: some_descriptor(),
            stderr: some_descriptor(),
        }
    }

    #[test]
    fn a_spec_arrives_as_it_was_sent() {
        let sent = some_spec();
        let mut numbers = Vec::new();
        let mut arrived = decode(&encode(&sent), &mut |number| {
            numbers.push(number);
            some_descriptor()
        })
        .expect("because it has just been encoded");

        let Network::Joined(namespace) = &sent.network else { unreachable!("because it was made so") };
        let (Some(users), Some(terminal), Some(stdin)) = (&sent.user_namespace, &sent.terminal, &sent.stdin) else {
            unreachable!("because it was made so")
        };
        let Surroundings::Own { root, .. } = &sent.surroundings else { unreachable!("because it was made so") };
        let (mount, group) = (&sent.mounts[0].source, &sent.control_groups[0]);
        let descriptors = [root, namespace, users, mount, group, terminal, stdin, &sent.stdout, &sent.stderr];
        assert_eq!(numbers, descriptors.map(AsRawFd::as_raw_fd));
        // The descriptors are others now; with the sent ones put back, nothing else may differ.
        let text = format!("{sent:?}");
        let Spec {
            surroundings,
            network,
            user_namespace,
            mut mounts,
            control_groups,
            terminal,
            stdin,
            stdout,
            stderr,
            ..
        } = sent;
        arrived.surroundings = surroundings;
        arrived.network = network;
        arrived.terminal = terminal;
        arrived.stdin = stdin;
        arrived.user_namespace = user_namespace;
        arrived.control_groups = control_groups;
        arrived.mounts[0].source = mounts.remove(0).source;
        arrived.stdout = stdout;
        arrived.stderr = stderr;
        assert_eq!(format!("{arrived:?}"), text);
    }

    #[test]
    fn a_process_among_others_arrives_there() {
        let sent =
            Spec { surroundings: Surroundings::Of(some_descriptor()), privilege: Privilege::Insecure, ..some_spec() };
        let arrived = decode(&encode(&sent), &mut |_| some_descriptor()).expect("because it has just been encoded");
        assert!(matches!(arrived.surroundings, Surroundings::Of(_)));
        assert_eq!((arrived.privilege, arrived.args), (Privilege::Insecure, sent.args));
    }

    #[test]
    fn every_cut_of_a_spec_is_an_error() {
        let whole = encode(&some_spec());
        for length in 0..whole.len() {
            decode(&whole[..length], &mut |_| some_descriptor()).expect_err("because something is missing");
        }
    }

    #[test]
    fn failures_arrive_as_they_were_sent() {
        let failures = [
            Failure::Call(CallError {
                call: "fsmount(proc)".to_owned(),
                source: io::Error::from_raw_os_error(libc::EPERM),
            }),
            Failure::Exec(ExecError::NotInPath { program: "foo".to_owned() }),
            Failure::Exec(ExecError::Unusable {
                program: "/foo".to_owned(),
                answer: io::Error::from_raw_os_error(libc::ENOEXEC),
            }),
        ];
        for sent in failures {
            let arrived = decode_failure(&encode_failure(&sent)).expect("because it has just been encoded");
            assert_eq!(format!("{arrived:?}"), format!("{sent:?}"));
        }
    }

    #[test]
    fn resources_are_numbered_by_position() {
        for (position, resource) in Resource::ALL.iter().enumerate() {
            assert_eq!(*resource as usize, position);
        }
    }
}
