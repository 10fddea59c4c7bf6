//! What do the `%41` of a URL stand for? Here because the crates that take URLs apart have only this one in common.

/// `text` with every `%XX` as the byte that it stands for (RFC 3986 section 2.1); what is no such triplet stays.
pub fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        match after.first_chunk().and_then(byte_of).filter(|_| first == b'%') {
            Some(byte) => {
                decoded.push(byte);
                rest = &after[2..];
            }
            None => {
                decoded.push(first);
                rest = after;
            }
        }
    }
    decoded
}

fn byte_of(digits: &[u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(high? << 4 | low?).ok()
}

#[cfg(test)]
mod tests {
    use super::percent_decoded;

    #[test]
    fn only_triplets_are_decoded() {
        for (text, decoded) in [
            ("us%40er:p%2fw", &b"us@er:p/w"[..]),
            ("100%", b"100%"),
            ("%4", b"%4"),
            ("%zz%+1", b"%zz%+1"),
            ("%25%41", b"%A"),
            ("%ff\u{e9}", b"\xff\xc3\xa9"),
        ] {
            assert_eq!(percent_decoded(text), decoded, "{text}");
        }
    }
}
