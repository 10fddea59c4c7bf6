//! The Dockerfile language: parse, expand, lower to a graph.
//!
//! No I/O: [`parse`] takes text, [`lower`] takes what [`parse`] gave. Lowering that has to know a base image returns
//! the question ([`Lowering::NeedImages`]); whoever can answer does and calls again.

mod diagnostic;
mod syntax;

pub use diagnostic::{Diagnostic, Severity, Span};
pub use syntax::{Args, Directives, Dockerfile, Flag, Heredoc, Instruction, Keyword, Word};
