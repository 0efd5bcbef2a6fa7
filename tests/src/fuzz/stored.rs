//! What lies on disk and goes between our own programs: the record of a client's state, frames of the signer, keys.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use trust_keys::{KeyFile, KeyUri, LocalKey};
use trust_reader::state::StateStore;
use trust_tuf::Version;
use trust_wire::signer::{FRAME_BYTES, Reply, Request, decode, read_frame, write_frame};

/// Frames of the signer's protocol, one after the other, and the messages in them.
pub fn wire_frames(data: &[u8]) {
    let mut rest = data;
    while let Ok(Some(body)) = read_frame(&mut rest) {
        assert!(body.len() <= FRAME_BYTES && body.len() <= data.len(), "a frame is longer than what came");
        message::<Request>(&body);
        message::<Reply>(&body);
    }
    // As a body of its own, so that every input reaches the messages.
    message::<Request>(data);
    message::<Reply>(data);
}

fn message<T: Serialize + DeserializeOwned>(body: &[u8]) {
    let Ok(message) = decode::<T>(body) else { return };
    let mut frame = Vec::new();
    write_frame(&mut frame, &message).expect("what came in a frame goes in a frame");
    let again = read_frame(&mut frame.as_slice()).expect("a frame").expect("a frame");
    let read: T = decode(&again).expect("written and read again");
    let mut twice = Vec::new();
    write_frame(&mut twice, &read).expect("written before");
    assert_eq!(frame, twice, "a message changes on its way");
}

/// The record of what a client stored. Whatever lies there: an error, or a state that is read the same way again.
pub fn state_record(data: &[u8]) {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.expect("a folder");
    let path = folder.path().join("state");
    std::fs::create_dir(&path).expect("a folder");
    std::fs::write(path.join("format"), data).expect("written");
    let open = || StateStore::open_at(&path, "fuzz", Duration::from_secs(1));
    let Ok(store) = open() else {
        assert_eq!(std::fs::read(path.join("format")).expect("there"), data, "a refused record was changed");
        return;
    };
    let facts = |store: &StateStore| {
        let kept = (store.timestamp().is_ok(), store.snapshot().is_ok(), store.root(Version::ONE).is_ok());
        (store.refreshed(), store.anchor().map(str::to_owned), store.newest_root(), store.newest_timestamp(), kept)
    };
    let before = facts(&store);
    assert!(before.3.is_none() || !before.4.0, "a stored timestamp is gone, and nobody says so");
    drop(store);
    assert_eq!(facts(&open().expect("opened before")), before, "one record, two answers");
}

/// A private key as people store it. Nothing of it may be in what is said about it.
pub fn private_key(data: &[u8]) {
    let _ = LocalKey::from_pkcs8_der(data);
    let _ = LocalKey::from_sec1_der(data);
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(uri) = KeyUri::parse(text)
    {
        let _ = format!("{uri:?}");
    }
    let Ok(file) = KeyFile::parse(data) else { return };
    // Without its passphrase; an encrypted one would cost most of a second.
    let Ok(key) = file.open_unencrypted() else { return };
    let again = KeyFile::parse(data).expect("read before").open_unencrypted().expect("opened before");
    assert_eq!(format!("{key:?}"), format!("{again:?}"));
}
