//! The audit chain: one entry for each signature, each new key and each admission. An entry is canonical JSON that holds
//! the hash of the one before, so that a removed, changed or reordered entry breaks the chain.
//!
//! Deliberately absent: where entries are stored. The chain alone cannot show that its *end* was cut off: for signatures the
//! comparison with what was signed does, and the head is printed so that it can be compared with one noted elsewhere.

use trust_tuf::UtcTime;
use trust_tuf::json::{self, Value};
use trust_tuf::model::sha256;

/// The hash before the first entry.
pub const GENESIS: [u8; 32] = [0; 32];

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// An online key signed a file.
    Sign,
    /// An online key was made, and the identity key signed the proof for it.
    NewKey,
    /// A first root was admitted.
    Admit,
}

impl Event {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Sign => "sign",
            Self::NewKey => "new_key",
            Self::Admit => "admit",
        }
    }
}

/// What an entry says. What does not apply to an event is empty or 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What happened.
    pub event: Event,
    /// The collection.
    pub collection: String,
    /// The role.
    pub role: String,
    /// The version that was signed.
    pub version: u64,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// The key.
    pub keyid: String,
}

/// The end of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// How many entries there are.
    pub seq: u64,
    /// The hash of the last one.
    pub hash: [u8; 32],
}

impl Head {
    /// Of an empty chain.
    pub const EMPTY: Self = Self { seq: 0, hash: GENESIS };

    /// The entry that comes next, and the head after it.
    pub fn append(self, time: UtcTime, record: &Record) -> (Vec<u8>, Self) {
        let seq = self.seq.saturating_add(1);
        let entry = Value::object([
            ("collection", Value::from(record.collection.as_str())),
            ("event", Value::from(record.event.as_str())),
            ("keyid", Value::from(record.keyid.as_str())),
            ("prev", Value::from(hex::encode(self.hash))),
            ("role", Value::from(record.role.as_str())),
            ("seq", Value::from(seq)),
            ("sha256", Value::from(record.sha256.as_str())),
            ("time", Value::from(time.to_string())),
            ("version", Value::from(record.version)),
        ])
        .canonical();
        let hash = sha256(&entry);
        (entry, Self { seq, hash })
    }
}

/// Where a chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("audit entry {seq}: {what}")]
pub struct Broken {
    /// The entry at which it shows.
    pub seq: u64,
    /// What is wrong.
    pub what: &'static str,
}

/// A signature, as an entry names it: collection, role, version, SHA-256 in hex, key id.
pub type SignatureName = (String, String, u64, String, String);

/// Checks an entry against the head before it. Gives the head after it, and the signature that it names, if it is one.
pub fn check_entry(
    before: Head,
    seq: u64,
    prev: &[u8],
    entry: &[u8],
    hash: &[u8],
) -> Result<(Head, Option<SignatureName>), Broken> {
    let broken = |what| Broken { seq, what };
    if before.seq.checked_add(1) != Some(seq) {
        return Err(broken("the one before is missing"));
    }
    if prev != before.hash {
        return Err(broken("it does not follow the one before"));
    }
    if sha256(entry) != hash {
        return Err(broken("it was changed"));
    }
    let value = json::parse(entry).map_err(|_| broken("it cannot be read"))?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    if value.get("seq").and_then(Value::as_u64) != Some(seq) || text("prev") != hex::encode(prev) {
        return Err(broken("it belongs to another place"));
    }
    let version = value.get("version").and_then(Value::as_u64).unwrap_or(0);
    let signature = (text("event") == Event::Sign.as_str())
        .then(|| (text("collection"), text("role"), version, text("sha256"), text("keyid")));
    Ok((Head { seq, hash: sha256(entry) }, signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(version: u64) -> Record {
        Record {
            event: Event::Sign,
            collection: "r.example/a".to_owned(),
            role: "timestamp".to_owned(),
            version,
            sha256: "00".repeat(32),
            keyid: "k".to_owned(),
        }
    }

    type Row = (u64, Vec<u8>, Vec<u8>, Vec<u8>);

    fn chain(length: u64) -> Vec<Row> {
        let mut head = Head::EMPTY;
        let now = UtcTime::from_unix(1_900_000_000).unwrap();
        (1..=length)
            .map(|version| {
                let prev = head.hash.to_vec();
                let (entry, next) = head.append(now, &record(version));
                head = next;
                (head.seq, prev, entry, head.hash.to_vec())
            })
            .collect()
    }

    fn check(chain: &[Row]) -> Result<Head, Broken> {
        chain.iter().try_fold(Head::EMPTY, |head, (seq, prev, entry, hash)| {
            check_entry(head, *seq, prev, entry, hash).map(|(head, _)| head)
        })
    }

    #[test]
    fn removed_reordered_and_renumbered_entries_break_the_chain() {
        let good = chain(6);
        assert_eq!(check(&good).map(|h| h.seq), Ok(6));
        for at in 0..5 {
            let mut removed = good.clone();
            removed.remove(at);
            assert!(check(&removed).is_err(), "removed {at}");
            for (seq, entry) in (1..).zip(removed.iter_mut()) {
                entry.0 = seq;
            }
            assert!(check(&removed).is_err(), "removed {at} and renumbered");
            let mut swapped = good.clone();
            swapped.swap(at, at + 1);
            assert!(check(&swapped).is_err(), "swapped {at}");
        }
    }

    #[test]
    fn any_changed_byte_breaks_the_chain_even_with_its_hash_made_anew() {
        let good = chain(3);
        for at in 0..good[1].2.len() {
            let mut changed = good.clone();
            changed[1].2[at] ^= 1;
            assert!(check(&changed).is_err(), "byte {at}");
            changed[1].3 = sha256(&changed[1].2).to_vec();
            assert!(check(&changed).is_err(), "byte {at}, hash made anew");
        }
    }
}
