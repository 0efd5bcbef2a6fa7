//! Three implementations judge the same signatures: ours (aws-lc-rs), ed25519-dalek and ring. Ours agrees, or is stricter.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::signature::{EcdsaKeyPair, KeyPair};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use ring::signature::{self as other, UnparsedPublicKey};
use trust_tests::simulator::{TestKey, keys::pem_of_der};
use trust_tuf::{KeyError, PublicKey};

/// Messages of many lengths, from a counter: the same in every run.
fn messages() -> impl Iterator<Item = Vec<u8>> {
    (0..150_usize).map(|n| {
        let seed = trust_tuf::model::sha256(&n.to_be_bytes());
        seed.iter().cycle().take(n * n % 701).copied().collect()
    })
}

/// `bytes` with one bit turned, for some of the bits.
fn flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    (0..bytes.len() * 8).step_by(5).map(|bit| {
        let mut out = bytes.to_vec();
        out[bit / 8] ^= 1 << (bit % 8);
        out
    })
}

fn dalek(point: &[u8], message: &[u8], sig: &[u8]) -> bool {
    let Ok(point) = <[u8; 32]>::try_from(point) else { return false };
    let (Ok(key), Ok(sig)) = (VerifyingKey::from_bytes(&point), ed25519_dalek::Signature::from_slice(sig)) else {
        return false;
    };
    key.verify_strict(message, &sig).is_ok()
}

fn ours(point: &[u8], message: &[u8], sig: &[u8]) -> bool {
    PublicKey::ed25519(point).is_ok_and(|key| key.verify(message, sig))
}

#[test]
fn ed25519_signatures_of_each_are_those_of_the_others() {
    for (n, message) in messages().enumerate() {
        let seed = [n as u8; 32];
        let mine = TestKey::ed25519(n as u8);
        let theirs = SigningKey::from_bytes(&seed);
        let rings = other::Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        let point = theirs.verifying_key().to_bytes();
        assert_eq!(mine.public(), PublicKey::ed25519(&point).unwrap());
        let sig = mine.sign(&message);
        // Ed25519 signatures are a function of key and message.
        assert_eq!(sig, theirs.sign(&message).to_bytes());
        assert_eq!(sig, rings.sign(&message).as_ref());
        assert!(ours(&point, &message, &sig) && dalek(&point, &message, &sig));
        UnparsedPublicKey::new(&other::ED25519, point).verify(&message, &sig).unwrap();
        let longer = [message.as_slice(), b"x"].concat();
        assert!(!ours(&point, &longer, &sig) && !dalek(&point, &longer, &sig));
    }
}

#[test]
fn ed25519_judgements_agree_on_every_turned_bit() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let point = key.verifying_key().to_bytes();
    let message = b"a role file".to_vec();
    let sig = key.sign(&message).to_bytes().to_vec();
    let cases = flips(&sig)
        .map(|s| (point.to_vec(), message.clone(), s))
        .chain(flips(&point).map(|p| (p, message.clone(), sig.clone())))
        .chain(flips(&message).map(|m| (point.to_vec(), m, sig.clone())));
    for (point, message, sig) in cases {
        let ring = UnparsedPublicKey::new(&other::ED25519, &point).verify(&message, &sig).is_ok();
        assert_eq!((ours(&point, &message, &sig), dalek(&point, &message, &sig), ring), (false, false, false));
    }
    for n in [0, 1, 32, 63, 65, 128] {
        let cut: Vec<u8> = sig.iter().cycle().take(n).copied().collect();
        assert!(!ours(&point, &message, &cut), "{n} bytes");
    }
}

#[test]
fn a_second_ed25519_signature_made_by_adding_the_group_order_is_refused() {
    // L = 2^252 + 27742317777372353535851937790883648493, little endian.
    let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
    let key = SigningKey::from_bytes(&[8; 32]);
    let point = key.verifying_key().to_bytes();
    for n in 0..20_u8 {
        let mut sig = key.sign(&[n]).to_bytes();
        let mut carry = 0_u16;
        for (byte, add) in sig[32..].iter_mut().zip(&order) {
            carry += u16::from(*byte) + u16::from(*add);
            *byte = carry as u8;
            carry >>= 8;
        }
        assert!(!ours(&point, &[n], &sig));
        assert!(!dalek(&point, &[n], &sig));
        assert!(UnparsedPublicKey::new(&other::ED25519, &point).verify(&[n], &sig).is_err());
    }
}

