//! What to build: the request, the typed ops, the graph they form, and the events a build emits.
//!
//! Values only: no I/O, no clock, no environment. The semantics of the ops follow BuildKit's LLB, so that a graph
//! can be converted to LLB and back without loss.

pub mod duration;
pub mod event;
pub mod git;
mod graph;
mod key;
mod main_context;
pub mod op;
mod pins;
pub mod quote;
pub mod request;
pub mod size;
pub mod step_name;

pub use event::{Event, Events, LogStream, StepId};
pub use git::{GitReference, GitReferenceError, GitRemote, GitTimes};
pub use graph::{Graph, LineRange, Vertex, VertexId};
pub use key::KeyWriter;
pub use main_context::MainContext;
pub use op::Op;
pub use pins::Pins;
pub use request::BuildRequest;
