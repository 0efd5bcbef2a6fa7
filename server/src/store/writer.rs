//! The one writer: a thread that takes waiting jobs and commits them in one transaction (group commit).
//!
//! A job is answered only after the commit that holds it. A job that fails is undone alone; a commit that fails undoes
//! all of its batch. After a failed sync nothing is written any more: what the disk holds is then unknown.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::oneshot;

use super::StoreError;

/// Jobs in one transaction.
const BATCH: usize = 64;
/// Jobs that wait.
const QUEUE: usize = 1_024;

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

/// The handle of the writer thread, which ends with it.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: mpsc::SyncSender<Job>,
    poisoned: Arc<AtomicBool>,
}

impl Writer {
    pub(super) fn start(connection: Connection) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::sync_channel(QUEUE);
        let poisoned = Arc::<AtomicBool>::default();
        let flag = Arc::clone(&poisoned);
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || run(connection, &queue, &flag))
            .map_err(|e| StoreError::Folder(e.to_string()))?;
        Ok(Self { jobs, poisoned })
    }

    /// Whether a write was lost in the disk.
    pub(super) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Relaxed)
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        durability: Durability,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let task = Box::new(Task { work: Some(work), result: None, reply });
        self.jobs.try_send((durability, task)).map_err(|_| StoreError::Database("too many writes wait".to_owned()))?;
        answer.await.unwrap_or(Err(StoreError::Poisoned))
    }
}

fn run(mut connection: Connection, queue: &mpsc::Receiver<Job>, poisoned: &AtomicBool) {
    while let Ok((mut durability, first)) = queue.recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok((d, job)) = queue.try_recv()
        {
            if d == Durability::Disk {
                durability = d;
            }
            batch.push(job);
        }
        let commit = if poisoned.load(Ordering::Relaxed) {
            Err(StoreError::Poisoned)
        } else {
            write(&mut connection, durability, &mut batch)
        };
        if commit == Err(StoreError::Poisoned) {
            poisoned.store(true, Ordering::Relaxed);
        }
        for job in batch {
            job.answer(commit.clone());
        }
    }
}

fn write(connection: &mut Connection, durability: Durability, batch: &mut [Box<dyn Work>]) -> Result<(), StoreError> {
    let level = match durability {
        Durability::Disk => "FULL",
        Durability::Process => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", level)?;
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for job in batch {
        let mut savepoint = transaction.savepoint()?;
        if job.run(&savepoint) {
            savepoint.commit()?;
        } else {
            savepoint.rollback()?;
        }
    }
    transaction.commit().map_err(|e| match e.sqlite_error_code() {
        Some(ErrorCode::SystemIoFailure) => StoreError::Poisoned,
        _ => e.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failing_job_is_undone_alone_and_its_neighbours_stay() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE t (x INTEGER UNIQUE)").unwrap();
        let writer = Writer::start(db).unwrap();
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
}
