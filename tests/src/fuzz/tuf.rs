//! What `trust-tuf` reads: JSON, the four kinds of files, patterns, keys, times, names.

use std::sync::LazyLock;

use serde_json::Value as Json;
use trust_tuf::envelope::Unverified;
use trust_tuf::json::{self as strict, Value};
use trust_tuf::model::Role;
use trust_tuf::names::{is_target_path, percent_encode};
use trust_tuf::trusted::RootStage;
use trust_tuf::{
    CollectionName, PublicKey, RoleKeys, RoleName, RoleType, Root, Snapshot, Targets, Timestamp, UtcTime, Verified,
};

use crate::property::plain::{self, Ledger, segment_fits};
use crate::simulator::keys::pem_of_der;
use crate::simulator::{Repository, TestKey, now};

/// Strict JSON and the canonical form.
pub fn json(data: &[u8]) {
    let read = strict::parse(data);
    assert_eq!(strict::check(data, usize::MAX).is_ok(), read.is_ok(), "the checking and the building reader disagree");
    let Ok(value) = read else { return };
    let other: Json = serde_json::from_slice(data).expect("what the strict reader reads is JSON");
    assert!(is_same(&value, &other), "two readers read two things");
    let text = value.to_json();
    assert_eq!(strict::parse(&text).as_ref(), Ok(&value), "written and read again");
    let canonical = value.canonical();
    assert_eq!(strict::parse(&text).expect("read before").canonical(), canonical);
    assert_eq!(plain::canonical(&other).expect("no floats").into_bytes(), canonical, "two canonical forms");
    if let Ok(again) = strict::parse(&canonical) {
        assert_eq!(again.canonical(), canonical, "the canonical form is not stable");
    }
}

fn is_same(ours: &Value, other: &Json) -> bool {
    match (ours, other) {
        (Value::Null, Json::Null) => true,
        (Value::Bool(a), Json::Bool(b)) => a == b,
        (Value::Int(a), Json::Number(b)) => {
            b.as_i64().map(i128::from).or_else(|| b.as_u64().map(i128::from)) == Some(*a)
        }
        (Value::String(a), Json::String(b)) => a == b,
        (Value::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        (Value::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| is_same(a, b)))
        }
        _ => false,
    }
}

struct Fixture {
    root: Verified<Root>,
    bytes: Vec<u8>,
}

// Keys 1 to 4 speak for root, timestamp, snapshot and targets.
static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let repo = Repository::new();
    let root = RootStage::pinned(repo.pinned.clone(), now()).expect("a root").root().clone();
    Fixture { root, bytes: repo.pinned }
});

fn keys(role: RoleType) -> &'static RoleKeys {
    FIXTURE.root.role(role)
}

/// What the four keys would sign if they signed this file. Ed25519 signs one message in one way only.
fn honest(file: &[u8]) -> Ledger {
    let mut ledger = Ledger::default();
    if let Some(signed) = strict::parse(file).ok().as_ref().and_then(|file| file.get("signed")) {
        let message = signed.canonical();
        for key in (1..=4).map(TestKey::ed25519) {
            ledger.note_key(&key, &message, &key.sign(&message));
        }
    }
    ledger
}

