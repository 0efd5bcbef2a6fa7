//! The public half of keys: reading, ids, and the check of one signature.
//!
//! The algorithm always comes from the trusted key, never from a signature. Two keys are the same key if their material
//! is the same, whatever their ids or their spelling (TAP 12).

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use base64ct::{Base64, Encoding};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;

use crate::edwards::is_on_curve;
use crate::json::Value;

/// The id under which a file lists a key. Opaque on reading; on writing, the SHA-256 of the canonical key in hex.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

impl KeyId {
    /// Any string is an id on reading.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 characters, for people.
    pub fn short(&self) -> &str {
        self.0.char_indices().nth(12).and_then(|(end, _)| self.0.get(..end)).unwrap_or(&self.0)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A signature as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The key that it says it was made with.
    pub keyid: KeyId,
    /// The signature bytes; empty if the file's were not hex.
    pub sig: Vec<u8>,
}

/// Why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A key type or scheme that is not known here, or two that do not fit each other.
    #[error("key type or scheme is not supported: {0}")]
    Unsupported(String),
    /// The public value cannot be read as its type says.
    #[error("the public value is not a {0} key")]
    Malformed(&'static str),
    /// An Ed25519 point with which one signature fits many messages.
    #[error("weak Ed25519 key: small order or non-canonical point")]
    Weak,
    /// RSA outside 2048 to 8192 bit, or with an even or small exponent.
    #[error("RSA keys have 2048 to 8192 bit and an odd exponent of at least 65537")]
    Rsa,
    /// A private key was given where a public one belongs.
    #[error("this is a private key: give the public one")]
    Private,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Material {
    Ed25519([u8; 32]),
    /// The uncompressed point, `04 x y`.
    P256([u8; 65]),
    /// The uncompressed point, `04 x y`.
    P384(Vec<u8>),
    /// PKCS#1 `RSAPublicKey` in DER, both integers minimal.
    Rsa(Vec<u8>),
}

/// A public key of a kind that this crate can check.
#[derive(Clone)]
pub struct PublicKey {
    material: Material,
    key_type: &'static str,
    // The spelling that the key's id is computed over.
    public: String,
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.material == other.material
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.scheme(), self.id().short())
    }
}

impl PublicKey {
    /// A raw Ed25519 point, 32 bytes.
    pub fn ed25519(point: &[u8]) -> Result<Self, KeyError> {
        let point: [u8; 32] = point.try_into().map_err(|_| KeyError::Malformed("raw 32-byte Ed25519"))?;
        if is_weak_ed25519(&point) {
            return Err(KeyError::Weak);
        }
        Ok(Self { material: Material::Ed25519(point), key_type: "ed25519", public: hex::encode(point) })
    }

    /// An uncompressed P-256 point, 65 bytes.
    pub fn p256_from_sec1(point: &[u8]) -> Result<Self, KeyError> {
        let material = p256(point)?;
        let mut key = Self { material, key_type: "ecdsa", public: String::new() };
        key.public = key.to_pem();
        Ok(key)
    }

    /// Reads a key as it stands in a file. Members that are not known are ignored.
    pub fn from_value(value: &Value) -> Result<Self, KeyError> {
        let text = |name| value.get(name).and_then(Value::as_str);
        let (Some(key_type), Some(scheme)) = (text("keytype"), text("scheme")) else {
            return Err(KeyError::Malformed("keytype and scheme of a"));
        };
        let Some(public) = value.get("keyval").and_then(|v| v.get("public")).and_then(Value::as_str) else {
            return Err(KeyError::Malformed("keyval.public of a"));
        };
        Self::from_parts(key_type, scheme, public)
    }

