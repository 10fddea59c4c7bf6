//! Functions of secrets: passwords hashed for servers, and texts that a private key opens.

use base64::Engine as _;
use base64::alphabet::BCRYPT;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{NO_PAD, STANDARD};
use blowfish::Blowfish;
use crypto_bigint::BoxedUint;
use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};

use super::{Answer, Function, fixed, number, str_of, text, variadic, whole};
use crate::diagnostic::Span;
use crate::program::Program;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    variadic("bcrypt", &[text("str")], number("cost"), bcrypt),
    fixed("rsadecrypt", &[text("ciphertext"), text("privatekey")], rsa_decrypt),
];

const DEFAULT_COST: i64 = 10;
const MAX_PASSWORD_BYTES: usize = 72;
/// What one round counts for, so that a definition cannot ask for hours of work.
const WORK_PER_ROUND: u64 = 1 << 10;

/// A hash as password files have it; a lower cost than 4 stands for the usual one.
fn bcrypt(a: &[Value], program: &Program<'_>) -> Answer {
    let cost = if a.len() > 1 { whole(a, 1)? } else { DEFAULT_COST };
    if a.len() > 2 {
        return Err("bcrypt() takes no more than two arguments".into());
    }
    let password = str_of(&a[0]);
    let refused = |problem: String| Err(format!("error occured generating password {problem}").into());
    if password.len() > MAX_PASSWORD_BYTES {
        return refused(format!("bcrypt: password length exceeds {MAX_PASSWORD_BYTES} bytes"));
    }
    let cost = if cost < 4 { DEFAULT_COST } else { cost };
    if cost > 31 {
        return refused(format!("crypto/bcrypt: cost {cost} is outside allowed inclusive range 4..31"));
    }
    program.charge(WORK_PER_ROUND << cost, Span::default()).map_err(|_| "the cost is too high for a definition")?;
    Ok(Value::string(hashed(password.as_bytes(), cost as u32, (program.inputs.random)())))
}

/// The variant `2a`: the key ends with a zero byte, and has at most 72 bytes of it.
fn hashed(password: &[u8], cost: u32, salt: [u8; 16]) -> String {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(&BCRYPT, NO_PAD);
    const MESSAGE: &[u8; 24] = b"OrpheanBeholderScryDoubt";
    let mut key = [password, &[0]].concat();
    key.truncate(MAX_PASSWORD_BYTES);
    let mut cipher = Blowfish::bc_init_state();
    cipher.salted_expand_key(&salt, &key);
    for _ in 0..1u32 << cost {
        cipher.bc_expand_key(&key);
        cipher.bc_expand_key(&salt);
    }
    let mut hash = Vec::with_capacity(MESSAGE.len());
    for block in MESSAGE.chunks_exact(8) {
        let word = |at: usize| u32::from_be_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
        let encrypted = (0..64).fold([word(0), word(4)], |words, _| cipher.bc_encrypt(words));
        hash.extend(encrypted.into_iter().flat_map(u32::to_be_bytes));
    }
    // The last byte has never been part of it.
    format!("$2a${cost:02}${}{}", ENGINE.encode(salt), ENGINE.encode(&hash[..23]))
}

/// RFC 8017 section 7.2.2: `RSAES-PKCS1-v1_5`.
fn rsa_decrypt(a: &[Value], _: &Program<'_>) -> Answer {
    let (given, key) = (str_of(&a[0]), str_of(&a[1]));
    let encrypted = STANDARD.decode(given);
    let encrypted =
        encrypted.map_err(|_| format!("failed to decode input {given:?}: cipher text must be base64-encoded"))?;
    let key = PrivateKey::from_pem(key)?;
    let message = key.open(&encrypted).ok_or("crypto/rsa: decryption error")?;
    Ok(Value::string(String::from_utf8_lossy(&message)))
}

/// The numbers that opening a message needs.
struct PrivateKey {
    modulus: BoxedUint,
    exponent: BoxedUint,
    n_bytes: usize,
}

