//! The exit codes of slipway (`spec/cli.md` section 2).

/// Everything went well.
pub(crate) const SUCCESS: u8 = 0;
/// The build failed, or what was asked for cannot be done.
pub(crate) const FAILURE: u8 = 1;
/// The template of `inspect` cannot be read.
pub(crate) const TEMPLATE: u8 = 64;
/// slipway itself is wrong.
pub(crate) const BUG: u8 = 100;
/// A flag is unknown, lacks its value or has one that it cannot have.
pub(crate) const USAGE: u8 = 125;
/// The user pressed Ctrl-C, or another process asked slipway to end.
pub(crate) const INTERRUPTED: u8 = 130;
