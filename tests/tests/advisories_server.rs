//! Advisories and audits whose rows concern the server side (tuf.md 5, 7 and 10): the same hostile files against the rules,
//! a real upload to the server, and the signer as a captured server would ask it. Each of the three refuses for itself, what
//! is served stays what it was, and a good publication goes through afterwards.

#[path = "advisories_server/rig.rs"]
mod rig;

use std::time::{Duration, Instant};

use rig::{NAME, Rig, delegation, later, sign};
use trust_tests::simulator::{RoleDocument, TestKey};
use trust_tuf::draft::Draft;
use trust_tuf::error::{MetadataError, Reason};
use trust_tuf::json::{self, Value};
use trust_tuf::model::TargetInfo;
use trust_tuf::repository::Rule;
use trust_tuf::{RoleType, limits};

/// A file with its signed part changed, signed again by these keys.
fn resigned(file: &[u8], keys: &[&TestKey], change: impl FnOnce(&mut RoleDocument)) -> Vec<u8> {
    let signed = json::parse(file).unwrap().get("signed").unwrap().clone();
    let mut document = RoleDocument { signed, signers: keys.iter().map(|k| (*k).clone()).collect(), junk: vec![] };
    change(&mut document);
    document.bytes()
}

/// The next targets, changed after all that a draft would check.
fn odd_targets(rig: &Rig, change: impl FnOnce(&mut RoleDocument)) -> Vec<u8> {
    resigned(&rig.next_targets(|_| ()), &[&rig.targets], change)
}

fn odd_root(rig: &Rig, change: impl FnOnce(&mut RoleDocument)) -> Vec<u8> {
    resigned(&rig.next_root(|_| ()), &[&rig.root], change)
}

/// The first delegation of the targets, changed.
fn odd_delegation(rig: &Rig, change: impl FnOnce(&mut std::collections::BTreeMap<String, Value>)) -> Vec<u8> {
    odd_targets(rig, |r| {
        let Value::Array(list) = r.at(&["delegations", "roles"]) else { panic!("no delegations") };
        change(list[0].as_object_mut().unwrap());
    })
}

#[test]
fn cve_2026_23991_wrong_shapes_are_plain_refusals() {
    let mut rig = Rig::new();
    let scalars = ["null", "true", "0", "-1", "\"\"", "[]", "{}", "[[]]", "{\"a\":null}", "", "{", "\u{feff}{}"];
    let mut bodies: Vec<String> = scalars.iter().map(|s| (*s).to_owned()).collect();
    for s in scalars {
        bodies.push(format!("{{\"signatures\":{s},\"signed\":{{}}}}"));
        bodies.push(format!("{{\"signatures\":[{s}],\"signed\":{{}}}}"));
        bodies.push(format!("{{\"signatures\":[],\"signed\":{s}}}"));
        bodies.push(format!("{{\"signatures\":[{{\"keyid\":{s},\"sig\":\"\"}}],\"signed\":{{}}}}"));
        bodies.push(format!("{{\"signatures\":[{{\"keyid\":\"\",\"sig\":{s}}}],\"signed\":{{}}}}"));
        bodies.push(format!("{{\"signed\":{s}}}"));
        bodies.push(format!("{{\"signatures\":{s}}}"));
    }
    for body in &bodies {
        let bytes = body.as_bytes().to_vec();
        for role in ["targets", "alice"] {
            let refusal = rig.refused(body, &[], &[(role, bytes.clone())]);
            assert!(matches!(refusal.rule, Rule::Trust(Reason::Metadata(_))), "{body}: {refusal}");
        }
        let refusal = rig.refused(body, &[bytes], &[]);
        assert!(matches!(refusal.rule, Rule::Trust(Reason::Metadata(_))), "{body}: {refusal}");
    }
    rig.goes_on();
}

