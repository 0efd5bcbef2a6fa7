//! Attacks by bytes: wrong shapes, borders of numbers, nesting, other canonical forms, unknown members (tuf.md 3, 4, 6).

use trust_tests::attacks;
use trust_tests::simulator::{Delegate, Fault, RoleDocument, TestKey, World, days, refused};
use trust_tuf::error::{MetadataError, Reason};
use trust_tuf::json::{JsonErrorKind, Value};

const ROLES: [&str; 4] = ["root", "timestamp", "snapshot", "targets"];

/// Publishes a changed file of this role as what comes next, under the number that is due, with lengths and hashes above
/// it that fit.
fn publish(w: &mut World, role: &str, change: impl Fn(&mut RoleDocument)) {
    if role == "root" {
        w.repo.root().set_version(2);
        change(w.repo.root());
        let bytes = w.repo.root().bytes();
        w.repo.wire.put("2.root.json", bytes);
        return;
    }
    w.repo.role("targets").bump();
    w.repo.role("snapshot").bump();
    w.repo.role("timestamp").bump();
    w.repo.write_targets();
    if role != "timestamp" {
        let (name, version) = (w.repo.file_name(role), w.repo.role(role).version());
        change(w.repo.role(role));
        let bytes = w.repo.role(role).bytes();
        let entry = w.repo.entry(version, &bytes);
        w.repo.wire.put(&name, bytes);
        if role == "targets" {
            w.repo.role("snapshot").set(&["meta", "targets.json"], entry);
            w.repo.write_snapshot();
        } else {
            w.repo.role("timestamp").set(&["meta", "snapshot.json"], entry);
        }
    } else {
        w.repo.write_snapshot();
        change(w.repo.role(role));
    }
    w.repo.write("timestamp");
}

/// Serves these bytes as the next file of this role, with lengths and hashes that fit.
fn serve(w: &mut World, role: &str, bytes: &[u8]) {
    match role {
        "root" => w.repo.wire.put("2.root.json", bytes.to_vec()),
        "timestamp" => w.repo.wire.put("timestamp.json", bytes.to_vec()),
        _ => {
            w.repo.hashes = false;
            w.repo.role("targets").bump();
            w.repo.publish();
            let name = w.repo.file_name(role);
            w.repo.wire.put(&name, bytes.to_vec());
        }
    }
}

