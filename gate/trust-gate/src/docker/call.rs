//! What the engine sends: one request that it was asked, in JSON (`AuthZPlugin.AuthZReq`).
//!
//! Deliberately absent: what stands in the request's body ([`super::body`]).

use base64ct::{Base64, Encoding};
use serde_json::{Map, Value};
use trust_image::json;
use trust_reader::verdict::printable;

/// The largest body of a request that is looked at, in bytes: that of the newest engines.
pub(super) const MAX_BODY: usize = 4 * 1024 * 1024;
/// The largest call: such a body in base64, headers and certificates beside it.
pub(super) const MAX_CALL: usize = 8 * 1024 * 1024;
/// The longest name of a user in the log, in bytes.
const MAX_WHOM: usize = 120;

/// Why a call cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CallError {
    /// Not the JSON that engines send.
    #[error("the engine's call cannot be read: {0}")]
    Json(#[from] json::JsonError),
    /// A member is absent or of another type.
    #[error("the engine's call has no usable {0}")]
    Member(&'static str),
    /// The body is larger than any engine's limit.
    #[error("the body of the request is larger than {MAX_BODY} bytes")]
    TooLarge,
}

/// A request to the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) method: String,
    /// As it was sent.
    pub(super) uri: String,
    /// As far as the engine passes it on; an absent one is empty.
    pub(super) body: Vec<u8>,
    /// Names as the engine gives them.
    headers: Vec<(String, String)>,
    user: String,
}

impl Call {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, CallError> {
        let Value::Object(call) = json::parse(bytes)? else { return Err(CallError::Member("object")) };
        let body = match text(&call, "RequestBody")? {
            encoded if encoded.len() > MAX_BODY.div_ceil(3) * 4 => return Err(CallError::TooLarge),
            encoded => Base64::decode_vec(encoded).map_err(|_| CallError::Member("RequestBody"))?,
        };
        let headers = match json::member(&call, "RequestHeaders")? {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Object(headers)) => {
                let pair = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
                headers.iter().map(pair).collect::<Option<_>>().ok_or(CallError::Member("RequestHeaders"))?
            }
            Some(_) => return Err(CallError::Member("RequestHeaders")),
        };
        let required = |name| match text(&call, name)? {
            "" => Err(CallError::Member(name)),
            text => Ok(text.to_owned()),
        };
        let (method, uri) = (required("RequestMethod")?, required("RequestUri")?);
        Ok(Self { method, uri, body, headers, user: text(&call, "User")?.to_owned() })
    }

    /// Who asks, as far as the engine knows: for the log alone.
    pub(super) fn whom(&self) -> String {
        if self.user.is_empty() {
            return "a user of the engine".to_owned();
        }
        printable(self.user.get(..self.user.len().min(MAX_WHOM)).unwrap_or_default())
    }

    /// Whether the engine may read values from the body as from a form, which it does not pass on. Then they win over those of the
    /// query. It reads the first `Content-Type` and passes on the last one, so that only an empty body is surely no form, or one
    /// that was sent without any type, or one that it has passed on as JSON.
    pub(super) fn may_hold_a_form(&self) -> bool {
        let header = |wanted: &str| self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        let is_empty = header("Content-Length").is_some_and(|(_, length)| length == "0");
        !is_empty && header("Content-Type").is_some() && self.body.is_empty()
    }
}

/// A text, which engines leave out when it is empty.
fn text<'c>(call: &'c Map<String, Value>, name: &'static str) -> Result<&'c str, CallError> {
    match json::member(call, name)? {
        None => Ok(""),
        Some(value) => value.as_str().ok_or(CallError::Member(name)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(value: &Value) -> Result<Call, CallError> {
        Call::parse(value.to_string().as_bytes())
    }

    #[test]
    fn a_call_as_engines_send_it_is_read() {
        let read = call(&json!({
            "User": "alice", "UserAuthNMethod": "TLS", "RequestMethod": "POST", "RequestUri": "/v1.41/containers/create",
            "RequestBody": Base64::encode_string(b"{}"), "RequestHeaders": {"Content-Type": "application/json"},
            "RequestPeerCertificates": ["x"],
        }))
        .unwrap();
        assert_eq!((read.method.as_str(), read.body.as_slice(), read.whom().as_str()), ("POST", &b"{}"[..], "alice"));
        let bare = call(&json!({"RequestMethod": "GET", "RequestUri": "/_ping"})).unwrap();
        assert!(bare.body.is_empty() && bare.headers.is_empty());
    }

    #[test]
    fn what_is_no_call_is_refused() {
        for value in [
            json!([]),
            json!({}),
            json!({"RequestMethod": "GET"}),
            json!({"RequestMethod": "", "RequestUri": "/_ping"}),
            json!({"RequestMethod": 7, "RequestUri": "/_ping"}),
            json!({"RequestMethod": "GET", "RequestUri": "/_ping", "RequestBody": "%"}),
            json!({"RequestMethod": "GET", "RequestUri": "/_ping", "RequestHeaders": {"a": 1}}),
            json!({"RequestMethod": "GET", "requestmethod": "POST", "RequestUri": "/_ping"}),
        ] {
            assert!(call(&value).is_err(), "{value}");
        }
        let large = "A".repeat(MAX_BODY.div_ceil(3) * 4 + 4);
        let large = json!({"RequestMethod": "POST", "RequestUri": "/x", "RequestBody": large});
        assert_eq!(call(&large), Err(CallError::TooLarge));
        assert!(Call::parse(br#"{"RequestMethod":"GET","RequestMethod":"POST","RequestUri":"/x"}"#).is_err());
    }

    #[test]
    fn only_a_body_that_is_surely_none_or_json_holds_no_form() {
        let may = |headers: Value, body: &str| {
            let call = call(
                &json!({"RequestMethod": "POST", "RequestUri": "/x", "RequestHeaders": headers, "RequestBody": body}),
            );
            call.unwrap().may_hold_a_form()
        };
        assert!(!may(json!({"Content-Length": "0", "Content-Type": "text/plain"}), ""));
        assert!(!may(json!({}), ""));
        assert!(!may(json!({"Content-Length": "2", "Content-Type": "application/json"}), "e30="));
        assert!(may(json!({"Content-Length": "9", "Content-Type": "application/x-www-form-urlencoded"}), ""));
        // The engine may have read a first type that is not the one here.
        assert!(may(json!({"Content-Length": "9", "Content-Type": "text/plain"}), ""));
        assert!(may(json!({"Content-Type": "text/plain"}), ""));
        assert!(may(json!({"content-type": "text/plain"}), ""));
    }
}
