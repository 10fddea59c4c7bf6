//! Runs one process in namespaces without root; the only crate with unsafe code.
