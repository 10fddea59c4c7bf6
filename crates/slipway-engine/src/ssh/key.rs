//! Private keys of files: the formats that `ssh-keygen` writes, and the signatures of an agent.
//!
//! OpenSSH's own format is described in its `PROTOCOL.key`, the blobs of keys and signatures in RFC 4253 section 6.6
//! (RSA), RFC 5656 (ECDSA), RFC 8332 (RSA with SHA-2) and RFC 8709 (Ed25519). Keys of PEM files come in the containers
//! of RFC 5208 (PKCS#8) and RFC 8017 (PKCS#1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::error::KeyRejected;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaKeyPair,
};

use super::protocol::{CutOff, Reader, Writer};

/// Why a text is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyError {
    #[error("ssh: no key found")]
    NoKey,
    #[error(
        "ssh: this private key is passphrase protected; add it to an agent with `ssh-add`, and pass the agent's socket in place of the file"
    )]
    Encrypted,
    #[error("the key is cut off or damaged")]
    Damaged,
    #[error("keys of type `{0}` can only be used through an agent; add it to one with `ssh-add`, and pass its socket")]
    Kind(String),
    /// The reason is a word of the library, such as `TooSmall`.
    #[error("the key is refused: {0}")]
    Rejected(KeyRejected),
}

impl From<CutOff> for KeyError {
    fn from(_: CutOff) -> KeyError {
        KeyError::Damaged
    }
}

/// A key that can sign.
#[derive(Debug)]
pub(crate) struct PrivateKey {
    /// The public half as it is sent to clients.
    blob: Vec<u8>,
    pair: Pair,
}

#[derive(Debug)]
enum Pair {
    Ed25519(Ed25519KeyPair),
    Ecdsa(&'static Curve, EcdsaKeyPair),
    /// Boxed, because it is several times as large as the others.
    Rsa(Box<RsaKeyPair>),
}

/// A curve of ECDSA keys.
#[derive(Debug)]
struct Curve {
    /// The type of the key and of its signatures.
    key_type: &'static str,
    name: &'static str,
    algorithm: &'static EcdsaSigningAlgorithm,
    n_scalar_bytes: usize,
}

static CURVES: [Curve; 2] = [
    Curve {
        key_type: "ecdsa-sha2-nistp256",
        name: "nistp256",
        algorithm: &ECDSA_P256_SHA256_FIXED_SIGNING,
        n_scalar_bytes: 32,
    },
    Curve {
        key_type: "ecdsa-sha2-nistp384",
        name: "nistp384",
        algorithm: &ECDSA_P384_SHA384_FIXED_SIGNING,
        n_scalar_bytes: 48,
    },
];

const ED25519: &str = "ssh-ed25519";
const RSA: &str = "ssh-rsa";

/// Flags of a request to sign: which SHA-2 an RSA signature is made with (RFC 8332, and section 4.5.1 of the agent's
/// draft).
const RSA_SHA2_256: u32 = 2;
const RSA_SHA2_512: u32 = 4;

const OPENSSH_MAGIC: &[u8] = b"openssh-key-v1\0";

impl PrivateKey {
    /// Reads the first key of a file.
    pub(super) fn parse(text: &[u8]) -> Result<PrivateKey, KeyError> {
        let Pem { label, bytes } = Pem::find(text)?;
        let pair = match label.as_str() {
            "OPENSSH PRIVATE KEY" => openssh(&bytes)?,
            "RSA PRIVATE KEY" => rsa(RsaKeyPair::from_der(&bytes))?,
            "PRIVATE KEY" => pkcs8(&bytes)?,
            "ENCRYPTED PRIVATE KEY" => return Err(KeyError::Encrypted),
            _ => return Err(KeyError::Kind(label)),
        };
        Ok(PrivateKey { blob: pair.public_blob(), pair })
    }

