//! Fixtures, an in-memory registry, conformance suites, case runner; for development only.

pub mod registry;
