//! The Dockerfile language: parse, expand, lower to a graph, lint.
