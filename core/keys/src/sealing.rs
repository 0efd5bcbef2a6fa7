//! Sealing of secrets at rest in the signer's own store: scrypt (RFC 7914) makes a key, AES-256-GCM seals with it.
//!
//! Sealed form: one byte of format version (1), 12 bytes of random nonce, ciphertext, 16 bytes of tag. The version byte is
//! authenticated together with the caller's associated data, which must name what the secret is (collection, role, key id),
//! so that a sealed value cannot be moved to another place. Every failure to open is one error: wrong passphrase, wrong
//! place and damage cannot be told apart, and shall not be. Deliberately absent: the place where salt and cost are kept
//! (the store's), and rotation of the passphrase (open, then seal anew).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::cost::{MAX_LOG_N, MIN_LOG_N};
use crate::passphrase::Passphrase;

/// Largest secret that is sealed, in bytes.
pub const MAX_PLAINTEXT_BYTES: usize = 64 * 1024;
/// Largest associated data, in bytes.
pub const MAX_AAD_BYTES: usize = 4096;
/// Length of the salt of [`SealingKey::derive`], in bytes.
pub const SALT_BYTES: usize = 16;

const FORMAT_VERSION: u8 = 1;
const TAG_BYTES: usize = 16;
/// scrypt's block size and parallelism here; the cost is in N alone.
const R: u32 = 8;
const P: u32 = 1;

/// A key that seals and opens; made from a passphrase, never stored.
///
/// One key seals far fewer than 2³² values (online keys of collections), so random nonces are safe.
pub struct SealingKey(LessSafeKey);

impl SealingKey {
    /// scrypt with N = 2^`log_n`, r = 8, p = 1. `log_n` from [`MIN_LOG_N`] to [`MAX_LOG_N`]: 17 takes 128 MiB and about
    /// 0.4 s, 14 is for `--dev` and tests.
    pub fn derive(passphrase: &Passphrase, salt: &[u8; SALT_BYTES], log_n: u8) -> Result<SealingKey, SealError> {
        if !(MIN_LOG_N..=MAX_LOG_N).contains(&log_n) {
            return Err(SealError::Cost { log_n });
        }
        let parameters = scrypt::Params::new(log_n, R, P).map_err(|_| SealError::Cost { log_n })?;
        let mut key = Zeroizing::new([0u8; 32]);
        scrypt::scrypt(passphrase.expose(), salt, &parameters, key.as_mut_slice()).map_err(|_| SealError::Provider)?;
        let key = UnboundKey::new(&AES_256_GCM, key.as_slice()).map_err(|_| SealError::Provider)?;
        Ok(SealingKey(LessSafeKey::new(key)))
    }

    /// A new random salt for [`SealingKey::derive`]; keep it beside the sealed values.
    pub fn fresh_salt() -> Result<[u8; SALT_BYTES], SealError> {
        let mut salt = [0u8; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|_| SealError::Random)?;
        Ok(salt)
    }

    /// Seals `plaintext` (at most [`MAX_PLAINTEXT_BYTES`]) for the place that `aad` names (at most [`MAX_AAD_BYTES`]).
    pub fn seal(&self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        if plaintext.len() > MAX_PLAINTEXT_BYTES || aad.len() > MAX_AAD_BYTES {
            return Err(SealError::TooLong);
        }
        let mut nonce = [0u8; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| SealError::Random)?;
        // The whole length at once: growing would leave a copy of the plaintext behind.
        let mut body = Zeroizing::new(Vec::with_capacity(plaintext.len() + TAG_BYTES));
        body.extend_from_slice(plaintext);
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(versioned(aad)), &mut *body)
            .map_err(|_| SealError::Provider)?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + body.len());
        sealed.push(FORMAT_VERSION);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&body);
        Ok(sealed)
    }

    /// Opens what [`SealingKey::seal`] made under the same key and `aad`.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        if sealed.len() > 1 + NONCE_LEN + MAX_PLAINTEXT_BYTES + TAG_BYTES || aad.len() > MAX_AAD_BYTES {
            return Err(SealError::NotOpened);
        }
        let (version, rest) = sealed.split_first().ok_or(SealError::NotOpened)?;
        if *version != FORMAT_VERSION {
            return Err(SealError::NotOpened);
        }
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::NotOpened)?;
        let mut buffer = Zeroizing::new(body.to_vec());
        let length = self
            .0
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(versioned(aad)), buffer.as_mut_slice())
            .map_err(|_| SealError::NotOpened)?
            .len();
        buffer.truncate(length);
        Ok(buffer)
    }
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey(hidden)")
    }
}

