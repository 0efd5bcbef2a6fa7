//! Keys of tests. Ed25519 keys come from a number, so that a failing test fails again with the same bytes.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PSS_SHA256, RsaKeyPair,
};
use trust_tuf::json::Value;
use trust_tuf::{KeyId, PublicKey, Signature};

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// A key pair, and how a file spells it.
#[derive(Clone)]
pub struct TestKey {
    pair: Arc<Pair>,
    id: String,
    value: Value,
}

// Making an RSA key takes most of a second: one for all tests of a process.
static RSA: LazyLock<TestKey> = LazyLock::new(|| {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key");
    let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("its public half");
    TestKey::of(public_from_der(der.as_ref()), Pair::Rsa(pair))
});

/// PEM `PUBLIC KEY` of a SubjectPublicKeyInfo.
pub fn pem_of_der(der: &[u8]) -> String {
    use base64ct::{Base64, Encoding};
    let text = Base64::encode_string(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|c| std::str::from_utf8(c).expect("base64")).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

fn public_from_der(der: &[u8]) -> PublicKey {
    PublicKey::from_pem(&pem_of_der(der)).expect("a public key")
}

impl TestKey {
    fn of(public: PublicKey, pair: Pair) -> Self {
        Self { pair: Arc::new(pair), id: public.id().as_str().to_owned(), value: public.to_value() }
    }

    /// The Ed25519 key with this number.
    pub fn ed25519(number: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[number; 32]).expect("a seed");
        let public = PublicKey::ed25519(pair.public_key().as_ref()).expect("a point");
        Self::of(public, Pair::Ed25519(pair))
    }

    /// A new P-256 key.
    pub fn p256() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key");
        let public = PublicKey::p256_from_sec1(pair.public_key().as_ref()).expect("a point");
        Self::of(public, Pair::P256(pair))
    }

    /// A new P-384 key.
    pub fn p384() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).expect("a key");
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("its public half");
        Self::of(public_from_der(der.as_ref()), Pair::P384(pair))
    }

    /// The RSA key (2048 bit) of this process.
    pub fn rsa() -> Self {
        RSA.clone()
    }

    /// The same key, listed under another id.
    pub fn with_id(&self, id: &str) -> Self {
        Self { id: id.to_owned(), ..self.clone() }
    }

    /// The same key with its object in the file changed, under the content id of that object.
    pub fn respelled(&self, change: impl FnOnce(&mut Value)) -> Self {
        let mut value = self.value.clone();
        change(&mut value);
        let id = hex::encode(trust_tuf::model::sha256(&value.canonical()));
        Self { pair: Arc::clone(&self.pair), id, value }
    }

    /// The id under which files list the key.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key object as it stands in files.
    pub fn value(&self) -> Value {
        self.value.clone()
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey::from_value(&self.value).expect("a key that parses")
    }

    /// A signature of `message`.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &*self.pair {
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::P256(pair) | Pair::P384(pair) => pair.sign(&random, message).expect("a signature").as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut sig = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PSS_SHA256, &random, message, &mut sig).expect("a signature");
                sig
            }
        }
    }

    /// A signature of `message`, as [`trust_tuf::draft::Draft::assemble`] wants it.
    pub fn signature(&self, message: &[u8]) -> Signature {
        Signature { keyid: KeyId::new(self.id.as_str()), sig: self.sign(message) }
    }
}
