//! Fixtures, an in-memory registry, conformance suites, case runner; for development only.
//!
//! What a case is: [`case`]. Laying its files out: [`workspace`]. Building it on slipway or on the reference:
//! [`builder`]. Reading what came out: [`image`]. Deciding whether that is right: [`expectation`].

pub mod actions_cache;
pub mod base;
pub mod browser;
pub mod builder;
pub mod capability;
pub mod case;
pub mod docker_engine;
pub mod expectation;
mod form;
pub mod git_server;
pub mod hostile_tar;
pub mod image;
pub mod progress;
pub mod raw_tar;
pub mod recorded_images;
pub mod recorded_table;
pub mod registry;
pub mod tar;
mod words;
pub mod workspace;