    pub(super) fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// The signature blob of `message`; `None` if the key does not sign in the way that `flags` ask for.
    pub(super) fn sign(&self, message: &[u8], flags: u32) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        let mut blob = Writer::default();
        match &self.pair {
            Pair::Ed25519(pair) => blob.string(ED25519.as_bytes()).string(pair.sign(message).as_ref()),
            Pair::Ecdsa(curve, pair) => {
                let both = pair.sign(&random, message).ok()?;
                let (r, s) = both.as_ref().split_at(curve.n_scalar_bytes);
                let mut numbers = Writer::default();
                numbers.number(r).number(s);
                blob.string(curve.key_type.as_bytes()).string(&numbers.0)
            }
            Pair::Rsa(pair) => {
                let (name, padding) = match flags {
                    _ if flags & RSA_SHA2_512 != 0 => ("rsa-sha2-512", &RSA_PKCS1_SHA512),
                    _ if flags & RSA_SHA2_256 != 0 => ("rsa-sha2-256", &RSA_PKCS1_SHA256),
                    // SHA-1: broken, and refused by servers since OpenSSH 8.8.
                    _ => return None,
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &random, message, &mut signature).ok()?;
                blob.string(name.as_bytes()).string(&signature)
            }
        };
        Some(blob.0)
    }
}

impl Pair {
    fn public_blob(&self) -> Vec<u8> {
        let mut blob = Writer::default();
        match self {
            Pair::Ed25519(pair) => blob.string(ED25519.as_bytes()).string(pair.public_key().as_ref()),
            Pair::Ecdsa(curve, pair) => {
                blob.string(curve.key_type.as_bytes()).string(curve.name.as_bytes()).string(pair.public_key().as_ref())
            }
            Pair::Rsa(pair) => {
                let PublicKeyComponents::<Vec<u8>> { n, e } = pair.public().into();
                blob.string(RSA.as_bytes()).number(&e).number(&n)
            }
        };
        blob.0
    }
}

/// A block of base64 between `-----BEGIN …-----` and `-----END …-----` (RFC 7468).
struct Pem {
    label: String,
    bytes: Vec<u8>,
}

impl Pem {
    fn find(text: &[u8]) -> Result<Pem, KeyError> {
        let text = std::str::from_utf8(text).map_err(|_| KeyError::NoKey)?;
        let mut lines = text.lines().map(str::trim);
        let label = lines
            .find_map(|line| line.strip_prefix("-----BEGIN ")?.strip_suffix("-----"))
            .filter(|label| label.ends_with("PRIVATE KEY"))
            .ok_or(KeyError::NoKey)?;
        let end = format!("-----END {label}-----");
        let mut base64 = String::new();
        for line in lines.by_ref().take_while(|line| *line != end) {
            // Headers of the old encrypted form (RFC 1421): "Proc-Type: 4,ENCRYPTED".
            match line.contains(':') {
                true if line.ends_with("ENCRYPTED") => return Err(KeyError::Encrypted),
                true => {}
                false => base64.push_str(line),
            }
        }
        let bytes = STANDARD.decode(base64).map_err(|_| KeyError::Damaged)?;
        Ok(Pem { label: label.to_owned(), bytes })
    }
}

/// The only key of a container in OpenSSH's own format.
fn openssh(bytes: &[u8]) -> Result<Pair, KeyError> {
    let mut container = Reader(bytes.strip_prefix(OPENSSH_MAGIC).ok_or(KeyError::Damaged)?);
    if container.string()? != b"none" {
        return Err(KeyError::Encrypted);
    }
    let (_kdf, _options) = (container.string()?, container.string()?);
    if container.u32()? != 1 {
        return Err(KeyError::Damaged);
    }
    let _public = container.string()?;
    let mut fields = Reader(container.string()?);
    // Two equal numbers, by which a wrong passphrase is noticed.
    if fields.u32()? != fields.u32()? {
        return Err(KeyError::Damaged);
    }
    match String::from_utf8_lossy(fields.string()?).as_ref() {
        ED25519 => openssh_ed25519(fields),
        RSA => openssh_rsa(fields),
        key_type => match CURVES.iter().find(|curve| curve.key_type == key_type) {
            Some(curve) => openssh_ecdsa(curve, fields),
            None => Err(KeyError::Kind(key_type.to_owned())),
        },
    }
}

