//! Where a decision runs: on the worker that serves the connection if it is made already, as long as none hangs; else on a
//! thread for blocking work.
//!
//! To give a decision that was made before takes some microseconds of computing and a write to the log; handing it to
//! another thread and back takes longer. But the disk of the log may hang. So a thread of its own looks whether the
//! decisions that run on workers end; if not, all others are handed over until they do, and each caller gets its answer in
//! time. Invariant: at least one worker is never in a decision. What is lost are the answers in time of those that were on
//! workers when the disk stopped, and of as many that wait behind one: their callers have a limit of their own.
//! A stuck worker may have left its runtime without anybody who looks at sockets and timers: the same thread then wakes
//! another worker, which looks. Deliberately absent: ending a decision that hangs.

use std::panic::{AssertUnwindSafe, catch_unwind};
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
    /// How many decisions on workers have ended.
    ended: AtomicU64,
    /// Whether one hangs: until it ends, nothing more runs on a worker.
    hangs: AtomicBool,
    /// Whether the thread that looks has been started.
    watched: AtomicBool,
}

/// The work broke off.
#[derive(Debug)]
pub(super) struct BrokeOff;

/// Work that was begun.
pub(super) enum Begun<T> {
    /// It is over.
    Done(Result<T, BrokeOff>),
    /// It runs on another thread.
    Handed(JoinHandle<T>),
}

impl<T> Begun<T> {
    /// What came of it.
    pub(super) async fn end(self) -> Result<T, BrokeOff> {
        match self {
            Self::Done(result) => result,
            Self::Handed(handle) => handle.await.map_err(|_| BrokeOff),
        }
    }
}

impl Workers {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            running: AtomicUsize::new(0),
            ended: AtomicU64::new(0),
            hangs: AtomicBool::new(false),
            watched: AtomicBool::new(false),
        })
    }

    /// Does this at once if it is quick, or has another thread do it.
    pub(super) fn run<T, W>(self: &Arc<Self>, is_quick: bool, work: W) -> Begun<T>
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        let runtime = Handle::current();
        let spare = match runtime.runtime_flavor() {
            RuntimeFlavor::MultiThread => runtime.metrics().num_workers().saturating_sub(1),
            _ => 0,
        };
        let take = |running: usize| (running < spare).then_some(running + 1);
        let may_run = is_quick && self.watch(&runtime) && !self.hangs.load(Ordering::Relaxed);
        if !may_run || self.running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            return Begun::Handed(runtime.spawn_blocking(work));
        }
        // Given back also when the work breaks off, which is then no different from a break on another thread.
        let _place = Place(self);
        Begun::Done(catch_unwind(AssertUnwindSafe(work)).map_err(|_| BrokeOff))
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
struct Place<'w>(&'w Workers);

impl Drop for Place<'_> {
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
        let is_running = workers.running.load(Ordering::Relaxed) > 0;
        if is_running && now == ended {
            workers.hangs.store(true, Ordering::Relaxed);
            // A task from outside wakes a sleeping worker; when it sleeps again, it is the one that looks at sockets and timers.
            drop(runtime.spawn(async {}));
        } else if !is_running {
            workers.hangs.store(false, Ordering::Relaxed);
        }
        ended = now;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Three of three workers: the test's own tasks are on them too.
    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap()
    }

    #[test]
    fn while_decisions_hang_on_workers_all_others_get_their_answer_in_time() {
        let runtime = runtime();
        let workers = Workers::new();
        let begun = Instant::now();
        let hang = || std::thread::sleep(Duration::from_secs(3));
        // As many as may: two connections whose decisions never come back in time.
        for _ in 0..2 {
            let workers = Arc::clone(&workers);
            runtime.spawn(async move { workers.run(true, hang).end().await });
        }
        std::thread::sleep(4 * LOOK);
        assert!(workers.hangs.load(Ordering::Relaxed));
        let others: Vec<_> = (0..8)
            .map(|_| {
                let workers = Arc::clone(&workers);
                runtime.spawn(async move {
                    let soon = Duration::from_millis(300);
                    tokio::time::timeout(soon, workers.run(true, hang).end()).await.is_err()
                })
            })
            .collect();
        let in_time = runtime.block_on(async {
            let mut in_time = true;
            for other in others {
                in_time &= other.await.unwrap();
            }
            in_time
        });
        assert!(in_time && begun.elapsed() < Duration::from_millis(2_500), "{:?}", begun.elapsed());
        runtime.shutdown_background();
    }

    #[test]
    fn when_what_hung_has_ended_decisions_run_on_workers_again() {
        let runtime = runtime();
        let workers = Workers::new();
        let hangs = {
            let workers = Arc::clone(&workers);
            runtime.spawn(async move { workers.run(true, || std::thread::sleep(6 * LOOK)).end().await })
        };
        std::thread::sleep(4 * LOOK);
        assert!(workers.hangs.load(Ordering::Relaxed));
        runtime.block_on(hangs).unwrap().unwrap();
        std::thread::sleep(4 * LOOK);
        assert!(!workers.hangs.load(Ordering::Relaxed));
        let here = runtime.block_on(async { matches!(workers.run(true, || 7), Begun::Done(Ok(7))) });
        assert!(here);
    }

    #[test]
    fn work_that_breaks_off_gives_its_place_back() {
        let runtime = runtime();
        runtime.block_on(async {
            let workers = Workers::new();
            for _ in 0..5 {
                assert!(workers.run(true, || panic!("on purpose")).end().await.is_err());
            }
            assert_eq!(workers.running.load(Ordering::Relaxed), 0);
            assert_eq!(workers.run(true, || 7).end().await.unwrap(), 7);
        });
    }

    #[test]
    fn a_decision_that_is_still_to_be_made_never_holds_up_a_worker() {
        let runtime = runtime();
        runtime.block_on(async { assert!(matches!(Workers::new().run(false, || 7), Begun::Handed(_))) });
    }

    #[tokio::test]
    async fn a_runtime_of_one_worker_never_decides_on_it() {
        let workers = Workers::new();
        let hangs = workers.run(true, || std::thread::sleep(Duration::from_secs(1)));
        let begun = Instant::now();
        assert!(tokio::time::timeout(Duration::from_millis(100), hangs.end()).await.is_err());
        assert!(begun.elapsed() < Duration::from_millis(900));
    }
}
