//! The external data provider of Gatekeeper (`externaldata.gatekeeper.sh`), on the address of the admission webhook.
//!
//! A key is the text of an image; its value is that image with its verified digest, which is what a rule compares with and
//! what a mutation writes. Invariants: each key has an item with exactly its text, and a value only if the image was verified
//! and allowed; the value of a value is itself, so that a mutation asked twice changes nothing; whatever is not decided in
//! time, or over a limit, is an error and never silence. The mode of the webhook does not count here: what becomes of an
//! error is said in the constraint. Deliberately absent: certificates of clients, and namespaces, which no key carries.

use std::collections::BTreeSet;
use std::time::Instant;

use serde::Serialize;
use serde_json::{Map, Value};
use trust_image::json::{self, JsonError};

use crate::config::Mode;
use crate::decides::{Asked, Judges};

/// Keys of one question.
pub const MAX_KEYS: usize = 1_000;
/// The longest key that is decided on, in bytes: no image has a longer name.
pub const MAX_KEY_LEN: usize = 4_096;

const VERSIONS: &[&str] = &["externaldata.gatekeeper.sh/v1beta1", "externaldata.gatekeeper.sh/v1alpha1"];
const READ: &[&str] = &["apiVersion", "kind", "request", "keys"];
const MAX_VALUES: usize = 100_000;

/// Why something is not what Gatekeeper asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAQuestion {
    /// Not JSON as we read it.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// Something else.
    #[error("this is no ProviderRequest of externaldata.gatekeeper.sh/v1beta1")]
    Other,
    /// A member is absent, or of another type.
    #[error("{0} is absent or not as externaldata.gatekeeper.sh/v1beta1 has it")]
    Member(&'static str),
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    version: &'static str,
    keys: Vec<String>,
}

impl Question {
    /// Reads a question, whose length the caller has limited.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotAQuestion> {
        let Value::Object(whole) = json::parse_only(bytes, READ, MAX_VALUES)? else { return Err(NotAQuestion::Other) };
        let version = text(&whole, "apiVersion")?;
        let known = VERSIONS.iter().find(|known| version == Some(known)).ok_or(NotAQuestion::Other)?;
        if text(&whole, "kind")? != Some("ProviderRequest") {
            return Err(NotAQuestion::Other);
        }
        let Some(Value::Object(request)) = json::member(&whole, "request")? else {
            return Err(NotAQuestion::Member("request"));
        };
        let keys = match json::member(request, "keys")? {
            None | Some(Value::Null) => &[],
            Some(Value::Array(keys)) => keys.as_slice(),
            Some(_) => return Err(NotAQuestion::Member("request.keys")),
        };
        let keys = keys.iter().map(|key| key.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
        Ok(Self { version: known, keys: keys.ok_or(NotAQuestion::Member("request.keys"))? })
    }
}

fn text<'v>(object: &'v Map<String, Value>, name: &'static str) -> Result<Option<&'v str>, NotAQuestion> {
    Ok(json::member(object, name)?.and_then(Value::as_str))
}

/// What is answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    items: Vec<Item>,
    system_error: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Item {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Out<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    idempotent: bool,
    items: &'a [Item],
    system_error: &'a str,
}

impl Answer {
    /// No item, and why.
    pub fn failed(why: &impl std::fmt::Display) -> Self {
        Self { items: Vec::new(), system_error: why.to_string() }
    }

    /// As Gatekeeper reads it, in the version in which it asked.
    pub fn to_json(&self, question: &Question) -> Vec<u8> {
        let response = Response { idempotent: true, items: &self.items, system_error: &self.system_error };
        let out = Out { api_version: question.version, kind: "ProviderResponse", response };
        // Strings and lists always have a JSON form.
        serde_json::to_vec(&out).unwrap_or_default()
    }
}

/// Decides on every key, as if all were to run in this namespace.
pub fn answer(question: &Question, namespace: Option<&str>, decider: &dyn Judges, deadline: Instant) -> Answer {
    if question.keys.len() > MAX_KEYS {
        return Answer::failed(&format!(
            "{} images in one question; at most {MAX_KEYS} are decided on",
            question.keys.len()
        ));
    }
    let keys: BTreeSet<&str> = question.keys.iter().map(String::as_str).collect();
    let items = keys.into_iter().map(|key| {
        let said = decided(key, namespace, decider, deadline);
        let (value, error) = match said {
            Ok(value) => (Some(value), None),
            Err(error) => (None, Some(error)),
        };
        Item { key: key.to_owned(), value, error }
    });
    Answer { items: items.collect(), system_error: String::new() }
}

fn decided(key: &str, namespace: Option<&str>, decider: &dyn Judges, deadline: Instant) -> Result<String, String> {
    if key.len() > MAX_KEY_LEN {
        return Err(format!("longer than {MAX_KEY_LEN} bytes: this is no image"));
    }
    if Instant::now() >= deadline {
        return Err("the time was over before this image was decided; try again".to_owned());
    }
    let verdict = decider.decide(&Asked {
        image: key,
        namespace,
        door: "gatekeeper",
        // It says nothing of who asks.
        whom: "",
        dry_run: false,
        mode: Mode::Enforce,
        digest_only: false,
    });
    let digest = verdict.digest.ok_or(verdict.line)?;
    verdict.pinned.map(|pinned| pinned.to_string()).ok_or_else(|| format!("cannot be bound to the verified {digest}"))
}

#[cfg(test)]
mod tests;
