//! The keys of `testdata/` were made for these tests with `ssh-keygen` and `openssl genpkey`; nothing trusts them.

use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

use super::*;

const MESSAGE: &[u8] = b"what a client wants to have signed";

macro_rules! testdata {
    ($name:literal) => {
        include_str!(concat!("../testdata/", $name))
    };
}

fn parsed(text: &str) -> PrivateKey {
    PrivateKey::parse(text.as_bytes()).unwrap()
}

fn refused(text: &str) -> String {
    PrivateKey::parse(text.as_bytes()).unwrap_err().to_string()
}

/// The name and the bytes of a signature.
fn signature(key: &PrivateKey, flags: u32) -> (String, Vec<u8>) {
    let blob = key.sign(MESSAGE, flags).unwrap();
    let mut fields = Reader(&blob);
    let (name, bytes) = (fields.string().unwrap(), fields.string().unwrap());
    assert!(fields.0.is_empty());
    (String::from_utf8(name.to_vec()).unwrap(), bytes.to_vec())
}

fn fields<const N: usize>(blob: &[u8]) -> [&[u8]; N] {
    let mut fields = Reader(blob);
    std::array::from_fn(|_| fields.string().unwrap())
}

#[test]
fn public_halves_are_those_that_ssh_keygen_derives() {
    for (private, public) in [
        (testdata!("ed25519"), testdata!("ed25519.pub")),
        (testdata!("ecdsa-256"), testdata!("ecdsa-256.pub")),
        (testdata!("ecdsa-384"), testdata!("ecdsa-384.pub")),
        (testdata!("ecdsa-256-pkcs8"), testdata!("ecdsa-256-pkcs8.pub")),
        (testdata!("rsa"), testdata!("rsa.pub")),
        (testdata!("rsa-pem"), testdata!("rsa-pem.pub")),
        (testdata!("rsa-pkcs8"), testdata!("rsa-pkcs8.pub")),
    ] {
        assert_eq!(STANDARD.encode(parsed(private).blob()), public.trim_end());
    }
}

#[test]
fn ed25519_signs() {
    for text in [testdata!("ed25519"), testdata!("ed25519-pkcs8")] {
        let key = parsed(text);
        let (name, bytes) = signature(&key, 0);
        let [key_type, public] = fields(key.blob());
        assert_eq!((name.as_bytes(), key_type), (&b"ssh-ed25519"[..], &b"ssh-ed25519"[..]));
        UnparsedPublicKey::new(&ED25519, public).verify(MESSAGE, &bytes).unwrap();
    }
}

#[test]
fn ecdsa_signs() {
    let algorithms: [(&str, &str, &dyn VerificationAlgorithm, usize); 3] = [
        (testdata!("ecdsa-256"), "ecdsa-sha2-nistp256", &ECDSA_P256_SHA256_FIXED, 32),
        (testdata!("ecdsa-256-pkcs8"), "ecdsa-sha2-nistp256", &ECDSA_P256_SHA256_FIXED, 32),
        (testdata!("ecdsa-384"), "ecdsa-sha2-nistp384", &ECDSA_P384_SHA384_FIXED, 48),
    ];
    for (text, expected_name, algorithm, n_scalar_bytes) in algorithms {
        let key = parsed(text);
        // Often enough to meet numbers with a first bit, and with leading zeros.
        for _ in 0..64 {
            let (name, bytes) = signature(&key, 0);
            assert_eq!(name, expected_name);
            let mut numbers = Reader(&bytes);
            let pair = [numbers.number().unwrap(), numbers.number().unwrap()];
            let fixed = pair.map(|number| [&vec![0; n_scalar_bytes - number.len()], number].concat()).concat();
            let [_, _, public] = fields(key.blob());
            UnparsedPublicKey::new(algorithm, public).verify(MESSAGE, &fixed).unwrap();
        }
    }
}

#[test]
fn rsa_signs_with_sha2_alone() {
    for text in [testdata!("rsa"), testdata!("rsa-pem"), testdata!("rsa-pkcs8")] {
        let key = parsed(text);
        let [_, e, n] = fields(key.blob());
        let public = RsaPublicKeyComponents { n: n.strip_prefix(&[0]).unwrap_or(n), e };
        for (flags, expected_name, algorithm) in [
            (RSA_SHA2_256, "rsa-sha2-256", &RSA_PKCS1_2048_8192_SHA256),
            (RSA_SHA2_512, "rsa-sha2-512", &RSA_PKCS1_2048_8192_SHA512),
        ] {
            let (name, bytes) = signature(&key, flags);
            assert_eq!(name, expected_name);
            public.verify(algorithm, MESSAGE, &bytes).unwrap();
        }
        assert!(key.sign(MESSAGE, 0).is_none(), "that would be SHA-1");
    }
}

#[test]
fn what_is_no_usable_key_says_so() {
    for text in ["", "junk", "ssh-ed25519 AAAA comment", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"] {
        assert_eq!(refused(text), "ssh: no key found");
    }
    for text in [testdata!("encrypted"), testdata!("encrypted-pem")] {
        assert!(refused(text).starts_with("ssh: this private key is passphrase protected; "));
    }
    assert!(refused(testdata!("ecdsa-521")).starts_with("keys of type `ecdsa-sha2-nistp521` can only be used through"));
    let ed25519 = testdata!("ed25519");
    assert_eq!(refused(&ed25519.replacen("b3BlbnNza", "b3BlbnNzb", 1)), "the key is cut off or damaged");
    assert_eq!(refused(&ed25519.replacen("b3Bl", "*", 1)), "the key is cut off or damaged");
}

#[test]
fn a_key_that_is_cut_off_anywhere_is_refused() {
    for text in [testdata!("ed25519"), testdata!("ecdsa-256"), testdata!("rsa")] {
        let Pem { bytes, .. } = Pem::find(text.as_bytes()).unwrap();
        for length in 0..bytes.len() {
            assert!(openssh(&bytes[..length]).is_err(), "{length} of {}", bytes.len());
        }
    }
}

#[test]
fn remainders() {
    for (number, modulus, expected) in [(0_u64, 7, 0), (6, 7, 6), (7, 7, 0), (1 << 40, 1_000_003, 329_252)] {
        let rest = remainder(&number.to_be_bytes(), &u32::to_be_bytes(modulus));
        let value = rest.iter().fold(0_u64, |value, digit| value << 8 | u64::from(*digit));
        assert_eq!((value, number % u64::from(modulus)), (expected, expected), "{number} % {modulus}");
    }
}
