//! The commands, one a file.

pub(crate) mod bake;
pub(crate) mod build;
pub(crate) mod call;
pub(crate) mod doctor;
pub(crate) mod images;
pub(crate) mod shell;
