//! The protocol between server and signer: typed requests over a Unix socket, each a frame of four length bytes
//! (big endian) and one JSON document. There is no request that signs given bytes, and none that exports, lists or
//! deletes a private key.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Base64, OnlineKeyProof};

/// The largest frame, in bytes. Room for a publication at its limit.
pub const FRAME_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of the length before a message.
const LENGTH_BYTES: usize = 4;
/// Room that is made for a message before any of it has come, in bytes.
const FIRST_PIECE: usize = 64 * 1024;
/// Collections in one request to re-sign timestamps.
pub const RESIGN_BATCH: usize = 256;

/// The largest `prepare`, in bytes: what waits in the signer for its `commit` is small. Larger publications come whole.
pub const PREPARE_BYTES: usize = 256 * 1024;

/// What the server asks.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Is the signer there, and who is it?
    Health {},
    /// Make a new online key for each of these roles of a collection. They sign nothing until a root names them.
    NewOnlineKeys {
        /// The collection.
        collection: String,
        /// `timestamp`, `snapshot`.
        roles: Vec<String>,
        /// 16 to 64 characters, part of the proof.
        nonce: String,
    },
    /// Verify a publication, then make the snapshot and the timestamp for it. The same publication asked again gets the
    /// same snapshot.
    Publish {
        /// The collection.
        collection: String,
        /// New roots, oldest first.
        roots: Vec<Base64>,
        /// New targets files by role.
        roles: BTreeMap<String, Base64>,
        /// An operator's grant for a first publication.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grant: Option<Base64>,
    },
    /// The same publication in two steps, so that it is verified while the server's disk is busy: this one is not answered, and
    /// nothing of it is durable or leaves the signer before `commit` comes on the same connection.
    Prepare {
        /// The collection.
        collection: String,
        /// New roots, oldest first.
        roots: Vec<Base64>,
        /// New targets files by role.
        roles: BTreeMap<String, Base64>,
        /// An operator's grant for a first publication.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grant: Option<Base64>,
    },
    /// Publish what came with `prepare`, the request before this one on the same connection. Answered as `publish` is.
    Commit {},
    /// Make new timestamps where half of the life of the last one is over. No content comes from the server.
    Resign {
        /// At most 256 collections.
        collections: Vec<String>,
    },
    /// The versions that the signer last signed for a collection.
    State {
        /// The collection.
        collection: String,
    },
    /// Every current file of a collection, for a server that lost some.
    Files {
        /// The collection.
        collection: String,
    },
}

/// What the signer answers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "result", rename_all = "snake_case", deny_unknown_fields)]
pub enum Reply {
    /// To `health`.
    Health {
        /// The identity key, as it would stand in a file.
        identity: serde_json::Value,
        /// How many collections have a root here.
        collections: u64,
    },
    /// To `new_online_keys`.
    NewOnlineKeys {
        /// One proof for each role, in the order asked.
        proofs: Vec<OnlineKeyProof>,
    },
    /// To `publish` and `commit`.
    Published(Signed),
    /// To `resign`: one answer for each collection, in the order asked.
    Resigned {
        /// The answers.
        timestamps: Vec<Resigned>,
    },
    /// To `state`.
    State {
        /// Missing if the collection has no root here.
        state: Option<CollectionState>,
    },
    /// To `files`.
    Files {
        /// Missing if the collection has no root here.
        files: Option<CollectionFiles>,
    },
    /// The request breaks a rule.
    Refused {
        /// `S1` to `S16`, or `request` if it cannot be read.
        rule: String,
        /// One sentence for people.
        reason: String,
    },
    /// The signer cannot do it now (disk, clock).
    Failed {
        /// One sentence for people.
        reason: String,
    },
}

/// A snapshot and a timestamp, as the signer made them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// The snapshot's version.
    pub snapshot_version: u64,
    /// The snapshot file.
    pub snapshot: Base64,
    /// The timestamp's version.
    pub timestamp_version: u64,
    /// The timestamp file.
    pub timestamp: Base64,
    /// When to ask with `resign` (`YYYY-MM-DDTHH:MM:SSZ`): half of the life of the timestamp or of the snapshot is over,
    /// whichever comes first.
    pub resign_at: String,
}

