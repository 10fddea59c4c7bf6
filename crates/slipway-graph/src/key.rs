//! Turns values into the bytes of a cache key so that no two different values give the same bytes.

use slipway_oci::{Digest, Sha256};

/// Hashes fields one after the other, each framed by its length (concatenation without frames lets
/// `ab`+`c` collide with `a`+`bc`).
pub struct KeyWriter(Sha256);

impl KeyWriter {
    /// Starts a key of the given kind. The kind should change when the meaning of the fields does.
    pub fn new(kind: &str) -> KeyWriter {
        let mut writer = KeyWriter(Sha256::new());
        writer.text(kind);
        writer
    }

    /// Adds raw bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// Adds a text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// Adds a text that may be absent; absent differs from empty.
    pub fn optional_text(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.number(1).text(text),
            None => self.number(0),
        }
    }

    /// Adds a number.
    pub fn number(&mut self, number: u64) -> &mut Self {
        self.0.update(&number.to_le_bytes());
        self
    }

    /// Adds a yes or no.
    pub fn flag(&mut self, flag: bool) -> &mut Self {
        self.number(u64::from(flag))
    }

    /// Adds a list of texts, framed by its length.
    pub fn texts<T: AsRef<str>>(&mut self, texts: &[T]) -> &mut Self {
        self.number(texts.len() as u64);
        for text in texts {
            self.text(text.as_ref());
        }
        self
    }

    /// The key.
    pub fn finish(self) -> Digest {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::KeyWriter;

    fn key(texts: &[&str]) -> String {
        let mut writer = KeyWriter::new("t");
        for text in texts {
            writer.text(text);
        }
        writer.finish().to_string()
    }

    #[test]
    fn fields_are_framed() {
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_eq!(key(&["ab", "c"]), key(&["ab", "c"]));
    }
}