    /// Reads `keytype`, `scheme` and `keyval.public`. The three must fit each other.
    pub fn from_parts(key_type: &str, scheme: &str, public: &str) -> Result<Self, KeyError> {
        let (wanted, key_type): (fn(&Material) -> bool, &'static str) = match (key_type, scheme) {
            ("ed25519", "ed25519") => {
                let point = Some(public).filter(|p| p.len() == 64).and_then(|p| hex::decode(p).ok());
                let mut key = Self::ed25519(&point.ok_or(KeyError::Malformed("hex Ed25519"))?)?;
                key.public = public.to_owned();
                return Ok(key);
            }
            ("ecdsa", "ecdsa-sha2-nistp256") => (|m| matches!(m, Material::P256(_)), "ecdsa"),
            ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") => {
                (|m| matches!(m, Material::P256(_)), "ecdsa-sha2-nistp256")
            }
            ("ecdsa", "ecdsa-sha2-nistp384") => (|m| matches!(m, Material::P384(_)), "ecdsa"),
            ("rsa", "rsassa-pss-sha256") => (|m| matches!(m, Material::Rsa(_)), "rsa"),
            _ => return Err(KeyError::Unsupported(format!("{} / {}", key_type.escape_debug(), scheme.escape_debug()))),
        };
        let key = Self::from_pem(public)?;
        if !wanted(&key.material) {
            return Err(KeyError::Unsupported(format!("{key_type} / {scheme} with another kind of key")));
        }
        Ok(Self { key_type, public: public.to_owned(), ..key })
    }

    /// Reads a PEM `PUBLIC KEY` (SubjectPublicKeyInfo): Ed25519, P-256, P-384 or RSA.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        if pem.contains("PRIVATE KEY") {
            return Err(KeyError::Private);
        }
        let der =
            SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::Malformed("PEM public"))?;
        let material = spki(&der)?;
        let key_type = match &material {
            Material::Ed25519(point) => return Self::ed25519(point),
            Material::P256(_) | Material::P384(_) => "ecdsa",
            Material::Rsa(_) => "rsa",
        };
        let mut key = Self { material, key_type, public: String::new() };
        key.public = key.to_pem();
        Ok(key)
    }

    /// The key as PEM `PUBLIC KEY`, with a newline at its end.
    pub fn to_pem(&self) -> String {
        let text = Base64::encode_string(&self.spki_der());
        let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at_checked(64).unwrap_or((rest, ""));
            pem.push_str(line);
            pem.push('\n');
            rest = after;
        }
        pem.push_str("-----END PUBLIC KEY-----\n");
        pem
    }

    fn spki_der(&self) -> Vec<u8> {
        let (algorithm, bits): (&[u8], &[u8]) = match &self.material {
            Material::Ed25519(point) => (der::ED25519, point),
            Material::P256(point) => (der::P256, point),
            Material::P384(point) => (der::P384, point),
            Material::Rsa(key) => (der::RSA, key),
        };
        let mut bit_string = vec![0];
        bit_string.extend_from_slice(bits);
        let mut inner = der::tlv(0x30, algorithm);
        inner.extend(der::tlv(0x03, &bit_string));
        der::tlv(0x30, &inner)
    }

    /// The key as it stands in a file: `keytype`, `keyval.public`, `scheme` and nothing else.
    pub fn to_value(&self) -> Value {
        Value::object([
            ("keytype", Value::from(self.key_type)),
            ("keyval", Value::object([("public", Value::from(self.public.as_str()))])),
            ("scheme", Value::from(self.scheme())),
        ])
    }

    /// SHA-256 of the canonical key, in hex.
    pub fn id(&self) -> KeyId {
        KeyId(hex::encode(digest::digest(&digest::SHA256, &self.to_value().canonical())))
    }

    /// `ed25519`, `ecdsa`, `ecdsa-sha2-nistp256` (an old name, never written) or `rsa`.
    pub fn key_type(&self) -> &'static str {
        self.key_type
    }

    /// The signature scheme.
    pub fn scheme(&self) -> &'static str {
        match self.material {
            Material::Ed25519(_) => "ed25519",
            Material::P256(_) => "ecdsa-sha2-nistp256",
            Material::P384(_) => "ecdsa-sha2-nistp384",
            Material::Rsa(_) => "rsassa-pss-sha256",
        }
    }

    /// Whether `sig` is a signature of `message` by this key.
    pub fn verify(&self, message: &[u8], sig: &[u8]) -> bool {
        let (algorithm, bytes): (&dyn VerificationAlgorithm, &[u8]) = match &self.material {
            Material::Ed25519(point) => (&signature::ED25519, point),
            Material::P256(point) => (&signature::ECDSA_P256_SHA256_ASN1, point),
            Material::P384(point) => (&signature::ECDSA_P384_SHA384_ASN1, point),
            Material::Rsa(key) => (&signature::RSA_PSS_2048_8192_SHA256, key),
        };
        algorithm.verify_sig(bytes, message, sig).is_ok()
    }

    /// Whether a repository of ours accepts this key for a role: a kind that every reader knows, in the spelling that
    /// we write.
    pub fn check_registrable(&self) -> Result<(), KeyError> {
        if let Material::Ed25519(point) = &self.material
            && !is_on_curve(point)
        {
            return Err(KeyError::Malformed("raw Ed25519 (the point is off the curve)"));
        }
        let ours = self.respelled();
        let kind_fits = !matches!(self.material, Material::P384(_));
        if kind_fits && self.public == ours.public && self.key_type == ours.key_type {
            return Ok(());
        }
        Err(KeyError::Unsupported(format!("{} in this spelling is read, but not written", self.scheme())))
    }

    /// The same key in the spelling that we write.
    pub fn respelled(&self) -> Self {
        let (key_type, public) = match &self.material {
            Material::Ed25519(point) => ("ed25519", hex::encode(point)),
            Material::P256(_) | Material::P384(_) => ("ecdsa", self.to_pem()),
            Material::Rsa(_) => ("rsa", self.to_pem()),
        };
        Self { material: self.material.clone(), key_type, public }
    }

    pub(crate) fn material(&self) -> &Material {
        &self.material
    }
}

