//! A collection in memory: what is shown, and whose turn it is to change it.
//!
//! Readers take what is shown and never wait for a publication. Everybody who changes a collection first holds its turn
//! (first come, first served).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};
use trust_tuf::CollectionName;

use super::error::AppError;
use super::view::View;
use crate::store::{Later, NewSet};

/// Publications that wait for one collection.
pub const QUEUE: usize = 64;

/// The right to change a collection; it ends when dropped.
pub type Turn = OwnedMutexGuard<()>;

/// Why a collection is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// At start-up there was an open candidate. Its promotion may have been shown and then lost with the power, so that
    /// nothing is shown before the signer answered: clients would see versions go back.
    Held,
    /// The stored set does not verify.
    Broken,
}

/// A set that is shown, and that the store makes current with its next write.
#[derive(Debug)]
pub(super) struct Unstored {
    pub(super) set: NewSet,
    pub(super) candidate: i64,
    pub(super) time: i64,
    pub(super) done: Later<u64>,
}

#[derive(Debug)]
struct Inner {
    view: Option<Arc<View>>,
    block: Option<Block>,
    open: bool,
    synced: bool,
    sequence: u64,
    unstored: Option<Unstored>,
}

/// A collection in memory.
#[derive(Debug)]
pub struct Slot {
    name: CollectionName,
    turn: Arc<Mutex<()>>,
    waiting: AtomicUsize,
    inner: RwLock<Inner>,
}

impl Slot {
    pub(super) fn new(
        name: CollectionName,
        view: Option<View>,
        block: Option<Block>,
        open: bool,
        synced: bool,
    ) -> Self {
        let inner = Inner { view: view.map(Arc::new), block, open, synced, sequence: 0, unstored: None };
        Self { name, turn: Arc::default(), waiting: AtomicUsize::new(0), inner: RwLock::new(inner) }
    }

    fn inner<T>(&self, look: impl FnOnce(&Inner) -> T) -> T {
        look(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.inner.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// The collection.
    pub fn name(&self) -> &CollectionName {
        &self.name
    }

    /// What may be shown.
    pub fn shown(&self) -> Result<Arc<View>, AppError> {
        self.inner(|inner| match inner.block {
            Some(Block::Held) => Err(AppError::Unavailable("the collection waits for the signer")),
            Some(Block::Broken) => Err(AppError::Unavailable("the stored files of the collection do not verify")),
            None => inner.view.clone().ok_or(AppError::NotFound("collection")),
        })
    }

    /// The last verified set, shown or not.
    pub(super) fn view(&self) -> Option<Arc<View>> {
        self.inner(|inner| inner.view.clone())
    }

    pub(super) fn block(&self) -> Option<Block> {
        self.inner(|inner| inner.block)
    }

    pub(super) fn is_open(&self) -> bool {
        self.inner(|inner| inner.open)
    }

    pub(super) fn is_synced(&self) -> bool {
        self.inner(|inner| inner.synced)
    }

    pub(super) fn set_open(&self, open: bool) {
        self.change(|inner| inner.open = open);
    }

    pub(super) fn set_synced(&self) {
        self.change(|inner| {
            inner.synced = true;
            if inner.block == Some(Block::Held) {
                inner.block = None;
            }
        });
    }

    pub(super) fn unsync(&self) {
        self.change(|inner| inner.synced = false);
    }

    /// How many publications there were.
    pub(super) fn sequence(&self) -> u64 {
        self.inner(|inner| inner.sequence)
    }

    pub(super) fn set_sequence(&self, sequence: u64) {
        self.change(|inner| inner.sequence = sequence);
    }

    pub(super) fn set_unstored(&self, unstored: Unstored) {
        self.change(|inner| inner.unstored = Some(unstored));
    }

    /// What is shown and perhaps not stored yet. Whoever takes it holds the turn, and sees to it.
    pub(super) fn take_unstored(&self) -> Option<Unstored> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner).unstored.take()
    }

    /// Whether something may not be stored yet.
    pub(super) fn is_unstored(&self) -> bool {
        self.inner(|inner| inner.unstored.is_some())
    }

    /// Shows a set that is stored, or whose candidate is.
    pub(super) fn show(&self, view: View) -> Arc<View> {
        let view = Arc::new(view);
        self.change(|inner| {
            inner.view = Some(Arc::clone(&view));
        });
        view
    }

    /// Waits for the turn.
    pub(super) async fn take_turn(&self, patience: Duration) -> Result<Turn, AppError> {
        struct Place<'a>(&'a AtomicUsize);
        impl Drop for Place<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let place = Place(&self.waiting);
        if place.0.fetch_add(1, Ordering::Relaxed) >= QUEUE {
            return Err(AppError::RateLimited);
        }
        match tokio::time::timeout(patience, Arc::clone(&self.turn).lock_owned()).await {
            Ok(turn) => Ok(turn),
            Err(_) => Err(AppError::Unavailable("another publication of this collection takes too long; try again")),
        }
    }

    /// The turn, if nobody has it.
    pub(super) fn try_turn(&self) -> Option<Turn> {
        Arc::clone(&self.turn).try_lock_owned().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_queue_is_bounded_and_a_waiter_gives_up() {
        let slot = Arc::new(Slot::new(CollectionName::parse("r/a").unwrap(), None, None, false, true));
        let turn = slot.take_turn(Duration::from_secs(1)).await.unwrap();
        assert!(slot.try_turn().is_none());
        assert!(matches!(slot.take_turn(Duration::from_millis(10)).await, Err(AppError::Unavailable(_))));
        let waiters: Vec<_> = (0..QUEUE)
            .map(|_| {
                let slot = Arc::clone(&slot);
                tokio::spawn(async move { slot.take_turn(Duration::from_secs(5)).await.is_ok() })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(matches!(slot.take_turn(Duration::from_secs(5)).await, Err(AppError::RateLimited)));
        drop(turn);
        for waiter in waiters {
            assert!(waiter.await.unwrap());
        }
        assert!(slot.try_turn().is_some());
    }
}
