//! How is each kind of op carried out? One file or folder an op.

pub mod file;
