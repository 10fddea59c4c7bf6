//! Draws builds. Values in, text out: nothing here reads a file, a clock or a terminal.
//!
//! ```text
//! stages      what is drawn: stages, steps, what they take files from
//! layered     where boxes and lines go; face: what stands in a box
//! terminal    boxes of characters
//! svg         the same as a picture
//! report      what is told about a build; html/: the page that tells it
//! nodes       steps as nodes of their own, for mermaid and dot
//! ```

mod dot;
mod escape;
#[cfg(test)]
mod examples;
mod face;
mod html;
mod layered;
mod mermaid;
mod nodes;
mod quantity;
mod report;
mod stages;
mod svg;
mod terminal;

pub use dot::dot;
pub use html::html;
pub use mermaid::mermaid;
pub use quantity::{duration, growth, size};
pub use report::{Against, ComparedStep, Measured, Report, ReportStep};
pub use stages::{Provider, Stage, StageGraph, Step, StepState};
pub use svg::svg;
pub use terminal::{Window, terminal};
