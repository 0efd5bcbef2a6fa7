//! From verified digests to a JSON Patch (RFC 6902): each tag gets the digest that was decided on.
//!
//! Invariant: each replacement tests for the text that was decided on, so that a changed object is refused and not patched
//! blindly. The new text is made where the decision is ([`trust_image::pin`]). Deliberately absent: annotations, which anybody
//! could have written.

use base64ct::{Base64, Encoding};
use serde::Serialize;
use trust_image::workload::Path;

/// Bytes of a usual operation.
const USUAL_LEN: usize = 256;

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Operation {
    op: &'static str,
    path: String,
    value: String,
}

/// `test` and `replace` of one place.
pub fn replace(path: &Path, old: &str, new: &str) -> [Operation; 2] {
    let path = path.pointer();
    [
        Operation { op: "test", path: path.clone(), value: old.to_owned() },
        Operation { op: "replace", path, value: new.to_owned() },
    ]
}

/// The patch as an answer carries it; `None` if there is nothing to change.
pub fn encode(operations: &[Operation]) -> Option<String> {
    if operations.is_empty() {
        return None;
    }
    let mut json = Vec::with_capacity(USUAL_LEN.saturating_mul(operations.len()));
    serde_json::to_writer(&mut json, operations).ok().map(|()| Base64::encode_string(&json))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_change_is_no_patch() {
        assert_eq!(encode(&[]), None);
    }
}
