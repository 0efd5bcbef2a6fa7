//! Lines that wait for the log, and the one task that writes them.
//!
//! Whoever asks on a worker of a runtime may not wait there for a disk: the timers and sockets of others would wait with it. So a
//! task of its own writes, and what comes while it does stands here and goes with its next write. Invariants: there is one
//! such task at a time, so that at most one worker is in a write (worker); what is not in the file is never `Ok`; what stands
//! here is bounded, also while the disk hangs, and what is over that is refused at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;
use trust_reader::catalogue::Code;
use trust_reader::verdict::Problem;

use super::Log;
use super::worker::{Place, Running, Writes};

/// Most bytes of lines that wait.
const MAX_WAITING: usize = 8 * 1024 * 1024;
/// What waits for one log.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    writes: Arc<Writes>,
}

#[derive(Debug, Default)]
struct Waiting {
    batches: Vec<Batch>,
    bytes: usize,
    /// Whether a task writes, and looks here again before it ends.
    is_writing: bool,
    /// Whether several were here when one wrote last: then others are likely to come soon, and it is worth to wait for them.
    is_shared: bool,
}

/// Lines that somebody waits for.
#[derive(Debug)]
struct Batch {
    lines: Vec<Vec<u8>>,
    done: oneshot::Sender<Result<(), Problem>>,
}

impl Batch {
    fn len(&self) -> usize {
        self.lines.iter().map(Vec::len).fold(0, usize::saturating_add)
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Adds a batch. Whether the caller has to see to it that it is written.
    fn add(&mut self, batch: Batch) -> Result<bool, Problem> {
        let length = batch.len();
        if self.bytes.saturating_add(length) > MAX_WAITING {
            // Nobody waits any more for some of them: their answer was given without them.
            self.batches.retain(|batch| !batch.done.is_closed());
            self.bytes = self.batches.iter().map(Batch::len).fold(0, usize::saturating_add);
        }
        if self.bytes.saturating_add(length) > MAX_WAITING {
            return Err(Problem::new(Code::LogFailed).fact("found", "too much waits for the disk of the log"));
        }
        self.bytes = self.bytes.saturating_add(length);
        self.batches.push(batch);
        Ok(!std::mem::replace(&mut self.is_writing, true))
    }

    /// What is to be written next; with nothing the turn is over.
    fn take(&mut self) -> Option<Vec<Batch>> {
        self.bytes = 0;
        self.is_writing = !self.batches.is_empty();
        if self.is_writing {
            self.is_shared = self.batches.len() > 1;
        }
        self.is_writing.then(|| std::mem::take(&mut self.batches))
    }
}

/// The one that writes. However it ends, what waits then hears of it.
struct Turn {
    log: Arc<Log>,
    is_over: bool,
}

impl Turn {
    /// Writes what waits. Whether there was something, so that there may be more.
    fn write(&mut self) -> bool {
        let Some(mut batches) = self.log.queue.waiting().take() else {
            self.is_over = true;
            return false;
        };
        batches.retain(|batch| !batch.done.is_closed());
        let lines: Vec<&[u8]> = batches.iter().flat_map(|batch| &batch.lines).map(Vec::as_slice).collect();
        let written = self.log.write(&lines);
        for batch in batches {
            // Who has gone does not hear it.
            let _ = batch.done.send(written.clone());
        }
        true
    }
}

impl Turn {
    /// Ends the turn if nothing came meanwhile.
    fn ends(&mut self) -> bool {
        let mut waiting = self.log.queue.waiting();
        self.is_over = waiting.batches.is_empty();
        waiting.is_writing = !self.is_over;
        self.is_over
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.is_over {
            let left = std::mem::take(&mut *self.log.queue.waiting());
            drop(left);
        }
    }
}

impl Log {
    /// Writes lines as [`Log::write`] does, without waiting for the disk on the thread of the caller. Where nobody waits for
    /// it any more, they may be left out. `None` if they are not written soon after `until`.
    pub(crate) async fn append(
        self: &Arc<Self>,
        lines: Vec<Vec<u8>>,
        until: Option<Instant>,
    ) -> Option<Result<(), Problem>> {
        let (done, mut written) = oneshot::channel();
        let added = self.queue.waiting().add(Batch { lines, done });
        match added {
            Ok(true) => self.start(),
            Ok(false) => {}
            Err(problem) => return Some(Err(problem)),
        }
        let soon = tokio::select! {
            biased;
            written = &mut written => Some(written),
            () = self.queue.writes.hang() => None,
        };
        let written = match (soon, until) {
            (Some(written), _) => written,
            (None, None) => written.await,
            (None, Some(until)) => tokio::time::timeout_at(until, written).await.ok()?,
        };
        let broken = || Problem::new(Code::LogFailed).fact("found", "the write broke off");
        Some(written.unwrap_or_else(|_| Err(broken())))
    }

