//! The commands, one a file.

pub(crate) mod analyze;
pub(crate) mod bake;
pub(crate) mod build;
pub(crate) mod builder_names;
pub(crate) mod builds;
pub(crate) mod call;
pub(crate) mod compose;
pub(crate) mod doctor;
pub(crate) mod du;
pub(crate) mod explain;
pub(crate) mod fsck;
pub(crate) mod history;
pub(crate) mod images;
pub(crate) mod inspect;
pub(crate) mod lint;
pub(crate) mod local_images;
pub(crate) mod login;
pub(crate) mod prune;
pub(crate) mod remove_images;
pub(crate) mod run;
pub(crate) mod shell;
pub(crate) mod system;
pub(crate) mod tag;
pub(crate) mod transfer;
pub(crate) mod update;
pub(crate) mod version;
