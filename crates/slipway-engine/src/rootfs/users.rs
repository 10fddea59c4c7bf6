//! Who is `USER app` or `--chown=app:web` in this root file system?
//!
//! Reads `/etc/passwd` and `/etc/group` of the tree, never of the host, and trusts neither: they may be links,
//! devices, FIFOs or endless.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use slipway_graph::op::{Owner, OwnerId};

use super::Root;
use super::root::stat_fd;

/// Larger files of users are refused (`spec/dockerfile.md` section 11.5).
const MAX_BYTES: u64 = 10 << 20;

/// The largest id that `USER` may name, as runc has it.
const MAX_ID: u32 = i32::MAX as u32;

/// The users and groups of a tree.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts {
    users: Vec<User>,
    groups: Vec<Group>,
}

#[derive(Clone, Debug)]
struct User {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

#[derive(Clone, Debug)]
struct Group {
    name: String,
    gid: u32,
    members: Vec<String>,
}

/// Whom a process runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcessUser {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups; the primary one always comes first (CVE-2023-25173).
    pub groups: Vec<u32>,
    /// For `HOME`, where the image does not set it.
    pub home: String,
}

/// Why a file of users cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountsError {
    #[error("{path} is not a regular file")]
    NotAFile { path: &'static str },
    #[error("\"{path}\" exceeds {MAX_BYTES} bytes")]
    TooLarge { path: &'static str },
    #[error("cannot read `{path}`")]
    Read { path: &'static str, source: io::Error },
}

/// Why `USER` names nobody.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    #[error("unable to find user {name}: no matching entries in passwd file")]
    NoUser { name: String },
    #[error("unable to find group {name}: no matching entries in group file")]
    NoGroup { name: String },
    #[error("uids and gids must be in range 0-{MAX_ID}: `{id}`")]
    IdOutOfRange { id: String },
}

impl Accounts {
    /// The accounts of `root`; a missing file is one without entries.
    pub(crate) fn read(root: &Root) -> Result<Accounts, AccountsError> {
        Accounts::read_with(|path| root.open_in(path.as_bytes()))
    }

    /// [`Accounts::read`] for trees that are opened in another way. `open` must not wait for a FIFO's writer.
    pub(crate) fn read_with(open: impl Fn(&'static str) -> io::Result<OwnedFd>) -> Result<Accounts, AccountsError> {
        let passwd = read_bounded("/etc/passwd", &open)?;
        let group = read_bounded("/etc/group", &open)?;
        Ok(Accounts {
            users: passwd.lines().filter_map(User::parse).collect(),
            groups: group.lines().filter_map(Group::parse).collect(),
        })
    }

    /// The ids of `--chown` and of folders made by `WORKDIR`. An unknown user is 0, and so is its group; a number
    /// without a group is its own group, and an unknown group changes nothing of that.
    pub(crate) fn owner(&self, owner: &Owner) -> (u32, u32) {
        let (uid, own_gid) = match &owner.user {
            OwnerId::Number(uid) => (*uid, *uid),
            OwnerId::Name(name) => {
                self.users.iter().find(|u| u.name == *name).map_or((0, 0), |user| (user.uid, user.gid))
            }
        };
        let gid = match &owner.group {
            None => own_gid,
            Some(OwnerId::Number(gid)) => *gid,
            Some(OwnerId::Name(name)) => {
                self.groups.iter().find(|g| g.name == *name).map_or(own_gid, |group| group.gid)
            }
        };
        (settable(uid), settable(gid))
    }

    /// Whom a process of the image's `User` runs as: `user`, `uid`, `user:group` or any mix; empty is root
    /// (`spec/dockerfile.md` section 3.10).
    pub(crate) fn process_user(&self, text: &str) -> Result<ProcessUser, UserError> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
            None => (text, None),
        };
        let user = if user.is_empty() { "0" } else { user };
        if let (Some(uid), Some(gid)) = (number(user)?, group.map(number).transpose()?.flatten()) {
            return Ok(ProcessUser { uid, gid, groups: vec![gid], home: self.home_of(uid) });
        }
        let number_of_user = number(user)?;
        // What is a number is never a name, whatever the file says.
        let entry = self.users.iter().find(|u| match number_of_user {
            Some(uid) => u.uid == uid,
            None => u.name == user,
        });
        let (uid, own_gid) = match (entry, number_of_user) {
            (Some(entry), _) => (entry.uid, entry.gid),
            (None, Some(uid)) => (uid, 0),
            // An image without accounts still has root.
            (None, None) if user == "root" => (0, 0),
            (None, None) => return Err(UserError::NoUser { name: user.to_owned() }),
        };
        let (gid, others) = match group {
            Some(group) => (self.gid_of(group)?, Vec::new()),
            None => (own_gid, entry.map(|e| self.groups_listing(&e.name)).unwrap_or_default()),
        };
        let mut groups = vec![gid];
        groups.extend(others.into_iter().filter(|other| *other != gid));
        let home = entry.map_or_else(|| "/".to_owned(), |e| e.home.clone());
        Ok(ProcessUser { uid, gid, groups, home })
    }

    /// The numbers of groups that are given as names or numbers.
    pub(crate) fn groups_named(&self, groups: &[String]) -> Result<Vec<u32>, UserError> {
        groups.iter().map(|group| self.gid_of(group)).collect()
    }

    fn gid_of(&self, group: &str) -> Result<u32, UserError> {
        if let Some(gid) = number(group)? {
            return Ok(gid);
        }
        let entry = self.groups.iter().find(|g| g.name == group);
        entry.map(|entry| entry.gid).ok_or_else(|| UserError::NoGroup { name: group.to_owned() })
    }

    fn groups_listing(&self, user: &str) -> Vec<u32> {
        self.groups.iter().filter(|g| g.members.iter().any(|m| m == user)).map(|g| g.gid).collect()
    }

    fn home_of(&self, uid: u32) -> String {
        let entry = self.users.iter().find(|u| u.uid == uid);
        entry.map_or_else(|| "/".to_owned(), |u| u.home.clone())
    }
}

