//! The signer as a state machine: a request and a time come in, an answer goes out. Store, randomness and clock are handed
//! in, so that a simulation can drive it in one process.
//!
//! Invariants: every answer that holds a signature follows a durable transaction with its mark and its audit entries; what
//! is in memory is a copy of the store, and is forgotten when a write fails. Deliberately absent: sockets, files, the clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use trust_keys::SigningKey;
use trust_tuf::model::Role;
use trust_tuf::repository::Rules;
use trust_tuf::{CollectionName, UtcTime};
use trust_wire::Base64;
use trust_wire::proof::key_to_json;
use trust_wire::signer::{CollectionFiles, CollectionState, Reply, Request};

use crate::collection::{Cache, Collection};
use crate::config::Config;
use crate::publish::{Asked, Counted};
use crate::rate::{Overall, PerCollection};
use crate::refusal::{No, RuleId, fail, refuse};
use crate::store::{Change, Store, StoreError};
use crate::vault::{Entropy, Vault};

/// New keys a second in all.
const KEYS_PER_SECOND: u64 = 200;
/// New keys a second and collection.
const KEYS_PER_COLLECTION: u64 = 8;

/// The signer.
pub struct SignerCore {
    pub(crate) store: Store,
    pub(crate) vault: Arc<Vault>,
    pub(crate) entropy: Box<dyn Entropy>,
    pub(crate) config: Config,
    pub(crate) dev: bool,
    pub(crate) cache: Cache,
    pub(crate) publications: PerCollection,
    pub(crate) signatures: Overall,
    pub(crate) keys: Overall,
    pub(crate) keys_of: PerCollection,
    /// The time of the last signature, once it was read. The store refuses an earlier one by itself.
    last_signature: Option<i64>,
    broken: bool,
}

impl std::fmt::Debug for SignerCore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignerCore").field("vault", &self.vault).finish_non_exhaustive()
    }
}

impl SignerCore {
    /// A signer on this store. `dev`: it admits first roots by itself and takes example keys.
    pub fn new(store: Store, vault: Arc<Vault>, entropy: Box<dyn Entropy>, config: Config, dev: bool) -> Self {
        Self {
            publications: PerCollection::new(config.publications_per_second),
            signatures: Overall::new(config.signatures_per_second),
            keys: Overall::new(KEYS_PER_SECOND),
            keys_of: PerCollection::new(KEYS_PER_COLLECTION),
            store,
            vault,
            entropy,
            config,
            dev,
            cache: Cache::default(),
            last_signature: None,
            broken: false,
        }
    }

    /// The store, for whoever looks at what was recorded.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Whether a write was not confirmed by the disk: nothing is signed any more, and the process should end.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Forgets every copy in memory, after something went wrong.
    pub fn forget(&mut self) {
        self.cache.clear();
        self.last_signature = None;
    }

    /// Answers one request. `now` is the signer's own clock.
    pub fn handle(&mut self, now: UtcTime, request: Request) -> Reply {
        self.answer(now, request).unwrap_or_else(No::into_reply)
    }

    fn answer(&mut self, now: UtcTime, request: Request) -> Result<Reply, No> {
        self.check_broken()?;
        match request {
            Request::Health {} => Ok(Reply::Health {
                identity: key_to_json(self.vault.identity().public()),
                collections: self.store.collections()?,
            }),
            Request::NewOnlineKeys { collection, roles, nonce } => {
                self.new_online_keys(now, &collection, &roles, &nonce)
            }
            Request::Publish { collection, roots, roles, grant } => {
                let asked = Asked::read(&collection, roots, roles, grant)?;
                self.publish(now, &asked, Counted::No).map(Reply::Published)
            }
            // They belong to a connection: see [`SignerCore::prepare`].
            Request::Prepare { .. } | Request::Commit {} => {
                Err(refuse(RuleId::Request, "nothing was prepared on this connection"))
            }
            Request::Resign { collections } => self.resign(now, &collections),
            Request::State { collection } => Ok(Reply::State { state: self.state(&collection)? }),
            Request::Files { collection } => Ok(Reply::Files { files: self.files(&collection)? }),
        }
    }