/// Encodings of the points of order 1, 2, 4 and 8, canonical and not.
fn small_order() -> Vec<Vec<u8>> {
    let (zeros, ones) = ("00".repeat(30), "ff".repeat(30));
    [
        format!("01{zeros}00"),
        format!("ec{ones}7f"),
        format!("00{zeros}00"),
        format!("00{zeros}80"),
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a".to_owned(),
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa".to_owned(),
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05".to_owned(),
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85".to_owned(),
        format!("01{zeros}80"),
        format!("ec{ones}ff"),
        format!("ed{ones}7f"),
        format!("ed{ones}ff"),
        format!("ee{ones}7f"),
        format!("ee{ones}ff"),
    ]
    .iter()
    .map(|text| hex::decode(text).unwrap())
    .collect()
}

#[test]
fn one_ed25519_signature_for_every_message_is_refused() {
    // With a key of small order and R the same or the neutral point, S = 0 is a signature of many messages.
    for point in small_order() {
        assert_eq!(PublicKey::ed25519(&point).err(), Some(KeyError::Weak), "{}", hex::encode(&point));
        let pem = pem_of_der(&[&hex::decode("302a300506032b6570032100").unwrap()[..], &point].concat());
        assert_eq!(PublicKey::from_pem(&pem).err(), Some(KeyError::Weak));
        for r in small_order() {
            let sig = [r, vec![0; 32]].concat();
            for message in messages().take(20) {
                assert!(!ours(&point, &message, &sig) && !dalek(&point, &message, &sig));
            }
        }
    }
    // The same R and S with an honest key.
    let point = SigningKey::from_bytes(&[9; 32]).verifying_key().to_bytes();
    for r in small_order() {
        let sig = [r, vec![0; 32]].concat();
        assert!(messages().take(20).all(|m| !ours(&point, &m, &sig) && !dalek(&point, &m, &sig)));
    }
}

#[test]
fn points_off_the_curve_are_accepted_for_no_role() {
    // Nobody could ever sign with them. Decompression in dalek judges the same 3,000 strings.
    let (mut on, mut off) = (0, 0);
    for n in 0..3_000_u32 {
        let point = trust_tuf::model::sha256(&n.to_be_bytes());
        let known = VerifyingKey::from_bytes(&point).is_ok();
        let registrable = PublicKey::ed25519(&point).is_ok_and(|key| key.check_registrable().is_ok());
        assert_eq!(registrable, known, "{}", hex::encode(point));
        if known { on += 1 } else { off += 1 }
    }
    assert!(on > 1_000 && off > 1_000, "{on} {off}");
}

#[test]
fn points_that_are_not_on_the_curve_sign_nothing() {
    let mut found = 0;
    for n in 0..40_u8 {
        let point = trust_tuf::model::sha256(&[n]);
        if VerifyingKey::from_bytes(&point).is_ok() {
            continue;
        }
        found += 1;
        for sig in [vec![0; 64], SigningKey::from_bytes(&[n; 32]).sign(b"m").to_bytes().to_vec()] {
            assert!(!ours(&point, b"m", &sig));
        }
    }
    assert!(found > 10);
}

