//! The one writer: whoever writes first commits what waits, its own and others', in one transaction (group commit).
//!
//! A job is answered only after the commit that holds it. A job that fails is undone alone; a commit that fails undoes
//! all of its batch. Jobs are done in the order in which they came. After a failed sync nothing is written any more: what
//! the disk holds is then unknown.
//!
//! The thread of the one who writes does it, because waking a thread and being woken by it takes longer than the write. A
//! thread of the writer's own does what nobody waits for ([`Writer::later`]), and what was left when a batch was full.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use super::{Later, StoreError};
use crate::here;

/// Jobs in one transaction.
const BATCH: usize = 64;
/// Jobs that wait.
const QUEUE: usize = 1_024;
/// How long a job that nobody waits for may wait for another one to be written with.
const LINGER: Duration = Duration::from_millis(20);

/// Whether a job must be on the disk before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// `synchronous=FULL`: on the disk.
    Disk,
    /// `synchronous=NORMAL`: may be lost with the machine's power, never with the process.
    Process,
}

trait Work: Send {
    /// False: undo.
    fn run(&mut self, connection: &Connection) -> bool;
    fn answer(self: Box<Self>, commit: Result<(), StoreError>);
}

struct Task<F, T> {
    work: Option<F>,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Work for Task<F, T>
where
    F: FnOnce(&Connection) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn run(&mut self, connection: &Connection) -> bool {
        let result = self.work.take().map(|work| work(connection));
        let keep = matches!(result, Some(Ok(_)));
        self.result = result;
        keep
    }

    fn answer(self: Box<Self>, commit: Result<(), StoreError>) {
        let done = match (self.result, commit) {
            (Some(Err(e)), _) | (_, Err(e)) => Err(e),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(StoreError::Poisoned),
        };
        // Whoever asked may be gone; what was written stays.
        drop(self.reply.send(done));
    }
}

type Job = (Durability, Box<dyn Work>);

fn task<T: Send + 'static>(
    work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
) -> (Box<dyn Work>, oneshot::Receiver<Result<T, StoreError>>) {
    let (reply, answer) = oneshot::channel();
    (Box::new(Task { work: Some(work), result: None, reply }), answer)
}

/// What the writer's own thread is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Own {
    /// It does not run.
    Absent,
    /// Nothing.
    Rest,
    /// To look in a moment whether something is left.
    Linger,
    /// To write what is left, at once.
    Now,
    /// To write what is left, and to end.
    End,
}

struct Shared {
    jobs: Mutex<VecDeque<Job>>,
    /// `jobs` may be taken while this is held, never the other way round.
    connection: Mutex<Db>,
    own: Mutex<Own>,
    wake: Condvar,
    poisoned: AtomicBool,
}

/// The handle of the writer. What waits is written when it is dropped.
pub(super) struct Writer(Arc<Shared>);

impl Writer {
    pub(super) fn new(connection: Connection) -> Self {
        Self(Arc::new(Shared {
            jobs: Mutex::default(),
            connection: Mutex::new(Db { connection, level: None }),
            own: Mutex::new(Own::Absent),
            wake: Condvar::new(),
            poisoned: AtomicBool::new(false),
        }))
    }

    /// Whether a write was lost in the disk.
    pub(super) fn is_poisoned(&self) -> bool {
        self.0.poisoned.load(Ordering::Relaxed)
    }