    /// After a write that the disk did not confirm nothing is signed.
    pub(crate) fn check_broken(&self) -> Result<(), No> {
        if self.broken { Err(StoreError::Sync.into()) } else { Ok(()) }
    }

    fn state(&mut self, name: &str) -> Result<Option<CollectionState>, No> {
        let name = collection_name(name)?;
        let Some(known) = self.take(&name)? else { return Ok(None) };
        let state = CollectionState {
            root: known.marks.root.get(),
            snapshot: known.marks.snapshot.get(),
            timestamp: known.marks.timestamp.get(),
            roles: known.state.roles().iter().map(|(n, r)| (n.to_string(), r.version().get())).collect(),
        };
        self.cache.put(name, known);
        Ok(Some(state))
    }

    fn files(&mut self, name: &str) -> Result<Option<CollectionFiles>, No> {
        let name = collection_name(name)?;
        let Some(known) = self.take(&name)? else { return Ok(None) };
        let roots = self.store.roots(&name)?.into_iter().map(Base64).collect();
        let roles: BTreeMap<String, Base64> =
            known.state.roles().iter().map(|(n, r)| (n.to_string(), r.bytes().as_ref().into())).collect();
        let files = CollectionFiles { roots, roles, signed: known.signed() };
        self.cache.put(name, known);
        Ok(Some(files))
    }

    /// Takes a collection from memory, or reads and verifies it; `None` if it has no root here.
    pub(crate) fn take(&mut self, name: &CollectionName) -> Result<Option<Collection>, No> {
        match self.cache.take(name) {
            Some(known) => Ok(Some(known)),
            None => Collection::load(&self.store, &self.vault, name),
        }
    }

    /// Rule S9, the half of it: a clock that is behind the last signature.
    pub(crate) fn check_clock(&mut self, now: UtcTime) -> Result<(), No> {
        let last = match self.last_signature {
            Some(last) => last,
            None => self.store.last_signature()?,
        };
        self.last_signature = Some(last);
        if now.unix() < last {
            return Err(fail("S9: the signer's clock is behind its last signature"));
        }
        Ok(())
    }

    /// Rule S10.
    pub(crate) fn take_signatures(&mut self, now: UtcTime, count: u64) -> Result<(), No> {
        if self.signatures.take(now, count) {
            return Ok(());
        }
        Err(refuse(RuleId::S10, format!("more than {} signatures a second", self.config.signatures_per_second)))
    }

    /// Makes changes durable. If that fails, nothing in memory counts any more.
    pub(crate) fn commit(&mut self, now: UtcTime, changes: &[Change]) -> Result<(), No> {
        crate::fail_point::fail_point("signer.before_mark");
        let done = self.store.apply(now, changes);
        self.written(done)?;
        self.last_signature = Some(now.unix());
        Ok(())
    }

    /// After a write: one that failed takes all copies in memory with it, one that the disk did not confirm the whole
    /// process.
    pub(crate) fn written<T>(&mut self, done: Result<T, StoreError>) -> Result<T, No> {
        done.map_err(|error| {
            self.forget();
            self.broken |= matches!(error, StoreError::Sync);
            if error.is_full() { fail("the signer's disk is full") } else { error.into() }
        })
    }

    /// As if something had been signed at this time.
    #[cfg(test)]
    pub(crate) fn signed_at(&mut self, now: UtcTime) {
        self.last_signature = Some(now.unix());
    }

    pub(crate) fn rules(&self, now: UtcTime) -> Rules {
        Rules { now, allow_example_keys: self.dev }
    }
}

/// Reads a collection's name.
pub(crate) fn collection_name(name: &str) -> Result<CollectionName, No> {
    CollectionName::parse(name).map_err(|error| refuse(RuleId::Request, error.to_string()))
}
