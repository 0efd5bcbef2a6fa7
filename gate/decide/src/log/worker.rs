//! Where a write to the log runs: on a worker of the runtime if that leaves another one free, else on a thread for blocking work.
//!
//! A write takes some microseconds; handing it to another thread and back costs more than that. But the disk may hang.
//! Invariant: at most one worker of all runtimes of this process is ever in a write, so that time goes on and each caller gets
//! its answer. A worker that is stuck may have left its runtime without anybody who looks at sockets and timers: a thread of
//! its own notices that, and wakes another worker, which then looks. Deliberately absent: ending a write that hangs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};

/// How often it is looked for a write that hangs.
const LOOK: Duration = Duration::from_millis(50);

/// Whether a worker may be in a write, of whatever log.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The writes of one log on workers.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// Whether one is running.
    running: AtomicBool,
    /// How many have ended.
    ended: AtomicU64,
    /// Whether the thread that looks has been started.
    watched: AtomicBool,
}

impl Writes {
    /// A place on a worker of this runtime, if one may be taken.
    pub(super) fn place(self: &Arc<Self>, runtime: &Handle) -> Option<Place> {
        let has_another = runtime.runtime_flavor() == RuntimeFlavor::MultiThread && runtime.metrics().num_workers() > 1;
        if !has_another || !self.watch(runtime) || TAKEN.swap(true, Ordering::Acquire) {
            return None;
        }
        self.running.store(true, Ordering::Relaxed);
        Some(Place(Arc::clone(self)))
    }

    /// Starts the thread that looks, once; it ends with this value. Without it nothing runs on a worker.
    fn watch(self: &Arc<Self>, runtime: &Handle) -> bool {
        if self.watched.load(Ordering::Acquire) || self.watched.swap(true, Ordering::AcqRel) {
            return true;
        }
        let (this, runtime) = (Arc::downgrade(self), runtime.clone());
        let started = std::thread::Builder::new().name("log-watch".to_owned()).spawn(move || look(&this, &runtime));
        self.watched.store(started.is_ok(), Ordering::Release);
        started.is_ok()
    }
}

/// A worker that is in a write; given back also when that breaks off.
#[derive(Debug)]
pub(super) struct Place(Arc<Writes>);

impl Place {
    /// Says that one of several writes on this place has ended.
    pub(super) fn tick(&self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.tick();
        self.0.running.store(false, Ordering::Relaxed);
        TAKEN.store(false, Ordering::Release);
    }
}

fn look(writes: &Weak<Writes>, runtime: &Handle) {
    let mut ended = 0;
    loop {
        std::thread::sleep(LOOK);
        let Some(writes) = writes.upgrade() else { return };
        let now = writes.ended.load(Ordering::Relaxed);
        if writes.running.load(Ordering::Relaxed) && now == ended {
            // A task from outside wakes a sleeping worker; when it sleeps again, it is the one that looks at sockets and timers.
            drop(runtime.spawn(async {}));
        }
        ended = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_of_one_worker_never_writes_on_it() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let writes = Arc::new(Writes::default());
        assert!(writes.place(runtime.handle()).is_none());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert!(writes.place(runtime.handle()).is_none());
    }
}
