//! Comma-separated texts as in RFC 4180 (`spec/bake.md` section 9.1).

/// Why a text has no fields, and at which byte that shows.
#[derive(Debug, PartialEq)]
pub(crate) struct CsvError {
    at: usize,
    pub(crate) reason: &'static str,
}

impl CsvError {
    /// The line of `text`, counted from 1.
    pub(crate) fn line(&self, text: &str) -> usize {
        text[..self.at.min(text.len())].matches('\n').count() + 1
    }
}

/// All records of a text; empty lines are none.
pub(crate) fn records(text: &str) -> Result<Vec<Vec<String>>, CsvError> {
    let mut records = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')) {
            rest = after;
            continue;
        }
        let (record, after) = record(text, rest)?;
        records.push(record);
        rest = after;
    }
    Ok(records)
}

/// The fields of the first record; the error names the column, counted from 1.
pub(crate) fn fields(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Err("EOF".to_owned());
    }
    let problem = |CsvError { at, reason }: CsvError| format!("parse error on line 1, column {}: {reason}", at + 1);
    record(text, text).map(|(fields, _)| fields).map_err(problem)
}

const STRAY_QUOTE: &str = "extraneous or missing \" in quoted-field";

/// The record that the end `rest` of `text` begins with, and what follows its line end.
fn record<'a>(text: &str, mut rest: &'a str) -> Result<(Vec<String>, &'a str), CsvError> {
    let mut fields = Vec::new();
    loop {
        let at = text.len() - rest.len();
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                quoted_field(quoted).map_err(|offset| CsvError { at: at + 1 + offset, reason: STRAY_QUOTE })?
            }
            None => {
                let end = rest.find([',', '\n']).unwrap_or(rest.len());
                let field = &rest[..end];
                if let Some(quote) = field.find('"') {
                    return Err(CsvError { at: at + quote, reason: "bare \" in non-quoted-field" });
                }
                (field.trim_end_matches('\r').to_owned(), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => {
                let next = after.strip_prefix("\r\n").or_else(|| after.strip_prefix('\n')).unwrap_or(after);
                return Ok((fields, next));
            }
        }
    }
}

/// Behind the opening quote: the field, and what follows it; or where the quote is that is too much or missing.
fn quoted_field(text: &str) -> Result<(String, &str), usize> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let at = text.len() - rest.len();
        let Some(quote) = rest.find('"') else { return Err(at) };
        field.push_str(&rest[..quote]);
        rest = &rest[quote + 1..];
        if let Some(after) = rest.strip_prefix('"') {
            field.push('"');
            rest = after;
            continue;
        }
        if rest.is_empty() || rest.starts_with([',', '\n', '\r']) {
            return Ok((field, rest));
        }
        return Err(at + quote);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_commas() {
        assert_eq!(fields("a,\"b,c\",\"d\"\"e\"").unwrap(), ["a", "b,c", "d\"e"]);
        assert_eq!(fields("a,").unwrap(), ["a", ""]);
        assert_eq!(fields(""), Err("EOF".to_owned()));
        assert_eq!(fields("type=image,\"name=a,b\"\n").unwrap(), ["type=image", "name=a,b"]);
        assert!(fields("a\"b").is_err());
        assert!(fields("\"a").is_err());
    }
}
