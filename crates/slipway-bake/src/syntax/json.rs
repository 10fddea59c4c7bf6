//! Files in JSON notation: the same bodies, with every text a template.

use super::scanner::Scanner;
use super::{Attribute, Block, Body, Expr, ExprKind, ObjectItem, template};
use crate::diagnostic::{Diagnostic, SourceFile, Span, place_text};
use crate::functions::distance;
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
        JsonKind::Object(entries) => add_root(entries, &mut body, files)?,
        JsonKind::Array(_) => {
            let detail = "A JSON object is required here, setting the arguments for this block.";
            return Err(Diagnostic::new(root.span.first_byte(), INCORRECT_TYPE, detail));
        }
        _ => {
            let detail = "The root value in a JSON-based configuration must be either a JSON object or a JSON array \
                          of objects.";
            return Err(Diagnostic::new(root.span, "Root value must be object", detail));
        }
    }
    Ok(body)
}

const INCORRECT_TYPE: &str = "Incorrect JSON value type";

/// Reads one JSON value, and nothing behind it.
pub(crate) fn document(text: &str, file: usize) -> Parsed<Json> {
    let mut scanner = Scanner::new(text, file, 0);
    scanner.take("\u{feff}");
    let root = value(&mut scanner)?;
    skip_whitespace(&mut scanner);
    if scanner.at < text.len() {
        let detail = "Extra characters appear after the JSON value.";
        return scanner.error(scanner.next_span(), EXTRANEOUS, detail);
    }
    Ok(root)
}

/// Reads the JSON value that a text begins with.
pub(crate) fn beginning(text: &str) -> Parsed<Json> {
    value(&mut Scanner::new(text, 0, 0))
}

/// What is wrong with `text` in the words of programs that read JSON for a definition.
pub(crate) fn decoder_reason(text: &str, diagnostic: &Diagnostic) -> String {
    let rest = diagnostic.span.and_then(|span| text.get(span.start..)).unwrap_or_default();
    let unfit = |what: &str| match rest.chars().next() {
        Some(character) => format!("invalid character {character:?}{what}"),
        None => "EOF".to_owned(),
    };
    match diagnostic.summary.as_str() {
        EXTRANEOUS => "extraneous data after JSON object".to_owned(),
        TRAILING_IN_OBJECT => "invalid character '}' looking for beginning of object key string".to_owned(),
        TRAILING_IN_ARRAY => "invalid character ']' looking for beginning of value".to_owned(),
        INVALID_VALUE | INVALID_KEYWORD => {
            match ["true", "false", "null"].iter().find(|word| rest.starts_with(&word[..1])) {
                Some(word) if word.starts_with(rest.trim_end()) => "unexpected EOF".to_owned(),
                Some(word) => {
                    let differs = |(got, wanted): &(char, char)| got != wanted;
                    let (got, wanted) = rest.chars().zip(word.chars()).find(differs).unwrap_or_default();
                    format!("invalid character {got:?} in literal {word} (expecting {wanted:?})")
                }
                None => unfit(" looking for beginning of value"),
            }
        }
        MISSING_VALUE => unfit(""),
        INVALID_NAME => unfit(""),
        MISSING_COLON => unfit(" after object key"),
        MISSING_PROPERTY_COMMA => unfit(" after object key:value pair"),
        MISSING_ITEM_COMMA => unfit(" after array element"),
        _ => "unexpected EOF".to_owned(),
    }
}

/// Whether it is a value that could not be read, rather than what stands between values.
pub(crate) fn is_about_value(diagnostic: &Diagnostic) -> bool {
    let summary = diagnostic.summary.as_str();
    [INVALID_KEYWORD, INVALID_VALUE, MISSING_VALUE].contains(&summary) || summary.starts_with("Invalid JSON")
}

