//! Bake files: several builds described in one place.
//!
//! Files, environment and clock come in as values; targets, and the JSON that `bake --print` shows, come out:
//!
//! 1. `syntax` reads HCL and its JSON form into one tree,
//! 2. `program` finds what is declared, `eval` and `functions` say what expressions come to,
//! 3. `definition` merges the blocks of all files into targets and groups,
//! 4. `selection` picks targets, resolves what they inherit, applies `--set` and follows links.

mod attribute;
mod convert;
mod csv;
mod definition;
mod diagnostic;
mod eval;
mod functions;
mod glob;
mod list;
mod number;
mod overrides;
mod print;
mod program;
mod selection;
mod syntax;
mod target;
mod type_expression;
mod unknown;
mod value;

pub use definition::{BakeError, Definition, Group, Variable, check_syntax};
pub use diagnostic::{Diagnostic, Diagnostics, SourceFile, Span};
pub use number::Number;
pub use overrides::Override;
pub use program::Inputs;
pub use selection::Selection;
pub use target::Target;
pub use value::{Type, Value};