fn p256(point: &[u8]) -> Result<Material, KeyError> {
    let bad = KeyError::Malformed("uncompressed P-256");
    let point: [u8; 65] = point.try_into().map_err(|_| bad.clone())?;
    // Parsing checks that the point is on the curve.
    if point.first() != Some(&4) || ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_ASN1, point).is_err() {
        return Err(bad);
    }
    Ok(Material::P256(point))
}

fn p384(point: &[u8]) -> Result<Material, KeyError> {
    let fits = point.len() == 97
        && point.first() == Some(&4)
        && ParsedPublicKey::new(&signature::ECDSA_P384_SHA384_ASN1, point).is_ok();
    if fits { Ok(Material::P384(point.to_vec())) } else { Err(KeyError::Malformed("uncompressed P-384")) }
}

fn rsa(key: &[u8]) -> Result<Material, KeyError> {
    let bad = || KeyError::Malformed("RSA");
    let (sequence, rest) = der::read(key, 0x30).ok_or_else(bad)?;
    let (modulus, after) = der::read(sequence, 0x02).ok_or_else(bad)?;
    let (exponent, end) = der::read(after, 0x02).ok_or_else(bad)?;
    if !rest.is_empty() || !end.is_empty() {
        return Err(bad());
    }
    let modulus = der::positive(modulus).ok_or_else(bad)?;
    let exponent = der::positive(exponent).ok_or_else(bad)?;
    let bits = modulus.len() * 8 - modulus.first().map_or(0, |b| b.leading_zeros() as usize);
    let exponent_fits = exponent.last().is_some_and(|b| b & 1 == 1)
        && (exponent.len() > 3 || matches!(exponent, [high, _, _] if *high >= 1))
        && exponent.len() <= 8;
    if !(2_048..=8_192).contains(&bits) || !exponent_fits || modulus.last().is_some_and(|b| b & 1 == 0) {
        return Err(KeyError::Rsa);
    }
    let mut inner = der::tlv(0x02, &der::unsigned(modulus));
    inner.extend(der::tlv(0x02, &der::unsigned(exponent)));
    Ok(Material::Rsa(der::tlv(0x30, &inner)))
}

fn spki(der_bytes: &[u8]) -> Result<Material, KeyError> {
    let bad = || KeyError::Malformed("SubjectPublicKeyInfo");
    let (sequence, rest) = der::read(der_bytes, 0x30).ok_or_else(bad)?;
    let (algorithm, after) = der::read(sequence, 0x30).ok_or_else(bad)?;
    let (bits, end) = der::read(after, 0x03).ok_or_else(bad)?;
    let Some((0, key)) = bits.split_first() else { return Err(bad()) };
    if !rest.is_empty() || !end.is_empty() {
        return Err(bad());
    }
    match algorithm {
        a if a == der::ED25519 => PublicKey::ed25519(key).map(|k| k.material),
        a if a == der::P256 => p256(key),
        a if a == der::P384 => p384(key),
        a if a == der::RSA => rsa(key),
        _ => Err(KeyError::Unsupported("algorithm of the public key".to_owned())),
    }
}

