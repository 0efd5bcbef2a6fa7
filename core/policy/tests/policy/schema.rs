//! The documents in `schemas/` that this crate stands for are the ones in the code.

use std::path::Path;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use trust_policy::{Decision, DictionaryFile};

fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas").join(name);
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == text,
        "schemas/{name} differs from the code: run with UPDATE_SCHEMAS=1 and look at the difference"
    );
}

fn pretty<T: JsonSchema>(settings: SchemaSettings) -> String {
    let mut schema = serde_json::to_value(settings.into_generator().into_root_schema_for::<T>()).unwrap();
    // The order of members depends on what else is built.
    schema.sort_all_objects();
    format!("{}\n", serde_json::to_string_pretty(&schema).unwrap())
}

#[test]
fn the_cedar_schema_is_the_one_in_the_code() {
    compare("policy.cedarschema", trust_policy::SCHEMA);
}

#[test]
fn the_schema_of_dictionaries_is_the_one_of_the_type_that_reads_them() {
    compare("labels.schema.json", &pretty::<DictionaryFile>(SchemaSettings::draft2020_12().for_deserialize()));
}

#[test]
fn the_schema_of_decisions_is_the_one_of_the_type_that_is_written() {
    compare("decision.schema.json", &pretty::<Decision>(SchemaSettings::draft2020_12().for_serialize()));
}
