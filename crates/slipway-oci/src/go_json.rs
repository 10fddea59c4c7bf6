//! JSON text as the reference writes it, since digests are made of it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One line, with `<`, `>` and `&` (and the two Unicode line separators) escaped in strings as Go's encoder does.
pub fn to_compact<T: Serialize>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    Ok(escape_html(&serde_json::to_vec(value)?))
}

/// Two blanks of indentation, no newline at the end; escapes as [`to_compact`].
pub fn to_indented<T: Serialize>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    Ok(escape_html(&serde_json::to_vec_pretty(value)?))
}

/// Reads `null`, which Go writes for a list or map that was never made, as an empty one.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a time in RFC 3339 as Go writes it again: no zeros at the end of a fraction, and `Z` for UTC.
pub(crate) fn time_as_go_writes_it<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let Some(time) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let Some((seconds, rest)) = time.split_at_checked("2006-01-02T15:04:05".len()) else { return Ok(Some(time)) };
    let zone_at = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (fraction, zone) = rest.split_at(zone_at);
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    let zone = if zone == "+00:00" { "Z" } else { zone };
    Ok(Some(format!("{seconds}{fraction}{zone}")))
}

/// Writes an empty list as `null`, for the lists that the reference makes with their first item.
pub(crate) fn empty_is_null<S: Serializer, T: Serialize>(items: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    if items.is_empty() { serializer.serialize_none() } else { items.serialize(serializer) }
}

/// Outside strings none of these characters occurs in JSON, so the whole text can be treated alike.
fn escape_html(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let mut rest = json;
    while let Some(&byte) = rest.first() {
        let (escape, len): (&[u8], usize) = match rest {
            [b'<', ..] => (b"\\u003c", 1),
            [b'>', ..] => (b"\\u003e", 1),
            [b'&', ..] => (b"\\u0026", 1),
            [0xe2, 0x80, 0xa8, ..] => (b"\\u2028", 3),
            [0xe2, 0x80, 0xa9, ..] => (b"\\u2029", 3),
            _ => {
                out.push(byte);
                rest = &rest[1..];
                continue;
            }
        };
        out.extend_from_slice(escape);
        rest = &rest[len..];
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn html_characters_are_escaped() {
        let text = super::to_compact(&"a && b <c>").unwrap();
        assert_eq!(text, br#""a \u0026\u0026 b \u003cc\u003e""#);
    }
}