/// A file with this signed part, whatever it is, signed by the right key if there is anything to sign.
fn signed_by(key: &TestKey, part: &[u8]) -> (Vec<u8>, Ledger) {
    let mut ledger = Ledger::default();
    let sig = strict::parse(part).map(|value| {
        let message = value.canonical();
        let sig = key.sign(&message);
        ledger.note_key(key, &message, &sig);
        hex::encode(sig)
    });
    let id = key.id();
    let file = format!(r#"{{"signatures":[{{"keyid":"{id}","sig":"{}"}}],"signed":"#, sig.unwrap_or_default());
    let mut file = file.into_bytes();
    file.extend(part);
    file.push(b'}');
    (file, ledger)
}

fn role<R: Role>(number: u8, data: &[u8], look: fn(&R, &Json)) {
    judge(data, &honest(data), look);
    let (file, ledger) = signed_by(&TestKey::ed25519(number), data);
    judge(&file, &ledger, look);
}

fn judge<R: Role>(file: &[u8], ledger: &Ledger, look: fn(&R, &Json)) {
    let kind = R::TYPE.as_str();
    let Ok(read) = Unverified::<R>::read(file, 1 << 20) else { return };
    let (version, expires) = plain::summary(kind, file).expect("the plain reader reads what the strict one reads");
    assert_eq!(read.claimed_version().get(), version);
    let verified = read.verify(keys(R::TYPE));
    assert_eq!(verified.is_ok(), plain::is_signed(ledger, &FIXTURE.bytes, kind, file), "two judgements of signatures");
    let Ok(verified) = verified else { return };
    assert_eq!(&**verified.bytes(), file, "the bytes as received");
    assert_eq!(verified.expires().to_string(), expires);
    let document: Json = serde_json::from_slice(file).expect("read before");
    look(&verified, &document["signed"]);
}

/// A root, as a file and as the signed part of one.
pub fn root(data: &[u8]) {
    role::<Root>(1, data, |root, json| {
        for kind in RoleType::ALL {
            let role = &json["roles"][kind.as_str()];
            assert_eq!(role["threshold"].as_u64(), Some(root.role(kind).threshold()));
            assert!(root.role(kind).threshold() >= 1);
        }
    });
    if let Ok(stage) = RootStage::pinned(data, now()) {
        let mut again = RootStage::pinned(data, now()).expect("accepted before");
        assert!(again.advance(data).is_err(), "a root follows itself");
        assert_eq!(&**stage.root().bytes(), data);
    }
}

/// A timestamp.
pub fn timestamp(data: &[u8]) {
    role::<Timestamp>(2, data, |timestamp, json| {
        let entry = &json["meta"]["snapshot.json"];
        assert_eq!(entry["version"].as_u64(), Some(timestamp.snapshot().version.get()));
        assert_eq!(entry.get("length").and_then(Json::as_u64), timestamp.snapshot().length);
    });
}

/// A snapshot.
pub fn snapshot(data: &[u8]) {
    role::<Snapshot>(3, data, |snapshot, json| {
        for (file, entry) in json["meta"].as_object().expect("an object") {
            let Some(role) = file.strip_suffix(".json") else { continue };
            let version = snapshot.entry(role).map(|entry| entry.version.get());
            assert_eq!(version, entry["version"].as_u64(), "{file}");
        }
        assert!(snapshot.entry("no such role").is_none() || json["meta"].get("no such role.json").is_some());
    });
}

/// A targets file.
pub fn targets(data: &[u8]) {
    role::<Targets>(4, data, |targets, json| {
        let listed = json["targets"].as_object().expect("an object");
        assert_eq!(targets.paths().count(), listed.len());
        for (path, entry) in listed {
            let target = targets.target(path).unwrap_or_else(|| panic!("{path:?} is listed and not found"));
            assert_eq!(Some(target.length), entry["length"].as_u64());
            assert_eq!(target.custom.is_some(), entry.get("custom").is_some());
        }
        for delegation in targets.delegations().into_iter().flat_map(|d| d.roles()) {
            for path in ["", "a", "a/b", "\u{e9}", "a/b/c"] {
                let _ = delegation.matches(path);
            }
        }
        if let Some(bins) = targets.delegations().and_then(|d| d.succinct()) {
            assert!(bins.is_bin(&bins.bin_for("a/b")));
        }
    });
}

/// A pattern and a path, on two lines.
pub fn pattern(data: &[u8]) {
    let Some((pattern, path)) = std::str::from_utf8(data).ok().and_then(|text| text.split_once('\n')) else { return };
    let key = TestKey::ed25519(4);
    let delegation = Value::object([
        ("keyids", Value::from(vec![Value::from(key.id())])),
        ("name", Value::from("role")),
        ("paths", Value::from(vec![Value::from(pattern)])),
        ("terminating", Value::from(false)),
        ("threshold", Value::from(1_u64)),
    ]);
    let keys_of_role = Value::object([(key.id(), key.value())]);
    let delegations = Value::object([("keys", keys_of_role), ("roles", Value::from(vec![delegation]))]);
    let part = Value::object([
        ("_type", Value::from("targets")),
        ("delegations", delegations),
        ("expires", Value::from("2040-01-01T00:00:00Z")),
        ("spec_version", Value::from("1.0.31")),
        ("targets", Value::Object(Default::default())),
        ("version", Value::from(1_u64)),
    ]);
    let (file, _) = signed_by(&key, &part.to_json());
    let read = Unverified::<Targets>::read(file, 1 << 20).map(|f| f.verify(keys(RoleType::Targets)));
    let targets = read.expect("a well-formed file").expect("signed");
    let matches = targets.delegations().expect("some").roles()[0].matches(path);
    if pattern.contains('[') {
        assert!(matches.is_err(), "a pattern without a meaning has an answer");
        return;
    }
    let matches = matches.expect("a pattern with a meaning");
    // The plain judgement takes exponential time, and knows bytes only.
    if pattern.matches('*').count() <= 4 && path.len() <= 60 && pattern.is_ascii() && path.is_ascii() {
        let (patterns, parts): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
        let plainly = patterns.len() == parts.len() && patterns.iter().zip(&parts).all(|(p, t)| segment_fits(p, t));
        assert_eq!(matches, plainly, "{pattern:?} {path:?}");
    }
    if matches {
        assert_eq!(pattern.matches('/').count(), path.matches('/').count(), "a `*` went over a `/`");
    }
}

/// A public key: PEM, a raw point, DER, a key object.
pub fn public_key(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let read = [PublicKey::from_pem(&text), PublicKey::from_pem(&pem_of_der(data))];
    let raw = [PublicKey::ed25519(data), PublicKey::p256_from_sec1(data)];
    let object = strict::parse(data).ok().map(|value| PublicKey::from_value(&value));
    for key in read.into_iter().chain(raw).chain(object).flatten() {
        let again = PublicKey::from_value(&key.to_value()).expect("written and read again");
        assert_eq!((&again, again.id()), (&key, key.id()));
        assert_eq!(PublicKey::from_pem(&key.to_pem()).as_ref(), Ok(&key), "as PEM and read again");
        assert_eq!(
            key.respelled().check_registrable().is_ok(),
            key.respelled().respelled().check_registrable().is_ok()
        );
        assert!(!key.verify(b"message", data), "noise is a signature");
        assert!(!key.verify(b"message", &[]), "nothing is a signature");
        assert!(text.contains("PRIVATE KEY").then(|| PublicKey::from_pem(&text).is_err()) != Some(false));
    }
}

/// A time.
pub fn time(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(time) = UtcTime::parse(text) else { return };
    assert_eq!(time.to_string(), text, "one time, two spellings");
    assert_eq!(UtcTime::from_unix(time.unix()), Some(time));
    if let Some(later) = time.plus_secs(1) {
        assert!(later > time && later.to_string().as_str() > text, "text and time are ordered differently");
    }
}

/// Names of roles, collections and targets.
pub fn names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let encoded = percent_encode(text);
    let safe = |b: u8| b.is_ascii_alphanumeric() || b"-_.~%".contains(&b);
    assert!(encoded.bytes().all(safe), "an encoded name has a byte that URLs or file systems read");
    assert!(!encoded.contains('/'));
    if let Ok(name) = RoleName::parse(text) {
        assert_eq!(name.as_str(), text);
        assert_eq!(encoded, text, "a name of ours is encoded");
        assert!(!matches!(text, "" | "." | ".." | "root" | "snapshot" | "timestamp"));
    }
    if let Ok(name) = CollectionName::parse(text) {
        assert_eq!(name.as_str(), text);
        assert!(name.overlaps(&name));
        assert!(!text.split('/').any(|part| matches!(part, "" | "." | "..")), "a collection leaves its folder");
        assert!(text.is_ascii() && !text.bytes().any(|b| b.is_ascii_uppercase()));
    }
    if is_target_path(text) {
        let path = std::path::Path::new(text);
        assert!(path.components().all(|c| matches!(c, std::path::Component::Normal(_))), "a target leaves its folder");
    }
}