#[test]
fn cve_2026_23991_every_member_with_a_wrong_type_is_a_plain_refusal() {
    let mut rig = Rig::new();
    let values = [Value::Null, Value::from(true), Value::from("x"), Value::Array(vec![Value::Null]), Value::Int(-1)];
    for member in ["_type", "spec_version", "version", "expires", "targets", "delegations"] {
        for value in &values {
            if (member == "version") == (value.as_object().is_some()) && matches!(value, Value::Object(_)) {
                continue;
            }
            let file = odd_targets(&rig, |r| r.set(&[member], value.clone()));
            rig.refused(&format!("targets {member} {value:?}"), &[], &[("targets", file)]);
        }
    }
    for member in ["_type", "spec_version", "version", "expires", "keys", "roles", "consistent_snapshot"] {
        for value in &values {
            if member == "consistent_snapshot" && *value == Value::from(true) {
                continue;
            }
            let file = odd_root(&rig, |r| r.set(&[member], value.clone()));
            rig.refused(&format!("root {member} {value:?}"), &[file], &[]);
        }
    }
    for member in ["name", "keyids", "threshold", "terminating", "paths"] {
        for value in &values {
            if member == "terminating" && *value == Value::from(true) {
                continue;
            }
            let file = odd_delegation(&rig, |d| {
                d.insert(member.to_owned(), value.clone());
            });
            rig.refused(&format!("delegation {member} {value:?}"), &[], &[("targets", file)]);
        }
    }
    rig.goes_on();
}

#[test]
fn cve_2026_23992_thresholds_below_one_or_above_the_keys_are_neither_stored_nor_signed() {
    let mut rig = Rig::new();
    let thresholds =
        [Value::from(0_u64), Value::Int(-1), Value::from("1"), Value::Null, Value::from(true), Value::from(2_u64)];
    for threshold in thresholds {
        let what = format!("{threshold:?}");
        for role in ["root", "timestamp", "snapshot", "targets"] {
            let file = odd_root(&rig, |r| r.set(&["roles", role, "threshold"], threshold.clone()));
            rig.refused(&format!("{role} {what}"), &[file], &[]);
        }
        let file = odd_delegation(&rig, |d| {
            d.insert("threshold".to_owned(), threshold.clone());
        });
        rig.refused(&what, &[], &[("targets", file)]);
    }
    // Floats, which no tree of values can hold.
    for text in ["1.0", "0.5", "1e0", "-0"] {
        let root = String::from_utf8(rig.next_root(|_| ())).unwrap();
        let root = root.replacen("\"threshold\":1", &format!("\"threshold\":{text}"), 1);
        rig.refused(text, &[root.into_bytes()], &[]);
        let targets = String::from_utf8(rig.next_targets(|_| ())).unwrap();
        let targets = targets.replacen("\"threshold\":1", &format!("\"threshold\":{text}"), 1);
        rig.refused(text, &[], &[("targets", targets.into_bytes())]);
    }
    rig.goes_on();
}

