//! The OpenAPI document, built from the wire types and one table of routes. A test compares it with
//! `schemas/openapi.json`; `UPDATE_SCHEMAS=1` rewrites that file.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};
use trust_wire::api::{
    CollectionsResponse, ErrorCode, ErrorResponse, LogResponse, OnlineKeysRequest, OnlineKeysResponse,
    PublicationRequest, PublicationResponse, ReserveRequest, ReserveResponse,
};

type Typed = fn(&mut SchemaGenerator) -> Schema;

fn typed<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// What a route answers with when all is well.
#[derive(Clone, Copy)]
pub enum Content {
    /// JSON of a type.
    Json(Typed),
    /// A metadata file.
    Metadata,
    /// Bytes of a target.
    Bytes,
    /// A line of text; JSON with `?verbose`.
    Text,
}

/// A route.
pub struct Route {
    /// `get` (which stands for `head` too) or `post`.
    pub method: &'static str,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// What a token must allow; `read` may be allowed without one.
    pub action: Option<&'static str>,
    /// The body.
    pub request: Option<Typed>,
    /// The answer.
    pub answer: Content,
    /// The errors beside 400, 401, 403 and 503.
    pub errors: &'static [u16],
}

/// Every route of the server.
pub const ROUTES: [Route; 9] = [
    Route {
        method: "get",
        path: "/tuf/{collection}/_metadata/{file}",
        summary: "A metadata file: `timestamp.json`, `N.root.json`, `N.snapshot.json` or `N.ROLE.json`.",
        action: Some("read"),
        request: None,
        answer: Content::Metadata,
        errors: &[404],
    },
    Route {
        method: "get",
        path: "/tuf/{collection}/_targets/{target}",
        summary: "The content of a target that the current metadata lists: `DIR/HASH.NAME` or `HASH.DIR/NAME`.",
        action: Some("read"),
        request: None,
        answer: Content::Bytes,
        errors: &[404],
    },
    Route {
        method: "get",
        path: "/v1/_collections",
        summary: "The collections that the token may read.",
        action: Some("read"),
        request: None,
        answer: Content::Json(typed::<CollectionsResponse>),
        errors: &[],
    },
    Route {
        method: "post",
        path: "/v1/_collections",
        summary: "Reserves a name. Reserving it again changes nothing.",
        action: Some("admin"),
        request: Some(typed::<ReserveRequest>),
        answer: Content::Json(typed::<ReserveResponse>),
        errors: &[409, 413],
    },
    Route {
        method: "post",
        path: "/v1/{collection}/_online-keys",
        summary: "Asks the signer for new online keys and the proofs that it holds them.",
        action: Some("publish"),
        request: Some(typed::<OnlineKeysRequest>),
        answer: Content::Json(typed::<OnlineKeysResponse>),
        errors: &[404, 413, 422],
    },
    Route {
        method: "post",
        path: "/v1/{collection}/_publications",
        summary: "Publishes signed role files: all of them become current, or none.",
        action: Some("publish"),
        request: Some(typed::<PublicationRequest>),
        answer: Content::Json(typed::<PublicationResponse>),
        errors: &[404, 409, 413, 422, 429],
    },
    Route {
        method: "get",
        path: "/v1/{collection}/_log",
        summary: "Publications, newest first. `before` and `limit` page through them.",
        action: Some("read"),
        request: None,
        answer: Content::Json(typed::<LogResponse>),
        errors: &[404],
    },
    Route {
        method: "get",
        path: "/livez",
        summary: "The process answers.",
        action: None,
        request: None,
        answer: Content::Text,
        errors: &[],
    },
    Route {
        method: "get",
        path: "/readyz",
        summary: "Database and signer answer too; 503 if not. `?verbose` says which.",
        action: None,
        request: None,
        answer: Content::Text,
        errors: &[],
    },
];

