//! The variables that a project's files name: `compose config --variables`.

/// How one variable is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variable {
    /// `${NAME?…}`
    pub is_required: bool,
    /// `${NAME-default}`
    pub default: String,
    /// `${NAME+alternate}`
    pub alternate: String,
}
