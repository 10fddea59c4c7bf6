//! The distribution protocol: resolve, pull, push, log in; owns the one HTTP client.