fn openssh_ed25519(mut fields: Reader<'_>) -> Result<Pair, KeyError> {
    let (public, private) = (fields.string()?, fields.string()?);
    let seed = private.get(..32).ok_or(KeyError::Damaged)?;
    let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public);
    pair.map(Pair::Ed25519).map_err(KeyError::Rejected)
}

fn openssh_ecdsa(curve: &'static Curve, mut fields: Reader<'_>) -> Result<Pair, KeyError> {
    let (_name, public, private) = (fields.string()?, fields.string()?, fields.number()?);
    let n_missing = curve.n_scalar_bytes.checked_sub(private.len()).ok_or(KeyError::Damaged)?;
    let private = [&vec![0; n_missing], private].concat();
    let pair = EcdsaKeyPair::from_private_key_and_public_key(curve.algorithm, &private, public, &SystemRandom::new());
    pair.map(|pair| Pair::Ecdsa(curve, pair)).map_err(KeyError::Rejected)
}

fn openssh_rsa(mut fields: Reader<'_>) -> Result<Pair, KeyError> {
    let (n, e, d) = (fields.number()?, fields.number()?, fields.number()?);
    let (q_inverse, p, q) = (fields.number()?, fields.number()?, fields.number()?);
    if p.is_empty() || q.is_empty() {
        return Err(KeyError::Damaged);
    }
    let components = KeyPairComponents {
        public_key: PublicKeyComponents { n, e },
        d,
        p,
        q,
        dP: &remainder(d, &less_one(p))[..],
        dQ: &remainder(d, &less_one(q))[..],
        qInv: q_inverse,
    };
    rsa(RsaKeyPair::from_components(&components))
}

fn rsa(pair: Result<RsaKeyPair, KeyRejected>) -> Result<Pair, KeyError> {
    pair.map(|pair| Pair::Rsa(Box::new(pair))).map_err(KeyError::Rejected)
}

/// The container names its algorithm; the library tells by refusing those of others.
fn pkcs8(bytes: &[u8]) -> Result<Pair, KeyError> {
    if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes) {
        return Ok(Pair::Ed25519(pair));
    }
    for curve in &CURVES {
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(curve.algorithm, bytes, &SystemRandom::new()) {
            return Ok(Pair::Ecdsa(curve, pair));
        }
    }
    rsa(RsaKeyPair::from_pkcs8(bytes))
}

/// An odd number, big-endian, less one.
fn less_one(odd: &[u8]) -> Vec<u8> {
    let mut less = odd.to_vec();
    if let Some(last) = less.last_mut() {
        *last &= !1;
    }
    less
}

/// `number` modulo `modulus`, both big-endian, by long division in base 2. OpenSSH stores the private exponent alone,
/// and two numbers of some 1000 bits are divided once a key.
fn remainder(number: &[u8], modulus: &[u8]) -> Vec<u8> {
    let mut rest = vec![0; modulus.len() + 1];
    let modulus = [&[0], modulus].concat();
    for byte in number {
        for bit in (0..8).rev() {
            let mut carry = byte >> bit & 1;
            for digit in rest.iter_mut().rev() {
                (*digit, carry) = (*digit << 1 | carry, *digit >> 7);
            }
            // Equal lengths: the order of the bytes is that of the numbers.
            if rest >= modulus {
                subtract(&mut rest, &modulus);
            }
        }
    }
    let n_zeros = rest.iter().take_while(|digit| **digit == 0).count();
    rest.split_off(n_zeros)
}

/// Takes `less` away from `from`, which is not smaller and has as many bytes.
fn subtract(from: &mut [u8], less: &[u8]) {
    let mut borrow = false;
    for (digit, less) in from.iter_mut().zip(less).rev() {
        let (difference, first) = digit.overflowing_sub(*less);
        let (difference, second) = difference.overflowing_sub(borrow.into());
        (*digit, borrow) = (difference, first || second);
    }
}

#[cfg(test)]
mod tests;
