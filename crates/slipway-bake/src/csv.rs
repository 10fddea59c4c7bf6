//! Comma-separated texts as in RFC 4180 (`spec/bake.md` section 9.1).

/// All records of a text; empty lines are none.
pub(crate) fn records(text: &str) -> Result<Vec<Vec<String>>, String> {
    let mut records = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')) {
            rest = after;
            continue;
        }
        let (record, after) = record(rest)?;
        records.push(record);
        rest = after;
    }
    Ok(records)
}

/// The fields of the first record.
pub(crate) fn fields(text: &str) -> Result<Vec<String>, String> {
    records(text)?.into_iter().next().ok_or_else(|| "EOF".to_owned())
}

/// One record, and what follows its line end.
fn record(text: &str) -> Result<(Vec<String>, &str), String> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => {
                let end = rest.find([',', '\n']).unwrap_or(rest.len());
                let field = &rest[..end];
                if field.contains('"') {
                    return Err("bare \" in non-quoted field".to_owned());
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

/// Behind the opening quote.
fn quoted_field(text: &str) -> Result<(String, &str), String> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let Some(quote) = rest.find('"') else { return Err("extraneous or missing \" in quoted-field".to_owned()) };
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
        return Err("extraneous or missing \" in quoted-field".to_owned());
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