fn p256() -> (EcdsaKeyPair, other::EcdsaKeyPair, PublicKey) {
    let algorithm = &aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING;
    let mine = EcdsaKeyPair::generate(algorithm).unwrap();
    let pkcs8 = mine.to_pkcs8v1().unwrap();
    let random = ring::rand::SystemRandom::new();
    let theirs =
        other::EcdsaKeyPair::from_pkcs8(&other::ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
    let public = PublicKey::p256_from_sec1(mine.public_key().as_ref()).unwrap();
    (mine, theirs, public)
}

#[test]
fn p256_signatures_of_each_are_verified_by_the_other() {
    let (mine, theirs, public) = p256();
    let rings = UnparsedPublicKey::new(&other::ECDSA_P256_SHA256_ASN1, mine.public_key().as_ref().to_vec());
    let random = ring::rand::SystemRandom::new();
    for message in messages() {
        let a = mine.sign(&aws_lc_rs::rand::SystemRandom::new(), &message).unwrap();
        let b = theirs.sign(&random, &message).unwrap();
        for sig in [a.as_ref(), b.as_ref()] {
            assert!(public.verify(&message, sig));
            rings.verify(&message, sig).unwrap();
            assert!(!public.verify(&[message.as_slice(), b"x"].concat(), sig));
        }
    }
    let sig = theirs.sign(&random, b"m").unwrap();
    for flipped in flips(sig.as_ref()) {
        assert!(!public.verify(b"m", &flipped) && rings.verify(b"m", &flipped).is_err());
    }
}

/// r and s of a DER signature, as 32 bytes each.
fn numbers(sig: &[u8]) -> [[u8; 32]; 2] {
    let mut rest = &sig[2..];
    [(); 2].map(|()| {
        let length = usize::from(rest[1]);
        let number = &rest[2..2 + length];
        rest = &rest[2 + length..];
        let number: Vec<u8> = number.iter().copied().skip_while(|b| *b == 0).collect();
        let mut out = [0; 32];
        out[32 - number.len()..].copy_from_slice(&number);
        out
    })
}

fn integer(bytes: &[u8]) -> Vec<u8> {
    let mut number: Vec<u8> = bytes.iter().copied().skip_while(|b| *b == 0).collect();
    if number.first().is_none_or(|b| b & 0x80 != 0) {
        number.insert(0, 0);
    }
    [vec![2, number.len() as u8], number].concat()
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    let body = parts.concat();
    [vec![0x30, body.len() as u8], body].concat()
}

#[test]
fn p256_signatures_in_odd_encodings_are_judged_alike() {
    let (mine, _, public) = p256();
    let rings = UnparsedPublicKey::new(&other::ECDSA_P256_SHA256_ASN1, mine.public_key().as_ref().to_vec());
    let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    for n in 0..20_u8 {
        let sig = mine.sign(&aws_lc_rs::rand::SystemRandom::new(), &[n]).unwrap().as_ref().to_vec();
        let [r, s] = numbers(&sig);
        let mut high = [0_u8; 32];
        let mut borrow = 0_i16;
        for i in (0..32).rev() {
            let difference = i16::from(order[i]) - i16::from(s[i]) - borrow;
            borrow = i16::from(difference < 0);
            high[i] = difference.rem_euclid(256) as u8;
        }
        let (zero, one) = ([0; 32], {
            let mut one = [0; 32];
            one[31] = 1;
            one
        });
        let long = {
            let mut i = integer(&r);
            i.insert(2, 0);
            i[1] += 1;
            i
        };
        let negative = {
            let mut i = integer(&order);
            i.remove(2);
            i[1] -= 1;
            i
        };
        let cases = [
            ("as it is", sequence(&[integer(&r), integer(&s)]), true),
            // Others produce it, and it is still one key.
            ("n − s", sequence(&[integer(&r), integer(&high)]), true),
            ("r and s swapped", sequence(&[integer(&s), integer(&r)]), false),
            ("zero r", sequence(&[integer(&zero), integer(&s)]), false),
            ("zero s", sequence(&[integer(&r), integer(&zero)]), false),
            ("zero both", sequence(&[integer(&zero), integer(&zero)]), false),
            ("one", sequence(&[integer(&one), integer(&one)]), false),
            ("s of the order", sequence(&[integer(&r), integer(&order)]), false),
            ("leading zero", sequence(&[long, integer(&s)]), false),
            ("negative", sequence(&[negative, integer(&s)]), false),
            ("trailing byte", [sequence(&[integer(&r), integer(&s)]), vec![0]].concat(), false),
            ("a third number", sequence(&[integer(&r), integer(&s), integer(&one)]), false),
            ("one number", sequence(&[integer(&r)]), false),
            (
                "long length",
                {
                    let s = sequence(&[integer(&r), integer(&s)]);
                    [vec![0x30, 0x81, s[1]], s[2..].to_vec()].concat()
                },
                false,
            ),
            ("raw", [r, s].concat(), false),
            ("empty", vec![], false),
        ];
        for (what, sig, good) in cases {
            assert_eq!(public.verify(&[n], &sig), good, "{what}");
            assert_eq!(rings.verify(&[n], &sig).is_ok(), good, "{what}, ring");
        }
    }
}

#[test]
fn rsa_pss_signatures_of_each_are_verified_by_the_other_and_no_other_scheme_is() {
    let mine = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let pkcs8: Pkcs8V1Der<'_> = mine.as_der().unwrap();
    let theirs = ring::rsa::KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let der: PublicKeyX509Der<'_> = mine.public_key().as_der().unwrap();
    let public = PublicKey::from_pem(&pem_of_der(der.as_ref())).unwrap();
    assert_eq!(public.scheme(), "rsassa-pss-sha256");
    let rings = UnparsedPublicKey::new(&other::RSA_PSS_2048_8192_SHA256, mine.public_key().as_ref().to_vec());
    let random = ring::rand::SystemRandom::new();
    let sign = |padding: &'static dyn other::RsaEncoding, message: &[u8]| {
        let mut sig = vec![0; theirs.public().modulus_len()];
        theirs.sign(padding, &random, message, &mut sig).unwrap();
        sig
    };
    for message in messages().take(40) {
        let mut a = vec![0; mine.public_modulus_len()];
        mine.sign(&aws_lc_rs::signature::RSA_PSS_SHA256, &aws_lc_rs::rand::SystemRandom::new(), &message, &mut a)
            .unwrap();
        for sig in [a, sign(&other::RSA_PSS_SHA256, &message)] {
            assert!(public.verify(&message, &sig));
            rings.verify(&message, &sig).unwrap();
            assert!(!public.verify(&[message.as_slice(), b"x"].concat(), &sig));
        }
        for padding in
            [&other::RSA_PKCS1_SHA256 as &dyn other::RsaEncoding, &other::RSA_PSS_SHA384, &other::RSA_PSS_SHA512]
        {
            assert!(!public.verify(&message, &sign(padding, &message)));
        }
    }
    let sig = sign(&other::RSA_PSS_SHA256, b"m");
    assert!(
        !public.verify(b"m", &[])
            && !public.verify(b"m", &sig[1..])
            && !public.verify(b"m", &[&sig[..], b"\0"].concat())
    );
    assert!(flips(&sig).step_by(9).all(|flipped| !public.verify(b"m", &flipped)));
}

