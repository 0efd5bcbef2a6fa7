//! The JSON Schema of every document that `-o json` prints.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::*;

/// The schema: one definition for each command, and one for failures.
pub fn schema() -> Value {
    let mut generator = SchemaGenerator::default();
    let mut commands = Map::new();
    let mut add = |name: &str, schema: schemars::Schema| {
        commands.insert(name.to_owned(), schema.to_value());
    };
    macro_rules! all {
        ($($name:literal => $type:ty),* $(,)?) => { $(add($name, <$type>::json_schema(&mut generator));)* };
    }
    all! {
        "init" => Initialised, "sign" => Signed, "verify" => VerifyReport, "resolve" => Resolved,
        "inspect" => Inspected, "list" => Listed, "list (collections)" => Collections, "log" => LogReport,
        "diff" => Difference, "unsign" => Unsigned, "revoke" => Revoked, "rotate" => Rotated,
        "key list" => Keys, "key generate" => KeyReport, "key show" => KeyReport, "key import" => KeyReport,
        "key export" => KeyExported, "signer list" => Signers, "signer" => SignerChange,
        "pin list" => Pins, "pin show" => PinReport, "pin" => PinChange, "context list" => Contexts,
        "context" => ContextChange, "config show" => ConfigReport, "config path" => ConfigPath,
        "env" => Environment, "version" => Version, "man" => ManPages,
    }
    let fact = json!({"type": "object", "required": ["label", "value"],
        "properties": {"label": {"type": "string"}, "value": {"type": "string"}}});
    let failure = json!({
        "type": "object",
        "required": ["schema", "ok", "code", "exit", "headline", "facts", "cause", "do"],
        "properties": {
            "schema": {"const": "trust/v1"},
            "ok": {"const": false},
            "code": {"type": "string", "pattern": "^E[0-9]{4}$"},
            "exit": {"type": "integer", "minimum": 1, "maximum": 255},
            "headline": {"type": "string"},
            "facts": {"type": "array", "items": fact},
            "cause": {"type": "string"},
            "do": {"type": "array", "items": {"type": "string"}}
        }
    });
    let answer = json!({
        "type": "object",
        "required": ["schema", "command", "ok", "exit"],
        "properties": {
            "schema": {"const": "trust/v1"},
            "command": {"type": "string"},
            "ok": {"type": "boolean"},
            "exit": {"type": "integer", "minimum": 0, "maximum": 255}
        }
    });
    let definitions = Value::Object(generator.take_definitions(true));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What `trust … -o json` prints",
        "description": "`answer` holds of every answer, beside the members under `commands`; `failure` of every failure.",
        "anyOf": [{"$ref": "#/properties/answer"}, {"$ref": "#/properties/failure"}],
        "properties": {"answer": answer, "failure": failure, "commands": {"properties": commands}},
        "$defs": definitions
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_type_has_a_description_for_each_member() {
        let schema = schema();
        let commands = schema["properties"]["commands"]["properties"].as_object().unwrap();
        assert!(commands.len() > 20);
        for (name, schema) in commands {
            let Some(members) = schema["properties"].as_object() else { continue };
            for (member, schema) in members {
                assert!(schema.get("description").is_some() || schema.get("$ref").is_some(), "{name}.{member}");
            }
        }
    }
}
