//! The one trait through which anything is signed, and the key that lives in this process's memory.
//!
//! Invariants: a signature carries the id that is derived from the key, never one that a caller chose; nothing private is
//! in a `Debug` output or an error; private bytes that leave the cryptographic library are in zeroising buffers.
//! Deliberately absent: RSA (we verify it and never make it), P-384, hardware tokens (they implement the trait in a crate
//! of their own), and any choice of *what* may be signed: that belongs to the callers.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use pkcs8::der::Decode;
use pkcs8::{ObjectIdentifier, PrivateKeyInfoRef};
use trust_tuf::{KeyId, PublicKey, Signature};
use zeroize::Zeroizing;

/// Largest message that is signed, in bytes: the largest role file that is read.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;
/// Largest private key in DER that is read, in bytes.
pub const MAX_PRIVATE_DER_BYTES: usize = 16 * 1024;

const ED25519_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const EC_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

/// Something that signs with one private key, wherever that key is.
pub trait SigningKey: Send + Sync {
    /// The public half.
    fn public(&self) -> &PublicKey;

    /// Signs `message` (at most [`MAX_MESSAGE_BYTES`]) in the encoding of tuf.md section 5: 64 raw bytes for Ed25519, DER
    /// over SHA-256 for P-256. The signature's key id is the one derived from the key.
    fn sign(&self, message: &[u8]) -> Result<Signature, SignError>;
}

/// Why nothing was signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// More than [`MAX_MESSAGE_BYTES`].
    #[error("a message of more than {MAX_MESSAGE_BYTES} bytes is not signed")]
    MessageTooLong,
    /// The cryptographic library or the device refused.
    #[error("the key refused to sign")]
    Refused,
}

/// The kinds of key that we make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032).
    #[default]
    Ed25519,
    /// ECDSA on P-256 with SHA-256.
    P256,
}

impl Algorithm {
    /// The name on the command line and in listings: `ed25519` or `p256`.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Ed25519 => "ed25519",
            Algorithm::P256 => "p256",
        }
    }

    /// Reads the name on the command line.
    pub fn parse(name: &str) -> Option<Algorithm> {
        [Algorithm::Ed25519, Algorithm::P256].into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    /// The kind of a public key, or `None` for kinds that we only verify (RSA, P-384).
    pub fn of(key: &PublicKey) -> Option<Algorithm> {
        match key.scheme() {
            "ed25519" => Some(Algorithm::Ed25519),
            "ecdsa-sha2-nistp256" => Some(Algorithm::P256),
            _ => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

/// A private key in this process's memory (aws-lc-rs). Its memory is overwritten when it is dropped.
pub struct LocalKey {
    pair: Pair,
    public: PublicKey,
    id: KeyId,
}

impl LocalKey {
    /// A new key from the system's random numbers.
    pub fn generate(algorithm: Algorithm) -> Result<LocalKey, PrivateKeyError> {
        match algorithm {
            Algorithm::Ed25519 => {
                LocalKey::from_ed25519(Ed25519KeyPair::generate().map_err(|_| PrivateKeyError::Generation)?)
            }
            Algorithm::P256 => LocalKey::from_p256(
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_| PrivateKeyError::Generation)?,
            ),
        }
    }

    /// Reads an unencrypted PKCS#8 `PrivateKeyInfo` (RFC 5958 version 1 or 2) in DER, without trailing bytes, of at most
    /// [`MAX_PRIVATE_DER_BYTES`]. A public half inside must belong to the private one.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<LocalKey, PrivateKeyError> {
        if der.len() > MAX_PRIVATE_DER_BYTES {
            return Err(PrivateKeyError::Malformed);
        }
        let info = PrivateKeyInfoRef::from_der(der).map_err(|_| PrivateKeyError::Malformed)?;
        let curve = || info.algorithm.parameters.and_then(|parameters| ObjectIdentifier::try_from(parameters).ok());
        match info.algorithm.oid {
            ED25519_OID => LocalKey::from_ed25519(
                Ed25519KeyPair::from_pkcs8(der)
                    .map_err(|_| PrivateKeyError::Rejected { algorithm: Algorithm::Ed25519 })?,
            ),
            EC_OID if curve() == Some(P256_OID) => LocalKey::from_p256(
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der)
                    .map_err(|_| PrivateKeyError::Rejected { algorithm: Algorithm::P256 })?,
            ),
            EC_OID => Err(PrivateKeyError::Unsupported {
                oid: curve().map_or_else(|| "explicit curve".to_owned(), |oid| oid.to_string()),
            }),
            oid => Err(PrivateKeyError::Unsupported { oid: oid.to_string() }),
        }
    }

    /// Reads a SEC1 `ECPrivateKey` (RFC 5915) on P-256 in DER, as in PEM `EC PRIVATE KEY`.
    pub fn from_sec1_der(der: &[u8]) -> Result<LocalKey, PrivateKeyError> {
        if der.len() > MAX_PRIVATE_DER_BYTES {
            return Err(PrivateKeyError::Malformed);
        }
        LocalKey::from_p256(
            EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, der)
                .map_err(|_| PrivateKeyError::Rejected { algorithm: Algorithm::P256 })?,
        )
    }

    /// The key as unencrypted PKCS#8 version 1 in DER: the form that every other tool reads.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, PrivateKeyError> {
        let document = match &self.pair {
            Pair::Ed25519(pair) => pair.to_pkcs8v1(),
            Pair::P256(pair) => pair.to_pkcs8v1(),
        };
        let document = document.map_err(|_| PrivateKeyError::Export)?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// The kind of this key.
    pub fn algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Ed25519(_) => Algorithm::Ed25519,
            Pair::P256(_) => Algorithm::P256,
        }
    }

    /// The id derived from the public half.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    fn from_ed25519(pair: Ed25519KeyPair) -> Result<LocalKey, PrivateKeyError> {
        let public = PublicKey::ed25519(pair.public_key().as_ref())
            .map_err(|_| PrivateKeyError::Rejected { algorithm: Algorithm::Ed25519 })?;
        let id = public.id();
        Ok(LocalKey { pair: Pair::Ed25519(pair), public, id })
    }

    fn from_p256(pair: EcdsaKeyPair) -> Result<LocalKey, PrivateKeyError> {
        let rejected = PrivateKeyError::Rejected { algorithm: Algorithm::P256 };
        let public = PublicKey::p256_from_sec1(pair.public_key().as_ref()).map_err(|_| rejected)?;
        let id = public.id();
        Ok(LocalKey { pair: Pair::P256(pair), public, id })
    }
}

