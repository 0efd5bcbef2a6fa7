//! What the server does, without HTTP: collections in memory, publications, adoption from the signer, re-signing.
//!
//! Clock, store and signer are passed in. Deliberately absent: sockets, HTTP types, SQL.

pub mod adopt;
pub mod auth;
pub mod error;
pub mod publish;
pub mod query;
pub mod resign;
pub mod slot;
pub mod view;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Semaphore;
use trust_tuf::{CollectionName, UtcTime};

use self::auth::AccessRules;
use self::error::AppError;
use self::slot::{Block, Slot};
use self::view::View;
use crate::signer_link::SignerLink;
use crate::store::{Store, StoreError};

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> UtcTime + Send + Sync>;

/// The clock of the machine.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        // A clock that cannot be read gives 1970: then nothing the signer makes can be judged fresh by mistake of ours
        // alone, because expiry is in the files and clients have clocks of their own.
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        i64::try_from(since).ok().and_then(UtcTime::from_unix).unwrap_or(UtcTime::EPOCH)
    })
}

/// What an operator may choose.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who may read without a token.
    pub access: AccessRules,
    /// Example keys are allowed (`dev`).
    pub allow_example_keys: bool,
    /// How long a publication waits for its turn.
    pub patience: Duration,
}

/// The server.
pub struct App {
    store: Arc<dyn Store>,
    signer: Arc<dyn SignerLink>,
    clock: Clock,
    options: Options,
    slots: RwLock<BTreeMap<String, Arc<Slot>>>,
    health: tokio::sync::Mutex<Option<query::Checked>>,
    /// Room for files from the store, in KiB.
    room: Arc<Semaphore>,
}

impl App {
    /// Reads every collection from the store and verifies it. The signer is not asked yet: see [`App::run`].
    pub async fn open(
        store: Arc<dyn Store>,
        signer: Arc<dyn SignerLink>,
        clock: Clock,
        options: Options,
    ) -> Result<Arc<Self>, StoreError> {
        let mut slots = BTreeMap::new();
        for name in store.collections().await? {
            let Ok(collection) = CollectionName::parse(&name) else {
                tracing::error!(name, "a stored collection has a name that is not well formed; it is not served");
                continue;
            };
            slots.insert(name, Arc::new(load(&*store, collection).await?));
        }
        let (slots, health) = (RwLock::new(slots), tokio::sync::Mutex::default());
        let room = Arc::new(Semaphore::new(query::ROOM));
        Ok(Arc::new(Self { store, signer, clock, options, slots, health, room }))
    }

    /// Works in the background for ever: goes on with open candidates, compares with the signer after a start, renews
    /// timestamps. At most a second between two rounds while all goes well, at most two otherwise.
    pub async fn run(self: Arc<Self>) {
        let mut pause = ROUND;
        loop {
            pause = if self.round().await { ROUND } else { pause.saturating_mul(2).min(LONGEST) };
            tokio::time::sleep(pause).await;
        }
    }

    /// One round of the background work; false if something is left undone.
    pub async fn round(&self) -> bool {
        let mut done = true;
        for slot in self.all_slots() {
            let rests = slot.is_synced() && !slot.is_open() && !slot.is_unstored();
            if rests || slot.block() == Some(Block::Broken) {
                continue;
            }
            // Whoever holds the turn does it.
            let Some(_turn) = slot.try_turn() else { continue };
            done &= self.recover(&slot).await.is_ok();
        }
        self.resign_due().await && done
    }

    /// Writes what waits to be written: before the process ends.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.store.flush().await
    }

    fn now(&self) -> UtcTime {
        (self.clock)()
    }

    /// The rule about who may do what.
    pub fn access(&self) -> &AccessRules {
        &self.options.access
    }

    fn all_slots(&self) -> Vec<Arc<Slot>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// A collection that is reserved.
    pub fn slot(&self, collection: &CollectionName) -> Result<Arc<Slot>, AppError> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.get(collection.as_str()).cloned().ok_or(AppError::NotFound("collection"))
    }

    fn add_slot(&self, collection: &CollectionName) {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        slots
            .entry(collection.as_str().to_owned())
            .or_insert_with(|| Arc::new(Slot::new(collection.clone(), None, None, false, false)));
    }
}

const ROUND: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(2);

async fn load(store: &dyn Store, collection: CollectionName) -> Result<Slot, StoreError> {
    let name = collection.as_str();
    let broken = |error: &dyn std::fmt::Display| {
        tracing::error!(collection = name, %error, "the stored files do not verify; the collection is not served");
        Slot::new(collection.clone(), None, Some(Block::Broken), false, false)
    };
    let set = match store.current(name).await {
        Ok(set) => set,
        Err(error @ StoreError::Damaged(_)) => return Ok(broken(&error)),
        Err(error) => return Err(error),
    };
    let sequence = set.as_ref().map_or(0, |set| set.sequence);
    let view = match set.map(|set| View::stored(&collection, set)).transpose() {
        Ok(view) => view,
        Err(error) => return Ok(broken(&error)),
    };
    let open = match store.candidate(name).await {
        Ok(candidate) => candidate.is_some(),
        Err(error @ StoreError::Damaged(_)) => return Ok(broken(&error)),
        Err(error) => return Err(error),
    };
    let slot = Slot::new(collection, view, open.then_some(Block::Held), open, false);
    slot.set_sequence(sequence);
    Ok(slot)
}
