//! `AdmissionReview` of `admission.k8s.io/v1`: in strictly, out exactly.
//!
//! Strict in what a decision rests on: types, `uid`, operation, kind, and that the object is of the kind that the request
//! names. Tolerant of members that we do not know, as the protocol wants. A review that is not understood is an error of
//! the call (400), and never an answer. Deliberately absent: the decision.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};
use trust_image::json::{self, JsonError};
use trust_image::workload::custom::CustomKinds;
use trust_image::workload::{self, Place, WorkloadError};

/// The largest review, in bytes: two objects of 3 MiB, of which each byte may be written as `\u003c`, are more than an API
/// server takes.
pub const MAX_REVIEW_LEN: usize = 20 * 1024 * 1024;
/// Values of a review that are read; others do not count.
const MAX_VALUES: usize = 50_000;
/// Longest `uid`, and longest other word of a request, in bytes.
const MAX_WORD_LEN: usize = 512;

/// Bytes of a usual answer.
const USUAL_ANSWER_LEN: usize = 2_048;

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";
/// The annotation of a Pod that a node makes to show one that it runs already.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The members that a decision reads, of a review, its request and its objects. Nothing else is kept of them.
const READ: &[&str] = &[
    "apiVersion",
    "kind",
    "request",
    "uid",
    "operation",
    "requestKind",
    "group",
    "version",
    "dryRun",
    "name",
    "namespace",
    "subResource",
    "userInfo",
    "username",
    "object",
    "oldObject",
    "metadata",
    "deletionTimestamp",
    "annotations",
    MIRROR,
    "items",
    "spec",
    "template",
    "jobTemplate",
    "containers",
    "initContainers",
    "ephemeralContainers",
    "volumes",
    "image",
    "reference",
];

/// Why a review is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// Not JSON as we read it: also a member that is there twice, at any depth.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// Another version of the protocol, or something else.
    #[error("this is no {KIND} of {API_VERSION}")]
    NotAReview,
    /// A member is absent, or of another type or form.
    #[error("{0} is absent or not as admission.k8s.io/v1 has it")]
    Member(&'static str),
    /// The object is of another kind than the request says.
    #[error("request.object is not of the kind that request.kind says")]
    KindDiffers,
}

impl ReviewError {
    /// Whether no API server sends this. Everything else may be the work of whoever made the object.
    pub fn is_foreign(&self) -> bool {
        matches!(self, Self::NotAReview | Self::Json(JsonError::Syntax { .. } | JsonError::Truncated))
    }
}

/// What happens to the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It is made.
    Create,
    /// It is changed.
    Update,
    /// It goes.
    Delete,
    /// Somebody connects to it.
    Connect,
}

/// A review, as far as it matters.
#[derive(Debug, Clone)]
pub struct Review {
    /// To be copied into the answer.
    pub uid: String,
    /// What happens.
    pub operation: Operation,
    /// API group of the object, empty for the core.
    pub group: String,
    /// Kind of the object.
    pub kind: String,
    /// Kind in which it was sent, before the API server converted it; for the log.
    pub sent_as: String,
    /// The name, empty if it is still to be made.
    pub name: String,
    /// The namespace; `None` for what stands in none.
    pub namespace: Option<String>,
    /// `ephemeralcontainers` and the like; empty for the object itself.
    pub subresource: String,
    /// Who asks.
    pub user: String,
    /// Nothing will be stored.
    pub dry_run: bool,
    /// The object as it is to be; null for DELETE and for some of CONNECT.
    pub object: Value,
    /// The object as it is; null for CREATE and CONNECT.
    pub old_object: Value,
    /// The kinds of others that it was read with: of their objects, what stands on their paths was kept.
    kinds: Arc<CustomKinds>,
}