const EXTRANEOUS: &str = "Extraneous data after value";
const INVALID_KEYWORD: &str = "Invalid JSON keyword";
const INVALID_VALUE: &str = "Invalid start of value";
const MISSING_VALUE: &str = "Missing value";
const INVALID_NAME: &str = "Invalid object property name";
const TRAILING_IN_OBJECT: &str = "Trailing comma in object";
const TRAILING_IN_ARRAY: &str = "Trailing comma in array";
const MISSING_COLON: &str = "Missing property value colon";
// The spelling is the reference's.
const MISSING_PROPERTY_COMMA: &str = "Missing attribute seperator comma";
const MISSING_ITEM_COMMA: &str = "Missing array element separator comma";

/// Which top-level keys are blocks with a label; all others are attributes.
const BLOCKS: [&str; 4] = ["variable", "function", "group", "target"];

fn add_root(entries: Vec<(String, Span, Json)>, body: &mut Body, files: &[SourceFile]) -> Parsed<()> {
    for (name, name_span, value) in entries {
        if BLOCKS.contains(&name.as_str()) {
            add_labelled(&name, name_span, value, body, files)?;
        } else {
            body.add_argument(Attribute { name, name_span, expr: expression(value)? }, files)?;
        }
    }
    Ok(())
}

impl Body {
    /// A second argument of one name is refused.
    fn add_argument(&mut self, attribute: Attribute, files: &[SourceFile]) -> Parsed<()> {
        if let Some(first) = self.attribute(&attribute.name) {
            let place = place_text(first.name_span.to(first.expr.span), files).unwrap_or_default();
            let detail = format!("The argument {:?} was already set at {place}.", attribute.name);
            return Err(Diagnostic::new(attribute.name_span, "Duplicate argument", detail));
        }
        self.attributes.push(attribute);
        Ok(())
    }
}

/// `{"a": {…}}`, or an array of such objects, or of bodies under one label.
fn add_labelled(kind: &str, kind_span: Span, value: Json, body: &mut Body, files: &[SourceFile]) -> Parsed<()> {
    match value.kind {
        JsonKind::Array(items) => {
            items.into_iter().try_for_each(|item| add_labelled(kind, kind_span, item, body, files))
        }
        JsonKind::Object(entries) => entries.into_iter().try_for_each(|(label, label_span, content)| {
            let contents = match content.kind {
                JsonKind::Array(items) => items,
                JsonKind::Null => Vec::new(),
                _ => vec![content],
            };
            contents.into_iter().try_for_each(|content| {
                let labels = vec![(label.clone(), label_span)];
                body.blocks.push(block(kind.to_owned(), kind_span, labels, content, files)?);
                Ok(())
            })
        }),
        JsonKind::Null => Ok(()),
        _ => {
            let detail = "Either a JSON object or JSON array of objects is required here, to specify name labels for \
                          this block.";
            // That nothing is left to be a block is counted, too.
            Err(Diagnostic::new(value.span, INCORRECT_TYPE, detail).followed_by(1))
        }
    }
}

/// Messages about the block as a whole point at the brace that closes it.
fn block(
    kind: String,
    kind_span: Span,
    labels: Vec<(String, Span)>,
    content: Json,
    files: &[SourceFile],
) -> Parsed<Block> {
    let end = content.span.end;
    let open = Span { start: end.saturating_sub(1), ..content.span };
    let JsonKind::Object(entries) = content.kind else {
        let detail = format!(
            "Either a JSON object or a JSON array is required, representing the contents of one or more {kind:?} blocks."
        );
        return Err(Diagnostic::new(content.span, INCORRECT_TYPE, detail));
    };
    let mut body = Body { end: Span { start: end, ..open }, ..Body::default() };
    for (name, name_span, value) in entries {
        // The only block within a block.
        if name == "validation" {
            let rules = match value.kind {
                JsonKind::Array(items) => items,
                _ => vec![value],
            };
            for rule in rules {
                body.blocks.push(block(name.clone(), name_span, Vec::new(), rule, files)?);
            }
            continue;
        }
        let expr = match (kind.as_str(), name.as_str(), &value.kind) {
            ("variable", "type", JsonKind::Text(text)) => type_expression(text, value.span)?,
            _ => expression(value)?,
        };
        body.add_argument(Attribute { name, name_span, expr }, files)?;
    }
    Ok(Block { kind, kind_span, labels, open, body })
}

