//! Files in native notation: attributes and blocks.

use super::scanner::Scanner;
use super::{Attribute, Block, Body, expression};
use crate::diagnostic::{Diagnostic, SourceFile, Span, place_text};

type Parsed<T> = Result<T, Diagnostic>;

/// Reads the whole of the file with index `file`.
pub(crate) fn parse(files: &[SourceFile], file: usize) -> Parsed<Body> {
    let text = files[file].text.as_str();
    let mut scanner = Scanner::new(text, file, 0);
    scanner.take("\u{feff}");
    body(&mut scanner, files, None)
}

/// Up to the end of the text, or behind the `}` that closes the block that `open` belongs to.
fn body(scanner: &mut Scanner<'_>, files: &[SourceFile], open: Option<Span>) -> Parsed<Body> {
    let mut body = Body::default();
    loop {
        scanner.skip_lines();
        if scanner.at == scanner.text.len() {
            let Some(open) = open else { break };
            let detail = "There is no closing brace for this block before the end of the file. This may be caused by \
                          incorrect brace nesting elsewhere in this file.";
            return scanner.error(open, "Unclosed configuration block", detail);
        }
        if open.is_some() && scanner.take("}") {
            break;
        }
        item(scanner, files, &mut body)?;
    }
    body.end = scanner.span(scanner.at, scanner.at);
    Ok(body)
}

fn item(scanner: &mut Scanner<'_>, files: &[SourceFile], body: &mut Body) -> Parsed<()> {
    let Some((name, name_span)) = scanner.take_name() else {
        if scanner.is_next("\"") {
            return scanner.error(scanner.next_span(), "Invalid argument name", "Argument names must not be quoted.");
        }
        let detail = "An argument or block definition is required here.";
        return scanner.unexpected("Argument or block definition required", detail);
    };
    scanner.skip_blanks();
    if scanner.is_next("=") && !scanner.is_next("==") {
        let attribute = attribute(scanner, name, name_span)?;
        scanner.skip_blanks();
        if !scanner.take_newline() {
            if scanner.is_next(",") {
                let detail = "Argument definitions must be separated by newlines, not commas. An argument definition \
                              must end with a newline.";
                return scanner.error(scanner.next_span(), "Unexpected comma after argument", detail);
            }
            let detail = "An argument definition must end with a newline.";
            return scanner.unexpected("Missing newline after argument", detail);
        }
        return add_attribute(body, attribute, files);
    }
    let block = block(scanner, files, name, name_span)?;
    body.blocks.push(block);
    scanner.skip_blanks();
    if !scanner.take_newline() {
        let detail = "A block definition must end with a newline.";
        return scanner.unexpected("Missing newline after block definition", detail);
    }
    Ok(())
}

fn attribute(scanner: &mut Scanner<'_>, name: String, name_span: Span) -> Parsed<Attribute> {
    scanner.at += 1;
    scanner.skip_blanks();
    Ok(Attribute { name, name_span, expr: expression::parse(scanner)? })
}

fn add_attribute(body: &mut Body, attribute: Attribute, files: &[SourceFile]) -> Parsed<()> {
    if let Some(first) = body.attribute(&attribute.name) {
        let place = place_text(first.name_span, files).unwrap_or_default();
        let name = &attribute.name;
        let detail = format!("The argument {name:?} was already set at {place}. Each argument may be set only once.");
        return Err(Diagnostic::new(attribute.name_span, "Attribute redefined", detail));
    }
    body.attributes.push(attribute);
    Ok(())
}

