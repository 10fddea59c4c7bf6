//! Warnings about names that mean nothing: the reference passes over them in silence (`spec/bake.md` section 3.4).

use crate::attribute;
use crate::diagnostic::{SourceFile, Span, place_text};
use crate::syntax::{Block, Body};

/// One line for each unknown attribute or block.
pub(crate) fn warnings(files: &[SourceFile], bodies: &[Body]) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |span: Span, what: String| {
        let place = place_text(span, files).unwrap_or_default();
        warnings.push(format!("{place}: unknown {what}"));
    };
    for block in bodies.iter().flat_map(|body| &body.blocks) {
        if !["variable", "function", "group", "target"].contains(&block.kind.as_str()) {
            warn(block.kind_span, format!("block {:?}", block.kind));
            continue;
        }
        let label = block.labels.first().map_or("", |(label, _)| label);
        for attribute in block.body.attributes.iter().filter(|attribute| !is_known(block, &attribute.name)) {
            warn(attribute.name_span, format!("attribute {:?} in {} {label:?}", attribute.name, block.kind));
        }
    }
    warnings
}

fn is_known(block: &Block, name: &str) -> bool {
    match block.kind.as_str() {
        "variable" => matches!(name, "type" | "default" | "description" | "validation"),
        "function" => matches!(name, "params" | "variadic_params" | "result"),
        "target" if matches!(name, "matrix" | "name") => true,
        kind => attribute::kind(kind, name).is_some(),
    }
}
