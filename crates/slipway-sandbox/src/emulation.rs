//! Programs of another architecture run through QEMU's user mode.
//!
//! The kernel starts an interpreter for files that begin in a certain way (binfmt_misc). Where the host has been told
//! to do so for an architecture, that is used. Otherwise the same is said in a user namespace of our own, which takes
//! no rights on the host (Linux 6.7 and later): its list of interpreters counts for the processes in it alone. A keeper
//! holds that namespace, with the ids of the one that slipway is in, and steps join it last of all.
//!
//! What a step is called is never changed: the kernel passes the program's own arguments on.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::thread::UnshareFlags;

use crate::call::CallError;
use crate::host_programs::{find_program, is_static_program};
use crate::keeper::{Keeper, KeeperError, Link, Role};
use crate::mounts::{self, Attributes};

/// A keeper has nothing to wait for; this only keeps a broken machine from hanging the build.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the host's list of interpreters is mounted.
const HOST_LIST: &str = "/proc/sys/fs/binfmt_misc";

/// How programs of an architecture begin, and who runs them.
struct Architecture {
    /// As image configs spell it.
    name: &'static str,
    /// As QEMU spells it.
    qemu: &'static str,
    /// `e_machine` of elf(5).
    machine: u16,
    is_64_bit: bool,
    is_big_endian: bool,
}

const ARCHITECTURES: [Architecture; 9] = [
    little("amd64", "x86_64", 62, true),
    little("386", "i386", 3, false),
    little("arm64", "aarch64", 183, true),
    little("arm", "arm", 40, false),
    little("riscv64", "riscv64", 243, true),
    little("ppc64le", "ppc64le", 21, true),
    little("mips64le", "mips64el", 8, true),
    little("loong64", "loongarch64", 258, true),
    Architecture { name: "s390x", qemu: "s390x", machine: 22, is_64_bit: true, is_big_endian: true },
];

const fn little(name: &'static str, qemu: &'static str, machine: u16, is_64_bit: bool) -> Architecture {
    Architecture { name, qemu, machine, is_64_bit, is_big_endian: false }
}

/// How many bytes of an ELF file tell its architecture.
const HEADER_BYTES: usize = 20;

impl Architecture {
    fn named(name: &str) -> Option<&'static Self> {
        ARCHITECTURES.iter().find(|known| known.name == name)
    }

    /// The beginning of its programs.
    fn header(&self) -> [u8; HEADER_BYTES] {
        const EXECUTABLE: u16 = 2;
        let number = |number: u16| if self.is_big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(b"\x7fELF");
        header[4] = 1 + u8::from(self.is_64_bit);
        header[5] = 1 + u8::from(self.is_big_endian);
        header[6] = 1;
        header[16..18].copy_from_slice(&number(EXECUTABLE));
        header[18..].copy_from_slice(&number(self.machine));
        header
    }

    /// Which bits of the header count: not the ABI, and position-independent programs (type 3) are programs too.
    fn mask(&self) -> [u8; HEADER_BYTES] {
        let mut mask = [0xff; HEADER_BYTES];
        mask[7] = 0;
        mask[if self.is_big_endian { 17 } else { 16 }] = 0xfe;
        mask
    }

    /// The line that tells the kernel (`admin-guide/binfmt-misc.rst`). F: the interpreter is opened now, from the
    /// host, and needs not be in the root of a step. P: the program sees its own name. C: set-user-id bits are those
    /// of the program.
    fn registration(&self, interpreter: &str) -> String {
        let escape = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
        format!(":slipway:M::{}:{}:{interpreter}:FPC", escape(&self.header()), escape(&self.mask()))
    }
}

/// Why programs of an architecture cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// Nobody knows how its programs begin.
    #[error("slipway does not know the architecture `{0}`")]
    Unknown(String),
    /// QEMU is not there.
    #[error("`{program}` is not installed")]
    NoProgram {
        /// The name that was looked for.
        program: String,
    },
    /// QEMU needs libraries, which the root of a step does not have.
    #[error("`{}` is not a static program", .0.display())]
    NotStatic(PathBuf),
    /// The kernel does not let us.
    #[error("cannot register `{}`: {reason}", program.display())]
    Refused {
        /// The emulator.
        program: PathBuf,
        /// Call and answer.
        reason: String,
    },
}