/// Points of small order, and encodings with y ≥ p. With such a key one signature can fit many messages.
fn is_weak_ed25519(point: &[u8; 32]) -> bool {
    // y of the points of order 1, 2, 4 and 8, the sign bit cleared.
    const SMALL_ORDER: [&str; 5] = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    ];
    let mut y = *point;
    if let Some(last) = y.last_mut() {
        *last &= 0x7f;
    }
    let non_canonical = matches!(y, [first, middle @ .., 0x7f] if first >= 0xed && middle.iter().all(|b| *b == 0xff));
    let text = hex::encode(y);
    non_canonical || SMALL_ORDER.contains(&text.as_str())
}

/// The few pieces of DER that public keys need.
mod der {
    /// AlgorithmIdentifier contents: 1.3.101.112.
    pub(super) const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
    /// id-ecPublicKey with prime256v1.
    pub(super) const P256: &[u8] = &[
        0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01,
        0x07,
    ];
    /// id-ecPublicKey with secp384r1.
    pub(super) const P384: &[u8] =
        &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
    /// rsaEncryption with NULL.
    pub(super) const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

    /// Reads one element with this tag: its contents, and what follows. Lengths must be minimal.
    pub(super) fn read(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
        let (&first, rest) = bytes.split_first()?;
        if first != tag {
            return None;
        }
        let (&length, rest) = rest.split_first()?;
        let (length, rest) = match length {
            0..=0x7f => (usize::from(length), rest),
            0x81 => {
                let (&n, rest) = rest.split_first()?;
                (usize::from(n), rest)
            }
            0x82 => {
                let (n, rest) = rest.split_first_chunk::<2>()?;
                (usize::from(u16::from_be_bytes(*n)), rest)
            }
            _ => return None,
        };
        let (contents, after) = rest.split_at_checked(length)?;
        // A second spelling of the same length would be a second spelling of the same key.
        let spelled = bytes.len() - after.len();
        (tlv(tag, contents).len() == spelled).then_some((contents, after))
    }