impl Review {
    /// Reads a review of the kinds of Kubernetes. The caller has limited its length to [`MAX_REVIEW_LEN`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ReviewError> {
        Self::parse_with(bytes, &Arc::default())
    }

    /// The same, with the kinds of others that are described.
    pub fn parse_with(bytes: &[u8], kinds: &Arc<CustomKinds>) -> Result<Self, ReviewError> {
        let described: Vec<&str> = kinds.members().collect();
        let read = match described.is_empty() {
            true => json::parse_only(bytes, READ, MAX_VALUES)?,
            false => json::parse_only(bytes, &[READ, &described].concat(), MAX_VALUES)?,
        };
        let Value::Object(mut review) = read else { return Err(ReviewError::NotAReview) };
        if word(&review, "apiVersion", "apiVersion")? != Some(API_VERSION)
            || word(&review, "kind", "kind")? != Some(KIND)
        {
            return Err(ReviewError::NotAReview);
        }
        json::member(&review, "request")?;
        let Some(Value::Object(mut request)) = review.remove("request") else {
            return Err(ReviewError::Member("request"));
        };
        let uid = word(&request, "uid", "request.uid")?.filter(|uid| !uid.is_empty());
        let uid = uid.ok_or(ReviewError::Member("request.uid"))?.to_owned();
        let operation = match word(&request, "operation", "request.operation")? {
            Some("CREATE") => Operation::Create,
            Some("UPDATE") => Operation::Update,
            Some("DELETE") => Operation::Delete,
            Some("CONNECT") => Operation::Connect,
            _ => return Err(ReviewError::Member("request.operation")),
        };
        let Some(Value::Object(of)) = json::member(&request, "kind")? else {
            return Err(ReviewError::Member("request.kind"));
        };
        let group = word(of, "group", "request.kind.group")?.unwrap_or_default().to_owned();
        let version =
            word(of, "version", "request.kind.version")?.ok_or(ReviewError::Member("request.kind.version"))?;
        let kind = word(of, "kind", "request.kind.kind")?.ok_or(ReviewError::Member("request.kind.kind"))?.to_owned();
        let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        let dry_run = match json::member(&request, "dryRun")? {
            None | Some(Value::Null) => false,
            Some(Value::Bool(dry_run)) => *dry_run,
            Some(_) => return Err(ReviewError::Member("request.dryRun")),
        };
        // For the log alone: whatever else stands there is nothing.
        let sent_as = request.get("requestKind").and_then(|of| of.get("kind")).and_then(Value::as_str);
        let sent_as = sent_as.unwrap_or_default().chars().take(MAX_WORD_LEN).collect();
        let optional = |name, place| word(&request, name, place).map(|w| w.unwrap_or_default().to_owned());
        let name = optional("name", "request.name")?;
        let namespace = Some(optional("namespace", "request.namespace")?).filter(|name| !name.is_empty());
        let subresource = optional("subResource", "request.subResource")?;
        let user = match json::member(&request, "userInfo")? {
            Some(Value::Object(info)) => {
                word(info, "username", "request.userInfo.username")?.unwrap_or_default().to_owned()
            }
            None | Some(Value::Null) => String::new(),
            Some(_) => return Err(ReviewError::Member("request.userInfo")),
        };
        json::member(&request, "object")?;
        json::member(&request, "oldObject")?;
        let object = request.remove("object").unwrap_or_default();
        let old_object = request.remove("oldObject").unwrap_or_default();
        if matches!(operation, Operation::Create | Operation::Update) {
            let Value::Object(new) = &object else { return Err(ReviewError::Member("request.object")) };
            let is = |name, wanted: &str| new.get(name).and_then(Value::as_str) == Some(wanted);
            if !is("apiVersion", &api_version) || !is("kind", &kind) {
                return Err(ReviewError::KindDiffers);
            }
        }
        let kinds = Arc::clone(kinds);
        Ok(Self {
            uid,
            operation,
            group,
            kind,
            sent_as,
            name,
            namespace,
            subresource,
            user,
            dry_run,
            object,
            old_object,
            kinds,
        })
    }

    /// Every place of an image in the object.
    pub fn places(&self) -> Result<Vec<Place>, WorkloadError> {
        workload::images_with(&self.object, &self.kinds)
    }

    /// Every place of an image in the object as it is. One that cannot be read vouches for nothing.
    pub fn old_places(&self) -> Vec<Place> {
        workload::images_with(&self.old_object, &self.kinds).unwrap_or_default()
    }

    /// Whether the object is of a kind that an operator described.
    pub fn is_described(&self) -> bool {
        self.kinds.has(&self.group, &self.kind)
    }

    /// Whether the object is a Pod, which is what runs.
    pub fn is_pod(&self) -> bool {
        self.group.is_empty() && self.kind == "Pod"
    }

    /// Whether the object says of itself that it shows a static Pod. Not to be believed; a denial says more with it.
    pub fn is_mirror(&self) -> bool {
        let annotations = self.object.get("metadata").and_then(|metadata| metadata.get("annotations"));
        self.is_pod() && annotations.and_then(|annotations| annotations.get(MIRROR)).is_some()
    }

    /// Whether the object was on its way out before this request. `deletionTimestamp` in the new object alone may have been
    /// written by whoever asks; the one in the old object was written by the API server.
    pub fn is_deletion(&self) -> bool {
        let is_set = |object: &Value| {
            let at = object.get("metadata").and_then(|metadata| metadata.get("deletionTimestamp"));
            at.and_then(Value::as_str).is_some_and(|at| !at.is_empty())
        };
        self.operation == Operation::Update && is_set(&self.object) && is_set(&self.old_object)
    }
}