/// Behind the kind of the block.
fn block(scanner: &mut Scanner<'_>, files: &[SourceFile], kind: String, kind_span: Span) -> Parsed<Block> {
    let mut labels = Vec::new();
    loop {
        scanner.skip_blanks();
        let start = scanner.at;
        if scanner.take("{") {
            let open = scanner.span_from(start);
            scanner.open()?;
            let body = block_body(scanner, files, open)?;
            scanner.close();
            return Ok(Block { kind, kind_span, labels, open, body });
        }
        if let Some(label) = scanner.take_name() {
            labels.push(label);
        } else if scanner.is_next("\"") {
            labels.push(quoted_label(scanner)?);
        } else {
            // Of a sign that the language does not have `unexpected` tells more.
            let is_lone = |c: char| c == '\n' || c.is_ascii_digit() || ".:,?()[]+-*/%<>!".contains(c);
            if labels.is_empty() && (scanner.rest().is_empty() || scanner.rest().starts_with(is_lone)) {
                let detail = "An argument or block definition is required here. To set an argument, use the equals \
                              sign \"=\" to introduce the argument value.";
                return scanner.error(kind_span, "Argument or block definition required", detail);
            }
            let detail = match scanner.peek() {
                _ if labels.is_empty() => {
                    "An argument or block definition is required here. To set an argument, use the equals sign \
                         \"=\" to introduce the argument value."
                }
                Some(b'=') => {
                    "The equals sign \"=\" indicates an argument definition, and must not be used when defining a block."
                }
                Some(b'\n' | b'\r') => {
                    "A block definition must have block content delimited by \"{\" and \"}\", starting on the same \
                     line as the block header."
                }
                _ => "Either a quoted string block label or an opening brace (\"{\") is expected here.",
            };
            return scanner.unexpected("Invalid block definition", detail);
        }
    }
}

/// A label is a text without templates.
fn quoted_label(scanner: &mut Scanner<'_>) -> Parsed<(String, Span)> {
    let expr = super::template::quoted(scanner)?;
    match expr.kind {
        super::ExprKind::Template(parts) => match &parts[..] {
            [] => Ok((String::new(), expr.span)),
            [super::Part::Text(text)] => Ok((text.clone(), expr.span)),
            _ => template_in_label(scanner, expr.span),
        },
        _ => template_in_label(scanner, expr.span),
    }
}

fn template_in_label<T>(scanner: &Scanner<'_>, label: Span) -> Parsed<T> {
    let text = &scanner.text[label.start..label.end];
    let at = text.find("${").into_iter().chain(text.find("%{")).min().unwrap_or_default();
    let sign = &text[at..at + 1];
    let span = scanner.span(label.start + at, label.start + at + 2);
    let detail = format!(
        "Template sequences are not allowed in this string. To include a literal {sign:?}, double it (as \"{sign}{sign}\") \
         to escape it."
    );
    scanner.error(span, "Invalid string literal", detail)
}

/// Behind `{`: several lines, or one argument on the same line.
fn block_body(scanner: &mut Scanner<'_>, files: &[SourceFile], open: Span) -> Parsed<Body> {
    scanner.skip_blanks();
    if scanner.is_next("\n") || scanner.is_next("\r\n") || scanner.at == scanner.text.len() {
        return body(scanner, files, Some(open));
    }
    let mut single = Body::default();
    if !scanner.is_next("}") {
        const SUMMARY: &str = "Invalid single-argument block definition";
        let Some((name, name_span)) = scanner.take_name() else {
            let detail = "An argument or block definition is required here.";
            return scanner.error(scanner.next_span(), "Argument or block definition required", detail);
        };
        scanner.skip_blanks();
        if !scanner.is_next("=") {
            let detail = "A single-line block definition can contain only a single argument. If you meant to define \
                          argument, use an equals sign to assign it a value. To define a nested block, place it on a \
                          line of its own within its parent block.";
            return scanner.error(name_span, SUMMARY, detail);
        }
        single.attributes.push(attribute(scanner, name, name_span)?);
        scanner.skip_blanks();
        if !scanner.is_next("}") {
            let detail = match scanner.peek() {
                Some(b',') => {
                    "Single-line block syntax can include only one argument definition. To define multiple \
                               arguments, use the multi-line block syntax with one argument definition per line."
                }
                Some(b'\n' | b'\r') => {
                    "An argument definition on the same line as its containing block creates a \
                                        single-line block definition, which must also be closed on the same line. \
                                        Place the block's closing brace immediately after the argument definition."
                }
                _ => {
                    "A single-line block definition must end with a closing brace immediately after its single \
                      argument definition."
                }
            };
            return scanner.error(scanner.next_span(), SUMMARY, detail);
        }
    }
    scanner.at += 1;
    single.end = scanner.span(scanner.at, scanner.at);
    Ok(single)
}
