//! Content digests: `sha256:` and `sha512:` with lower-case hex, and nothing else.
//!
//! Invariant: a `Digest` value always holds the right number of bytes for its algorithm, and its text form is the one
//! spelling that this project knows (no upper case, no other algorithm), so equal digests are equal strings.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest as provider;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest text of a digest in bytes (`sha512:` and 128 hex digits).
pub const MAX_DIGEST_LEN: usize = 7 + 128;

/// A content digest (OCI image specification, "Digests").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    /// SHA-256, the digest that everybody uses.
    Sha256([u8; 32]),
    /// SHA-512, registered by the specification and rare.
    Sha512([u8; 64]),
}

/// Hashes content that comes in pieces; see [`Digest::hasher`].
pub struct Hasher {
    context: provider::Context,
    like: Digest,
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").field("algorithm", &self.like.algorithm()).finish_non_exhaustive()
    }
}

impl Hasher {
    /// Adds the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// The digest of all pieces in their order.
    pub fn finish(self) -> Digest {
        let hash = self.context.finish();
        let mut digest = self.like;
        let out: &mut [u8] = match &mut digest {
            Digest::Sha256(bytes) => bytes,
            Digest::Sha512(bytes) => bytes,
        };
        out.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
        digest
    }
}

/// Why a text is not a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no `:` between algorithm and hex.
    #[error("a digest is ALGORITHM:HEX")]
    NoSeparator,
    /// The algorithm is not `sha256` or `sha512`.
    #[error("the digest algorithm is not supported (sha256 or sha512)")]
    UnknownAlgorithm,
    /// The number of hex digits is not that of the algorithm.
    #[error("the digest has {got} hex digits instead of {expected}")]
    WrongLength {
        /// Digits that the algorithm has: 64 or 128.
        expected: usize,
        /// Characters that were given.
        got: usize,
    },
    /// A character is not one of `0-9a-f`; upper case is refused, it would be a second spelling.
    #[error("a digest is written in lower-case hex")]
    NotLowerHex,
}

impl Digest {
    /// Parses `sha256:` + 64 or `sha512:` + 128 lower-case hex digits.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let (algorithm, digits) = text.split_once(':').ok_or(DigestError::NoSeparator)?;
        match algorithm {
            "sha256" => Ok(Digest::Sha256(lower_hex(digits)?)),
            "sha512" => Ok(Digest::Sha512(lower_hex(digits)?)),
            _ => Err(DigestError::UnknownAlgorithm),
        }
    }

    /// The SHA-256 digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut out = [0u8; 32];
        fill(&mut out, &provider::SHA256, bytes);
        Digest::Sha256(out)
    }

    /// The digest of these bytes by the algorithm of `self`: what `self` would be if it named `bytes`.
    pub fn of_same_algorithm(&self, bytes: &[u8]) -> Self {
        match self {
            Digest::Sha256(_) => Digest::of(bytes),
            Digest::Sha512(_) => {
                let mut out = [0u8; 64];
                fill(&mut out, &provider::SHA512, bytes);
                Digest::Sha512(out)
            }
        }
    }

    /// A hasher of the algorithm of `self`, for content that comes in pieces.
    pub fn hasher(&self) -> Hasher {
        let algorithm = match self {
            Digest::Sha256(_) => &provider::SHA256,
            Digest::Sha512(_) => &provider::SHA512,
        };
        Hasher { context: provider::Context::new(algorithm), like: *self }
    }

    /// Whether these bytes have this digest.
    pub fn verify(&self, bytes: &[u8]) -> bool {
        self.of_same_algorithm(bytes) == *self
    }

    /// `sha256` or `sha512`.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Digest::Sha256(_) => "sha256",
            Digest::Sha512(_) => "sha512",
        }
    }

    /// The lower-case hex digits without the algorithm.
    pub fn hex(&self) -> String {
        hex::encode(self.as_bytes())
    }

    /// The raw hash: 32 or 64 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Digest::Sha256(bytes) => bytes,
            Digest::Sha512(bytes) => bytes,
        }
    }

    /// The SHA-256 hash, if that is the algorithm; TUF targets are matched by it.
    pub fn sha256(&self) -> Option<[u8; 32]> {
        match self {
            Digest::Sha256(bytes) => Some(*bytes),
            Digest::Sha512(_) => None,
        }
    }
}

fn fill(out: &mut [u8], algorithm: &'static provider::Algorithm, bytes: &[u8]) {
    let hash = provider::digest(algorithm, bytes);
    for (to, from) in out.iter_mut().zip(hash.as_ref()) {
        *to = *from;
    }
}

