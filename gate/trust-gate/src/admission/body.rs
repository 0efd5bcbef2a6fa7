//! Bodies of reviews: each takes room as its bytes arrive, and is given up if they do not.
//!
//! Invariants: what is announced and not sent holds nothing; large bodies cannot take the room of the usual ones; of a
//! body that is too large or late its beginning is kept, so that its caller can be answered. Deliberately absent: what
//! stands in a body.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::CallError;
use super::review::MAX_REVIEW_LEN;

/// Room is given in pieces of this size.
const PIECE: usize = 64 * 1024;
/// Bodies that say they are no larger have room of their own.
pub(super) const SMALL: usize = 256 * 1024;
/// Pieces for them (32 MiB), and for all others (64 MiB).
const SMALL_PIECES: usize = 512;
pub(super) const LARGE_PIECES: usize = 1_024;
/// How long a body may take, and one more second for so many bytes that have arrived.
const GRACE: Duration = Duration::from_secs(2);
const BYTES_PER_SECOND: usize = 64 * 1024;
/// What is kept of a body that is too large.
const HEAD: usize = 16 * 1024;
/// So much of it is taken, that its caller may come to read the answer.
const MAX_DRAINED: usize = 3 * MAX_REVIEW_LEN;
/// How long a question for health waits for a piece.
const PATIENCE: Duration = Duration::from_millis(500);

/// The room for all bodies.
pub(super) struct Room {
    small: Arc<Semaphore>,
    pub(super) large: Arc<Semaphore>,
}

/// A body that is there, and the room that it takes.
pub(super) type Whole = (Bytes, Option<OwnedSemaphorePermit>);
/// Why it is not, and its beginning.
pub(super) type Part = (CallError, Bytes);

impl Room {
    pub(super) fn new() -> Self {
        Self { small: Arc::new(Semaphore::new(SMALL_PIECES)), large: Arc::new(Semaphore::new(LARGE_PIECES)) }
    }

    /// Whether a body would soon get some.
    pub(super) async fn is_left(&self) -> bool {
        for room in [&self.small, &self.large] {
            if !matches!(timeout(PATIENCE, room.acquire()).await, Ok(Ok(_))) {
                return false;
            }
        }
        true
    }

    /// Reads a body, until `deadline` at the latest.
    pub(super) async fn read(&self, headers: &HeaderMap, body: Body, deadline: Instant) -> Result<Whole, Part> {
        let stated = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        let room = if stated.is_some_and(|length| length <= SMALL) { &self.small } else { &self.large };
        let mut arrived = Arrived { bytes: BytesMut::new(), length: 0, stated, held: None, pieces: 0, grace: GRACE };
        match arrived.take(room, body, deadline).await {
            Ok(Some(whole)) => Ok((whole, arrived.held)),
            Ok(None) => Ok((arrived.bytes.freeze(), arrived.held)),
            Err(error) => Err((error, arrived.bytes.freeze())),
        }
    }
}

struct Arrived {
    bytes: BytesMut,
    length: usize,
    stated: Option<usize>,
    held: Option<OwnedSemaphorePermit>,
    pieces: usize,
    grace: Duration,
}

impl Arrived {
    /// Takes all frames. A body that comes as one is given as it is.
    async fn take(
        &mut self,
        room: &Arc<Semaphore>,
        mut body: Body,
        deadline: Instant,
    ) -> Result<Option<Bytes>, CallError> {
        let begun = Instant::now();
        let mut is_over = self.stated.is_some_and(|length| length > MAX_REVIEW_LEN);
        loop {
            let earned = Duration::from_millis((self.length / (BYTES_PER_SECOND / 1_000)) as u64);
            let due = deadline.min(begun + self.grace + earned);
            let Some(frame) = timeout_at(due, body.frame()).await.map_err(|_| CallError::Late)? else { break };
            let Ok(data) = frame.map_err(|_| CallError::Cut)?.into_data() else { continue };
            self.length += data.len();
            if !is_over && self.length > MAX_REVIEW_LEN {
                is_over = true;
                self.bytes = self.bytes.get(..HEAD).unwrap_or(&self.bytes).into();
                self.held = None;
            }
            if is_over {
                let missing = HEAD.saturating_sub(self.bytes.len());
                self.bytes.extend_from_slice(data.get(..missing).unwrap_or(&data));
                if self.length > MAX_DRAINED {
                    break;
                }
                continue;
            }
            if let Err(error) = self.hold(room, deadline).await {
                if self.bytes.is_empty() {
                    self.bytes = data.get(..HEAD).unwrap_or(&data).into();
                }
                return Err(error);
            }
            if self.bytes.is_empty() && self.stated == Some(data.len()) {
                // The usual review comes in one piece.
                return Ok(Some(data));
            }
            self.bytes.extend_from_slice(&data);
        }
        if is_over { Err(CallError::TooLarge) } else { Ok(None) }
    }

    /// Takes the room for what has arrived. That others have it is not this body's fault.
    async fn hold(&mut self, room: &Arc<Semaphore>, deadline: Instant) -> Result<(), CallError> {
        let wanted = self.length.div_ceil(PIECE);
        let more = u32::try_from(wanted.saturating_sub(self.pieces)).map_err(|_| CallError::TooLarge)?;
        if more == 0 {
            return Ok(());
        }
        let permit = match Arc::clone(room).try_acquire_many_owned(more) {
            Ok(permit) => permit,
            Err(_) => {
                let begun = Instant::now();
                let waiting = timeout_at(deadline, Arc::clone(room).acquire_many_owned(more));
                let permit = waiting.await.map_err(|_| CallError::NoRoom)?.map_err(|_| CallError::NoRoom)?;
                self.grace += begun.elapsed();
                permit
            }
        };
        self.pieces = wanted;
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
        Ok(())
    }
}
