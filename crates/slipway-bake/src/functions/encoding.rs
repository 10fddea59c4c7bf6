//! Functions between texts and other notations: JSON, CSV, Base64, URLs, digests, UUIDs.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512, digest};

use super::{Answer, Function, Problem, any, fixed, nullable, number, str_of, text};
use crate::csv;
use crate::program::Program;
use crate::syntax::json::{Json, JsonKind, decoder_reason, document};
use crate::value::{Type, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("base64decode", &[text("str")], |a, _| {
        let bytes =
            STANDARD.decode(str_of(&a[0])).map_err(|_| format!("failed to decode base64 data '{}'", str_of(&a[0])))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| "the result of decoding the the provided string is not valid UTF-8")?;
        Ok(Value::string(text))
    }),
    fixed("base64encode", &[text("str")], |a, _| Ok(Value::string(STANDARD.encode(str_of(&a[0]))))),
    // There is no way to make such a value: what decodes something gives texts.
    fixed("byteslen", &[any("buf")], |_, _| Err(Problem::Argument(0, "bytes required".to_owned()))),
    fixed("bytesslice", &[any("buf"), number("offset"), number("size")], |_, _| {
        Err(Problem::Argument(0, "bytes required".to_owned()))
    }),
    fixed("csvdecode", &[text("str")], csv_decode),
    fixed("jsondecode", &[text("str")], |a, _| {
        let text = str_of(&a[0]);
        Ok(from_json(document(text, 0).map_err(|problem| decoder_reason(text, &problem))?))
    }),
    fixed("jsonencode", &[nullable("val")], |a, _| match is_finite(&a[0]) {
        true => Ok(Value::string(to_json(&a[0]))),
        false => Err("cannot serialize infinity as JSON".into()),
    }),
    fixed("md5", &[text("str")], |a, _| Ok(Value::string(hex(&md5(str_of(&a[0]).as_bytes()))))),
    fixed("sha1", &[text("str")], |a, _| Ok(digest_of(&SHA1_FOR_LEGACY_USE_ONLY, &a[0]))),
    fixed("sha256", &[text("str")], |a, _| Ok(digest_of(&SHA256, &a[0]))),
    fixed("sha512", &[text("str")], |a, _| Ok(digest_of(&SHA512, &a[0]))),
    fixed("urlencode", &[text("str")], |a, _| Ok(Value::string(url_encoded(str_of(&a[0]))))),
    fixed("uuidv4", &[], |_, program| Ok(Value::string(uuid((program.inputs.random)(), 4)))),
    fixed("uuidv5", &[text("namespace"), text("name")], uuid_v5),
];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest_of(algorithm: &'static Algorithm, value: &Value) -> Value {
    Value::string(hex(digest(algorithm, str_of(value).as_bytes()).as_ref()))
}

/// The value that a JSON document stands for.
pub(crate) fn from_json(json: Json) -> Value {
    match json.kind {
        JsonKind::Null => Value::null(),
        JsonKind::Bool(is_true) => Value::Bool(is_true),
        JsonKind::Number(number) => Value::Number(number),
        JsonKind::Text(text) => Value::string(text),
        JsonKind::Array(items) => Value::tuple(items.into_iter().map(from_json).collect()),
        JsonKind::Object(entries) => {
            Value::object(entries.into_iter().map(|(key, _, value)| (key, from_json(value))).collect())
        }
    }
}

/// Whether all numbers in a value can be written as JSON.
fn is_finite(value: &Value) -> bool {
    match value {
        Value::Number(number) => !number.is_infinite(),
        other => {
            let entries = other.entries().map(|entries| entries.values());
            other.items().unwrap_or_default().iter().chain(entries.into_iter().flatten()).all(is_finite)
        }
    }
}

/// JSON without blanks, `<`, `>` and `&` escaped.
pub(crate) fn to_json(value: &Value) -> String {
    match value {
        Value::Null(_) => "null".to_owned(),
        Value::Bool(is_true) => is_true.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => crate::print::quoted(text),
        Value::List(_, items) | Value::Set(_, items) | Value::Tuple(items) => {
            format!("[{}]", items.iter().map(to_json).collect::<Vec<_>>().join(","))
        }
        Value::Map(_, entries) | Value::Object(entries) => {
            let entry = |(key, value): (&String, &Value)| format!("{}:{}", crate::print::quoted(key), to_json(value));
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(","))
        }
    }
}

