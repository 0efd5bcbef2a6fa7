//! The JSON Schema of every document that `-o json` prints.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

use super::*;

/// The schema: an answer of one of the commands, or a failure.
pub fn schema() -> Value {
    let mut generator = SchemaGenerator::default();
    let mut commands: Vec<(&str, Value)> = Vec::new();
    macro_rules! all {
        ($($($name:literal)|+ => $($type:ty)|+),* $(,)?) => {$({
            let mut shapes: Vec<Value> = vec![$(<$type>::json_schema(&mut generator).to_value()),+];
            let shape = if shapes.len() == 1 { shapes.remove(0) } else { json!({"anyOf": shapes}) };
            $(commands.push(($name, shape.clone()));)+
        })*};
    }
    all! {
        "init" => Initialised, "sign" => Signed, "verify" => VerifyReport | ManifestsReport, "resolve" => Resolved,
        "inspect" => Inspected, "list" => Listed | Collections, "log" => LogReport,
        "diff" => Difference, "unsign" => Unsigned, "revoke" => Revoked, "rotate" => Rotated,
        "key list" => Keys, "key generate" | "key show" | "key import" => KeyReport, "key export" => KeyExported,
        "signer list" => Signers, "signer add" | "signer remove" | "signer last" => SignerChange,
        "signer accept" => SignerAccepted, "signer bins" => SignerLaidOut,
        "pin list" => Pins, "pin show" => PinReport, "pin add" | "pin remove" => PinChange,
        "policy init" => PolicyWritten, "policy check" => PolicyChecked, "policy fmt" => PolicyFormatted,
        "policy test" => PolicyTested, "policy explain" => Explained,
        "policy publish" => PolicyPublished, "policy show" => PolicyShown | PolicyRaw, "policy use" => PolicyInUse,
        "policy pull" => PolicyPulled, "policy diff" => PolicyDifference, "policy log" => PolicyLog,
        "labels check" => LabelsChecked | LabelsOfImages, "labels show" => LabelsShown,
        "labels publish" => PolicyPublished,
        "exception list" => ExceptionsListed, "exception grant" | "exception revoke" => ExceptionChange,
        "exception prune" => ExceptionsPruned,
        "status" => StatusReport, "doctor" => DoctorReport,
        "context list" => Contexts, "context add" | "context use" | "context remove" => ContextChange,
        "config show" => ConfigReport, "config path" => ConfigPath, "env" => Environment, "version" => Version,
        "man" => ManPages, "help" => HelpText, "completion" => CompletionScript,
    }
    let names: Vec<&str> = commands.iter().map(|(name, _)| *name).collect();
    let shapes: Vec<Value> = commands
        .iter()
        .map(|(name, shape)| json!({"if": {"properties": {"command": {"const": name}}}, "then": shape}))
        .collect();
    let mut definitions = generator.take_definitions(true);
    definitions.insert("answer".to_owned(), answer(&names, &shapes));
    definitions.insert("failure".to_owned(), failure());
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What `trust … -o json` prints",
        "description": "Exactly one document: the answer of a command, or a failure. `exit` is the exit code of the program.",
        "type": "object",
        "required": ["schema", "ok", "exit"],
        "properties": {
            "schema": {"const": "trust/v1", "description": "Name and version of the form."},
            "ok": {"type": "boolean", "description": "Positively verified, allowed or done."},
            "exit": {"type": "integer", "minimum": 0, "maximum": 255, "description": "The exit code of the program."}
        },
        "if": {"properties": {"ok": {"const": true}}},
        "then": {"properties": {"exit": {"const": 0}}},
        "else": {"properties": {"exit": {"minimum": 1}}},
        "oneOf": [{"$ref": "#/$defs/answer"}, {"$ref": "#/$defs/failure"}],
        "$defs": definitions
    })
}

/// What a command answers. `ok` is false if it speaks of several subjects and one of them was refused.
fn answer(names: &[&str], shapes: &[Value]) -> Value {
    json!({
        "description": "The answer of a command: `command` says which members it has.",
        "required": ["command"],
        "properties": {"command": {"enum": names}},
        "allOf": shapes
    })
}

/// Why a command did not come to an answer.
fn failure() -> Value {
    let fact = json!({"type": "object", "required": ["label", "value"],
        "properties": {"label": {"type": "string"}, "value": {"type": "string"}}});
    let digest = |what: &str| json!({"type": "string", "pattern": "^sha(256|512):[0-9a-f]+$", "description": what});
    let subject = json!({
        "type": "object",
        "description": "What it is about; each member only where it is known.",
        "properties": {
            "reference": {"type": "string", "description": "The image reference."},
            "collection": {"type": "string", "description": "The collection."},
            "expected_digest": digest("The digest that is signed, or that was asked for."),
            "actual_digest": digest("The digest that was found in its place.")
        }
    });
    json!({
        "description": "A failure or refusal; the ids are those of `trust help E1403`.",
        "required": ["code", "headline", "subject", "facts", "cause", "do"],
        "not": {"required": ["command"]},
        "properties": {
            "ok": {"const": false, "description": "Nothing was verified, allowed or done."},
            "code": {"type": "string", "pattern": "^E[0-9]{4}$", "description": "The stable id."},
            "headline": {"type": "string", "description": "What happened."},
            "subject": subject,
            "facts": {"type": "array", "items": fact, "description": "What is known about it, in order."},
            "cause": {"type": "string", "description": "Why."},
            "do": {"type": "array", "items": {"type": "string"}, "description": "What to do, one step an entry."}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(name: &str, schema: &Value) {
        let Some(members) = schema["properties"].as_object() else { return };
        for (member, schema) in members {
            assert!(schema.get("description").is_some() || schema.get("$ref").is_some(), "{name}.{member}");
        }
    }

    #[test]
    fn every_document_type_has_a_description_for_each_member() {
        let schema = schema();
        let commands = schema["$defs"]["answer"]["allOf"].as_array().unwrap();
        assert!(commands.len() > 30);
        for command in commands {
            let name = command["if"]["properties"]["command"]["const"].as_str().unwrap();
            described(name, &command["then"]);
            for shape in command["then"]["anyOf"].as_array().into_iter().flatten() {
                described(name, shape);
            }
        }
        for (name, definition) in schema["$defs"].as_object().unwrap() {
            if name != "answer" {
                described(name, definition);
            }
        }
    }
}