impl EmulatorError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "register an emulator with the kernel of the host (binfmt_misc, flag F)",
            Self::NoProgram { .. } | Self::NotStatic(_) => "install the package `qemu-user-static`",
            Self::Refused { .. } => {
                "take Linux 6.7 or later, or register the emulator as root of the host: \
                 `apt-get install qemu-user-static binfmt-support`"
            }
        }
    }
}

/// How programs of another architecture run.
#[derive(Debug)]
pub enum Emulation {
    /// The kernel of the host has been told, and has the interpreter open.
    ByHost,
    /// The host has been told, but a step needs this file of the host under the same path.
    ByHostFile(PathBuf),
    /// In a user namespace of our own.
    Own(Emulator),
}

impl Emulation {
    /// Finds a way to run programs of `architecture`, as image configs spell it. QEMU is looked for in `search_path`,
    /// a list as in `PATH`.
    pub fn find(architecture: &str, search_path: &OsStr) -> Result<Self, EmulatorError> {
        let unknown = || EmulatorError::Unknown(architecture.to_owned());
        let architecture = Architecture::named(architecture).ok_or_else(unknown)?;
        let host = host_registration(architecture);
        if let Some(Registration { is_open: true, .. }) = host {
            return Ok(Self::ByHost);
        }
        match (Emulator::start(architecture, search_path), host) {
            (Ok(own), _) => Ok(Self::Own(own)),
            (Err(_), Some(Registration { interpreter, .. })) => Ok(Self::ByHostFile(interpreter)),
            (Err(error), None) => Err(error),
        }
    }
}

/// An interpreter that is registered for the steps that join its namespace. It goes when this is dropped.
#[derive(Debug)]
pub struct Emulator {
    namespace: OwnedFd,
    _keeper: Keeper,
}

impl Emulator {
    fn start(architecture: &'static Architecture, search_path: &OsStr) -> Result<Self, EmulatorError> {
        let program = find_qemu(architecture, search_path)?;
        let refused = |error: KeeperError| EmulatorError::Refused { program: program.clone(), reason: error.reason() };
        let arguments = [OsStr::new(architecture.name), program.as_os_str()];
        let keeper = Keeper::start(Role::Emulator, &arguments, PATIENCE).map_err(refused)?;
        let namespace = keeper.namespace("user").map_err(|error| refused(error.into()))?;
        Ok(Self { namespace, _keeper: keeper })
    }

    /// The user namespace to join.
    pub fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }
}

/// The emulator under the name that Debian gives static programs, or the plain one where that is static.
fn find_qemu(architecture: &Architecture, search_path: &OsStr) -> Result<PathBuf, EmulatorError> {
    let name = format!("qemu-{}-static", architecture.qemu);
    let plain = format!("qemu-{}", architecture.qemu);
    let found = find_program(search_path, &name).or_else(|| find_program(search_path, &plain));
    let path = found.ok_or(EmulatorError::NoProgram { program: name })?;
    if is_static_program(&path) { Ok(path) } else { Err(EmulatorError::NotStatic(path)) }
}

/// An entry of the host's list.
#[derive(Debug, PartialEq, Eq)]
struct Registration {
    interpreter: PathBuf,
    /// The flag F: the kernel holds the interpreter open.
    is_open: bool,
}

/// The entry of the host that programs of `architecture` match; one that is open is preferred.
fn host_registration(architecture: &Architecture) -> Option<Registration> {
    let is_on =
        |name: &str| fs::read_to_string(Path::new(HOST_LIST).join(name)).is_ok_and(|t| t.starts_with("enabled"));
    if !is_on("status") {
        return None;
    }
    let entries = fs::read_dir(HOST_LIST).ok()?.flatten();
    let texts = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let matching: Vec<Registration> = texts.filter_map(|text| registration(&text, &architecture.header())).collect();
    let open = matching.iter().position(|entry| entry.is_open);
    matching.into_iter().nth(open.unwrap_or(0))
}

