//! Puts the parts together: carries out ops, makes layers, exports.

pub mod context;
pub mod ops;
pub mod rootfs;