impl User {
    /// A line of passwd(5); `None` for an empty one. As with the reference, an id that is missing or no number is 0.
    fn parse(line: &str) -> Option<User> {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
        let (uid, gid) = (id_or_root(fields.nth(1)), id_or_root(fields.next()));
        Some(User { name, uid, gid, home: fields.nth(1).unwrap_or_default().to_owned() })
    }
}

impl Group {
    /// A line of group(5), read in the same way.
    fn parse(line: &str) -> Option<Group> {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
        let gid = id_or_root(fields.nth(1));
        let members = fields.next().unwrap_or_default();
        let members = members.split(',').filter(|m| !m.is_empty()).map(str::to_owned).collect();
        Some(Group { name, gid, members })
    }
}

/// chown(2) takes the largest number for "leave it", which for a new file is root.
fn settable(id: u32) -> u32 {
    if id == u32::MAX { 0 } else { id }
}

fn id_or_root(field: Option<&str>) -> u32 {
    field.and_then(|id| id.parse().ok()).unwrap_or(0)
}

/// The number that `text` is; `None` if it is a name.
fn number(text: &str) -> Result<Option<u32>, UserError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    let in_range = text.parse::<u32>().ok().filter(|id| *id <= MAX_ID);
    in_range.map(Some).ok_or_else(|| UserError::IdOutOfRange { id: text.to_owned() })
}

