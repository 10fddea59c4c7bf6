//! What must the bytes of a file be? [`Checksum`], as people write it down: unlike a [`Digest`](crate::Digest) it names
//! no file and may be of another algorithm than SHA-256.

use std::fmt;
use std::str::FromStr;

use crate::Digest;
use crate::digest::hex;

/// `sha256:…`, `sha384:…` or `sha512:…`, with as many lower-case hex digits as the algorithm gives.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Checksum {
    algorithm: Algorithm,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

/// Why a text is no checksum; the texts are those that BuildKit's users know.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChecksumParseError {
    #[error("invalid checksum digest format: `{0}` is not `<algorithm>:<hex digits>`")]
    Format(String),
    #[error("invalid checksum digest length: `{text}` has {found} hex digits, {algorithm} gives {expected}")]
    Length { text: String, algorithm: &'static str, found: usize, expected: usize },
    #[error("unsupported digest algorithm: `{0}` is none of sha256, sha384, sha512")]
    Algorithm(String),
}

impl Algorithm {
    const ALL: [Algorithm; 3] = [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];

    fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha384 => "sha384",
            Algorithm::Sha512 => "sha512",
        }
    }

    fn implementation(self) -> &'static ring::digest::Algorithm {
        match self {
            Algorithm::Sha256 => &ring::digest::SHA256,
            Algorithm::Sha384 => &ring::digest::SHA384,
            Algorithm::Sha512 => &ring::digest::SHA512,
        }
    }
}

impl Checksum {
    /// The whole text, `sha512:…`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The digest that the bytes have, if the checksum says so by itself.
    pub fn digest(&self) -> Option<Digest> {
        match self.algorithm {
            Algorithm::Sha256 => self.text.parse().ok(),
            Algorithm::Sha384 | Algorithm::Sha512 => None,
        }
    }

    /// Begins to find out the checksum of other bytes by the same algorithm.
    pub fn hasher(&self) -> ChecksumHasher {
        ChecksumHasher {
            algorithm: self.algorithm,
            context: ring::digest::Context::new(self.algorithm.implementation()),
        }
    }
}

impl FromStr for Checksum {
    type Err = ChecksumParseError;

    fn from_str(text: &str) -> Result<Checksum, ChecksumParseError> {
        let shown = || text.chars().take(200).collect::<String>();
        let is_lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
        let (name, digits) = match text.split_once(':') {
            Some((name, digits))
                if !name.is_empty() && is_name(name) && !digits.is_empty() && digits.bytes().all(is_lower_hex) =>
            {
                (name, digits)
            }
            _ => return Err(ChecksumParseError::Format(shown())),
        };
        let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name);
        let algorithm = algorithm.ok_or_else(|| ChecksumParseError::Algorithm(shown()))?;
        let (found, expected) = (digits.len(), 2 * algorithm.implementation().output_len());
        if found != expected {
            return Err(ChecksumParseError::Length { text: shown(), algorithm: algorithm.name(), found, expected });
        }
        Ok(Checksum { algorithm, text: text.to_owned() })
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A running checksum.
pub struct ChecksumHasher {
    algorithm: Algorithm,
    context: ring::digest::Context,
}

impl ChecksumHasher {
    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// The checksum of everything added.
    pub fn finish(self) -> Checksum {
        let text = format!("{}:{}", self.algorithm.name(), hex(self.context.finish().as_ref()));
        Checksum { algorithm: self.algorithm, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_algorithm_gives_its_own_checksum() {
        let of = |name: &str, n_digits: usize| {
            let any: Checksum = format!("{name}:{}", "0".repeat(n_digits)).parse().unwrap();
            let mut hasher = any.hasher();
            hasher.update(b"h");
            hasher.update(b"i\n");
            hasher.finish().to_string()
        };
        assert_eq!(of("sha256", 64), "sha256:98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4");
        assert_eq!(
            of("sha384", 96),
            "sha384:4284b5694ca6c0d2cf4789a0b95ac8025c818de52304364be7cd2981b2d2edc685b322277ec25819962413d8c9b2c1f5"
        );
        assert!(
            of("sha512", 128).starts_with("sha512:d78abb0542736865f94704521609c230dac03a2f369d043ac212d6933b91410e")
        );
    }

    #[test]
    fn what_is_wrong_with_a_checksum_is_told() {
        let told = |text: &str| text.parse::<Checksum>().unwrap_err().to_string();
        let upper = format!("sha256:{}", "A".repeat(64));
        for text in ["", "foo", "sha256:", ":00", "sha256:../x", "SHA256:00", &"0".repeat(64), &upper] {
            assert!(told(text).starts_with("invalid checksum digest format: `"), "{text}");
        }
        assert!(told("sha384:00").ends_with("`sha384:00` has 2 hex digits, sha384 gives 96"), "{}", told("sha384:00"));
        assert!(told("md5:00").starts_with("unsupported digest algorithm: `md5:00`"), "{}", told("md5:00"));
    }

    #[test]
    fn only_sha256_is_a_digest() {
        let digest = Digest::of(b"x");
        assert_eq!(digest.as_str().parse::<Checksum>().unwrap().digest(), Some(digest));
        let long: Checksum = format!("sha512:{}", "0".repeat(128)).parse().unwrap();
        assert_eq!(long.digest(), None);
    }
}
