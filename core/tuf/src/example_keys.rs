//! Keys that are published with their private halves, for the demo and the documents. Every program of ours refuses
//! them outside `--dev`.

use crate::keys::KeyId;

// One key id a line; `#` begins a comment.
const DENIED: &str = include_str!("../../../keys-example/denied-key-ids.txt");

/// Whether this is the id of a key whose private half is public.
pub fn is_example(id: &KeyId) -> bool {
    DENIED.lines().any(|line| line.trim() == id.as_str())
}