attacks! {
    fn cve_2026_23991_wrong_shapes_of_every_role_are_plain_errors(w) {
        // CVE-2026-23991: valid JSON of the wrong shape must not panic, before or after the signatures.
        let scalars = ["null", "true", "0", "-1", "\"\"", "[]", "{}", "[[]]", "{\"a\":null}"];
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
        w.refreshed();
        for role in ROLES {
            for body in &bodies {
                serve(w, role, body.as_bytes());
                let (of, reason) = w.refused();
                assert_eq!(of, role, "{body}");
                assert!(matches!(reason, Reason::Metadata(_)), "{body}: {reason:?}");
            }
            let version = w.repo.role("snapshot").version();
            w.repo.wire.remove("2.root.json");
            w.repo.role("snapshot").set_version(version);
            w.repo.role("targets").bump();
            w.repo.publish();
            w.refreshed();
        }
    }

    fn every_member_of_every_role_with_every_wrong_type_is_a_plain_error_or_ignored(w) {
        w.refreshed();
        let key = TestKey::ed25519(200);
        w.repo.delegate("targets", &Delegate::new("A", &key, &["*"]));
        w.repo.add_target("targets", "x", b"x");
        w.repo.role("targets").bump();
        w.repo.publish();
        w.refreshed();
        let values = [
            Value::Null, Value::from(true), Value::from(0_u64), Value::Int(-1), Value::from(u64::MAX), Value::from(""),
            Value::from("x"), Value::Array(vec![]), Value::Array(vec![Value::Null]), Value::object::<&str>([]),
            Value::object([("x", Value::Null)]), Value::object([("", Value::Array(vec![]))]),
        ];
        let mut wrong_types = 0;
        for role in ROLES {
            let good = w.repo.role(role).signed.clone();
            let paths = all_paths(&good);
            assert!(paths.len() > 6, "{role}");
            for path in paths {
                for value in &values {
                    publish(w, role, |r| replace(&mut r.signed, &path, Some(value.clone())));
                    // Never a panic. Whether another value is an error depends on the place; another type is one.
                    let result = w.refresh();
                    if path.last().and_then(|name| type_of_member(name)).is_some_and(|t| t != type_of(value)) {
                        let (of, reason) = refused(result);
                        assert_eq!(of, role, "{path:?} {value:?}");
                        assert!(matches!(reason, Reason::Metadata(_)), "{path:?} {value:?}: {reason:?}");
                        wrong_types += 1;
                    }
                    w.new_client(w.repo.pinned.clone());
                    restore(w, role, &good);
                }
                publish(w, role, |r| replace(&mut r.signed, &path, None));
                let _ = w.refresh();
                w.new_client(w.repo.pinned.clone());
                restore(w, role, &good);
            }
            w.repo.wire.remove("2.root.json");
        }
        assert!(wrong_types > 400, "{wrong_types}");
    }

    fn members_that_must_be_there_are_missed_by_name(w) {
        w.refreshed();
        for (role, member) in [
            ("root", "_type"), ("root", "spec_version"), ("root", "version"), ("root", "expires"), ("root", "keys"), ("root", "roles"),
            ("timestamp", "_type"), ("timestamp", "spec_version"), ("timestamp", "version"), ("timestamp", "expires"), ("timestamp", "meta"),
            ("snapshot", "_type"), ("snapshot", "spec_version"), ("snapshot", "version"), ("snapshot", "expires"), ("snapshot", "meta"),
            ("targets", "_type"), ("targets", "spec_version"), ("targets", "version"), ("targets", "expires"), ("targets", "targets"),
        ] {
            let good = w.repo.role(role).signed.clone();
            publish(w, role, |r| r.unset(&[member]));
            assert_eq!(w.malformed(role), MetadataError::Missing(member), "{role}");
            restore(w, role, &good);
            w.repo.wire.remove("2.root.json");
        }
        for missing in ["root", "timestamp", "snapshot", "targets"] {
            let good = w.repo.root().signed.clone();
            publish(w, "root", |r| r.unset(&["roles", missing]));
            assert_eq!(w.malformed("root"), MetadataError::Missing(missing));
            w.repo.root().signed = good;
        }
    }

    fn the_file_of_one_role_is_no_file_of_another(w) {
        w.refreshed();
        for role in ["timestamp", "snapshot", "targets"] {
            for other in ROLES {
                if role != other {
                    let file = w.repo.file_name(other);
                    let bytes = w.repo.wire.file(&file).unwrap();
                    serve(w, role, &bytes);
                    assert!(matches!(w.malformed(role), MetadataError::WrongType(_)), "{other} as {role}");
                }
            }
        }
    }

    fn versions_at_the_borders_are_read_or_refused_and_never_wrap(w) {
        w.refreshed();
        for role in ["timestamp", "snapshot", "targets"] {
            for version in [(1 << 31) - 1, 1 << 31, (1 << 32) + 1, (1 << 53) + 1, (1 << 63) - 1] {
                w.restart(trust_tests::simulator::Repository::new());
                w.repo.role(role).set_version(version);
                w.repo.publish_same_versions();
                w.refreshed();
                assert_eq!(w.kept()[role], version, "{role}");
                // The one before is a rollback, and no next one exists after the last.
                w.repo.role(role).set_version(version - 1);
                if role != "timestamp" {
                    w.repo.role("timestamp").bump();
                }
                w.repo.publish_same_versions();
                assert!(matches!(w.refused().1, Reason::Rollback { .. } | Reason::SnapshotRollback { .. } | Reason::RoleLowered { .. }));
            }
            for version in [Value::from(0_u64), Value::Int(-1), Value::from(1_u64 << 63), Value::from(u64::MAX)] {
                w.restart(trust_tests::simulator::Repository::new());
                w.repo.role(role).set(&["version"], version.clone());
                // Listed as 1: the file itself says otherwise.
                let bytes = w.repo.role(role).bytes();
                w.repo.hashes = false;
                w.repo.role(role).set_version(1);
                w.repo.publish_same_versions();
                let name = w.repo.file_name(role);
                w.repo.wire.put(&name, bytes);
                assert_eq!(w.malformed(role), MetadataError::Version, "{role} {version:?}");
            }
            for text in ["18446744073709551616", "1.0", "1e3", "-0", "01", "99999999999999999999999999999999999999999"] {
                w.restart(trust_tests::simulator::Repository::new());
                w.repo.hashes = false;
                w.repo.publish_same_versions();
                let name = w.repo.file_name(role);
                let bytes = String::from_utf8(w.repo.wire.file(&name).unwrap()).unwrap();
                let bytes = bytes.replace(",\"version\":1}}", &format!(",\"version\":{text}}}}}"));
                assert!(bytes.contains(text));
                w.repo.wire.put(&name, bytes.into_bytes());
                match w.malformed(role) {
                    MetadataError::Json(e) => assert_eq!(e.kind, JsonErrorKind::NotAnInteger, "{role} {text}"),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn the_last_version_of_a_listed_role_can_be_listed(w) {
        let last = (1_u64 << 63) - 1;
        w.repo.role("snapshot").set(&["meta", "other.json", "version"], last);
        w.repo.publish();
        w.refreshed();
        w.repo.role("snapshot").set(&["meta", "other.json", "version"], last + 1);
        w.repo.publish();
        assert_eq!(w.malformed("snapshot"), MetadataError::Version);
    }

    fn another_major_version_of_the_format_is_refused_and_a_later_minor_is_read(w) {
        w.refreshed();
        for role in ROLES {
            let good = w.repo.role(role).signed.clone();
            for bad in ["2.0.0", "0.9.0", "", "1", "one", "1.0.0.0"] {
                publish(w, role, |r| r.set(&["spec_version"], bad));
                assert_eq!(w.malformed(role), MetadataError::SpecVersion, "{role} {bad}");
                restore(w, role, &good);
            }
            publish(w, role, |r| r.set(&["spec_version"], "1.99.7"));
            w.refreshed();
            w.restart(trust_tests::simulator::Repository::new());
            w.refreshed();
        }
    }

    fn every_other_spelling_of_a_time_is_refused(w) {
        w.refreshed();
        for role in ROLES {
            let good = w.repo.role(role).signed.clone();
            for bad in ["2099-01-01", "2099-01-01T00:00:00", "2099-01-01T00:00:00.0Z", "2099-01-01T00:00:00+00:00", "2099-01-01t00:00:00z", "2099-13-01T00:00:00Z", "12099-01-01T00:00:00Z", "", "never"] {
                publish(w, role, |r| r.set(&["expires"], bad));
                assert_eq!(w.malformed(role), MetadataError::Expires, "{role} {bad}");
                restore(w, role, &good);
            }
            w.repo.wire.remove("2.root.json");
        }
    }

    fn unknown_members_at_any_depth_are_signed_kept_and_ignored(w) {
        let extra = Value::object([("deep", Value::Array(vec![Value::object([("x", Value::Null)]), Value::from("\u{1}\n")]))]);
        let key = TestKey::ed25519(200);
        w.repo.delegate("targets", &Delegate::new("A", &key, &["*"]));
        w.repo.add_target("A", "x", b"x");
        w.repo.role("targets").set(&["x-extra"], extra.clone());
        w.repo.role("targets").set(&["delegations", "x-extra"], extra.clone());
        w.repo.delegations("targets")[0].as_object_mut().unwrap().insert("x-extra".into(), extra.clone());
        w.repo.role("A").set(&["targets", "x", "x-extra"], extra.clone());
        w.repo.role("snapshot").set(&["x-extra"], extra.clone());
        w.repo.role("timestamp").set(&["x-extra"], extra.clone());
        w.repo.root().set(&["x-extra"], extra.clone());
        w.repo.root().set(&["roles", "timestamp", "x-extra"], extra.clone());
        w.repo.root().set(&["roles", "x-role"], extra.clone());
        let id = w.repo.role("timestamp").signers[0].id().to_owned();
        w.repo.root().set(&["keys", &id, "x-extra"], extra.clone());
        w.repo.root().set(&["keys", &id, "keyid_hash_algorithms"], Value::Array(vec![Value::from("sha256")]));
        w.repo.publish_next_root();
        w.repo.publish();
        assert_eq!(w.lookup("x").unwrap().role(), Some("A"));
        for file in ["root", "timestamp", "snapshot", "targets", "A"] {
            let kept = w.client.files()[&format!("{file}.json")].clone();
            assert!(kept == w.repo.wire.file(&w.repo.file_name(file)).unwrap(), "{file}");
        }
        // They are covered by the signature: a change of one byte inside is seen.
        w.repo.hashes = false;
        w.repo.publish();
        let name = w.repo.file_name("timestamp");
        let text = String::from_utf8(w.repo.wire.file(&name).unwrap()).unwrap();
        w.repo.wire.put(&name, text.replace("deep", "deeq").into_bytes());
        assert_eq!(w.refused(), ("timestamp".into(), Reason::Signatures { valid: 0, needed: 1 }));
    }

    fn members_beside_the_signed_part_are_ignored_and_mean_nothing(w) {
        w.refreshed();
        w.repo.hashes = false;
        w.repo.publish();
        let text = String::from_utf8(w.repo.wire.file("timestamp.json").unwrap()).unwrap();
        let extra = text.replacen('{', "{\"custom\":{\"signed\":{\"version\":99}},", 1);
        w.repo.wire.put("timestamp.json", extra.clone().into_bytes());
        w.refreshed();
        assert!(w.client.files()["timestamp.json"] == extra.as_bytes());
    }

    fn two_members_of_one_name_are_refused_wherever_they_stand(w) {
        // A reader that keeps the last one and a verifier that keeps the first one see two documents under one signature.
        w.refreshed();
        w.repo.hashes = false;
        for (what, from, to) in [
            ("version", "\"version\":", "\"version\":1,\"version\":"),
            ("escaped", "\"version\":", "\"versio\\u006e\":1,\"version\":"),
            ("signed", "\"signed\":", "\"signed\":{},\"signed\":"),
            ("signatures", "\"signatures\":", "\"signatures\":[],\"signatures\":"),
            ("unknown", "\"meta\":", "\"x\":{\"a\":1,\"b\":2,\"a\":3},\"meta\":"),
            ("keyid", "\"keyid\":", "\"keyid\":\"x\",\"keyid\":"),
        ] {
            w.repo.publish();
            let text = String::from_utf8(w.repo.wire.file("timestamp.json").unwrap()).unwrap();
            let doubled = text.replacen(from, to, 1);
            assert_ne!(doubled, text);
            w.repo.wire.put("timestamp.json", doubled.into_bytes());
            match w.malformed("timestamp") {
                MetadataError::Json(e) => assert_eq!(e.kind, JsonErrorKind::DuplicateMember, "{what}"),
                // An earlier copy of the wrong shape is refused for that.
                MetadataError::Missing(_) => assert_eq!(what, "signed"),
                other => panic!("{what}: {other:?}"),
            }
        }
    }

    fn another_spelling_of_the_same_value_is_the_same_file(w) {
        // The canonical form of the received value is what is signed: order, white space and escapes do not matter.
        w.repo.hashes = false;
        w.repo.publish();
        let bytes = w.repo.wire.file("timestamp.json").unwrap();
        let value = trust_tuf::json::parse(&bytes).unwrap();
        let odd = odd_spelling(&value);
        assert_ne!(odd.as_bytes(), bytes);
        w.repo.wire.put("timestamp.json", odd.clone().into_bytes());
        w.refreshed();
        assert!(w.client.files()["timestamp.json"] == odd.as_bytes());
    }

    fn composed_and_decomposed_names_are_two_names(w) {
        w.repo.role("timestamp").set(&["x"], Value::object([("\u{e9}", Value::from(1_u64)), ("e\u{301}", Value::from(2_u64))]));
        w.repo.publish_timestamp();
        w.refreshed();
        let text = String::from_utf8(w.repo.role("timestamp").bytes()).unwrap();
        w.repo.role("timestamp").bump();
        w.repo.wire.put("timestamp.json", text.replace("e\u{301}", "\u{e8}").into_bytes());
        // An equal version would be discarded: a new client looks at it.
        w.new_client(w.repo.pinned.clone());
        assert_eq!(w.refused(), ("timestamp".into(), Reason::Signatures { valid: 0, needed: 1 }));
    }

    fn nesting_is_refused_beyond_32_and_never_overflows_the_stack(w) {
        w.refreshed();
        let nested = |n: usize| (0..n).fold(Value::Null, |v, _| Value::Array(vec![v]));
        // Envelope and signed part are two of the 32.
        w.repo.role("timestamp").set(&["x"], nested(30));
        w.repo.publish_timestamp();
        w.refreshed();
        w.repo.role("timestamp").set(&["x"], nested(31));
        w.repo.publish_timestamp();
        let deep = |e: MetadataError| matches!(e, MetadataError::Json(e) if e.kind == JsonErrorKind::TooDeep);
        assert!(deep(w.malformed("timestamp")));
        w.repo.role("timestamp").unset(&["x"]);
        for (role, limit) in [("root", 500_000), ("timestamp", 16_000), ("snapshot", 1_900_000), ("targets", 4_900_000)] {
            for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
                let n = limit / (open.len() + 1);
                for bytes in [
                    format!("{}{}", open.repeat(n), close.repeat(n)),
                    format!("{{\"signatures\":[],\"signed\":{}", open.repeat(n / 2)),
                    format!("{{\"x\":{}", open.repeat(n / 2)),
                ] {
                    serve(w, role, bytes.as_bytes());
                    let e = w.malformed(role);
                    assert!(matches!(e, MetadataError::Json(_)), "{role}: {e:?}");
                }
            }
            w.repo.wire.remove("2.root.json");
        }
    }

    fn odd_bytes_around_and_inside_a_good_file_are_refused(w) {
        w.refreshed();
        w.repo.hashes = false;
        w.repo.publish();
        let good = w.repo.wire.file("timestamp.json").unwrap();
        let mut utf16 = vec![0xff, 0xfe];
        utf16.extend(good.iter().flat_map(|b| [*b, 0]));
        for bytes in [
            [b"\xef\xbb\xbf".as_slice(), &good].concat(),
            [&good, b"\0".as_slice()].concat(),
            [&good, b"{}".as_slice()].concat(),
            [&good, good.as_slice()].concat(),
            utf16,
            good[..good.len() - 1].to_vec(),
            String::from_utf8(good.clone()).unwrap().replacen("timestamp", "time\u{0}stamp", 1).into_bytes(),
            good.iter().map(|b| if *b == b'm' { 0xff } else { *b }).collect(),
        ] {
            w.repo.wire.put("timestamp.json", bytes);
            assert!(matches!(w.malformed("timestamp"), MetadataError::Json(_)));
        }
        // White space around it changes nothing.
        w.repo.wire.put("timestamp.json", [b" \n".as_slice(), &good, b"\r\n\t".as_slice()].concat());
        w.refreshed();
    }

    fn a_flip_of_any_byte_of_a_file_is_an_error_or_changes_nothing_that_is_signed(w) {
        w.repo.hashes = false;
        w.repo.publish();
        let good = w.repo.wire.file("timestamp.json").unwrap();
        let signed = |bytes: &[u8]| trust_tuf::json::parse(bytes).ok().and_then(|v| v.get("signed").map(Value::canonical));
        let mut accepted = 0;
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            w.repo.wire.fault("timestamp.json", Fault::Bytes(bytes.clone()));
            w.new_client(w.repo.pinned.clone());
            if w.refresh().is_ok() {
                assert_eq!(signed(&bytes), signed(&good), "byte {at}");
                accepted += 1;
            }
        }
        assert!(accepted < 20, "{accepted}");
    }

    fn many_delegations_and_many_targets_are_read_in_time(w) {
        let key = TestKey::ed25519(200);
        w.repo.role("targets").set(&["delegations", "keys", key.id()], key.value());
        let list = (0..20_000).map(|n| Value::object([
            ("name", Value::from(format!("r{n}"))), ("keyids", Value::Array(vec![Value::from(key.id())])),
            ("threshold", Value::from(1_u64)), ("terminating", Value::from(false)),
            ("paths", Value::Array(vec![Value::from(format!("r{n}/*"))])),
        ]));
        let list = Value::Array(list.collect());
        w.repo.role("targets").set(&["delegations", "roles"], list);
        w.repo.publish();
        let begun = std::time::Instant::now();
        assert!(w.lookup("none").unwrap().role().is_none());
        assert!(begun.elapsed() < std::time::Duration::from_secs(10));
        assert_eq!(refused(w.lookup("r7/x")), ("r7".into(), Reason::NotInSnapshot));
    }

    fn an_expiry_far_away_is_read_and_never_overflows(w) {
        w.repo.role("timestamp").set(&["expires"], "9999-12-31T23:59:59Z");
        w.repo.publish_timestamp();
        w.refreshed();
        w.repo.role("timestamp").set(&["expires"], "0000-01-01T00:00:00Z");
        w.repo.publish_timestamp();
        assert!(matches!(w.refused().1, Reason::Expired { .. }));
        assert!(w.now.plus_secs(days(i64::MAX / 86_400)).is_none());
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The type of a member that has a meaning, by its name.
fn type_of_member(name: &str) -> Option<&'static str> {
    Some(match name {
        "_type" | "spec_version" | "expires" | "name" | "sha256" => "string",
        "version" | "threshold" | "length" => "int",
        "consistent_snapshot" | "terminating" => "bool",
        "keyids" | "paths" => "array",
        "keys" | "meta" | "hashes" | "targets" | "delegations" => "object",
        _ => return None,
    })
}

/// The paths of all members of a tree, inner ones too.
fn all_paths(value: &Value) -> Vec<Vec<String>> {
    let mut out = Vec::new();
    match value {
        Value::Object(members) => {
            for (name, inner) in members {
                out.push(vec![name.clone()]);
                out.extend(all_paths(inner).into_iter().map(|rest| [vec![name.clone()], rest].concat()));
            }
        }
        Value::Array(items) => {
            for (n, inner) in items.iter().enumerate() {
                out.push(vec![n.to_string()]);
                out.extend(all_paths(inner).into_iter().map(|rest| [vec![n.to_string()], rest].concat()));
            }
        }
        _ => {}
    }
    out
}

fn replace(tree: &mut Value, path: &[String], with: Option<Value>) {
    let Some((first, rest)) = path.split_first() else { return };
    match tree {
        Value::Object(members) if rest.is_empty() => {
            match with {
                Some(value) => members.insert(first.clone(), value),
                None => members.remove(first),
            };
        }
        Value::Object(members) => {
            if let Some(inner) = members.get_mut(first) {
                replace(inner, rest, with);
            }
        }
        Value::Array(items) => {
            let at: usize = first.parse().unwrap();
            if rest.is_empty() {
                match with {
                    Some(value) => items[at] = value,
                    None => drop(items.remove(at)),
                }
            } else {
                replace(&mut items[at], rest, with);
            }
        }
        _ => {}
    }
}

/// Puts the signed part of a role back, at a version that can still be published.
fn restore(w: &mut World, role: &str, good: &Value) {
    let version = w.repo.role(role).version();
    w.repo.role(role).signed = good.clone();
    if role != "root" {
        let at_least = good.get("version").and_then(Value::as_u64).unwrap();
        w.repo.role(role).set_version(version.clamp(at_least, at_least + 1_000_000));
    }
}

/// Members in reverse order, white space everywhere, every letter of names escaped.
fn odd_spelling(value: &Value) -> String {
    let text = |s: &str| -> String {
        format!("\"{}\"", s.chars().map(|c| format!("\\u{:04X}", c as u32)).collect::<String>())
    };
    match value {
        Value::Object(members) => {
            let members: Vec<String> =
                members.iter().rev().map(|(k, v)| format!(" {} :\t{}", text(k), odd_spelling(v))).collect();
            format!("{{{}\n}}", members.join(" ,"))
        }
        Value::Array(items) => format!("[ {} ]", items.iter().map(odd_spelling).collect::<Vec<_>>().join(" , ")),
        Value::String(s) => text(s),
        other => String::from_utf8(other.canonical()).unwrap(),
    }
}