fn versioned(aad: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(aad.len() + 1);
    bytes.push(FORMAT_VERSION);
    bytes.extend_from_slice(aad);
    bytes
}

/// Why something was not sealed or not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// Wrong passphrase, sealed for another place, or damaged.
    #[error("the sealed value does not open: wrong passphrase, another place, or damaged")]
    NotOpened,
    /// The cost is outside the allowed range.
    #[error("scrypt cost 2^{log_n} is outside 2^{MIN_LOG_N} to 2^{MAX_LOG_N}")]
    Cost {
        /// The exponent that was asked for.
        log_n: u8,
    },
    /// Plaintext or associated data over the limit.
    #[error("too long to be sealed")]
    TooLong,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// The cryptographic library refused.
    #[error("the cryptographic library refused")]
    Provider,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: [u8; SALT_BYTES] = [7; SALT_BYTES];

    fn key(passphrase: &str) -> SealingKey {
        SealingKey::derive(&Passphrase::new(passphrase).unwrap(), &SALT, MIN_LOG_N).unwrap()
    }

    #[test]
    fn a_wrong_passphrase_salt_place_or_any_changed_byte_gives_the_one_error() {
        let right = key("right");
        let sealed = right.seal(b"collection|timestamp", b"private bytes").unwrap();
        assert_eq!(key("wrong").open(b"collection|timestamp", &sealed), Err(SealError::NotOpened));
        let other_salt = SealingKey::derive(&Passphrase::new("right").unwrap(), &[8; SALT_BYTES], MIN_LOG_N).unwrap();
        assert_eq!(other_salt.open(b"collection|timestamp", &sealed), Err(SealError::NotOpened));
        assert_eq!(right.open(b"collection|snapshot", &sealed), Err(SealError::NotOpened));
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 0x40;
            assert_eq!(right.open(b"collection|timestamp", &changed), Err(SealError::NotOpened), "byte {index}");
        }
        for length in 0..sealed.len() {
            assert_eq!(right.open(b"collection|timestamp", &sealed[..length]), Err(SealError::NotOpened));
        }
        assert_eq!(&**right.open(b"collection|timestamp", &sealed).unwrap(), b"private bytes");
    }

    #[test]
    fn the_same_value_sealed_twice_differs() {
        let key = key("k");
        assert_ne!(key.seal(b"", b"same").unwrap(), key.seal(b"", b"same").unwrap());
        assert_ne!(SealingKey::fresh_salt().unwrap(), SealingKey::fresh_salt().unwrap());
    }

    #[test]
    fn a_cost_below_the_floor_or_above_the_ceiling_is_refused() {
        let passphrase = Passphrase::new("p").unwrap();
        for log_n in [0, 1, MIN_LOG_N - 1, MAX_LOG_N + 1, 63, 64, 255] {
            assert_eq!(SealingKey::derive(&passphrase, &SALT, log_n).unwrap_err(), SealError::Cost { log_n });
        }
    }

    #[test]
    fn what_is_over_the_limits_is_refused() {
        let key = key("k");
        assert_eq!(key.seal(b"", &vec![0; MAX_PLAINTEXT_BYTES + 1]), Err(SealError::TooLong));
        assert_eq!(key.seal(&vec![0; MAX_AAD_BYTES + 1], b""), Err(SealError::TooLong));
        let largest = key.seal(&vec![0; MAX_AAD_BYTES], &vec![1; MAX_PLAINTEXT_BYTES]).unwrap();
        assert_eq!(key.open(&vec![0; MAX_AAD_BYTES], &largest).unwrap().len(), MAX_PLAINTEXT_BYTES);
        assert!(key.open(b"", &key.seal(b"", b"").unwrap()).unwrap().is_empty());
    }
}
