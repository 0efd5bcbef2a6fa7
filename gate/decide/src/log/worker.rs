//! Where a write to the log runs: on a worker of the runtime if that leaves another one free, else on a thread for blocking work.
//!
//! A write takes some microseconds; handing it to another thread and back costs more than that. But the disk may hang.
//! Invariant: at most one worker of all runtimes of this process is ever in a write, so that time goes on and each caller gets
//! its answer. A worker that is stuck may have left its runtime without anybody who looks at sockets and timers: a thread of
//! its own notices that, wakes another worker, which then looks, and tells those who wait, who set their alarms only now: an
//! alarm for each of many short writes costs more than the write. Deliberately absent: ending a write that hangs.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Notify;

/// How often it is looked for a write that hangs.
const LOOK: Duration = Duration::from_millis(50);

/// Whether a worker may be in a write, of whatever log.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The writes of one log.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// How many are running: one, and for a moment the one before it.
    running: AtomicUsize,
    /// How many have ended.
    ended: AtomicU64,
    /// Whether the thread that looks has been started.
    watched: AtomicBool,
    /// Whether the one that runs takes long.
    hangs: AtomicBool,
    /// Those who wait while it does.
    waiting: Notify,
}

/// A write that runs; over also when it breaks off.
#[derive(Debug)]
pub(super) struct Running(Arc<Writes>);

impl Running {
    /// Says that one of several writes has ended.
    pub(super) fn tick(&self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
        self.0.hangs.store(false, Ordering::Relaxed);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tick();
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Writes {
    /// Says that a write begins.
    pub(super) fn begin(self: &Arc<Self>, runtime: &Handle) -> Running {
        self.watch(runtime);
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(self))
    }

    /// A place on a worker of this runtime, if one may be taken.
    pub(super) fn place(&self, runtime: &Handle) -> Option<Place> {
        let has_another = runtime.runtime_flavor() == RuntimeFlavor::MultiThread && runtime.metrics().num_workers() > 1;
        let may = has_another && self.watched.load(Ordering::Acquire) && !TAKEN.swap(true, Ordering::Acquire);
        may.then_some(Place(()))
    }

    /// Ends when a write takes long, soon if none can be looked for.
    pub(super) async fn hang(&self) {
        let told = self.waiting.notified();
        if !self.hangs.load(Ordering::Relaxed) && self.watched.load(Ordering::Acquire) {
            told.await;
        }
    }

    /// Starts the thread that looks, once; it ends with this value. Without it nothing runs on a worker.
    fn watch(self: &Arc<Self>, runtime: &Handle) {
        if self.watched.load(Ordering::Acquire) || self.watched.swap(true, Ordering::AcqRel) {
            return;
        }
        let (this, runtime) = (Arc::downgrade(self), runtime.clone());
        let started = std::thread::Builder::new().name("log-watch".to_owned()).spawn(move || look(&this, &runtime));
        if started.is_err() {
            self.watched.store(false, Ordering::Release);
            // Who relied on it in this moment sets an alarm now.
            self.waiting.notify_waiters();
        }
    }
}

/// A worker that is in a write; given back also when that breaks off.
#[derive(Debug)]
pub(super) struct Place(());

impl Drop for Place {
    fn drop(&mut self) {
        TAKEN.store(false, Ordering::Release);
    }
}

fn look(writes: &Weak<Writes>, runtime: &Handle) {
    let mut ended = 0;
    loop {
        std::thread::sleep(LOOK);
        let Some(writes) = writes.upgrade() else { return };
        let now = writes.ended.load(Ordering::Relaxed);
        if writes.running.load(Ordering::Relaxed) > 0 && now == ended {
            writes.hangs.store(true, Ordering::Relaxed);
            writes.waiting.notify_waiters();
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
    fn a_write_that_begins_before_the_one_before_has_gone_is_watched() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let writes = Arc::new(Writes::default());
        let before = writes.begin(runtime.handle());
        let hangs = writes.begin(runtime.handle());
        drop(before);
        let told = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), writes.hang()).await });
        assert!(told.is_ok(), "nobody looks");
        drop(hangs);
    }

    #[test]
    fn a_runtime_of_one_worker_never_writes_on_it() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let writes = Arc::new(Writes::default());
        let _running = writes.begin(runtime.handle());
        assert!(writes.place(runtime.handle()).is_none());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert!(writes.place(runtime.handle()).is_none());
    }
}
