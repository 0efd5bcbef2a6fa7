//! Making the two files. Nothing in them comes from a request: versions from the marks, content from the verified state,
//! lives from the configuration, keys from the vault.

use trust_keys::{LocalKey, SigningKey};
use trust_tuf::draft::Draft;
use trust_tuf::model::MetaEntry;
use trust_tuf::repository::RepositoryState;
use trust_tuf::{CollectionName, KeyId, Root, Snapshot, UtcTime, Verified, Version, limits};

use crate::collection::check_signed;
use crate::config::Lifetimes;
use crate::online_role::OnlineRole;
use crate::refusal::{No, RuleId, fail, refuse};
use crate::store::{NewSigned, SignedFile};
use crate::vault::HeldKey;

/// The keys held here that a root names for a role: all of them sign, so that old and new key overlap in a rotation. Rule
/// S14: too few for the threshold, and nothing is signed.
pub(crate) fn signing_keys<'a>(root: &Root, role: OnlineRole, held: &'a [HeldKey]) -> Result<Vec<&'a LocalKey>, No> {
    let named = root.role(role.role_type());
    let keys: Vec<&LocalKey> = held
        .iter()
        .filter(|held| held.role == role && named.holds(held.key.public()))
        .map(|held| held.key.as_ref())
        .collect();
    if u64::try_from(keys.len()).is_ok_and(|n| n >= named.threshold() && n > 0) {
        return Ok(keys);
    }
    Err(refuse(RuleId::S14, format!("the root does not name the {} keys that this signer holds", role.as_str())))
}

/// When a file made now expires. Rule S3: the ceiling holds here again, whatever the configuration says.
pub(crate) fn expiry(now: UtcTime, role: OnlineRole, lifetimes: Lifetimes) -> Result<UtcTime, No> {
    let (wanted, ceiling) = match role {
        OnlineRole::Timestamp => (lifetimes.timestamp, limits::TIMESTAMP_LIFE),
        OnlineRole::Snapshot => (lifetimes.snapshot, limits::SNAPSHOT_LIFE),
    };
    now.plus_secs(wanted.min(ceiling))
        .filter(|expires| *expires > now)
        .ok_or_else(|| refuse(RuleId::S3, format!("no {} can live from now on", role.as_str())))
}

/// The version after the last one (rule S2), or the first.
pub(crate) fn next_version(last: Option<Version>) -> Result<Version, No> {
    let next = match last {
        None => Some(Version::ONE),
        Some(last) => last.next(),
    };
    next.filter(|v| v.get() <= limits::PUBLISH_VERSION).ok_or_else(|| refuse(RuleId::S2, "there is no next version"))
}

/// Everything that signing needs to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signing<'a> {
    pub(crate) now: UtcTime,
    pub(crate) name: &'a CollectionName,
    pub(crate) state: &'a RepositoryState,
    pub(crate) keys: &'a [HeldKey],
    pub(crate) lifetimes: Lifetimes,
}

impl Signing<'_> {
    /// How many signatures a snapshot and a timestamp, or a timestamp alone, take.
    pub(crate) fn cost(&self, with_snapshot: bool) -> Result<u64, No> {
        let root = self.state.root();
        let timestamp = signing_keys(root, OnlineRole::Timestamp, self.keys)?.len();
        let snapshot = signing_keys(root, OnlineRole::Snapshot, self.keys)?.len();
        let count = if with_snapshot { timestamp.saturating_add(snapshot) } else { timestamp };
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }

    /// A snapshot of the state.
    pub(crate) fn snapshot(&self, last: Option<Version>) -> Result<(NewSigned, SignedFile), No> {
        let version = next_version(last)?;
        let expires = expiry(self.now, OnlineRole::Snapshot, self.lifetimes)?;
        let meta = self.state.meta();
        let draft = Draft::snapshot(version, expires, meta.iter().map(|(role, entry)| (role.as_str(), entry)));
        self.finish(OnlineRole::Snapshot, version, expires, &draft)
    }

    /// A timestamp that names this snapshot. Rule S6: the caller has only the newest.
    pub(crate) fn timestamp(&self, last: Option<Version>, newest: &SignedFile) -> Result<(NewSigned, SignedFile), No> {
        let version = next_version(last)?;
        let expires = expiry(self.now, OnlineRole::Timestamp, self.lifetimes)?;
        let draft = Draft::timestamp(version, expires, &MetaEntry::of(newest.version, &newest.bytes));
        self.finish(OnlineRole::Timestamp, version, expires, &draft)
    }

    /// The last look before anything leaves: the two files are judged as a client judges them.
    /// Gives the verified snapshot.
    pub(crate) fn judge(&self, snapshot: &SignedFile, timestamp: &SignedFile) -> Result<Verified<Snapshot>, No> {
        check_signed(self.state, snapshot, timestamp)
            .map_err(|what| fail(format!("what was made for {} does not verify: {what}", self.name)))
    }

    fn finish(
        &self,
        role: OnlineRole,
        version: Version,
        expires: UtcTime,
        draft: &Draft,
    ) -> Result<(NewSigned, SignedFile), No> {
        let keys = signing_keys(self.state.root(), role, self.keys)?;
        let payload = draft.payload();
        let signatures: Result<Vec<_>, _> = keys.iter().map(|key| key.sign(&payload)).collect();
        let signatures = signatures.map_err(|error| fail(error.to_string()))?;
        let keyids: Vec<KeyId> = signatures.iter().map(|s| s.keyid.clone()).collect();
        let bytes = draft.assemble(signatures);
        let record = NewSigned { role, version, expires, bytes: bytes.clone(), keyids };
        Ok((record, SignedFile { version, time: self.now, expires, bytes }))
    }
}