    /// Writes, and waits for the commit.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        durability: Durability,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (task, answer) = task(work);
        self.0.push((durability, task))?;
        self.flush();
        answer.await.unwrap_or(Err(StoreError::Poisoned))
    }

    /// Writes with the next job that somebody waits for, or in a moment. (At once, on the writer's own thread, is slower for
    /// the next one: it shares no pages with it, and takes a processor from the signer.)
    pub(super) fn later<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Later<T> {
        let (task, answer) = task(work);
        match self.0.push((Durability::Process, task)) {
            Ok(()) => self.0.tell(Own::Linger),
            // The job is dropped, and whoever asks for its answer is told so.
            Err(error) => tracing::error!(%error, "not written"),
        }
        answer
    }

    /// Writes one batch of what waits, unless somebody else does it just now.
    pub(super) fn flush(&self) {
        if self.0.is_idle() {
            return;
        }
        if here(|| self.0.try_batch()) && !self.0.is_idle() {
            // More than one batch, or it came while this one was written: not on this thread.
            self.0.tell(Own::Now);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.flush();
        let own = self.0.own.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.set(own, Own::End);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn is_idle(&self) -> bool {
        locked(&self.jobs).is_empty()
    }

    fn push(&self, job: Job) -> Result<(), StoreError> {
        let mut jobs = locked(&self.jobs);
        if jobs.len() >= QUEUE {
            return Err(StoreError::Database("too many writes wait".to_owned()));
        }
        jobs.push_back(job);
        Ok(())
    }

    fn set(&self, mut own: MutexGuard<'_, Own>, to: Own) {
        *own = to;
        drop(own);
        self.wake.notify_one();
    }

    /// Tells the writer's own thread, which is started when it is needed first.
    fn tell(self: &Arc<Self>, what: Own) {
        let mut own = locked(&self.own);
        match (*own, what) {
            (Own::Absent, _) => {
                let shared = Arc::clone(self);
                let started = std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || shared.run());
                match started {
                    Ok(_) => *own = what,
                    // It is tried again with the next job, and each job that somebody waits for writes all the same.
                    Err(error) => tracing::error!(%error, "no thread for the store"),
                }
            }
            (Own::Rest, _) | (Own::Linger, Own::Now) => self.set(own, what),
            // It looks again by itself.
            (Own::Linger | Own::Now | Own::End, _) => {}
        }
    }

    fn run(&self) {
        let mut own = locked(&self.own);
        loop {
            match *own {
                Own::Absent | Own::Rest => {
                    own = self.wake.wait(own).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                Own::Linger => {
                    let (after, waited) = self.wake.wait_timeout(own, LINGER).unwrap_or_else(PoisonError::into_inner);
                    own = after;
                    if !waited.timed_out() && *own == Own::Linger {
                        continue;
                    }
                }
                Own::Now | Own::End => {}
            }
            let end = *own == Own::End;
            if !end {
                *own = Own::Linger;
            }
            drop(own);
            let was_idle = self.is_idle();
            while !self.is_idle() {
                self.write_batch(locked(&self.connection));
            }
            own = locked(&self.own);
            if end {
                return;
            }
            // Whoever adds a job tells it afterwards, and waits for `own` with that: nothing is overlooked.
            if *own == Own::Linger && was_idle && self.is_idle() {
                *own = Own::Rest;
            }
        }
    }

    /// Writes one batch, unless somebody else writes just now: they look for more when they are done.
    fn try_batch(&self) -> bool {
        let connection = match self.connection.try_lock() {
            Ok(connection) => connection,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        self.write_batch(connection);
        true
    }

    fn write_batch(&self, mut db: MutexGuard<'_, Db>) {
        let mut batch: Vec<Job> = {
            let mut jobs = locked(&self.jobs);
            let count = jobs.len().min(BATCH);
            jobs.drain(..count).collect()
        };
        if batch.is_empty() {
            return;
        }
        let commit =
            if self.poisoned.load(Ordering::Relaxed) { Err(StoreError::Poisoned) } else { db.write(&mut batch) };
        if commit == Err(StoreError::Poisoned) {
            self.poisoned.store(true, Ordering::Relaxed);
        }
        drop(db);
        for (_, job) in batch {
            job.answer(commit.clone());
        }
    }
}

/// The connection, and what a commit waits for now.
struct Db {
    connection: Connection,
    level: Option<Durability>,
}

impl Db {
    fn control(&self, sql: &'static str) -> Result<(), StoreError> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    fn write(&mut self, batch: &mut [Job]) -> Result<(), StoreError> {
        if !self.connection.is_autocommit() {
            // A job panicked half way.
            self.control("ROLLBACK")?;
        }
        let disk = batch.iter().any(|(durability, _)| *durability == Durability::Disk);
        let (level, name) = if disk { (Durability::Disk, "FULL") } else { (Durability::Process, "NORMAL") };
        if self.level != Some(level) {
            self.level = None;
            self.connection.pragma_update(None, "synchronous", name)?;
            self.level = Some(level);
        }
        self.control("BEGIN IMMEDIATE")?;
        let done = self.jobs(batch).and_then(|keep| if keep { self.commit() } else { Ok(()) });
        if done.is_err() && !self.connection.is_autocommit() {
            // If this fails too, the next batch tries it again before it begins.
            let _ = self.control("ROLLBACK");
        }
        done
    }

    /// Does the jobs; false if there is nothing to commit.
    fn jobs(&self, batch: &mut [Job]) -> Result<bool, StoreError> {
        if let [(_, job)] = batch {
            // Alone: what undoes it undoes the transaction, unless SQLite did so already.
            let keep = job.run(&self.connection);
            if !keep && !self.connection.is_autocommit() {
                self.control("ROLLBACK")?;
            }
            return Ok(keep);
        }
        for (_, job) in batch {
            self.control("SAVEPOINT job")?;
            if !job.run(&self.connection) {
                self.control("ROLLBACK TO job")?;
            }
            self.control("RELEASE job")?;
        }
        Ok(true)
    }

    fn commit(&self) -> Result<(), StoreError> {
        let commit = self.connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        commit.map(drop).map_err(|e| match e.sqlite_error_code() {
            Some(ErrorCode::SystemIoFailure) => StoreError::Poisoned,
            _ => e.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failing_job_is_undone_alone_and_its_neighbours_stay() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE t (x INTEGER UNIQUE)").unwrap();
        let writer = Writer::new(db);
        let put = |n: i64, fail: bool| {
            writer.write(Durability::Disk, move |c| {
                c.execute("INSERT INTO t VALUES (?1)", [n])?;
                if fail { Err(StoreError::Gone("x")) } else { Ok(()) }
            })
        };
        let (a, b, c) = tokio::join!(put(1, false), put(2, true), put(3, false));
        assert_eq!((a, b, c), (Ok(()), Err(StoreError::Gone("x")), Ok(())));
        assert!(matches!(put(1, false).await, Err(StoreError::Database(_))));
        let count = writer
            .write(Durability::Process, |c| Ok(c.query_row("SELECT count(*) FROM t", [], |r| r.get::<_, i64>(0))?))
            .await;
        assert_eq!(count, Ok(2));
    }
    #[tokio::test(flavor = "multi_thread")]
    async fn what_nobody_waits_for_is_written_before_what_came_after_it_or_in_a_moment_or_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let db = Connection::open(&path).unwrap();
        db.pragma_update(None, "journal_mode", "wal").unwrap();
        db.execute_batch("CREATE TABLE t (x INTEGER UNIQUE)").unwrap();
        let writer = Writer::new(db);
        let put = |n: i64| move |c: &Connection| Ok(c.execute("INSERT INTO t VALUES (?1)", [n])?);
        let count = || {
            let db = Connection::open(&path).unwrap();
            db.query_row("SELECT count(*) FROM t", [], |r| r.get::<_, i64>(0)).unwrap()
        };
        for round in 0..50 {
            let first = writer.later(put(round * 10));
            // The same again: it fails because the first one was done before it.
            assert!(writer.write(Durability::Disk, put(round * 10)).await.is_err(), "{round}");
            assert_eq!(first.await, Ok(Ok(1)), "{round}");
            let alone = writer.later(put(round * 10 + 1));
            let waited = tokio::time::timeout(Duration::from_secs(5), alone).await;
            assert_eq!(waited.expect("nobody wrote it"), Ok(Ok(1)), "{round}");
        }
        assert_eq!(count(), 100);
        let last = writer.later(put(1_000));
        drop(writer);
        assert_eq!(last.await, Ok(Ok(1)));
        assert_eq!(count(), 101);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_writers_at_once_are_all_answered() {
        let dir = tempfile::tempdir().unwrap();
        let db = Connection::open(dir.path().join("db")).unwrap();
        db.pragma_update(None, "journal_mode", "wal").unwrap();
        db.execute_batch("CREATE TABLE t (x INTEGER UNIQUE)").unwrap();
        let writer = Arc::new(Writer::new(db));
        let tasks: Vec<_> = (0..500_i64)
            .map(|n| {
                let writer = Arc::clone(&writer);
                tokio::spawn(async move {
                    let work = move |c: &Connection| Ok(c.execute("INSERT INTO t VALUES (?1)", [n])?);
                    if n % 7 == 0 {
                        writer.later(work).await.unwrap()
                    } else {
                        writer.write(Durability::Disk, work).await
                    }
                })
            })
            .collect();
        for task in tasks {
            let done = tokio::time::timeout(Duration::from_secs(20), task).await;
            assert_eq!(done.expect("a writer waits for ever").unwrap(), Ok(1));
        }
    }
}