/// An entry of the list, if it is enabled and files that begin with `header` match it.
fn registration(text: &str, header: &[u8]) -> Option<Registration> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let bytes = |hex: &str| -> Option<Vec<u8>> {
        (0..hex.len() / 2).map(|i| u8::from_str_radix(hex.get(2 * i..2 * i + 2)?, 16).ok()).collect()
    };
    (text.lines().next() == Some("enabled")).then_some(())?;
    let offset: usize = field("offset ")?.parse().ok()?;
    let magic = bytes(field("magic ")?)?;
    let mask = field("mask ").map_or_else(|| Some(vec![0xff; magic.len()]), bytes)?;
    let beginning = header.get(offset..offset + magic.len())?;
    let matches = beginning.iter().zip(&magic).zip(&mask).all(|((byte, magic), mask)| byte & mask == magic & mask);
    let is_open = field("flags: ").is_some_and(|flags| flags.contains('F'));
    matches.then_some(Registration { interpreter: field("interpreter ")?.into(), is_open })
}

/// The keeper's work: a user namespace whose list of interpreters names the emulator. `arguments` are the architecture
/// and the emulator's path. The list lives as long as the mount that is returned.
pub(crate) fn make(link: &mut Link, arguments: &[OsString]) -> Result<OwnedFd, String> {
    let call = |name: &str, error: io::Error| format!("{name}: {error}");
    let [architecture, program] = arguments else { return Err("malformed request".to_owned()) };
    let architecture = architecture.to_str().and_then(Architecture::named).ok_or("malformed request")?;
    let program = program.to_str().ok_or("its path is not UTF-8")?;
    // SAFETY: this process has one thread and shares its tables with nobody.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) }
        .map_err(|errno| call("unshare(CLONE_NEWUSER|CLONE_NEWNS)", errno.into()))?;
    link.ask_for_ids()?;
    let named = |error: CallError| call(&error.call, error.source);
    let list = mounts::fresh("binfmt_misc", "binfmt_misc", &[], Attributes::NOSUID_NODEV_NOEXEC).map_err(named)?;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let register = rustix::fs::openat(&list, "register", flags, Mode::empty())
        .map_err(|errno| call("open(binfmt_misc/register)", errno.into()))?;
    rustix::io::write(&register, architecture.registration(program).as_bytes())
        .map_err(|errno| call("write(binfmt_misc/register)", errno.into()))?;
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `qemu-user-static` of Debian registers it.
    const ARM64: &str = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: POCF\noffset 0\n\
                         magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";

    fn header(name: &str) -> [u8; HEADER_BYTES] {
        Architecture::named(name).unwrap().header()
    }

    #[test]
    fn the_kernel_is_told_how_programs_begin() {
        let line = Architecture::named("arm64").unwrap().registration("/usr/bin/qemu-aarch64-static");
        let expected = r":slipway:M::\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/bin/qemu-aarch64-static:FPC";
        assert_eq!(line, expected);
        assert_eq!(header("s390x")[16..], [0, 2, 0, 22]);
    }

    #[test]
    fn our_own_program_begins_as_its_architecture_says() {
        let own = crate::host_programs::read_beginning(Path::new("/proc/self/exe")).unwrap();
        let name = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let architecture = Architecture::named(name).unwrap();
        let matches = own.iter().zip(architecture.header()).zip(architecture.mask());
        assert!(matches.into_iter().all(|((own, expected), mask)| own & mask == expected & mask));
    }

    #[test]
    fn entries_of_the_host_are_matched_against_the_header() {
        let found = registration(ARM64, &header("arm64")).unwrap();
        assert!(found.is_open);
        assert_eq!(found.interpreter, Path::new("/usr/libexec/qemu-binfmt/aarch64-binfmt-P"));
        assert_eq!(registration(ARM64, &header("arm")), None);
        assert_eq!(registration(&ARM64.replace("enabled", "disabled"), &header("arm64")), None);
        assert_eq!(registration("enabled\ninterpreter /x\nflags: \nextension .py\n", &header("arm64")), None);
    }
}
