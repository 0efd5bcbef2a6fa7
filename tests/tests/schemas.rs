//! The documents in `schemas/` say what the code does: generated ones are equal to what is generated, written ones
//! judge the same documents alike.

use std::path::PathBuf;

use serde_json::{Value, json};
use trust_image::ImageFacts;
use trust_tuf::draft::{Draft, NewDelegation};
use trust_tuf::envelope::Unverified;
use trust_tuf::{
    Bins, MetaEntry, PublicKey, RoleType, Root, Snapshot, TargetInfo, Targets, Timestamp, UtcTime, Version,
};

const SIGNATURE: &str = "00";

fn schemas() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../schemas")
}

fn schema(name: &str) -> jsonschema::Validator {
    let text = std::fs::read_to_string(schemas().join(name)).unwrap();
    jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
}

fn key() -> PublicKey {
    let point = hex::decode("8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c").unwrap();
    PublicKey::ed25519(&point).unwrap()
}

fn expires() -> UtcTime {
    UtcTime::parse("2030-01-01T00:00:00Z").unwrap()
}

fn document(draft: &Draft) -> Value {
    let signature = trust_tuf::Signature { keyid: key().id(), sig: hex::decode(SIGNATURE).unwrap() };
    serde_json::from_slice(&draft.assemble([signature])).unwrap()
}

fn documents() -> [(&'static str, Value); 5] {
    let mut root = Draft::root(expires());
    for role in RoleType::ALL {
        root.set_role(role, &[key()], 1);
    }
    let entry = MetaEntry::of(Version::ONE, b"x");
    let mut targets = Draft::targets(expires());
    targets.set_target("api/v1", &TargetInfo::of(b"x"));
    targets.set_delegation(&NewDelegation {
        name: "alice".to_owned(),
        keys: vec![key()],
        threshold: 1,
        terminating: false,
        patterns: vec!["*".to_owned()],
    });
    let mut bins = Draft::targets(expires());
    bins.set_bins(&Bins::new("alice.b1", 4).unwrap(), &[key()], 1);
    [
        ("root", document(&root)),
        ("timestamp", document(&Draft::timestamp(Version::ONE, expires(), &entry))),
        ("snapshot", document(&Draft::snapshot(Version::ONE, expires(), [("targets", &entry)]))),
        ("targets", document(&targets)),
        ("targets", document(&bins)),
    ]
}

fn is_read(role: &str, document: &Value) -> bool {
    let bytes = serde_json::to_vec(document).unwrap();
    match role {
        "root" => Unverified::<Root>::read(bytes, 1 << 20).is_ok(),
        "timestamp" => Unverified::<Timestamp>::read(bytes, 1 << 20).is_ok(),
        "snapshot" => Unverified::<Snapshot>::read(bytes, 1 << 20).is_ok(),
        _ => Unverified::<Targets>::read(bytes, 1 << 20).is_ok(),
    }
}

/// Every place in a document, as a JSON pointer.
fn places(value: &Value, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    let children: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(k, v)| (k.replace('~', "~0").replace('/', "~1"), v)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect(),
        _ => Vec::new(),
    };
    for (name, child) in children {
        places(child, &format!("{at}/{name}"), out);
    }
}

fn remove(document: &mut Value, pointer: &str) {
    let Some((parent, name)) = pointer.rsplit_once('/') else { return };
    let name = name.replace("~1", "/").replace("~0", "~");
    match document.pointer_mut(parent) {
        Some(Value::Object(members)) => {
            members.remove(&name);
        }
        Some(Value::Array(items)) => {
            items.remove(name.parse().unwrap());
        }
        _ => {}
    }
}

#[test]
fn role_schemas_judge_every_changed_document_as_the_reader_does() {
    let wrong = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1),
        json!(""),
        json!("x"),
        json!([]),
        json!({}),
        json!([{}]),
    ];
    let mut judged = 0;
    for (role, good) in documents() {
        let schema = schema(&format!("tuf/{role}.json"));
        assert!(schema.is_valid(&good) && is_read(role, &good), "{role}");
        let mut pointers = Vec::new();
        places(&good, "", &mut pointers);
        // Inside a key the reader only asks for an object: what it cannot use does not count.
        for pointer in pointers.iter().filter(|p| !p.contains("/keys/")) {
            let mut changed: Vec<Value> = wrong
                .iter()
                .map(|w| {
                    let mut document = good.clone();
                    *document.pointer_mut(pointer).unwrap() = w.clone();
                    document
                })
                .collect();
            let mut without = good.clone();
            remove(&mut without, pointer);
            changed.push(without);
            for document in changed {
                let (by_schema, by_reader) = (schema.is_valid(&document), is_read(role, &document));
                assert_eq!(by_schema, by_reader, "{role} at {pointer}: {document}");
                judged += 1;
            }
        }
    }
    assert!(judged > 500, "only {judged}");
}

#[test]
fn fact_schema_judges_every_changed_document_as_the_reader_does() {
    let schema = schema("custom.json");
    let digest = format!("sha256:{}", "a".repeat(64));
    let good = json!({"image": {
        "mediaType": "application/vnd.oci.image.index.v1+json", "signed": "2026-01-01T00:00:00Z", "tags": ["v1"],
        "platforms": [{"platform": "linux/amd64", "digest": digest, "labels": {"a": "b"}}], "annotations": {"c": "d"}, "stated": {"e": "f"},
    }});
    let is_read = |v: &Value| ImageFacts::from_custom(&serde_json::to_vec(v).unwrap()).is_ok();
    assert!(schema.is_valid(&good) && is_read(&good));
    let mut pointers = Vec::new();
    places(&good, "", &mut pointers);
    for pointer in pointers.iter().filter(|p| !p.is_empty() && !p.ends_with("/platform")) {
        for wrong in [json!(null), json!(1), json!("?"), json!([1]), json!({"a": 1})] {
            let mut document = good.clone();
            *document.pointer_mut(pointer).unwrap() = wrong.clone();
            // A string is a good label, annotation and statement.
            assert_eq!(schema.is_valid(&document), is_read(&document), "{pointer}: {document}");
        }
    }
}

fn compare(name: &str, mut generated: Value) {
    let path = schemas().join(name);
    // The order of members depends on what else is built.
    generated.sort_all_objects();
    let text = format!("{}\n", serde_json::to_string_pretty(&generated).unwrap());
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == text,
        "schemas/{name} differs from the types: run with UPDATE_SCHEMAS=1 and look at the difference"
    );
}

#[test]
fn signer_protocol_schema_is_the_one_of_the_types() {
    let of = |schema: schemars::Schema| serde_json::to_value(schema).unwrap();
    compare(
        "signer-protocol.json",
        json!({
            "request": of(schemars::schema_for!(trust_wire::signer::Request)),
            "reply": of(schemars::schema_for!(trust_wire::signer::Reply)),
        }),
    );
}
