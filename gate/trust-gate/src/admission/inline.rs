//! Where a decision runs: on a worker of the runtime if that leaves another one free, else on a thread for blocking work.
//!
//! A decision is some microseconds of computing and a write to the log; handing it to another thread and back costs more
//! than the decision. But the disk of the log may hang. Invariant: at least one worker is never in a decision, so that time
//! goes on and each caller gets its answer. A worker that is stuck may have left its runtime without anybody who looks at
//! sockets and timers: a thread of its own notices that, and wakes another worker, which then looks. Deliberately absent:
//! ending a decision that hangs.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::JoinHandle;

/// How often it is looked for a decision that hangs.
const LOOK: Duration = Duration::from_millis(50);

/// The workers of a runtime that may be in a decision.
pub(super) struct Workers {
    /// How many are.
    running: AtomicUsize,
    /// How many decisions have ended.
    ended: AtomicU64,
    /// Whether the thread that looks has been started.
    watched: AtomicBool,
}

impl Workers {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { running: AtomicUsize::new(0), ended: AtomicU64::new(0), watched: AtomicBool::new(false) })
    }

    /// Runs this beside the caller.
    pub(super) fn run<T: Send + 'static>(self: &Arc<Self>, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let runtime = Handle::current();
        let spare = match runtime.runtime_flavor() {
            RuntimeFlavor::MultiThread => runtime.metrics().num_workers().saturating_sub(1),
            _ => 0,
        };
        let take = |running: usize| (running < spare).then_some(running + 1);
        let is_taken =
            self.watch(&runtime) && self.running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
        if !is_taken {
            return runtime.spawn_blocking(work);
        }
        // Given back also when the work breaks off.
        let place = Place(Arc::clone(self));
        runtime.spawn(async move {
            let done = work();
            drop(place);
            done
        })
    }

    /// Starts the thread that looks, once; it ends with this value. Without it nothing runs on a worker.
    fn watch(self: &Arc<Self>, runtime: &Handle) -> bool {
        if self.watched.load(Ordering::Acquire) {
            return true;
        }
        if self.watched.swap(true, Ordering::AcqRel) {
            return true;
        }
        let (this, runtime) = (Arc::downgrade(self), runtime.clone());
        let started =
            std::thread::Builder::new().name("admission-watch".to_owned()).spawn(move || look(&this, &runtime));
        self.watched.store(started.is_ok(), Ordering::Release);
        started.is_ok()
    }
}

/// A worker that is in a decision.
struct Place(Arc<Workers>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

fn look(workers: &Weak<Workers>, runtime: &Handle) {
    let mut ended = 0;
    loop {
        std::thread::sleep(LOOK);
        let Some(workers) = workers.upgrade() else { return };
        let now = workers.ended.load(Ordering::Relaxed);
        if workers.running.load(Ordering::Relaxed) > 0 && now == ended {
            // A task from outside wakes a sleeping worker; when it sleeps again, it is the one that looks at sockets and timers.
            drop(runtime.spawn(async {}));
        }
        ended = now;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn decisions_that_hang_leave_the_runtime_its_timers() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let begun = Instant::now();
        let answered = runtime.block_on(async {
            // On a worker, as a connection is.
            tokio::spawn(async {
                let workers = Workers::new();
                let hang = || std::thread::sleep(Duration::from_secs(3));
                let (one, other) = (workers.run(hang), workers.run(hang));
                let soon = Duration::from_millis(300);
                let (one, other) = tokio::join!(tokio::time::timeout(soon, one), tokio::time::timeout(soon, other));
                one.is_err() && other.is_err()
            })
            .await
            .unwrap()
        });
        assert!(answered && begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        runtime.shutdown_background();
    }

    #[test]
    fn work_that_breaks_off_gives_its_place_back() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let workers = Workers::new();
            for _ in 0..5 {
                assert!(workers.run(|| panic!("on purpose")).await.is_err());
            }
            assert_eq!(workers.running.load(Ordering::Relaxed), 0);
            assert_eq!(workers.run(|| 7).await.unwrap(), 7);
        });
    }

    #[tokio::test]
    async fn a_runtime_of_one_worker_never_decides_on_it() {
        let workers = Workers::new();
        let hangs = workers.run(|| std::thread::sleep(Duration::from_secs(1)));
        let begun = Instant::now();
        assert!(tokio::time::timeout(Duration::from_millis(100), hangs).await.is_err());
        assert!(begun.elapsed() < Duration::from_millis(900));
    }
}
