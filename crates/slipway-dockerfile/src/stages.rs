//! Which stages there are, and which of them does the target reach?

use crate::lower::{KnownImages, LowerInputs, Lowering};
use crate::{Diagnostic, Dockerfile};

pub(crate) fn lower(
    _dockerfile: &Dockerfile,
    _inputs: &LowerInputs<'_>,
    _known: &KnownImages,
) -> Result<Lowering, Vec<Diagnostic>> {
    Err(Vec::new())
}
