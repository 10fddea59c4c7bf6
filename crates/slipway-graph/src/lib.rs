//! What to build: the request, the typed ops, the graph they form, and the events a build emits.
