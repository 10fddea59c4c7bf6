//! The screens over an analysis: what people see who look through the layers of an image (`spec/analyze.md` section 5).
//!
//! Keys in, pictures out; no terminal is opened, nothing is read or written. [`keys`] knows what keys mean, [`explorer`]
//! what is looked at, [`rows`] which lines of the tree that are, [`draw`] how it looks.

mod draw;
mod explorer;
mod keys;
mod rows;
mod sizes;

pub use draw::loading;
pub use explorer::{Explorer, Settings, Subject, Wish};
pub use keys::{Action, BadKey, KeyBindings};
pub use ratatui;
pub use rows::Hidden;
pub use sizes::size;

#[cfg(test)]
mod tests;
