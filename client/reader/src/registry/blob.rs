//! An open blob: its bytes as they come from a registry, unproven.
//!
//! Invariant: it ends with an error when nothing came for a while, or when it took too long as a whole; the time in which nobody
//! asks for more of it does not count as silence. Deliberately absent: hashes, and retries.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Body as _;
use reqwest::{Body, Response};
use tokio::time::{Instant, Sleep, sleep_until};

use super::error::{Reason, RegistryError};
use super::stream::Span;

/// How long a blob may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// How long nothing of it may come.
    pub(super) idle: Duration,
    /// How long it may take in all.
    pub(super) whole: Duration,
}

/// An open blob.
pub struct Blob {
    body: Body,
    length: Option<u64>,
    span: Option<Span>,
    idle: Duration,
    /// When it must have come as a whole.
    until: Option<Instant>,
    /// Since more was asked for that was not there: until when something must come.
    due: Option<Instant>,
    /// Set to one of the moments above; moved on when it ends too early, and not with each piece.
    alarm: Option<Pin<Box<Sleep>>>,
    host: String,
    subject: String,
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob").field("subject", &self.subject).finish_non_exhaustive()
    }
}

impl Blob {
    pub(super) fn new(
        answer: Response,
        length: Option<u64>,
        span: Option<Span>,
        times: Times,
        host: &str,
        subject: String,
    ) -> Self {
        let until = Instant::now().checked_add(times.whole);
        let (body, host) = (answer.into(), host.to_owned());
        Self { body, length, span, idle: times.idle, until, due: None, alarm: None, host, subject }
    }

    /// How many bytes are stated to come.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The part that comes; `None` if the whole does.
    pub fn span(&self) -> Option<Span> {
        self.span
    }

    /// The next bytes; `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// The same for a task that does more than to wait for it.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, RegistryError>> {
        loop {
            let reason = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => {
                    ready!(self.poll_over(cx));
                    Reason::Timeout
                }
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Ready(Some(Ok(frame))) => {
                    self.due = None;
                    // What comes behind the bytes of a body is nothing to us.
                    let Ok(bytes) = frame.into_data() else { continue };
                    if self.until.is_none_or(|until| until > Instant::now()) {
                        return Poll::Ready(Ok(Some(bytes)));
                    }
                    Reason::Timeout
                }
                Poll::Ready(Some(Err(error))) => Reason::of_http(&error),
            };
            return Poll::Ready(Err(reason.of(&self.host, self.subject.clone())));
        }
    }

    /// Whether the time is over while nothing comes.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let idle = self.idle;
        let due = *self.due.get_or_insert_with(|| Instant::now() + idle);
        let due = self.until.map_or(due, |until| until.min(due));
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if alarm.deadline() > due {
            alarm.as_mut().reset(due);
        }
        while alarm.as_mut().poll(cx).is_ready() {
            if alarm.deadline() >= due {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(due);
        }
        Poll::Pending
    }
}
