//! The client against a real registry that can be told to misbehave. One binary, one module a topic.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod auth;
mod fetch;
mod mirrors;
mod pull;
mod push;
mod silence;
mod support;