fn read_bounded(
    path: &'static str,
    open: impl Fn(&'static str) -> io::Result<OwnedFd>,
) -> Result<String, AccountsError> {
    let error = |source| AccountsError::Read { path, source };
    let file = match open(path) {
        Ok(file) => file,
        Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::NOENT | Errno::NOTDIR)) => return Ok(String::new()),
        // A socket, or a device without a driver.
        Err(e) if Errno::from_io_error(&e) == Some(Errno::NXIO) => return Err(AccountsError::NotAFile { path }),
        Err(e) => return Err(error(e)),
    };
    if !stat_fd(&file).map_err(|errno| error(errno.into()))?.is_file() {
        return Err(AccountsError::NotAFile { path });
    }
    let mut bytes = Vec::new();
    File::from(file).take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(error)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(AccountsError::TooLarge { path });
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    fn accounts() -> Accounts {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        let passwd = "root:x:0:0::/root:/bin/sh\n# people\nbroken\napp:x:1000:2000::/srv/app:\n7:x:0:0::/:\n";
        std::fs::write(folder.path().join("etc/passwd"), passwd).unwrap();
        std::fs::write(folder.path().join("etc/group"), "wheel:x:10:root,app\nweb:x:33:app\nmain:x:2000:\n").unwrap();
        Accounts::read(&Root::open(folder.path()).unwrap()).unwrap()
    }

    #[test]
    fn users_of_processes() {
        let accounts = accounts();
        for (text, expected) in [
            ("", "0:0 [0, 10] /root"),
            ("root", "0:0 [0, 10] /root"),
            ("app", "1000:2000 [2000, 10, 33] /srv/app"),
            ("1000", "1000:2000 [2000, 10, 33] /srv/app"),
            ("app:web", "1000:33 [33] /srv/app"),
            ("app:7", "1000:7 [7] /srv/app"),
            ("1000:7", "1000:7 [7] /srv/app"),
            ("0:0", "0:0 [0] /root"),
            ("5", "5:0 [0] /"),
            ("5:web", "5:33 [33] /"),
            ("7", "7:0 [0] /"),
            ("broken", "0:0 [0] "),
            ("# people", "0:0 [0] "),
            ("nosuch", "unable to find user nosuch: no matching entries in passwd file"),
            ("app:nosuch", "unable to find group nosuch: no matching entries in group file"),
            ("-1", "uids and gids must be in range 0-2147483647: `-1`"),
            ("4294967296", "uids and gids must be in range 0-2147483647: `4294967296`"),
            ("1000:", "1000:2000 [2000, 10, 33] /srv/app"),
        ] {
            let told = match accounts.process_user(text) {
                Ok(user) => format!("{}:{} {:?} {}", user.uid, user.gid, user.groups, user.home),
                Err(error) => error.to_string(),
            };
            assert_eq!(told, expected, "{text}");
        }
    }

    #[test]
    fn owners_never_fail() {
        let accounts = accounts();
        let name = |name: &str| OwnerId::Name(name.to_owned());
        for (user, group, ids) in [
            (OwnerId::Number(1), None, (1, 1)),
            (name("app"), None, (1000, 2000)),
            (name("app"), Some(name("web")), (1000, 33)),
            (OwnerId::Number(1), Some(name("web")), (1, 33)),
            (name("nosuch"), None, (0, 0)),
            (name("app"), Some(name("nosuch")), (1000, 2000)),
            (OwnerId::Number(u32::MAX), None, (0, 0)),
        ] {
            let owner = Owner { user, group };
            assert_eq!(accounts.owner(&owner), ids, "{owner:?}");
        }
    }

    #[test]
    fn odd_files_are_refused() {
        let huge = |path: &Path| File::create(path).unwrap().set_len(MAX_BYTES + 1).unwrap();
        let fifo = |path: &Path| {
            rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RUSR).unwrap();
        };
        let folder = |path: &Path| std::fs::create_dir(path).unwrap();
        let outward = |path: &Path| symlink("../../../../../../etc/hostname", path).unwrap();
        type Make<'a> = &'a dyn Fn(&Path);
        let table: [(Make, &str); 4] = [
            (&huge, "\"/etc/passwd\" exceeds 10485760 bytes"),
            (&fifo, "/etc/passwd is not a regular file"),
            (&folder, "/etc/passwd is not a regular file"),
            (&outward, ""),
        ];
        for (make, told) in table {
            let tree = tempfile::tempdir().unwrap();
            std::fs::create_dir(tree.path().join("etc")).unwrap();
            make(&tree.path().join("etc/passwd"));
            let accounts = Accounts::read(&Root::open(tree.path()).unwrap());
            assert_eq!(accounts.err().map(|e| e.to_string()).unwrap_or_default(), told);
        }
    }
}