impl SigningKey for LocalKey {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, SignError> {
        if message.len() > MAX_MESSAGE_BYTES {
            return Err(SignError::MessageTooLong);
        }
        let signature = match &self.pair {
            Pair::Ed25519(pair) => pair.try_sign(message),
            Pair::P256(pair) => pair.sign(&SystemRandom::new(), message),
        };
        let signature = signature.map_err(|_| SignError::Refused)?;
        Ok(Signature { keyid: self.id.clone(), sig: signature.as_ref().to_vec() })
    }
}

impl fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey")
            .field("algorithm", &self.algorithm().as_str())
            .field("id", &self.id.as_str())
            .finish_non_exhaustive()
    }
}

/// Why bytes are not a private key of ours. No variant holds any of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrivateKeyError {
    /// Not a PKCS#8 structure, or more than one, or too long.
    #[error("not a PKCS#8 private key")]
    Malformed,
    /// A kind of key that we do not sign with.
    #[error("private keys of kind {oid} are not used; give an Ed25519 or P-256 key")]
    Unsupported {
        /// The object identifier of the algorithm or curve.
        oid: String,
    },
    /// The right kind, but not a valid key, or its halves do not belong together.
    #[error("not a valid {algorithm} private key")]
    Rejected {
        /// The kind.
        algorithm: Algorithm,
    },
    /// The library could not make a key.
    #[error("no key could be generated")]
    Generation,
    /// The library could not write the key.
    #[error("the key cannot be written as PKCS#8")]
    Export,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519_PREFIX: [u8; 16] =
        [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

    fn from_seed(seed: &[u8]) -> LocalKey {
        LocalKey::from_pkcs8_der(&[&ED25519_PREFIX[..], seed].concat()).unwrap()
    }

    fn fixture(name: &str) -> Zeroizing<Vec<u8>> {
        let path = format!("{}/fixtures/INSECURE-FIXTURE-{name}.pem", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        crate::pem::blocks(&text).unwrap().last().unwrap().decode().unwrap()
    }

    #[test]
    fn a_stated_public_half_of_another_key_is_refused() {
        let other = from_seed(&[2; 32]);
        let point =
            hex::decode(other.public().to_value().get("keyval").unwrap().get("public").unwrap().as_str().unwrap());
        let mut der =
            [&[0x30, 0x51, 0x02, 0x01, 0x01][..], &ED25519_PREFIX[5..], &[1; 32], &[0x81, 0x21, 0x00]].concat();
        der.extend_from_slice(&point.unwrap());
        let rejected = Err(PrivateKeyError::Rejected { algorithm: Algorithm::Ed25519 });
        assert_eq!(LocalKey::from_pkcs8_der(&der).map(|_| ()), rejected);

        let mut p256 = fixture("p256-plain");
        let foreign = LocalKey::generate(Algorithm::P256).unwrap().to_pkcs8().unwrap();
        let length = p256.len();
        assert_eq!(foreign.len(), length);
        p256[length - 65..].copy_from_slice(&foreign[length - 65..]);
        let rejected = Err(PrivateKeyError::Rejected { algorithm: Algorithm::P256 });
        assert_eq!(LocalKey::from_pkcs8_der(&p256).map(|_| ()), rejected);
    }

    #[test]
    fn other_kinds_of_key_are_refused_by_their_name() {
        for (name, oid) in [("rsa-plain", "1.2.840.113549.1.1.1"), ("p384-plain", "1.3.132.0.34")] {
            let error = LocalKey::from_pkcs8_der(&fixture(name)).unwrap_err();
            assert_eq!(error, PrivateKeyError::Unsupported { oid: oid.into() });
        }
    }

    #[test]
    fn truncated_extended_and_oversized_keys_are_refused() {
        for name in ["ed25519-plain", "p256-plain"] {
            let der = fixture(name);
            LocalKey::from_pkcs8_der(&der).unwrap();
            for length in 0..der.len() {
                assert!(LocalKey::from_pkcs8_der(&der[..length]).is_err(), "{name} {length}");
            }
            let longer = [&der[..], &[0]].concat();
            assert_eq!(LocalKey::from_pkcs8_der(&longer).unwrap_err(), PrivateKeyError::Malformed);
        }
        let large = vec![0x30; MAX_PRIVATE_DER_BYTES + 1];
        assert_eq!(LocalKey::from_pkcs8_der(&large).unwrap_err(), PrivateKeyError::Malformed);
        assert_eq!(LocalKey::from_sec1_der(&large).unwrap_err(), PrivateKeyError::Malformed);
        let sec1 = fixture("p256-sec1");
        for length in 0..sec1.len() {
            assert!(LocalKey::from_sec1_der(&sec1[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_p256_scalar_of_zero_or_not_below_the_order_is_refused() {
        let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
        for scalar in [vec![0u8; 32], order, vec![0xff; 32]] {
            let mut der = fixture("p256-plain");
            let position = der.windows(3).position(|window| window == [0x01, 0x04, 0x20]).unwrap() + 3;
            der[position..position + 32].copy_from_slice(&scalar);
            assert!(LocalKey::from_pkcs8_der(&der).is_err());
        }
    }

    #[test]
    fn a_signature_fits_neither_another_message_nor_another_key() {
        for algorithm in [Algorithm::Ed25519, Algorithm::P256] {
            let key = LocalKey::generate(algorithm).unwrap();
            let other = LocalKey::generate(algorithm).unwrap();
            let signature = key.sign(b"message").unwrap();
            assert_eq!(&signature.keyid, &key.public().id());
            assert!(key.public().verify(b"message", &signature.sig), "{algorithm}");
            assert!(!key.public().verify(b"massage", &signature.sig));
            assert!(!other.public().verify(b"message", &signature.sig));
            assert_ne!(key.id(), other.id());
        }
    }

    #[test]
    fn rfc_8032_vectors() {
        for (seed, point, message, expected) in [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                "72",
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
        ] {
            let key = from_seed(&hex::decode(seed).unwrap());
            assert_eq!(key.public(), &PublicKey::ed25519(&hex::decode(point).unwrap()).unwrap());
            let signature = key.sign(&hex::decode(message).unwrap()).unwrap();
            assert_eq!(hex::encode(signature.sig), expected);
        }
    }

    #[test]
    fn key_id_and_signature_of_the_reference_timestamp() {
        let key = from_seed(&[1; 32]);
        assert_eq!(key.id().as_str(), "7ab6b86cb2c9684b0ddc10896153aa2595decf4d4327a5ff1a8ab7422c828b12");
        let message = br#"{"_type":"timestamp","expires":"2030-01-01T00:00:00Z","meta":{"snapshot.json":{"version":1}},"spec_version":"1.0.31","version":1}"#;
        let signature = key.sign(message).unwrap();
        assert_eq!(signature.keyid.as_str(), key.id().as_str());
        assert_eq!(
            hex::encode(signature.sig),
            "fe2ccf049f8890d418ec948e11ac956b992333058d5a9e0001f2235f94608398183461ef2133836e9e36c176058049b6f6246c81eb9bf44f6beb646e39134607"
        );
    }

    #[test]
    fn a_message_over_the_limit_is_not_signed() {
        let key = from_seed(&[1; 32]);
        assert_eq!(key.sign(&vec![0; MAX_MESSAGE_BYTES + 1]), Err(SignError::MessageTooLong));
    }

    #[test]
    fn a_key_survives_pkcs8_and_sec1_and_pkcs8_of_openssl_agree() {
        for algorithm in [Algorithm::Ed25519, Algorithm::P256] {
            let key = LocalKey::generate(algorithm).unwrap();
            let again = LocalKey::from_pkcs8_der(&key.to_pkcs8().unwrap()).unwrap();
            assert_eq!(again.id(), key.id());
            assert_eq!(again.algorithm(), algorithm);
            assert_eq!(Algorithm::of(key.public()), Some(algorithm));
            assert_eq!(Algorithm::parse(algorithm.as_str()), Some(algorithm));
        }
        let pkcs8 = LocalKey::from_pkcs8_der(&fixture("p256-plain")).unwrap();
        let sec1 = LocalKey::from_sec1_der(&fixture("p256-sec1")).unwrap();
        assert_eq!(pkcs8.id(), sec1.id());
    }

    #[test]
    fn debug_output_shows_no_private_bytes() {
        let text = format!("{:?}", from_seed(&[0xab; 32]));
        assert!(text.contains("ed25519") && !text.contains("abab") && !text.contains("171, 171"), "{text}");
    }
}
