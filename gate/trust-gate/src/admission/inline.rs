//! Where a decision runs: on a worker of the runtime if that leaves another one free, else on a thread for blocking work.
//!
//! A decision is some microseconds of computing and a write to the log; handing it to another thread and back costs more
//! than the decision, and more than waiting for the one before it. But the disk of the log may hang. Invariant: at least one worker is never in a decision, so that time
//! goes on and each caller gets its answer. A worker that is stuck may have left its runtime without anybody who looks at
//! sockets and timers: a thread of its own notices that, and wakes another worker, which then looks. Deliberately absent:
//! ending a decision that hangs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;
use tokio::time::timeout;

/// How often it is looked for a decision that hangs.
const LOOK: Duration = Duration::from_millis(50);
/// How long a worker is waited for. Decisions that take longer hang.
const PATIENCE: Duration = Duration::from_millis(2);

/// The workers of a runtime that may be in a decision.
pub(super) struct Workers {
    /// A place for each, known with the runtime; and how many there are.
    places: OnceLock<(Arc<Semaphore>, usize)>,
    /// How many decisions have ended.
    ended: AtomicU64,
    /// Whether the thread that looks has been started.
    watched: AtomicBool,
}

impl Workers {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { places: OnceLock::new(), ended: AtomicU64::new(0), watched: AtomicBool::new(false) })
    }

    /// Runs this beside the caller. Once it has begun, it goes on also if nobody waits for it.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let runtime = Handle::current();
        let Some(place) = self.place(&runtime).await else { return runtime.spawn_blocking(work).await };
        // Given back also when the work breaks off.
        let place = Place { workers: Arc::clone(self), _permit: place };
        let running = runtime.spawn(async move {
            let done = work();
            drop(place);
            done
        });
        running.await
    }

    async fn place(self: &Arc<Self>, runtime: &Handle) -> Option<OwnedSemaphorePermit> {
        if !self.watch(runtime) {
            return None;
        }
        let (places, count) = self.places.get_or_init(|| {
            let spare = match runtime.runtime_flavor() {
                RuntimeFlavor::MultiThread => runtime.metrics().num_workers().saturating_sub(1),
                _ => 0,
            };
            (Arc::new(Semaphore::new(spare)), spare)
        });
        if *count == 0 {
            return None;
        }
        match Arc::clone(places).try_acquire_owned() {
            Ok(place) => Some(place),
            Err(_) => timeout(PATIENCE, Arc::clone(places).acquire_owned()).await.ok()?.ok(),
        }
    }

    fn is_running(&self) -> bool {
        self.places.get().is_some_and(|(places, count)| places.available_permits() < *count)
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
struct Place {
    workers: Arc<Workers>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.workers.ended.fetch_add(1, Ordering::Relaxed);
    }
}

fn look(workers: &Weak<Workers>, runtime: &Handle) {
    let mut ended = 0;
    loop {
        std::thread::sleep(LOOK);
        let Some(workers) = workers.upgrade() else { return };
        let now = workers.ended.load(Ordering::Relaxed);
        if workers.is_running() && now == ended {
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
            assert!(!workers.is_running());
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
