//! Decides what must run, looks up what need not, runs the rest in parallel.
//!
//! Knows no op, no snapshot and no disk: what a vertex is worth is [`Ops::Output`], what is remembered is behind
//! [`Cache`]. Start at [`solve`].

mod cancel;
mod solve;

pub use cancel::{Cancel, CancelGuard};
pub use solve::{Cache, Hit, Observer, Ops, Plan, SolveError, solve};