/// The answer for one collection of a `resign` request.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "status", rename_all = "snake_case", deny_unknown_fields)]
pub enum Resigned {
    /// The newest timestamp (new, or the last one if half of its life is not over), and the newest snapshot's version.
    Done {
        /// The newest snapshot that it names. A server that has an older one, and gets none here, asks for the files.
        snapshot_version: u64,
        /// The snapshot file, if this request renewed it: half of its life was over as well.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        snapshot: Option<Base64>,
        /// The timestamp's version.
        timestamp_version: u64,
        /// The timestamp file.
        timestamp: Base64,
        /// When to ask again: half of the life of this timestamp or of its snapshot is over, whichever comes first.
        resign_at: String,
    },
    /// This one was refused or failed; the others go on.
    Refused {
        /// The rule, or `failed`.
        rule: String,
        /// One sentence for people.
        reason: String,
    },
}

/// What the signer last signed for a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CollectionState {
    /// The newest root.
    pub root: u64,
    /// The newest snapshot.
    pub snapshot: u64,
    /// The newest timestamp.
    pub timestamp: u64,
    /// The current version of each role.
    pub roles: BTreeMap<String, u64>,
}

/// The current files of a collection, as the signer holds them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CollectionFiles {
    /// Every root, oldest first.
    pub roots: Vec<Base64>,
    /// The current file of each role.
    pub roles: BTreeMap<String, Base64>,
    /// The newest snapshot and timestamp.
    pub signed: Signed,
}

/// Writes one frame.
pub fn write_frame<T: Serialize>(to: &mut impl Write, message: &T) -> io::Result<()> {
    // Length and message in one piece: the peer is woken once.
    let mut frame = vec![0; LENGTH_BYTES];
    serde_json::to_writer(&mut frame, message).map_err(io::Error::other)?;
    let length = frame.len().saturating_sub(LENGTH_BYTES);
    let length = u32::try_from(length).ok().filter(|_| length <= FRAME_BYTES);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "message is larger than a frame"))?;
    frame.iter_mut().zip(length.to_be_bytes()).for_each(|(to, byte)| *to = byte);
    to.write_all(&frame)?;
    to.flush()
}

/// Reads one frame; `None` if the peer closed before it began.
pub fn read_frame(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0_u8; LENGTH_BYTES];
    let mut have = 0;
    while have < length.len() {
        match from.read(length.get_mut(have..).unwrap_or(&mut [])) {
            Ok(0) if have == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => have += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "frame is larger than its limit"));
    }
    // Beyond its first piece the buffer grows with what comes, not with what is announced.
    let mut body = Vec::with_capacity(length.min(FIRST_PIECE));
    let limit = u64::try_from(length).unwrap_or(u64::MAX);
    if from.take(limit).read_to_end(&mut body)? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(body))
}

/// Values in one message. A publication has a few for each file; a message of millions would take many times its size
/// once it is built.
pub const MESSAGE_VALUES: usize = 65_536;

/// Reads a message from a frame: strict JSON (no duplicate members, depth 32, at most 65,536 values), no unknown fields.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    // The strict reader refuses what serde_json would let pass.
    trust_tuf::json::check(body, MESSAGE_VALUES).map_err(|e| e.to_string())?;
    serde_json::from_slice(body).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_back_and_limits_hold() {
        let mut wire = Vec::new();
        write_frame(&mut wire, &Request::Health {}).unwrap();
        let body = read_frame(&mut wire.as_slice()).unwrap().unwrap();
        assert!(matches!(decode(&body), Ok(Request::Health {})));
        assert!(read_frame(&mut [].as_slice()).unwrap().is_none());
        for cut in 1..wire.len() {
            assert!(read_frame(&mut wire.get(..cut).unwrap()).is_err(), "cut at {cut}");
        }
        assert!(read_frame(&mut [0xff; 8].as_slice()).is_err());
    }

    #[test]
    fn a_message_of_millions_of_small_roles_is_refused() {
        let roles: Vec<String> = (0..MESSAGE_VALUES).map(|n| format!("\"r{n}\":\"\"")).collect();
        let text = format!(r#"{{"op":"publish","collection":"r/a","roots":[],"roles":{{{}}}}}"#, roles.join(","));
        assert!(decode::<Request>(text.as_bytes()).unwrap_err().contains("too many values"));
    }

    #[test]
    fn unknown_fields_duplicates_and_unknown_operations_are_refused() {
        for text in [
            r#"{"op":"health","x":1}"#,
            r#"{"op":"sign","bytes":""}"#,
            r#"{"op":"state","collection":"r/a","collection":"r/b"}"#,
            r#"{"op":"state"}"#,
            r#"{}"#,
            "[]",
        ] {
            assert!(decode::<Request>(text.as_bytes()).is_err(), "{text}");
        }
    }
}