fn lower_hex<const N: usize>(digits: &str) -> Result<[u8; N], DigestError> {
    let expected = N * 2;
    if digits.len() != expected {
        return Err(DigestError::WrongLength { expected, got: digits.chars().count() });
    }
    if !digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(DigestError::NotLowerHex);
    }
    let mut out = [0u8; N];
    hex::decode_to_slice(digits, &mut out).map_err(|_| DigestError::NotLowerHex)?;
    Ok(out)
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Written with every decision, several times: in one piece.
        let mut digits = [0u8; 128];
        let bytes = self.as_bytes();
        let digits = digits.get_mut(..bytes.len() * 2).unwrap_or_default();
        hex::encode_to_slice(bytes, digits).map_err(|_| fmt::Error)?;
        f.write_str(self.algorithm())?;
        f.write_str(":")?;
        f.write_str(std::str::from_utf8(digits).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        Digest::parse(text)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Digest::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn what_is_not_a_digest_is_refused_with_its_reason() {
        let up = EMPTY.to_uppercase().replace("SHA256", "sha256");
        let table: &[(&str, DigestError)] = &[
            ("", DigestError::NoSeparator),
            ("sha256", DigestError::NoSeparator),
            ("sha256:", DigestError::WrongLength { expected: 64, got: 0 }),
            ("sha256:abcd", DigestError::WrongLength { expected: 64, got: 4 }),
            (&format!("{EMPTY}0"), DigestError::WrongLength { expected: 64, got: 65 }),
            (&format!(" {EMPTY}"), DigestError::UnknownAlgorithm),
            (&format!("{EMPTY}\n"), DigestError::WrongLength { expected: 64, got: 65 }),
            (&up, DigestError::NotLowerHex),
            (&EMPTY.replace('e', "g"), DigestError::NotLowerHex),
            (&EMPTY.replace("sha256", "SHA256"), DigestError::UnknownAlgorithm),
            (&EMPTY.replace("sha256", "sha384"), DigestError::UnknownAlgorithm),
            (&EMPTY.replace("sha256", "md5"), DigestError::UnknownAlgorithm),
            (&EMPTY.replace("sha256", "sha256+b64"), DigestError::UnknownAlgorithm),
            (&EMPTY.replace("sha256", "sha512"), DigestError::WrongLength { expected: 128, got: 64 }),
        ];
        for (text, reason) in table {
            assert_eq!(Digest::parse(text), Err(*reason), "{text:?}");
        }
        // 64 bytes, but not 64 ASCII digits
        let wide = format!("sha256:{}", "é".repeat(32));
        assert_eq!(Digest::parse(&wide), Err(DigestError::NotLowerHex));
    }

    #[test]
    fn changed_content_does_not_verify() {
        let digest = Digest::of(b"manifest");
        assert!(digest.verify(b"manifest"));
        assert!(!digest.verify(b"manifest "));
        assert!(!digest.verify(b""));
    }

    #[test]
    fn pieces_have_the_digest_of_the_whole() {
        for whole in [Digest::of(b"abc"), Digest::Sha512([0; 64]).of_same_algorithm(b"abc")] {
            let mut hasher = whole.hasher();
            ["a", "", "bc"].iter().for_each(|piece| hasher.update(piece.as_bytes()));
            assert_eq!(hasher.finish(), whole);
            assert_ne!(whole.hasher().finish(), whole);
        }
    }

    #[test]
    fn known_answers_of_both_algorithms() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        let abc = "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                   2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
        let digest = Digest::parse(abc).unwrap();
        assert!(digest.verify(b"abc"));
        assert!(!digest.verify(b"abd"));
        assert_eq!(digest.to_string(), abc);
        assert_eq!(digest.sha256(), None);
    }

    #[test]
    fn serde_takes_only_the_one_spelling() {
        let json = format!("\"{EMPTY}\"");
        let digest: Digest = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&digest).unwrap(), json);
        assert!(serde_json::from_str::<Digest>(&json.to_uppercase()).is_err());
        assert!(serde_json::from_str::<Digest>("5").is_err());
    }

    proptest! {
        #[test]
        fn text_round_trips(bytes in any::<[u8; 32]>(), more in any::<[u8; 32]>()) {
            let mut long = [0u8; 64];
            long[..32].copy_from_slice(&bytes);
            long[32..].copy_from_slice(&more);
            for digest in [Digest::Sha256(bytes), Digest::Sha512(long)] {
                prop_assert_eq!(Digest::parse(&digest.to_string()), Ok(digest));
            }
        }

        #[test]
        fn whatever_parses_prints_back_the_same_text(text in ".{0,150}") {
            if let Ok(digest) = Digest::parse(&text) {
                prop_assert_eq!(digest.to_string(), text);
            }
        }
    }
}