/// The document.
pub fn document() -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
        .into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for route in &ROUTES {
        let operation = operation(route, &mut generator);
        let methods = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(methods) = methods.as_object_mut() {
            methods.insert(route.method.to_owned(), operation);
        }
    }
    generator.subschema_for::<ErrorCode>();
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "trust-server",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Collections have slashes in their names; they stand unencoded in paths. A token is sent as \
                `Authorization: Bearer`, never in the URL. `HEAD` answers wherever `GET` does.",
            "license": { "name": "Apache-2.0 OR MIT" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let content = match route.answer {
        Content::Json(schema) => json!({ "application/json": { "schema": schema(generator) } }),
        Content::Metadata => json!({ "application/json": {} }),
        Content::Bytes => json!({ "application/octet-stream": {} }),
        Content::Text => json!({ "text/plain": {} }),
    };
    let mut responses = Map::new();
    responses.insert("200".to_owned(), json!({ "description": "Done.", "content": content }));
    let cached = matches!(route.answer, Content::Metadata | Content::Bytes);
    if cached {
        responses.insert("304".to_owned(), json!({ "description": "The asker has it (`If-None-Match`)." }));
    }
    let usual: &[u16] = if route.action.is_some() { &[400, 401, 403, 503] } else { &[] };
    let mut statuses: Vec<u16> = usual.iter().chain(route.errors).copied().collect();
    statuses.sort_unstable();
    for status in statuses {
        let schema = typed::<ErrorResponse>(generator);
        let error = json!({ "description": reason(status), "content": { "application/json": { "schema": schema } } });
        responses.insert(status.to_string(), error);
    }
    let mut operation = json!({
        "summary": route.summary,
        "parameters": parameters(route),
        "responses": responses,
    });
    if let Some(members) = operation.as_object_mut() {
        if let Some(request) = route.request {
            let schema = request(generator);
            let body = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
            members.insert("requestBody".to_owned(), body);
        }
        if let Some(action) = route.action {
            // Reading may be open to everybody: then no token is needed.
            let needs = json!({ "token": [] });
            let anonymous = action == "read" && route.path != "/v1/_collections";
            let security = if anonymous { json!([{}, needs]) } else { json!([needs]) };
            members.insert("security".to_owned(), security);
            members.insert("x-action".to_owned(), json!(action));
        }
    }
    operation
}

fn parameters(route: &Route) -> Value {
    let text = json!({ "type": "string" });
    let mut all: Vec<Value> = ["collection", "file", "target"]
        .into_iter()
        .filter(|name| route.path.contains(&format!("{{{name}}}")))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": text }))
        .collect();
    if route.path.ends_with("/_log") {
        for name in ["before", "limit"] {
            all.push(json!({ "name": name, "in": "query", "schema": { "type": "integer", "minimum": 0 } }));
        }
    }
    Value::Array(all)
}

const fn reason(status: u16) -> &'static str {
    match status {
        400 => "The request cannot be read.",
        401 => "No token, or one that is not valid.",
        403 => "The token does not allow this.",
        404 => "No such collection or file.",
        409 => {
            "Someone published first: a role that is sent, or only expected, has another version (with the current ones). Or the name is taken."
        }
        413 => "Larger than a limit.",
        422 => "A file breaks a rule, an idempotency key came with another body, or the signer refused.",
        429 => "Too many publications wait.",
        _ => "Signer, database or collection are not available now.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_in_schemas_is_the_one_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/openapi.json");
        let mut document = document();
        // The order of members depends on what else is built.
        document.sort_all_objects();
        let text = serde_json::to_string_pretty(&document).unwrap() + "\n";
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(stored == text, "schemas/openapi.json is not up to date: run this test with UPDATE_SCHEMAS=1");
    }

    #[test]
    fn every_reference_in_the_document_leads_somewhere() {
        fn walk(value: &Value, document: &Value) {
            match value {
                Value::Object(members) => {
                    if let Some(Value::String(to)) = members.get("$ref") {
                        let pointer = to.strip_prefix('#').unwrap();
                        assert!(document.pointer(pointer).is_some(), "{to}");
                    }
                    members.values().for_each(|v| walk(v, document));
                }
                Value::Array(items) => items.iter().for_each(|v| walk(v, document)),
                _ => {}
            }
        }
        let document = document();
        assert!(document.pointer("/components/schemas/PublicationRequest").is_some());
        walk(&document, &document);
    }
}