/// A type is written in the native notation.
fn type_expression(text: &str, span: Span) -> Parsed<Expr> {
    let mut scanner = Scanner::new(text, span.file, span.start + 1);
    super::expression::parse(&mut scanner)
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
        Some(b'a'..=b'z' | b'A'..=b'Z') => return Err(invalid_keyword(scanner)),
        _ => return Err(invalid_start(scanner)),
    };
    scanner.close();
    Ok(Json { kind, span: scanner.span_from(start) })
}

/// Nothing that a value begins with.
fn invalid_start(scanner: &Scanner<'_>) -> Diagnostic {
    if scanner.peek().is_none() {
        let missing = Diagnostic::new(scanner.next_span(), MISSING_VALUE, "The JSON data ends prematurely.");
        // Each object and array that is open fails for it, too.
        return missing.followed_by(scanner.n_open);
    }
    let detail = "A JSON value must start with a brace, a bracket, a number, a string, or a keyword.";
    Diagnostic::new(scanner.next_span(), INVALID_VALUE, detail)
}

fn invalid_keyword(scanner: &Scanner<'_>) -> Diagnostic {
    let rest = scanner.rest();
    let word = &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len())];
    let similar = ["true", "false", "null"].into_iter().find(|known| distance(word, known) < 3);
    let hint = similar.map(|known| format!(" Did you mean {known:?}?")).unwrap_or_default();
    let span = scanner.span(scanner.at, scanner.at + word.len());
    Diagnostic::new(span, INVALID_KEYWORD, format!("{word:?} is not a valid JSON keyword.{hint}"))
}

/// Behind a comma and blanks: where the comma is.
fn last_comma(scanner: &Scanner<'_>) -> Span {
    let at = scanner.text[..scanner.at].rfind(',').unwrap_or(scanner.at);
    scanner.span(at, at + 1)
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
        match scanner.peek() {
            Some(b'"') => {}
            Some(b'}') => {
                let detail = "JSON does not permit a trailing comma after the final property in an object.";
                return scanner.error(last_comma(scanner), TRAILING_IN_OBJECT, detail);
            }
            Some(b'0'..=b'9' | b'-' | b'[' | b'{') => {
                let detail = "A JSON object must have its property names in double quotes.";
                return scanner.error(scanner.next_span(), INVALID_NAME, detail);
            }
            _ => return Err(invalid_start(scanner).followed_by(scanner.n_open + 1)),
        }
        let key = text(scanner)?;
        let key_span = scanner.span_from(start);
        skip_whitespace(scanner);
        if !scanner.take(":") {
            let detail = "A colon must appear between an object property's name and its value.";
            return scanner.error(scanner.next_span(), MISSING_COLON, detail);
        }
        entries.push((key, key_span, value(scanner)?));
        skip_whitespace(scanner);
        if scanner.take("}") {
            return Ok(JsonKind::Object(entries));
        }
        if !scanner.take(",") {
            let detail = "A comma must appear between each property definition in an object.";
            return scanner.error(scanner.next_span(), MISSING_PROPERTY_COMMA, detail);
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
        if scanner.peek() == Some(b']') {
            let detail = "JSON does not permit a trailing comma after the final value in an array.";
            return scanner.error(last_comma(scanner), TRAILING_IN_ARRAY, detail);
        }
        items.push(value(scanner)?);
        skip_whitespace(scanner);
        if scanner.take("]") {
            return Ok(JsonKind::Array(items));
        }
        if !scanner.take(",") {
            let detail = "A comma must appear between the items of an array.";
            return scanner.error(scanner.next_span(), MISSING_ITEM_COMMA, detail);
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
            let detail = "There is a syntax error in the given JSON string.";
            scanner.error(scanner.span(start, start + 1), "Invalid JSON string", detail)
        }
    }
}