impl PrivateKey {
    /// RFC 8017 appendix A.1.2, in the armour of RFC 7468.
    fn from_pem(text: &str) -> Result<PrivateKey, String> {
        const INVALID: &str = "failed to parse key: it is no private key in PKCS #1 form";
        let body = text.split_once("-----BEGIN ").and_then(|(_, rest)| {
            let (label, rest) = rest.split_once("-----")?;
            rest.split_once(&format!("-----END {label}-----")).map(|(body, _)| body)
        });
        let body = body.ok_or("failed to parse key: no key found")?;
        if body.contains("Proc-Type: 4,ENCRYPTED") {
            let problem = "failed to parse key: password protected keys are not supported. Please decrypt the key \
                           prior to use.";
            return Err(problem.to_owned());
        }
        let body: String = body.split_whitespace().collect();
        let bytes = STANDARD.decode(body).map_err(|_| "failed to parse key: no key found")?;
        let (numbers, _) = element(&bytes, 0x30).ok_or(INVALID)?;
        // Version, modulus, public exponent, private exponent.
        let mut rest = numbers;
        let mut integers = Vec::new();
        for _ in 0..4 {
            let (integer, after) = element(rest, 2).ok_or(INVALID)?;
            integers.push(integer);
            rest = after;
        }
        let significant = |bytes: &[u8]| bytes[bytes.iter().take_while(|byte| **byte == 0).count()..].to_vec();
        let modulus = significant(integers[1]);
        if modulus.last().is_none_or(|last| last % 2 == 0) {
            return Err(INVALID.to_owned());
        }
        let number = |bytes: &[u8]| BoxedUint::from_be_slice_vartime(bytes);
        Ok(PrivateKey { modulus: number(&modulus), exponent: number(integers[3]), n_bytes: modulus.len() })
    }

    /// What `encrypted` says, without what it was filled up with.
    fn open(&self, encrypted: &[u8]) -> Option<Vec<u8>> {
        let params = BoxedMontyParams::new(self.modulus.to_odd().into_option()?);
        if encrypted.len() != self.n_bytes {
            return None;
        }
        let sealed = BoxedUint::from_be_slice(encrypted, self.modulus.bits_precision()).ok()?;
        if sealed >= self.modulus {
            return None;
        }
        let opened = BoxedMontyForm::new(sealed, &params).pow(&self.exponent).retrieve().to_be_bytes();
        let padded = opened.get(opened.len().checked_sub(self.n_bytes)?..)?;
        let filled = padded.strip_prefix(&[0, 2])?;
        let n_filling = filled.iter().position(|byte| *byte == 0).filter(|n_filling| *n_filling >= 8)?;
        Some(filled[n_filling + 1..].to_vec())
    }
}

/// The content of the DER element that `bytes` begin with, which must have this tag, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_at_checked(2)?;
    let (n_bytes, rest) = match head[1] {
        n if n < 0x80 => (usize::from(n), rest),
        n => {
            let (digits, rest) =
                rest.split_at_checked(usize::from(n & 0x7f)).filter(|(digits, _)| digits.len() <= 4)?;
            (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
        }
    };
    rest.split_at_checked(n_bytes).filter(|_| head[0] == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hashes() {
        // Of jBCrypt's own tests.
        let salt = [0x14, 0x4b, 0x3d, 0x69, 0x1a, 0x7b, 0x4e, 0xcf, 0x39, 0xcf, 0x73, 0x5c, 0x7f, 0xa7, 0xa7, 0x9c];
        assert_eq!(hashed(b"", 6, salt), "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.");
    }

    #[test]
    fn elements_that_end_early_are_none() {
        assert_eq!(element(&[2, 1, 5, 9], 2), Some((&[5][..], &[9][..])));
        assert_eq!(element(&[2, 0x81, 1, 5], 2), Some((&[5][..], &[][..])));
        for broken in [&[][..], &[2], &[2, 2, 1], &[2, 0x85, 0, 0, 0, 0, 1], &[0x30, 1, 5]] {
            assert_eq!(element(broken, 2), None);
        }
    }
}