    /// One element.
    pub(super) fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        let length = contents.len();
        match u8::try_from(length) {
            Ok(n @ 0..=0x7f) => out.push(n),
            Ok(n) => out.extend([0x81, n]),
            Err(_) => {
                let n = u16::try_from(length).unwrap_or(u16::MAX);
                out.push(0x82);
                out.extend(n.to_be_bytes());
            }
        }
        out.extend_from_slice(contents);
        out
    }

    /// The magnitude of a positive integer.
    pub(super) fn positive(contents: &[u8]) -> Option<&[u8]> {
        match contents {
            [0, rest @ ..] if rest.first().is_some_and(|b| b & 0x80 != 0) => Some(rest),
            [0, ..] | [] => None,
            [first, ..] if first & 0x80 != 0 => None,
            magnitude => Some(magnitude),
        }
    }

    /// The contents of a positive integer with this magnitude.
    pub(super) fn unsigned(magnitude: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(magnitude.len() + 1);
        if magnitude.first().is_some_and(|b| b & 0x80 != 0) {
            out.push(0);
        }
        out.extend_from_slice(magnitude);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINT: &str = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";

    #[test]
    fn key_id_and_signature_of_the_reference_vector() {
        let key = PublicKey::from_parts("ed25519", "ed25519", POINT).unwrap();
        assert_eq!(key.id().as_str(), "7ab6b86cb2c9684b0ddc10896153aa2595decf4d4327a5ff1a8ab7422c828b12");
        let message = br#"{"_type":"timestamp","expires":"2030-01-01T00:00:00Z","meta":{"snapshot.json":{"version":1}},"spec_version":"1.0.31","version":1}"#;
        let sig = hex::decode("fe2ccf049f8890d418ec948e11ac956b992333058d5a9e0001f2235f94608398183461ef2133836e9e36c176058049b6f6246c81eb9bf44f6beb646e39134607").unwrap();
        assert!(key.verify(message, &sig));
        assert!(!key.verify(b"other", &sig));
        assert!(!key.verify(message, &[]));
        assert_eq!(PublicKey::from_pem(&key.to_pem()).unwrap(), key);
    }

    #[test]
    fn weak_ed25519_points_are_no_keys() {
        let zeros = "00".repeat(30);
        let ones = "ff".repeat(30);
        let mut encodings: Vec<String> = vec![
            format!("01{zeros}00"),
            format!("ec{ones}7f"),
            format!("00{zeros}00"),
            format!("00{zeros}80"),
            format!("01{zeros}80"),
            format!("ec{ones}ff"),
            format!("ed{ones}7f"),
            format!("ed{ones}ff"),
            format!("ee{ones}7f"),
            format!("ee{ones}ff"),
        ];
        for (stem, ends) in [
            ("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03", ["7a", "fa"]),
            ("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc", ["05", "85"]),
        ] {
            encodings.extend(ends.map(|end| format!("{stem}{end}")));
        }
        assert_eq!(encodings.len(), 14);
        for encoding in encodings {
            assert_eq!(
                PublicKey::from_parts("ed25519", "ed25519", &encoding).err(),
                Some(KeyError::Weak),
                "{encoding}"
            );
        }
    }

    // Generated with openssl.
    const P256_PEM: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt\n6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==\n-----END PUBLIC KEY-----\n";

    #[test]
    fn type_scheme_and_material_must_fit_each_other() {
        assert!(PublicKey::from_parts("ecdsa", "ecdsa-sha2-nistp256", P256_PEM).is_ok());
        let ed_pem = PublicKey::from_parts("ed25519", "ed25519", POINT).unwrap().to_pem();
        let types = ["ed25519", "ecdsa", "ecdsa-sha2-nistp256", "rsa", "x"];
        let schemes =
            ["ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "rsassa-pss-sha256", "rsa-pkcs1v15-sha256", "x"];
        let publics = [POINT, P256_PEM, ed_pem.as_str()];
        let fitting = [(0, 0, 0), (1, 1, 1), (2, 1, 1)];
        for (t, key_type) in types.iter().enumerate() {
            for (s, scheme) in schemes.iter().enumerate() {
                for (p, public) in publics.iter().enumerate() {
                    let ok = PublicKey::from_parts(key_type, scheme, public).is_ok();
                    assert_eq!(ok, fitting.contains(&(t, s, p)), "{key_type} {scheme} {p}");
                }
            }
        }
    }

    #[test]
    fn one_key_in_several_spellings_is_one_key() {
        let plain = PublicKey::from_parts("ecdsa", "ecdsa-sha2-nistp256", P256_PEM).unwrap();
        let spaced = PublicKey::from_parts("ecdsa", "ecdsa-sha2-nistp256", &P256_PEM.replace('\n', "\r\n")).unwrap();
        let old = PublicKey::from_parts("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", P256_PEM).unwrap();
        assert_eq!(plain, spaced);
        assert_eq!(plain, old);
        assert_ne!(plain.id(), spaced.id());
        let upper = PublicKey::from_parts("ed25519", "ed25519", &POINT.to_uppercase()).unwrap();
        assert_eq!(upper, PublicKey::from_parts("ed25519", "ed25519", POINT).unwrap());
        assert!(upper.check_registrable().is_err());
    }

    #[test]
    fn an_example_key_is_known_in_every_spelling() {
        let pem = include_str!("../../../keys-example/INSECURE-EXAMPLE-root.pub");
        let key = PublicKey::from_pem(pem).unwrap();
        assert!(crate::example_keys::is_example(&key));
        let upper = PublicKey::from_parts("ed25519", "ed25519", &key.public.to_uppercase()).unwrap();
        assert_ne!(upper.id(), key.id());
        assert!(crate::example_keys::is_example(&upper));
    }

    #[test]
    fn a_point_off_the_curve_or_a_private_key_is_no_key() {
        let mut point = [7_u8; 65];
        point[0] = 4;
        assert!(PublicKey::p256_from_sec1(&point).is_err());
        assert_eq!(
            PublicKey::from_pem("-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n").err(),
            Some(KeyError::Private)
        );
    }
}
