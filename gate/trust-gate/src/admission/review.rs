//! `AdmissionReview` of `admission.k8s.io/v1`: in strictly, out exactly.
//!
//! Strict in what a decision rests on: types, `uid`, operation, kind, and that the object is of the kind that the request
//! names. Tolerant of members that we do not know, as the protocol wants. A review that is not understood is an error of
//! the call (400), and never an answer. Deliberately absent: the decision.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use trust_image::json::{self, JsonError};

/// The largest review, in bytes.
pub const MAX_REVIEW_LEN: usize = 8 * 1024 * 1024;
/// Longest `uid`, and longest other word of a request, in bytes.
const MAX_WORD_LEN: usize = 512;

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// Members of Kubernetes objects, and of a request, that no decision reads and that are the most of a review. None of them
/// leads to an image.
const UNREAD: &[&str] = &[
    "affinity",
    "annotations",
    "args",
    "command",
    "env",
    "envFrom",
    "extra",
    "groups",
    "labels",
    "lifecycle",
    "livenessProbe",
    "managedFields",
    "options",
    "ownerReferences",
    "ports",
    "readinessProbe",
    "requestKind",
    "requestResource",
    "resource",
    "resources",
    "securityContext",
    "selector",
    "startupProbe",
    "status",
    "strategy",
    "tolerations",
    "updateStrategy",
    "volumeMounts",
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
}

impl Review {
    /// Reads a review. The caller has limited its length to [`MAX_REVIEW_LEN`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ReviewError> {
        let Value::Object(mut review) = json::parse_without(bytes, UNREAD)? else {
            return Err(ReviewError::NotAReview);
        };
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
        Ok(Self { uid, operation, group, kind, name, namespace, subresource, user, dry_run, object, old_object })
    }

    /// Whether the object is a Pod, which is what runs.
    pub fn is_pod(&self) -> bool {
        self.group.is_empty() && self.kind == "Pod"
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
        // Strings and maps with string keys always have a JSON form.
        serde_json::to_vec(&review).unwrap_or_default()
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
    fn nothing_that_is_left_out_leads_to_what_is_read() {
        let of_request = "apiVersion kind request uid operation group version dryRun name namespace subResource userInfo \
                          username object oldObject metadata deletionTimestamp";
        let of_objects =
            "spec template jobTemplate containers initContainers ephemeralContainers volumes image reference items";
        for read in of_request.split_whitespace().chain(of_objects.split_whitespace()) {
            assert!(!UNREAD.contains(&read), "{read}");
        }
    }
}
