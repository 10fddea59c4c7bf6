//! Files in JSON notation: the same bodies, with every text a template.

use super::scanner::Scanner;
use super::{Attribute, Block, Body, Expr, ExprKind, ObjectItem, template};
use crate::diagnostic::{Diagnostic, SourceFile, Span};
use crate::number::Number;

type Parsed<T> = Result<T, Diagnostic>;

/// A JSON value with its place.
pub(crate) struct Json {
    pub(crate) kind: JsonKind,
    span: Span,
}

pub(crate) enum JsonKind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    Array(Vec<Json>),
    /// In the order of the file, repeated keys included.
    Object(Vec<(String, Span, Json)>),
}

/// Reads the whole of the file with index `file`.
pub(crate) fn parse(files: &[SourceFile], file: usize) -> Parsed<Body> {
    let root = document(&files[file].text, file)?;
    let end = Span { start: root.span.end, ..root.span };
    let mut body = Body { end, ..Body::default() };
    match root.kind {
        JsonKind::Object(entries) => add_root(entries, &mut body)?,
        JsonKind::Array(items) => {
            for item in items {
                if let JsonKind::Object(entries) = item.kind {
                    add_root(entries, &mut body)?;
                }
            }
        }
        _ => {
            let detail = "The root value in a JSON-based configuration must be an object.";
            return Err(Diagnostic::new(root.span, "Root value must be object", detail));
        }
    }
    Ok(body)
}

/// Reads one JSON value, and nothing behind it.
pub(crate) fn document(text: &str, file: usize) -> Parsed<Json> {
    let mut scanner = Scanner::new(text, file, 0);
    scanner.take("\u{feff}");
    let root = value(&mut scanner)?;
    skip_whitespace(&mut scanner);
    if scanner.at < text.len() {
        let detail = "Extra characters appear after the JSON value.";
        return scanner.error(scanner.next_span(), "Extraneous data after value", detail);
    }
    Ok(root)
}

/// Which top-level keys are blocks with a label; all others are attributes.
const BLOCKS: [&str; 4] = ["variable", "function", "group", "target"];

fn add_root(entries: Vec<(String, Span, Json)>, body: &mut Body) -> Parsed<()> {
    for (name, name_span, value) in entries {
        if BLOCKS.contains(&name.as_str()) {
            add_labelled(&name, name_span, value, body)?;
        } else {
            body.attributes.push(Attribute { name, name_span, expr: expression(value)? });
        }
    }
    Ok(())
}

/// `{"a": {…}}`, or an array of such objects, or of bodies under one label.
fn add_labelled(kind: &str, kind_span: Span, value: Json, body: &mut Body) -> Parsed<()> {
    match value.kind {
        JsonKind::Array(items) => items.into_iter().try_for_each(|item| add_labelled(kind, kind_span, item, body)),
        JsonKind::Object(entries) => entries.into_iter().try_for_each(|(label, label_span, content)| {
            let contents = match content.kind {
                JsonKind::Array(items) => items,
                _ => vec![content],
            };
            contents.into_iter().try_for_each(|content| {
                let (open, labels) = (content.span.first_byte(), vec![(label.clone(), label_span)]);
                let kind = kind.to_owned();
                body.blocks.push(Block { kind, kind_span, labels, open, body: block_body(content)? });
                Ok(())
            })
        }),
        JsonKind::Null => Ok(()),
        _ => {
            let detail = format!("Either a JSON object or a JSON array is required, representing {kind} blocks.");
            Err(Diagnostic::new(value.span, "Incorrect JSON value type", detail))
        }
    }
}

fn block_body(content: Json) -> Parsed<Body> {
    let end = Span { start: content.span.end, ..content.span };
    let mut body = Body { end, ..Body::default() };
    let JsonKind::Object(entries) = content.kind else {
        let detail = "A JSON object is required, to define arguments and child blocks.";
        return Err(Diagnostic::new(content.span, "Incorrect JSON value type", detail));
    };
    for (name, name_span, value) in entries {
        // The only block within a block.
        if name == "validation" {
            let rules = match value.kind {
                JsonKind::Array(items) => items,
                _ => vec![value],
            };
            for rule in rules {
                let open = rule.span.first_byte();
                let body_of_rule = block_body(rule)?;
                let kind = name.clone();
                body.blocks.push(Block { kind, kind_span: name_span, labels: Vec::new(), open, body: body_of_rule });
            }
            continue;
        }
        body.attributes.retain(|attribute: &Attribute| attribute.name != name);
        body.attributes.push(Attribute { name, name_span, expr: expression(value)? });
    }
    Ok(body)
}

