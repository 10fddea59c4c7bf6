//! Any bytes are a Dockerfile: parsing and lowering end, and what they say points into the file.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use slipway_dockerfile::{
    Args, Diagnostic, Dockerfile, Instruction, KnownImages, LowerInputs, Span, Word, lower, parse,
};
use slipway_oci::Platform;

fuzz_target!(|text: &[u8]| {
    let (dockerfile, diagnostics) = parse(text);
    for instruction in &dockerfile.instructions {
        check_instruction(instruction, &dockerfile);
    }
    check_diagnostics(&diagnostics, &dockerfile);
    let errors = lowered(&dockerfile);
    check_diagnostics(&errors, &dockerfile);
});

/// Whatever lowering finds wrong with the file.
fn lowered(dockerfile: &Dockerfile) -> Vec<Diagnostic> {
    let build_args = BTreeMap::from([("A".to_owned(), "a b".to_owned())]);
    let inputs = LowerInputs {
        needs_all_stages: true,
        ..LowerInputs::plain(Platform::new("linux", "amd64", None), &build_args)
    };
    let (lowering, _) = lower(dockerfile, &inputs, &KnownImages::default());
    lowering.err().unwrap_or_default()
}

fn check_instruction(instruction: &Instruction, dockerfile: &Dockerfile) {
    check_span(instruction.span, dockerfile);
    check_word(&instruction.keyword_word, dockerfile);
    for flag in &instruction.flags {
        check_span(flag.span, dockerfile);
    }
    check_args(&instruction.args, dockerfile);
    for heredoc in &instruction.heredocs {
        check_word(&heredoc.word, dockerfile);
        check_span(heredoc.body_span, dockerfile);
    }
}

fn check_args(args: &Args, dockerfile: &Dockerfile) {
    match args {
        Args::Json(words) | Args::Words(words) => words.iter().for_each(|word| check_word(word, dockerfile)),
        Args::Raw(word) | Args::Trigger(word) => check_word(word, dockerfile),
        Args::Pairs { pairs, .. } => {
            for (key, value) in pairs {
                check_word(key, dockerfile);
                check_word(value, dockerfile);
            }
        }
        Args::Typed { kind, rest } => {
            check_word(kind, dockerfile);
            check_args(rest, dockerfile);
        }
    }
}

fn check_diagnostics(diagnostics: &[Diagnostic], dockerfile: &Dockerfile) {
    let n_lines = dockerfile.text.split('\n').count();
    for diagnostic in diagnostics {
        check_span(diagnostic.span, dockerfile);
        assert!(diagnostic.lines.first >= 1 && diagnostic.lines.first <= diagnostic.lines.last);
        assert!(diagnostic.lines.last <= n_lines, "{diagnostic:?}");
        assert!(!diagnostic.message.is_empty());
    }
}

fn check_word(word: &Word, dockerfile: &Dockerfile) {
    check_span(word.span, dockerfile);
}

/// A span begins and ends between two characters of the file.
fn check_span(span: Span, dockerfile: &Dockerfile) {
    assert!(dockerfile.text.get(span.range()).is_some(), "{span:?}");
}
