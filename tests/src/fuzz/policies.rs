//! What people write for the rules: dictionaries, rule files, environments.

use trust_policy::{Cloud, Environment, Policy, PolicyIdentity, Source};

fn source(path: &str, bytes: &[u8]) -> Source {
    Source { path: path.to_owned(), bytes: bytes.to_vec() }
}

const RULE: &[u8] = b"@id(\"all\")\npermit (principal, action, resource);\n";

/// A dictionary of labels.
pub fn dictionary(data: &[u8]) {
    let rules = source("_policy/main.cedar", RULE);
    let labels = source("_labels/main.json", data);
    if Policy::load(&[rules.clone(), labels.clone()], PolicyIdentity::folder()).is_ok() {
        serde_json::from_slice::<serde_json::Value>(data).expect("what is a dictionary is JSON");
        let twice = source("_labels/other.json", data);
        // The same key in two files is one too many, unless there is none.
        let _ = Policy::load(&[rules, labels, twice], PolicyIdentity::folder());
    }
}

/// A rule file.
pub fn policy(data: &[u8]) {
    let load = || Policy::load(&[source("_policy/main.cedar", data)], PolicyIdentity::folder());
    let (first, second) = (load(), load());
    assert_eq!(first.is_ok(), second.is_ok(), "one file, two answers");
}

/// The file that describes an environment.
pub fn environment(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(environment) = Environment::from_toml(text, "environment.toml") else { return };
    let again = Environment::from_toml(text, "environment.toml").expect("read before");
    assert_eq!(format!("{environment:?}"), format!("{again:?}"));
    // It says where it is; nothing fills that in.
    assert!(text.contains("cloud"), "an environment without its kind is read");
    let _ = Environment::new(text, Cloud::Public);
}
