//! Reads the comma-separated values of flags: one record of RFC 4180.

/// Why a text is no record. The texts are those that users of Docker know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    #[error("parse error on line 1, column {column}: bare \" in non-quoted field")]
    BareQuote { column: usize },
    #[error("parse error on line 1, column {column}: extraneous or missing \" in quoted-field")]
    Unterminated { column: usize },
}

/// The fields of `record`. Quotes go around a whole field (`"name=a,b"`); a quote inside them is written twice.
pub fn fields(record: &str) -> Result<Vec<String>, CsvError> {
    let mut fields = Vec::new();
    let mut rest = record;
    loop {
        let column = record.len() - rest.len() + 1;
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted).ok_or(CsvError::Unterminated { column })?,
            None => plain_field(rest).ok_or(CsvError::BareQuote { column })?,
        };
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

/// The fields of `record` as keys and values; keys are trimmed and in lower case. A field without `=` is the error.
pub(crate) fn pairs(fields: &[String]) -> Result<Vec<(String, &str)>, &str> {
    fields
        .iter()
        .map(|field| {
            let (key, value) = field.split_once('=').ok_or(field.as_str())?;
            Ok((key.trim().to_lowercase(), value))
        })
        .collect()
}

/// A field and what follows its comma.
type Field<'a> = (String, Option<&'a str>);

fn plain_field(text: &str) -> Option<Field<'_>> {
    let (field, after) = match text.split_once(',') {
        Some((field, after)) => (field, Some(after)),
        None => (text, None),
    };
    (!field.contains('"')).then(|| (field.to_owned(), after))
}

/// `text` begins behind the opening quote.
fn quoted_field(mut text: &str) -> Option<Field<'_>> {
    let mut field = String::new();
    loop {
        let (part, after) = text.split_once('"')?;
        field.push_str(part);
        if let Some(after) = after.strip_prefix('"') {
            field.push('"');
            text = after;
        } else if after.is_empty() {
            return Some((field, None));
        } else {
            return Some((field, Some(after.strip_prefix(',')?)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_cut_into_fields() {
        let read = |record: &str| fields(record).unwrap().join("|");
        assert_eq!(read("a"), "a");
        assert_eq!(read("a,,b,"), "a||b|");
        assert_eq!(read(r#"type=image,"name=a,b""#), "type=image|name=a,b");
        assert_eq!(read(r#""say ""hi""",x"#), r#"say "hi"|x"#);
    }

    #[test]
    fn broken_quotes_are_refused() {
        assert_eq!(fields(r#"a"b"#), Err(CsvError::BareQuote { column: 1 }));
        assert_eq!(fields(r#"x,"a"#), Err(CsvError::Unterminated { column: 3 }));
        assert_eq!(fields(r#""a"b"#), Err(CsvError::Unterminated { column: 1 }));
    }

    #[test]
    fn keys_are_trimmed_and_lower_case() {
        let record = fields(" Type=Local,dest= x").unwrap();
        assert_eq!(pairs(&record), Ok(vec![("type".to_owned(), "Local"), ("dest".to_owned(), " x")]));
        assert_eq!(pairs(&fields("a=b,c").unwrap()), Err("c"));
    }
}