    /// Starts the task that writes.
    fn start(self: &Arc<Self>) {
        let mut turn = Turn { log: Arc::clone(self), is_over: false };
        let runtime = Handle::current();
        let running = self.queue.writes.begin(&runtime);
        match self.queue.writes.place(&runtime) {
            Some(place) => drop(runtime.spawn(on_a_worker(running, place, turn))),
            None => drop(runtime.spawn_blocking(move || {
                while turn.write() {
                    running.tick();
                }
            })),
        }
    }
}

/// The turn goes first, then what says that there is one.
async fn on_a_worker(running: Running, _place: Place, mut turn: Turn) {
    let mut is_shared = turn.log.queue.waiting().is_shared;
    loop {
        if is_shared {
            // Whatever else is ready on this worker comes first: if it has lines too, they go with the same write, and those
            // whose lines are written do not stand behind this task, which nobody could take from this worker.
            tokio::task::yield_now().await;
        }
        if !turn.write() || turn.ends() {
            return;
        }
        running.tick();
        is_shared = true;
        turn.log.queue.waiting().is_shared = true;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    fn object(n: usize) -> Vec<u8> {
        format!("{{\"n\":{n}}}").into_bytes()
    }

    fn runtime(workers: usize) -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap()
    }

    fn open(folder: &Path) -> Arc<Log> {
        Arc::new(Log::open(&folder.join("log"), folder).unwrap())
    }

    /// Holds what every write waits for: a disk that hangs.
    fn hang(folder: &Path) -> std::fs::File {
        let lock = std::fs::File::open(folder.join("log.lock")).unwrap();
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
        lock
    }

    #[test]
    fn many_at_once_make_one_chain_and_each_is_told_when_its_lines_are_there() {
        let folder = tempfile::tempdir().unwrap();
        for workers in [1, 2, 4] {
            let log = open(folder.path());
            let before = log.head().seq;
            runtime(workers).block_on(async {
                let mut tasks = tokio::task::JoinSet::new();
                for n in 0..200 {
                    let (log, path) = (Arc::clone(&log), folder.path().join("log"));
                    tasks.spawn(async move {
                        log.append(vec![object(n), object(n + 1_000)], None).await.unwrap().unwrap();
                        let text = std::fs::read_to_string(path).unwrap();
                        assert!(
                            text.contains(&format!("{{\"n\":{n},"))
                                && text.contains(&format!("{{\"n\":{},", n + 1_000))
                        );
                    });
                }
                while let Some(done) = tasks.join_next().await {
                    done.unwrap();
                }
            });
            assert_eq!(log.head().seq, before + 400);
        }
        let read = std::io::Cursor::new(std::fs::read(folder.path().join("log")).unwrap());
        let whole = super::super::verify::verify([("log".to_owned(), read)], &[]).unwrap();
        assert_eq!(whole.lines, 1_200);
    }

    #[test]
    fn a_disk_that_hangs_stops_neither_timers_nor_the_head_and_what_waited_is_written_when_it_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let log = open(folder.path());
        let lock = hang(folder.path());
        let runtime = runtime(2);
        let (given_up, head) = runtime.block_on(async {
            let log = Arc::clone(&log);
            // On a worker, as a connection is; more of them than there are workers.
            tokio::spawn(async move {
                let soon = Duration::from_millis(300);
                let mut tasks = tokio::task::JoinSet::new();
                for n in 0..8 {
                    let log = Arc::clone(&log);
                    tasks
                        .spawn(async move { log.append(vec![object(n)], Some(Instant::now() + soon)).await.is_none() });
                }
                let mut given_up = 0;
                while let Some(done) = tasks.join_next().await {
                    given_up += usize::from(done.unwrap());
                }
                (given_up, log.head().seq)
            })
            .await
            .unwrap()
        });
        assert_eq!((given_up, head), (8, 0));
        let waits = runtime.spawn({
            let log = Arc::clone(&log);
            async move { log.append(vec![object(9)], None).await.unwrap() }
        });
        drop(lock);
        runtime.block_on(waits).unwrap().unwrap();
        let text = std::fs::read_to_string(folder.path().join("log")).unwrap();
        assert!(text.contains("{\"n\":9,"), "{text}");
    }

    #[test]
    fn what_waits_is_bounded_and_what_was_given_up_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let log = open(folder.path());
        let lock = hang(folder.path());
        let runtime = runtime(2);
        let large = || vec![[b"{\"a\":\"", vec![b'x'; 900 * 1024].as_slice(), b"\"}"].concat()];
        let append = |log: &Arc<Log>| {
            let log = Arc::clone(log);
            runtime.spawn(async move { log.append(large(), None).await.unwrap() })
        };
        let first = append(&log);
        // Taken by the one that writes: it does not wait here any more.
        while log.queue.waiting().bytes > 0 || !log.queue.waiting().is_writing {
            std::thread::sleep(Duration::from_millis(5));
        }
        let waiting: Vec<_> = (0..9).map(|_| append(&log)).collect();
        while log.queue.waiting().batches.len() < 9 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let refused = runtime.block_on(append(&log)).unwrap().unwrap_err();
        assert!(refused.text().contains("too much waits"), "{}", refused.text());
        for task in &waiting {
            task.abort();
        }
        for task in waiting {
            assert!(runtime.block_on(task).unwrap_err().is_cancelled());
        }
        let last = append(&log);
        std::thread::sleep(Duration::from_millis(20));
        drop(lock);
        for task in [first, last] {
            runtime.block_on(task).unwrap().unwrap();
        }
        assert_eq!(std::fs::read_to_string(folder.path().join("log")).unwrap().lines().count(), 2);
    }

    #[test]
    fn all_of_one_write_hear_that_it_failed() {
        let log = Arc::new(Log::open(Path::new("/dev/full"), tempfile::tempdir().unwrap().path()).unwrap());
        let runtime = runtime(2);
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let log = Arc::clone(&log);
                runtime.spawn(async move { log.append(vec![object(n)], None).await.unwrap() })
            })
            .collect();
        for task in tasks {
            assert_eq!(runtime.block_on(task).unwrap().unwrap_err().id(), "E3509");
        }
    }
}