fn csv_decode(a: &[Value], _: &Program<'_>) -> Answer {
    let text = str_of(&a[0]);
    let rows = csv::records(text)
        .map_err(|error| format!("CSV parse error on line {}: {}", error.line(text), error.reason))?;
    let Some((head, rows)) = rows.split_first() else { return Err("missing header line".into()) };
    let mut items = Vec::new();
    if let Some(name) = head.iter().enumerate().find_map(|(index, name)| head[..index].contains(name).then_some(name)) {
        return Err(format!("duplicate column name {name:?}").into());
    }
    for (index, row) in rows.iter().enumerate() {
        if row.len() != head.len() {
            return Err(format!("CSV parse error on line {}: wrong number of fields", index + 2).into());
        }
        items.push(Value::object(head.iter().cloned().zip(row.iter().map(Value::string)).collect::<BTreeMap<_, _>>()));
    }
    let element = items.first().map_or(Type::Object(BTreeMap::new()), Value::type_of);
    Ok(Value::list(element, items))
}

/// As in the query of a URL.
fn url_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn uuid(mut bytes: [u8; 16], version: u8) -> String {
    bytes[6] = bytes[6] & 0x0f | version << 4;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex(&bytes);
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}

/// RFC 9562 section 5.5.
fn uuid_v5(a: &[Value], _: &Program<'_>) -> Answer {
    let well_known = |byte: &str| format!("6ba7b81{byte}9dad11d180b400c04fd430c8");
    let namespace = match str_of(&a[0]) {
        "dns" => well_known("0"),
        "url" => well_known("1"),
        "oid" => well_known("2"),
        "x500" => well_known("4"),
        other => other.replace('-', ""),
    };
    let byte = |index: usize| u8::from_str_radix(namespace.get(index * 2..index * 2 + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..16).map(byte).collect();
    let Some(bytes) = bytes.filter(|_| namespace.len() == 32) else {
        let given = str_of(&a[0]);
        let why = match given.len() {
            32 | 36 | 38 | 45 => "invalid UUID format".to_owned(),
            n => format!("invalid UUID length: {n}"),
        };
        return Err(format!("uuidv5() doesn't support namespace {given} ({why})").into());
    };
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[&bytes[..], str_of(&a[1]).as_bytes()].concat());
    let mut first = [0; 16];
    first.copy_from_slice(&digest.as_ref()[..16]);
    Ok(Value::string(uuid(first, 5)))
}

/// RFC 1321.
fn md5(message: &[u8]) -> [u8; 16] {
    const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&(message.len() as u64 * 8).to_le_bytes());
    let mut state = [0x6745_2301u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded.chunks_exact(64) {
        let word = |index: usize| {
            u32::from_le_bytes([block[index * 4], block[index * 4 + 1], block[index * 4 + 2], block[index * 4 + 3]])
        };
        let [mut a, mut b, mut c, mut d] = state;
        for i in 0..64 {
            let (mixed, index) = match i / 16 {
                0 => (b & c | !b & d, i),
                1 => (d & b | !d & c, (5 * i + 1) % 16),
                2 => (b ^ c ^ d, (3 * i + 5) % 16),
                _ => (c ^ (b | !d), 7 * i % 16),
            };
            // The constant is the whole part of 2^32 times the sine of `i + 1`.
            let constant = (((i + 1) as f64).sin().abs() * 4_294_967_296.0) as u32;
            let sum = a.wrapping_add(mixed).wrapping_add(constant).wrapping_add(word(index));
            (a, d, c, b) = (d, c, b, b.wrapping_add(sum.rotate_left(SHIFTS[i / 16][i % 4])));
        }
        for (part, add) in state.iter_mut().zip([a, b, c, d]) {
            *part = part.wrapping_add(add);
        }
    }
    let mut result = [0; 16];
    for (bytes, part) in result.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&part.to_le_bytes());
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digests() {
        assert_eq!(hex(&md5(b"")), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(hex(&md5(b"The quick brown fox jumps over the lazy dog")), "9e107d9d372bb6826bd81d3542a419d6");
        assert_eq!(url_encoded("a b/c~*"), "a+b%2Fc~%2A");
    }
}
