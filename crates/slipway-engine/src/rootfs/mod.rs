//! How is a tree of files used whose links and names somebody else chose?
//!
//! Everything starts at a directory descriptor ([`Root`]); paths below it are [`TreePath`]s, never host paths, and
//! the kernel (`openat2`) refuses to leave the tree. Links are resolved by [`follow`], one component at a time, so
//! that the same rules hold for one directory and for a pair of them laid over each other.

mod follow;
mod meta;
mod path;
mod root;
mod users;
mod xattr;

pub(crate) use follow::{Component, FollowError, follow};
pub(crate) use meta::{Meta, Time};
pub(crate) use path::TreePath;
pub(crate) use root::{CallError, DirItem, Root};
pub(crate) use users::{Accounts, AccountsError, ProcessUser, UserError};
pub(crate) use xattr::{Xattrs, may_travel, read_xattrs, write_xattrs};

pub(crate) use root::{OnPath, READ_FILE, list_dir, read_link_at, stat_at, stat_fd};