/// `request.uid` of what may be cut off, too large or not understood: only if it is there once, in a review of this
/// version, and nothing there is another spelling of the way to it.
pub fn uid_of(bytes: &[u8]) -> Option<String> {
    let mut seen = Seen::default();
    // An error is the end of what can be read: what was seen before it counts.
    let _ = seen.deserialize_at(Level::Review, &mut serde_json::Deserializer::from_slice(bytes));
    match (seen.words, seen.requests) {
        ([Some(version), Some(kind), Some(uid)], 1) if !seen.is_spoiled => {
            let is_ours = version == API_VERSION && kind == KIND && !uid.is_empty() && uid.len() <= MAX_WORD_LEN;
            is_ours.then_some(uid)
        }
        _ => None,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Review,
    Request,
}

/// What was seen of `apiVersion`, `kind` and `request.uid`.
#[derive(Default)]
struct Seen {
    words: [Option<String>; 3],
    requests: usize,
    is_spoiled: bool,
}

impl Seen {
    fn deserialize_at<'de, D: Deserializer<'de>>(&mut self, level: Level, from: D) -> Result<(), D::Error> {
        from.deserialize_map(Look { seen: self, level })
    }
}

struct Look<'s> {
    seen: &'s mut Seen,
    level: Level,
}

impl<'de> DeserializeSeed<'de> for Look<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        self.seen.deserialize_at(self.level, from)
    }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let wanted: &[&str] = match self.level {
            Level::Review => &["apiVersion", "kind"],
            Level::Request => &["", "", "uid"],
        };
        while let Some(name) = map.next_key::<String>()? {
            if let Some(place) = wanted.iter().position(|wanted| !name.is_empty() && *wanted == name)
                && let Some(word) = self.seen.words.get_mut(place)
            {
                self.seen.is_spoiled |= word.is_some();
                *word = Some(map.next_value()?);
            } else if self.level == Level::Review && name == "request" {
                self.seen.requests += 1;
                map.next_value_seed(Look { seen: &mut *self.seen, level: Level::Request })?;
            } else {
                let is_near = |other: &&str| !other.is_empty() && json::folds_to(&name, other);
                self.seen.is_spoiled |= wanted.iter().chain(&["request"]).any(is_near);
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// A short string; `None` if it is absent or null.
fn word<'v>(
    object: &'v Map<String, Value>,
    name: &'static str,
    place: &'static str,
) -> Result<Option<&'v str>, ReviewError> {
    match json::member(object, name)? {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() <= MAX_WORD_LEN => Ok(Some(text)),
        Some(_) => Err(ReviewError::Member(place)),
    }
}

/// What is answered to a review.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Whether the object may be stored.
    pub allowed: bool,
    /// Why not.
    pub message: String,
    /// Why not, if the mode lets it pass all the same; for the gate's own log.
    pub withheld: String,
    /// What people should see although it may; each without line breaks and at most 120 characters.
    pub warnings: Vec<String>,
    /// A JSON Patch in base64, if the object is to be changed.
    pub patch: Option<String>,
    /// For the audit log of the API server.
    pub audit: BTreeMap<&'static str, String>,
}

impl Answer {
    /// An allow with nothing to say.
    pub fn allow() -> Self {
        Self { allowed: true, ..Self::default() }
    }

    /// A denial with its reason.
    pub fn deny(message: String) -> Self {
        Self { message, ..Self::default() }
    }

    /// The review that carries this answer to the request `uid`.
    pub fn to_json(&self, uid: &str) -> Vec<u8> {
        let review = OutReview {
            api_version: API_VERSION,
            kind: KIND,
            response: Response {
                uid,
                allowed: self.allowed,
                status: (!self.allowed).then_some(Status {
                    code: 403,
                    reason: "Forbidden",
                    message: self.message.as_str(),
                }),
                patch_type: self.patch.as_ref().map(|_| "JSONPatch"),
                patch: self.patch.as_deref(),
                warnings: &self.warnings,
                audit_annotations: &self.audit,
            },
        };
        let mut json = Vec::with_capacity(USUAL_ANSWER_LEN);
        // Strings and maps with string keys always have a JSON form.
        serde_json::to_writer(&mut json, &review).map_or_else(|_| Vec::new(), |()| json)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutReview<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    audit_annotations: &'a BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct Status<'a> {
    code: u16,
    reason: &'static str,
    message: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uid_is_found_in_what_is_cut_off_and_never_guessed() {
        let head = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u1","#;
        for rest in ["", "\"kind\":{\"uid\":\"no\"}", "\"object\":{\"uid\":\"no\",\"uid\":[[[[", "\"x\":\u{ff}"] {
            assert_eq!(uid_of(format!("{head}{rest}").as_bytes()).as_deref(), Some("u1"), "{rest}");
        }
        let deep = format!("{head}\"object\":{}", "[".repeat(1_000_000));
        assert_eq!(uid_of(deep.as_bytes()).as_deref(), Some("u1"));
        for text in [
            r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1","request":{"uid":"u1"}}"#,
            r#"{"kind":"AdmissionReview","request":{"uid":"u1"}}"#,
            r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","uid":"u1"}"#,
            r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"object":{"uid":"u1"}}}"#,
            r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u1","uid":"u2"}}"#,
            r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u1","UID":"u2"}}"#,
            r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u1"},"request":{}}"#,
            r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":""}}"#,
            r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u1"#,
            r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":5}}"#,
            "",
        ] {
            assert_eq!(uid_of(text.as_bytes()), None, "{text}");
        }
    }
}
