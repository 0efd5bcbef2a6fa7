//! Keys that are published with their private halves, for the demo and the documents. Every program of ours refuses
//! them outside `--dev`.

use crate::keys::PublicKey;

// One key id a line.
const DENIED: &str = include_str!("../../../keys-example/denied-key-ids.txt");

/// Whether this is a key whose private half is public, however it is spelled.
pub fn is_example(key: &PublicKey) -> bool {
    let id = key.respelled().id();
    DENIED.lines().any(|line| line.trim() == id.as_str())
}
