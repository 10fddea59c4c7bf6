//! The Dockerfile language: parse, expand, lower to a graph.
//!
//! No I/O: [`parse`] takes text, [`lower`] takes what [`parse`] gave. Lowering that has to know a base image, or the
//! time of a source, returns the question ([`Lowering::NeedImages`], [`Lowering::NeedTime`]); whoever can answer does
//! and calls again.

mod budget;
mod diagnostic;
mod environment;
mod epoch;
mod expand;
mod facts;
mod glob;
mod globals;
mod go_text;
mod history;
mod ignore;
mod instructions;
pub mod lint;
mod lower;
mod outline;
mod overview;
mod parse;
mod paths;
mod scanned;
mod stage_builder;
mod stages;
mod step_name;
mod suggest;
mod symbolic_mode;
mod syntax;
mod targets;

use slipway_graph::quote;

pub use diagnostic::{Diagnostic, Severity, Span};
pub use expand::{ExpandError, ExpandProblem, expand, expand_heredoc, expand_words};
pub use facts::Facts;
pub use glob::{BadPattern, match_pattern};
pub use ignore::{IgnoreError, IgnoreRule, IgnoreRules, Verdict};
pub use lower::{
    ImageKey, ImagePlace, ImageQuestion, KnownImage, KnownImages, Linked, LowerInputs, Lowered, Lowering, lower,
};
pub use outline::{Outline, OutlineArg, OutlineMount, outline};
pub use overview::{FileOrigin, Overview, StageOverview, StepOverview, overview};
pub use parse::{parse, parse_trigger};
pub use slipway_graph::quote::quoted;
pub use stages::with_form_errors;
pub use suggest::{similar_base, similar_stage};
pub use syntax::{Args, Directives, Dockerfile, Flag, Heredoc, Instruction, Keyword, Word};
pub use targets::{Target, targets};
