//! The connections that are there, so that one that waits for nothing makes room when all places are taken: otherwise those who
//! connect and say nothing keep all others out until their time is over, and then begin again.
//!
//! Invariant: a connection with a request, or with an answer that is not read to its end, is never told to leave. Deliberately
//! absent: who the peers are; behind a proxy all have one address.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a connection must have been silent before it makes room.
const SILENT: Duration = Duration::from_secs(1);

/// All connections.
pub(crate) struct Crowd {
    began: Instant,
    next: AtomicU64,
    members: Mutex<HashMap<u64, Arc<Member>>>,
}

/// One connection.
pub(crate) struct Member {
    began: Instant,
    /// Requests without a whole answer.
    running: AtomicUsize,
    /// Milliseconds since the crowd began, when something came or went last.
    touched: AtomicU64,
    leave: Notify,
}

/// Keeps a connection in the crowd.
pub(crate) struct Membership {
    crowd: Arc<Crowd>,
    id: u64,
    pub(crate) member: Arc<Member>,
}

impl Crowd {
    pub(crate) fn new() -> Arc<Crowd> {
        Arc::new(Crowd { began: Instant::now(), next: AtomicU64::new(0), members: Mutex::default() })
    }

    fn members(&self) -> MutexGuard<'_, HashMap<u64, Arc<Member>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn join(self: &Arc<Crowd>) -> Membership {
        let member = Arc::new(Member {
            began: self.began,
            running: AtomicUsize::new(0),
            touched: AtomicU64::new(0),
            leave: Notify::new(),
        });
        member.touch();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.members().insert(id, Arc::clone(&member));
        Membership { crowd: Arc::clone(self), id, member }
    }

    /// Tells the connection to leave that has been silent longest, if one may.
    pub(crate) fn make_room(&self) {
        let now = millis(self.began);
        let members = self.members();
        let free = members.values().filter(|member| member.running.load(Ordering::Relaxed) == 0);
        let oldest = free.min_by_key(|member| member.touched.load(Ordering::Relaxed));
        let silent = |member: &&Arc<Member>| {
            u128::from(now.saturating_sub(member.touched.load(Ordering::Relaxed))) >= SILENT.as_millis()
        };
        if let Some(member) = oldest.filter(silent) {
            member.leave.notify_one();
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.crowd.members().remove(&self.id);
    }
}

impl Member {
    /// Something came or went.
    pub(crate) fn touch(&self) {
        self.touched.store(millis(self.began), Ordering::Relaxed);
    }

    /// Until it is told to leave.
    pub(crate) async fn told_to_leave(&self) {
        self.leave.notified().await;
    }

    /// A request has begun.
    pub(crate) fn run(self: &Arc<Member>) -> Running {
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(self))
    }
}

fn millis(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A request without a whole answer.
pub(crate) struct Running(Arc<Member>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
        self.0.touch();
    }
}

/// An answer's body that holds its request until it is read.
pub(crate) struct Answer {
    body: Body,
    _running: Running,
}

impl Answer {
    pub(crate) fn new(body: Body, running: Running) -> Answer {
        Answer { body, _running: running }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_told(member: &Membership) -> bool {
        let mut told = Box::pin(member.member.told_to_leave());
        let mut context = Context::from_waker(std::task::Waker::noop());
        told.as_mut().poll(&mut context).is_ready()
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_that_was_silent_longest_makes_room_and_never_one_with_a_request() {
        let crowd = Crowd::new();
        let (busy, first, second) = (crowd.join(), crowd.join(), crowd.join());
        let running = busy.member.run();
        crowd.make_room();
        assert!(![&busy, &first, &second].into_iter().any(is_told), "nobody has been silent for long");
        tokio::time::advance(2 * SILENT).await;
        second.member.touch();
        crowd.make_room();
        assert_eq!([&busy, &first, &second].map(is_told), [false, true, false]);
        drop(first);
        crowd.make_room();
        assert!(![&busy, &second].into_iter().any(is_told));
        drop(running);
        tokio::time::advance(2 * SILENT).await;
        second.member.touch();
        crowd.make_room();
        assert_eq!([&busy, &second].map(is_told), [true, false]);
        drop((busy, second));
        assert!(crowd.members().is_empty());
    }
}