#[test]
fn cve_2020_6173_junk_signatures_cost_parsing_only() {
    let mut rig = Rig::new();
    let junk = |n: usize| (0..n).map(|i| (format!("{i:064x}"), "ab".repeat(64))).collect::<Vec<_>>();
    // The signature of the role's key is there: below the limit the others only cost their reading.
    let file = odd_targets(&rig, |r| r.junk = junk(limits::SIGNATURES_PER_FILE - 1));
    let begun = Instant::now();
    rig.published(&[], &[("targets", file)]);
    assert!(begun.elapsed() < Duration::from_secs(10));
    for many in [1_500, 30_000, 100_000] {
        let file = odd_targets(&rig, |r| r.junk = junk(many));
        let begun = Instant::now();
        let refusal = rig.refused("junk", &[], &[("targets", file)]);
        let Rule::Trust(Reason::Metadata(reason)) = refusal.rule else { panic!("{refusal}") };
        // The largest of them is too large a file already.
        match reason {
            MetadataError::TooMany { limit, .. } => assert_eq!(limit, limits::SIGNATURES_PER_FILE),
            MetadataError::TooLarge { limit } => assert!(many == 100_000 && limit == limits::PUBLISH_BYTES),
            other => panic!("{other}"),
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{many} junk signatures");
    }
    rig.goes_on();
}

#[test]
fn cve_2020_15093_and_cve_2026_6966_doubled_signatures_are_refused() {
    let mut rig = Rig::new();
    let (root, targets, alice) = (rig.root.clone(), rig.targets.clone(), rig.alice.clone());
    let doubled = |file: Vec<u8>, key: &TestKey| resigned(&file, &[key, key], |_| ());
    let is_double = |rule: &Rule| matches!(rule, Rule::Trust(Reason::Metadata(MetadataError::DuplicateSignature(_))));
    let file = doubled(rig.next_targets(|_| ()), &targets);
    assert!(is_double(&rig.refused("targets", &[], &[("targets", file)]).rule));
    let file = doubled(rig.next("alice", &alice, |_| ()), &alice);
    assert!(is_double(&rig.refused("alice", &[], &[("alice", file)]).rule));
    let file = doubled(rig.next_root(|_| ()), &root);
    assert!(is_double(&rig.refused("root", &[file], &[]).rule));
    rig.goes_on();
}

#[test]
fn gms_2022_4197_one_key_twice_fills_no_threshold_of_two() {
    let mut rig = Rig::new();
    let key = TestKey::ed25519(60);
    let upper = key.respelled(|v| {
        let keyval = v.as_object_mut().unwrap().get_mut("keyval").unwrap().as_object_mut().unwrap();
        let point = keyval["public"].as_str().unwrap().to_uppercase();
        keyval.insert("public".into(), Value::from(point));
    });
    for twin in [upper, key.with_id("another id"), key.clone()] {
        let ids = Value::Array(vec![Value::from(key.id()), Value::from(twin.id())]);
        let file = odd_root(&rig, |r| {
            for key in [&key, &twin] {
                r.set(&["keys", key.id()], key.value());
            }
            r.set(&["roles", "root", "keyids"], ids.clone());
            r.set(&["roles", "root", "threshold"], 2_u64);
            r.signers.extend([key.clone(), twin.clone()]);
        });
        rig.refused("root", &[file], &[]);
        let file = odd_targets(&rig, |r| {
            for key in [&key, &twin] {
                r.set(&["delegations", "keys", key.id()], key.value());
            }
            let Value::Array(list) = r.at(&["delegations", "roles"]) else { panic!("no delegations") };
            let members = list[0].as_object_mut().unwrap();
            members.insert("keyids".into(), ids.clone());
            members.insert("threshold".into(), Value::from(2_u64));
        });
        let alice = resigned(&rig.next("alice", &rig.alice, |_| ()), &[&key, &twin], |_| ());
        rig.refused("delegation", &[], &[("targets", file), ("alice", alice)]);
    }
    rig.goes_on();
}

#[test]
fn ghsa_77hh_43cm_v8j6_and_cve_2021_41131_no_delegated_role_has_the_name_of_a_top_level_one_or_of_a_path() {
    let mut rig = Rig::new();
    for name in [
        "root",
        "timestamp",
        "snapshot",
        "targets",
        "",
        ".",
        "..",
        "../x",
        "/x",
        "a/../../x",
        "x/y",
        "..%2fx",
        "x\u{0}",
        "x\\y",
        "X",
        "é",
        "a b",
        "-x",
        ".x",
        "1.root",
        "root.json",
        &"x".repeat(300),
    ] {
        let file = odd_delegation(&rig, |d| {
            d.insert("name".to_owned(), Value::from(name));
        });
        let refusal = rig.refused(name, &[], &[("targets", file)]);
        assert!(
            matches!(refusal.rule, Rule::RoleName(_) | Rule::Trust(Reason::Metadata(MetadataError::RoleName(_))))
                || name == "root.json",
            "{name:?}: {refusal}"
        );
    }
    rig.goes_on();
}

#[test]
fn cve_2021_41150_the_name_under_which_a_file_is_sent_is_no_path() {
    let mut rig = Rig::new();
    let file = rig.next("alice", &rig.alice, |_| ());
    let before = std::fs::read_dir(rig.dir.path()).unwrap().count();
    for name in [
        "",
        ".",
        "..",
        "../x",
        "/etc/x",
        "a/../../x",
        "..%2fx",
        "CON/",
        "x\u{0}",
        "x\\y",
        "Alice",
        "alice.json",
        "1.alice",
        "root",
        "timestamp",
        "snapshot",
        &"x".repeat(300),
    ] {
        let timestamp = rig.served("timestamp.json");
        let (status, text, signer) = rig.judge_named(&[], &[(name.to_owned(), file.clone())]);
        assert!(matches!(status.as_u16(), 400 | 422), "{name:?}: {status} {text}");
        assert!(signer.is_err(), "{name:?}: the signer signs it");
        assert_eq!(rig.served("timestamp.json"), timestamp, "{name:?}");
    }
    assert_eq!(std::fs::read_dir(rig.dir.path()).unwrap().count(), before);
    rig.goes_on();
}

#[test]
fn cve_2026_6968_and_cve_2021_41149_target_paths_that_could_leave_a_folder_are_refused() {
    let mut rig = Rig::new();
    let long = "a".repeat(limits::TARGET_PATH_BYTES + 1);
    for path in [
        "",
        "/x",
        "../x",
        "a/../../x",
        "a//x",
        "a/.",
        "./x",
        "a/",
        "..",
        "a\\x",
        "a\u{0}",
        "a\nb",
        "a\u{7f}",
        long.as_str(),
    ] {
        let file = rig.next_targets(|d| d.set_target(path, &TargetInfo::of(b"x")));
        let refusal = rig.refused(path, &[], &[("targets", file)]);
        assert!(matches!(refusal.rule, Rule::TargetPath(_)), "{path:?}: {refusal}");
    }
    // Odd, but inside: a name like another. It is served under its own name and no other.
    let file = rig.next_targets(|d| {
        d.set_target("..%2fx", &TargetInfo::of(b"x"));
        d.set_target("CON", &TargetInfo::of(b"x"));
    });
    rig.published(&[], &[("targets", file)]);
    let hash = hex::encode(trust_tuf::model::sha256(b"x"));
    for path in [format!("../{hash}.x"), format!("..%2f{hash}.x"), format!("{hash}.../x"), "../../server.db".to_owned()]
    {
        let (status, _) = rig.send("GET", &format!("/tuf/{NAME}/_targets/{path}"), Vec::new());
        assert!(matches!(status.as_u16(), 400 | 404), "{path}: {status}");
    }
    rig.goes_on();
}

#[test]
fn cve_2026_24686_names_of_collections_are_no_paths() {
    let mut rig = Rig::new();
    let before: Vec<_> = std::fs::read_dir(rig.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    for name in [
        "",
        ".",
        "..",
        "/etc",
        "../x",
        "registry.example.com/..",
        "registry.example.com/../x",
        "registry.example.com//x",
        "registry.example.com/PAY",
        "REGISTRY.example.com/pay",
        "registry.example.com/pay/",
        "registry.example.com/pay\\u0000",
        "registry.example.com/..%2fx",
        "registry.example.com/%2e%2e",
        "registry.example.com/_x",
        "registry.example.com/x y",
        &format!("registry.example.com/{}", "x".repeat(300)),
    ] {
        let (status, text) = rig.send("POST", "/v1/_collections", format!("{{\"name\":\"{name}\"}}").into_bytes());
        assert!(matches!(status.as_u16(), 400 | 422), "{name:?}: {status} {text}");
    }
    for path in [
        "/tuf/../_metadata/timestamp.json",
        "/tuf/registry.example.com/x/../pay/_metadata/timestamp.json",
        "/tuf/registry.example.com/pay/_metadata/../timestamp.json",
        "/tuf/registry.example.com/pay/_metadata/..%2ftimestamp.json",
        "/tuf/registry.example.com/pay/_metadata/%2e%2e/timestamp.json",
        "/tuf/registry.example.com%2fpay/_metadata/timestamp.json",
        "/tuf/REGISTRY.example.com/pay/_metadata/timestamp.json",
        "/tuf//etc/passwd",
        "/tuf/registry.example.com/pay/_metadata//timestamp.json",
        "/tuf/registry.example.com/pay/_metadata/1.root.json/",
        "/tuf/registry.example.com/pay/_metadata/01.root.json",
        "/tuf/registry.example.com/pay/_metadata/server.db",
    ] {
        let (status, text) = rig.send("GET", path, Vec::new());
        assert!(matches!(status.as_u16(), 400 | 404), "{path}: {status} {text}");
    }
    let after: Vec<_> = std::fs::read_dir(rig.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(after, before);
    rig.goes_on();
}

#[test]
fn tob_sigstore_14_one_role_name_has_one_delegator() {
    let mut rig = Rig::new();
    let bob = TestKey::ed25519(70);
    let file = rig.next_targets(|d| d.set_delegation(&delegation("bob", &bob, &["api/*"])));
    let bob_file = sign(
        &{
            let mut draft = Draft::targets(later());
            draft.set_delegation(&delegation("alice", &rig.alice, &["api/*"]));
            draft
        },
        &[&bob],
    );
    let refusal = rig.refused("alice twice", &[], &[("targets", file.clone()), ("bob", bob_file)]);
    assert_eq!(refusal.rule, Rule::TwoDelegators("alice".into()));
    // Nor a circle.
    let alice = rig.next("alice", &rig.alice, |d| d.set_delegation(&delegation("bob", &bob, &["api/*"])));
    let bob_file = sign(
        &{
            let mut draft = Draft::targets(later());
            draft.set_delegation(&delegation("alice", &bob, &["api/*"]));
            draft
        },
        &[&bob],
    );
    rig.refused("a circle", &[], &[("alice", alice), ("bob", bob_file)]);
    rig.goes_on();
}

#[test]
fn sigstore_root_v11_key_ids_that_are_not_the_hash_of_their_key_and_extra_members_are_refused() {
    let mut rig = Rig::new();
    let key = TestKey::ed25519(80);
    let extra = key.respelled(|v| {
        v.as_object_mut().unwrap().insert("x-owner".into(), Value::from("somebody"));
    });
    for key in [key.with_id("the targets key"), key.with_id(&"0".repeat(64)), extra] {
        let file = odd_root(&rig, |r| {
            r.set(&["keys", key.id()], key.value());
            r.set(&["roles", "targets", "keyids"], vec![Value::from(key.id())]);
        });
        let targets = resigned(&rig.next_targets(|_| ()), &[&key], |_| ());
        let refusal = rig.refused("root", &[file], &[("targets", targets)]);
        assert!(matches!(refusal.rule, Rule::Key { .. } | Rule::Member(_)), "{refusal}");
        let file = odd_targets(&rig, |r| {
            r.set(&["delegations", "keys", key.id()], key.value());
            let Value::Array(list) = r.at(&["delegations", "roles"]) else { panic!("no delegations") };
            list[0].as_object_mut().unwrap().insert("keyids".into(), Value::from(vec![Value::from(key.id())]));
        });
        let alice = resigned(&rig.next("alice", &rig.alice, |_| ()), &[&key], |_| ());
        let refusal = rig.refused("delegation", &[], &[("targets", file), ("alice", alice)]);
        assert!(matches!(refusal.rule, Rule::Key { .. } | Rule::Member(_)), "{refusal}");
    }
    rig.goes_on();
}

/// Key objects that a registration must refuse, each with what is wrong with it.
fn unfit_keys() -> Vec<(String, Value)> {
    let key = |keytype: &str, scheme: &str, public: &str| {
        Value::object([
            ("keytype", Value::from(keytype)),
            ("keyval", Value::object([("public", Value::from(public))])),
            ("scheme", Value::from(scheme)),
        ])
    };
    let (zeros, ones) = ("00".repeat(30), "ff".repeat(30));
    let mut points = vec![];
    for (first, middle, ends) in [
        ("00", &zeros, ["00", "80"]),
        ("01", &zeros, ["00", "80"]),
        ("ec", &ones, ["7f", "ff"]),
        ("ed", &ones, ["7f", "ff"]),
        ("ee", &ones, ["7f", "ff"]),
    ] {
        points.extend(ends.map(|last| format!("{first}{middle}{last}")));
    }
    for (stem, ends) in [
        ("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03", ["7a", "fa"]),
        ("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc", ["05", "85"]),
    ] {
        points.extend(ends.map(|last| format!("{stem}{last}")));
    }
    assert_eq!(points.len(), 14);
    // y = 2 is the y of no point.
    points.push(format!("02{zeros}00"));
    let mut keys: Vec<_> = points.iter().map(|p| (p.clone(), key("ed25519", "ed25519", p))).collect();
    let p256 = TestKey::p256().public().to_pem();
    let off_curve = {
        let mut der = pem_bytes(&p256);
        let at = der.len() - 1;
        der[at] ^= 1;
        trust_tests::simulator::keys::pem_of_der(&der)
    };
    let private = p256.replace("PUBLIC KEY", "PRIVATE KEY");
    for (what, value) in [
        ("P-256 off the curve", key("ecdsa", "ecdsa-sha2-nistp256", &off_curve)),
        ("a private key", key("ecdsa", "ecdsa-sha2-nistp256", &private)),
        ("P-256 as RSA", key("rsa", "rsassa-pss-sha256", &p256)),
        ("P-384", TestKey::p384().value()),
        ("the old type name", key("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", &p256)),
        ("RSA with PKCS#1 v1.5", key("rsa", "rsa-pkcs1v15-sha256", &TestKey::rsa().public().to_pem())),
        ("an unknown kind", key("sphincs", "sphincs", "00")),
        ("no material", key("ed25519", "ed25519", "")),
        ("RSA of 1024 bit", key("rsa", "rsassa-pss-sha256", &rsa_pem(128, &[1, 0, 1]))),
        ("RSA of 8200 bit", key("rsa", "rsassa-pss-sha256", &rsa_pem(1025, &[1, 0, 1]))),
        ("RSA with exponent 3", key("rsa", "rsassa-pss-sha256", &rsa_pem(256, &[3]))),
        ("RSA with an even exponent", key("rsa", "rsassa-pss-sha256", &rsa_pem(256, &[1, 0, 2]))),
    ] {
        keys.push((what.to_owned(), value));
    }
    keys
}

fn pem_bytes(pem: &str) -> Vec<u8> {
    use base64ct::{Base64, Encoding};
    let text: String = pem.lines().filter(|l| !l.starts_with("-----")).collect();
    Base64::decode_vec(&text).unwrap()
}

/// An RSA public key with an odd modulus of so many bytes.
fn rsa_pem(modulus: usize, exponent: &[u8]) -> String {
    fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        match contents.len() {
            n @ 0..=0x7f => out.push(n as u8),
            n @ 0x80..=0xff => out.extend([0x81, n as u8]),
            n => out.extend([0x82, (n >> 8) as u8, n as u8]),
        }
        out.extend_from_slice(contents);
        out
    }
    let number = [&[0_u8][..], &vec![0xff; modulus]].concat();
    let key = tlv(0x30, &[tlv(2, &number), tlv(2, exponent)].concat());
    let algorithm = tlv(0x30, &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00]);
    let bits = tlv(3, &[&[0_u8][..], &key].concat());
    trust_tests::simulator::keys::pem_of_der(&tlv(0x30, &[algorithm, bits].concat()))
}

#[test]
fn weak_off_curve_private_and_unfit_keys_are_refused_at_registration() {
    let mut rig = Rig::new();
    // A good one of the sizes made here is taken: what follows is refused for what its name says.
    let good = trust_tuf::PublicKey::from_pem(&rsa_pem(256, &[1, 0, 1])).unwrap();
    assert_eq!(good.check_registrable(), Ok(()));
    for (what, value) in unfit_keys() {
        let id = hex::encode(trust_tuf::model::sha256(&value.canonical()));
        for role in ["root", "targets", "timestamp"] {
            let file = odd_root(&rig, |r| {
                let mut ids = r.at(&["roles", role, "keyids"]).as_array().unwrap().to_vec();
                ids.push(Value::from(id.as_str()));
                r.set(&["roles", role, "keyids"], ids);
                r.set(&["keys", &id], value.clone());
            });
            let refusal = rig.refused(&what, &[file], &[]);
            assert!(matches!(refusal.rule, Rule::Key { .. }), "{what}: {refusal}");
        }
        let file = odd_targets(&rig, |r| {
            r.set(&["delegations", "keys", &id], value.clone());
            let Value::Array(list) = r.at(&["delegations", "roles"]) else { panic!("no delegations") };
            let ids = list[0].as_object_mut().unwrap().get_mut("keyids").unwrap();
            let mut both = ids.as_array().unwrap().to_vec();
            both.push(Value::from(id.as_str()));
            *ids = Value::Array(both);
        });
        let refusal = rig.refused(&what, &[], &[("targets", file)]);
        assert!(matches!(refusal.rule, Rule::Key { .. }), "{what}: {refusal}");
    }
    rig.goes_on();
}

#[test]
fn tough_950_and_952_what_is_served_is_byte_for_byte_what_was_signed() {
    let mut rig = Rig::new();
    // Members that nobody knows, other white space, another order: whatever is written anew would change what is signed.
    let odd = resigned(&rig.next_targets(|_| ()), &[&rig.targets], |r| {
        r.set(&["x-unknown"], Value::object([("é", Value::from("\u{1}\n\"\\")), ("big", Value::from(u64::MAX))]));
        r.set(&["targets", "v1"], TargetInfo::of(b"x").to_value());
        r.set(&["targets", "v1", "custom"], Value::object([("z", Value::Null), ("a", Value::Array(vec![]))]));
    });
    let odd = String::from_utf8(odd).unwrap().replace("\"version\":", "\n \"version\" :\t").into_bytes();
    let name = format!("{}.targets.json", 3);
    rig.published(&[], &[("targets", odd.clone())]);
    assert_eq!(rig.served(&name), Some(odd.clone()));
    // After the next publications, which build on it, and in another process.
    rig.goes_on();
    let alice = rig.next("alice", &rig.alice, |d| d.set_target("api/v1", &TargetInfo::of(b"y")));
    rig.published(&[], &[("alice", alice.clone())]);
    rig.restart_server();
    assert_eq!(rig.served(&name), Some(odd.clone()));
    assert_eq!(rig.served("2.alice.json"), Some(alice));
    // The unknown members are still in what was published on top of it.
    let newest = json::parse(&rig.served("4.targets.json").unwrap()).unwrap();
    let before = json::parse(&odd).unwrap();
    for member in ["x-unknown", "targets"] {
        let of = |file: &Value| file.get("signed").unwrap().get(member).cloned();
        assert_eq!(of(&newest), of(&before), "{member}");
    }
    // The same content is never published under another version, nor other content under the same one.
    rig.refused("again", &[], &[("targets", odd)]);
    let again = rig.served("4.targets.json").unwrap();
    rig.refused("unchanged", &[], &[("targets", again)]);
}

#[test]
fn a_key_that_the_pending_root_removes_signs_nothing_beside_it() {
    let mut rig = Rig::new();
    let new = TestKey::ed25519(90);
    let root = [rig.next_root(|d| d.set_role(RoleType::Targets, &[new.public()], 1))];
    let by_old = rig.next_targets(|_| ());
    let refusal = rig.refused("the old key beside the new root", &root, &[("targets", by_old.clone())]);
    assert_eq!(refusal.rule, Rule::Trust(Reason::Signatures { valid: 0, needed: 1 }));
    rig.refused("the new root without new targets", &root, &[]);
    let by_new = rig.next("targets", &new, |_| ());
    rig.refused("the new key before its root", &[], &[("targets", by_new.clone())]);
    rig.published(&root, &[("targets", by_new)]);
    rig.refused("the old key after it", &[], &[("targets", by_old)]);
}