#[test]
fn rsa_keys_of_odd_sizes_and_exponents_are_no_keys() {
    // SubjectPublicKeyInfo of a modulus and an exponent.
    fn spki(modulus: &[u8], exponent: &[u8]) -> String {
        fn tlv(tag: u8, body: &[u8]) -> Vec<u8> {
            let n = body.len();
            let length = match n {
                0..=127 => vec![n as u8],
                128..=255 => vec![0x81, n as u8],
                _ => vec![0x82, (n >> 8) as u8, n as u8],
            };
            [vec![tag], length, body.to_vec()].concat()
        }
        let number = |bytes: &[u8]| {
            let padded = if bytes[0] & 0x80 != 0 { [&[0], bytes].concat() } else { bytes.to_vec() };
            tlv(2, &padded)
        };
        let key = tlv(0x30, &[number(modulus), number(exponent)].concat());
        let algorithm = tlv(0x30, &hex::decode("06092a864886f70d0101010500").unwrap());
        pem_of_der(&tlv(0x30, &[algorithm, tlv(3, &[vec![0], key].concat())].concat()))
    }
    let modulus = |bits: usize| {
        let mut bytes = vec![0xff; bits.div_ceil(8)];
        bytes[0] >>= (8 - bits % 8) % 8;
        bytes
    };
    let usual: &[u8] = &[1, 0, 1];
    for (bits, good) in [
        (512, false),
        (1_024, false),
        (2_047, false),
        (2_048, true),
        (3_072, true),
        (4_096, true),
        (8_192, true),
        (8_193, false),
        (16_384, false),
    ] {
        assert_eq!(PublicKey::from_pem(&spki(&modulus(bits), usual)).is_ok(), good, "{bits} bit");
    }
    for (exponent, good) in [
        (&[1][..], false),
        (&[3], false),
        (&[0xff, 0xff], false),
        (&[1, 0, 0], false),
        (&[1, 0, 1], true),
        (&[1, 0, 2], false),
    ] {
        assert_eq!(PublicKey::from_pem(&spki(&modulus(2_048), exponent)).is_ok(), good, "{exponent:?}");
    }
    let mut even = modulus(2_048);
    even[255] = 0xfe;
    assert!(PublicKey::from_pem(&spki(&even, usual)).is_err());
}

#[test]
fn p256_points_off_the_curve_or_compressed_are_no_keys() {
    let (mine, ..) = p256();
    let point = mine.public_key().as_ref().to_vec();
    for flipped in flips(&point) {
        assert!(PublicKey::p256_from_sec1(&flipped).is_err());
    }
    let compressed = [&[2 + (point[64] & 1)], &point[1..33]].concat();
    for bad in [compressed, point[1..].to_vec(), vec![0], Vec::new(), vec![4; 65], [&[4], &[0; 64][..]].concat()] {
        assert!(PublicKey::p256_from_sec1(&bad).is_err());
    }
}
