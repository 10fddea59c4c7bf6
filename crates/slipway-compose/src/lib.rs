//! The language of Compose files: from texts to a project, and from a project to what is to be built.
//!
//! Values only: files are read by who calls ([`Files`]), the environment is given ([`Inputs`]).
//!
//! The way, file by file: [`yaml`] makes a tree of the text, [`interpolate`] fills in variables, [`load`] puts what
//! is extended and included below it, [`merge`] puts it on top of the files before, [`check`] compares it with the
//! table of [`attributes`], [`short_forms`] writes short forms out. Then, for the whole: [`normalize`] and
//! [`validate`]. [`shown`] makes of it what is printed.

mod attributes;
mod bake;
mod bake_input;
mod check;
mod dotenv;
mod fault;
mod go_number;
mod interpolate;
mod json_text;
mod load;
mod merge;
mod normalize;
mod paths;
mod port;
mod project;
mod quantity;
mod scalar;
mod short_forms;
mod shown;
mod template;
mod tree;
mod validate;
mod variable;
mod volume;
mod words;
mod yaml;
mod yaml_text;

pub use bake::{BuildOptions, granted_entitlements};
pub use dotenv::{DotenvError, Variables, parse as parse_variables};
pub use fault::{ComposeError, SourceFile};
pub use load::{Files, Omit};
pub use paths::{clean, join};
pub use port::port_range;
pub use project::{Inputs, Project, normalized_name};
pub use tree::{Map, Node, Value};
pub use variable::Variable;
pub use yaml::parse_yaml;