fn expression(value: Json) -> Parsed<Expr> {
    let span = value.span;
    let kind = match value.kind {
        JsonKind::Null => ExprKind::Null,
        JsonKind::Bool(is_true) => ExprKind::Bool(is_true),
        JsonKind::Number(number) => ExprKind::Number(number),
        JsonKind::Text(text) => return text_expression(text, span),
        JsonKind::Array(items) => ExprKind::Tuple(items.into_iter().map(expression).collect::<Parsed<_>>()?),
        JsonKind::Object(entries) => {
            let items = entries.into_iter().map(|(key, key_span, value)| {
                Ok(ObjectItem { key: text_expression(key, key_span)?, value: expression(value)? })
            });
            ExprKind::Object(items.collect::<Parsed<_>>()?)
        }
    };
    Ok(Expr { kind, span })
}

fn text_expression(text: String, span: Span) -> Parsed<Expr> {
    if !text.contains("${") && !text.contains("%{") {
        return Ok(Expr { kind: ExprKind::Text(text), span });
    }
    let template = template::plain(&text, span.file, span.start + 1)?;
    Ok(Expr { kind: template.kind, span })
}

fn skip_whitespace(scanner: &mut Scanner<'_>) {
    while matches!(scanner.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        scanner.at += 1;
    }
}

fn value(scanner: &mut Scanner<'_>) -> Parsed<Json> {
    skip_whitespace(scanner);
    let start = scanner.at;
    scanner.open()?;
    let kind = match scanner.peek() {
        Some(b'{') => object(scanner)?,
        Some(b'[') => array(scanner)?,
        Some(b'"') => JsonKind::Text(text(scanner)?),
        Some(b'-' | b'0'..=b'9') => {
            let sign = if scanner.take("-") { "-" } else { "" };
            let digits = scanner.take_number().unwrap_or_default();
            match Number::parse(&format!("{sign}{digits}")) {
                Some(number) => JsonKind::Number(number),
                None => return scanner.error(scanner.span_from(start), "Invalid JSON number", "It is no number."),
            }
        }
        _ if scanner.take("true") => JsonKind::Bool(true),
        _ if scanner.take("false") => JsonKind::Bool(false),
        _ if scanner.take("null") => JsonKind::Null,
        Some(_) => {
            let detail = "A JSON value must be an object, an array, a text, a number, true, false or null.";
            return scanner.error(scanner.next_span(), "Invalid JSON value", detail);
        }
        None => {
            let detail = "The JSON data ends prematurely.";
            return scanner.error(scanner.next_span(), "Missing JSON value", detail);
        }
    };
    scanner.close();
    Ok(Json { kind, span: scanner.span_from(start) })
}

fn object(scanner: &mut Scanner<'_>) -> Parsed<JsonKind> {
    scanner.at += 1;
    let mut entries = Vec::new();
    loop {
        skip_whitespace(scanner);
        if entries.is_empty() && scanner.take("}") {
            return Ok(JsonKind::Object(entries));
        }
        let start = scanner.at;
        if scanner.peek() != Some(b'"') {
            let detail = "A JSON object must have its property names in double quotes.";
            return scanner.error(scanner.next_span(), "Invalid object property name", detail);
        }
        let key = text(scanner)?;
        let key_span = scanner.span_from(start);
        skip_whitespace(scanner);
        if !scanner.take(":") {
            let detail = "A colon must appear between an object property's name and its value.";
            return scanner.error(scanner.next_span(), "Missing property value colon", detail);
        }
        entries.push((key, key_span, value(scanner)?));
        skip_whitespace(scanner);
        if scanner.take("}") {
            return Ok(JsonKind::Object(entries));
        }
        if !scanner.take(",") {
            let detail = "A comma must appear between the properties of an object.";
            return scanner.error(scanner.next_span(), "Missing attribute separator comma", detail);
        }
    }
}

fn array(scanner: &mut Scanner<'_>) -> Parsed<JsonKind> {
    scanner.at += 1;
    let mut items = Vec::new();
    loop {
        skip_whitespace(scanner);
        if items.is_empty() && scanner.take("]") {
            return Ok(JsonKind::Array(items));
        }
        items.push(value(scanner)?);
        skip_whitespace(scanner);
        if scanner.take("]") {
            return Ok(JsonKind::Array(items));
        }
        if !scanner.take(",") {
            let detail = "A comma must appear between the items of an array.";
            return scanner.error(scanner.next_span(), "Missing array element separator comma", detail);
        }
    }
}

fn text(scanner: &mut Scanner<'_>) -> Parsed<String> {
    let start = scanner.at;
    let bytes = scanner.text.as_bytes();
    let mut end = start + 1;
    while end < bytes.len() && bytes[end] != b'"' && bytes[end] != b'\n' {
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    let quoted = scanner.text.get(start..=end).unwrap_or_default();
    match serde_json::from_str(quoted) {
        Ok(text) => {
            scanner.at = end + 1;
            Ok(text)
        }
        Err(_) => {
            let detail = "A JSON text must end on its line, and have only escapes that JSON knows.";
            scanner.error(scanner.span(start, start + 1), "Invalid JSON string", detail)
        }
    }
}
