//! A publication, step by step. Up to the stored candidate it can be refused; from there it always rolls forward.
//!
//! The steps: read and limits; the turn of the collection; the idempotency key; an older open candidate; expected
//! versions; every rule, on the server's own state; the signer is shown the files, and verifies them meanwhile; the
//! candidate and with it the reservation, on the disk; the signer is asked, whose mark is the commit point; its answer,
//! checked like a client; the set that is shown is swapped, and candidate → current goes into the store with the next
//! write, at the latest in a moment.
//!
//! Two transactions wait for the disk on this way: the candidate here, the mark at the signer. The third need not be waited
//! for: whoever reads after a crash finds the candidate, which gets the same bytes from the signer.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use trust_tuf::model::{Role, sha256};
use trust_tuf::repository::{Checked, Publication, RepositoryState, Rules};
use trust_tuf::{CollectionName, RoleName, Targets, UtcTime, Verified};
use trust_wire::Base64;
use trust_wire::api::{BLOB_BYTES, BLOBS, PUBLICATION_BODY, PublicationRequest, PublicationResponse, Versions};
use trust_wire::signer::{Reply, Request, decode};

use super::App;
use super::error::{AppError, KEPT};
use super::slot::{Slot, Unstored};
use super::view::{Cover, View};
use crate::fail;
use crate::signer_link::{Announced, SignerError};
use crate::store::{Candidate, Cause, Event, NewCandidate, StoreError, StoredFile};

/// A publication that was read and keeps the limits.
#[derive(Debug, Clone)]
pub(super) struct Read {
    pub(super) request: Arc<PublicationRequest>,
    pub(super) files: Publication,
    size: usize,
}

/// An earlier publication with the same key and the same body.
enum Earlier {
    Done(PublicationResponse),
    Open,
}

impl App {
    /// Publishes. Once the candidate is stored this goes on even if the caller goes away.
    pub async fn publish(
        self: &Arc<Self>,
        token: &str,
        collection: &CollectionName,
        body: impl Into<Arc<[u8]>>,
    ) -> Result<PublicationResponse, AppError> {
        let (app, slot, token, body) = (Arc::clone(self), self.slot(collection)?, token.to_owned(), body.into());
        let mut work = Box::pin(async move { app.publish_in_turn(&slot, &token, body).await });
        // Up to where it waits for somebody else it is done here, in one go: a client that hangs up does not stop it.
        let first = poll_fn(|cx| Poll::Ready(catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))))).await;
        let broken = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, "publication");
            Err(AppError::Internal)
        };
        let answer = match first {
            Ok(Poll::Ready(answer)) => answer,
            // A task of its own, for the same reason.
            Ok(Poll::Pending) => tokio::spawn(work).await.unwrap_or_else(|error| broken(&error)),
            Err(_) => broken(&"it panicked"),
        };
        fail::point("server.P15");
        answer
    }

    async fn publish_in_turn(
        &self,
        slot: &Slot,
        token: &str,
        body: Arc<[u8]>,
    ) -> Result<PublicationResponse, AppError> {
        let (bytes, sum) = (Arc::clone(&body), sha256(&body));
        let read = blocking_if(body.len(), move || read(&bytes)).await?;
        fail::point("server.P2");
        let name = slot.name().as_str();
        let _turn = slot.take_turn(self.options.patience).await?;

        if slot.is_open() {
            // An open candidate: this one, or one that a crash or an absent signer left behind.
            match self.earlier(slot, &read, sum).await? {
                Some(Earlier::Done(answer)) => return Ok(answer),
                Some(Earlier::Open) => return self.recover(slot).await?.ok_or(AppError::Internal),
                None => {
                    // Whatever becomes of it, it is out of the way; unless the signer is still not there.
                    let gone = self.recover(slot).await;
                    if let Err(
                        error @ (AppError::SignerUnavailable(_) | AppError::Unavailable(_) | AppError::Internal),
                    ) = gone
                    {
                        return Err(error);
                    }
                }
            }
        }
        let now = self.now();
        let checked = match self.judge(slot, &read, now).await {
            Ok(checked) => checked,
            // A repetition of what is current does not fit the versions any more.
            Err(error) => return self.answer_again(slot, &read, sum, error).await,
        };
        self.not_stored_otherwise(slot, &checked).await?;
        fail::point("server.P4");

        // The signer verifies it while this one's disk is busy. It makes nothing durable before it is asked, below.
        let ask = asking(slot, &read);
        let announced = self.signer.announce(&ask);
        fail::point("server.P5");
        let candidate = NewCandidate {
            collection: name.to_owned(),
            key: read.request.idempotency_key.clone(),
            body_sha256: sum,
            token: token.to_owned(),
            expected: serde_json::to_string(&read.request.expected).map_err(|_| AppError::Internal)?,
            roots: checked.roots.iter().map(|root| stored("root", root)).collect(),
            roles: changed(&checked).map(|(name, role)| stored(name.as_str(), role)).collect(),
            blobs: read
                .request
                .blobs
                .iter()
                .map(|blob| (sha256(&blob.bytes.0), blob.bytes.0.as_slice().into()))
                .collect(),
            grant: read.request.grant.as_ref().map(|grant| grant.0.clone()),
            created: now.unix(),
        };
        let opened = match self.store.open_candidate(candidate.clone()).await {
            // Perhaps because the last publication was not made current: then that first.
            Err(error) if slot.is_unstored() && error != StoreError::KeyTaken => {
                self.store_shown(slot).await?;
                self.store.open_candidate(candidate).await
            }
            opened => opened,
        };
        let id = match opened {
            Ok(id) => id,
            Err(StoreError::KeyTaken) => return self.answer_again(slot, &read, sum, AppError::Internal).await,
            Err(error) => return Err(error.into()),
        };
        slot.set_open(true);
        // The writes before it are done.
        self.store_shown(slot).await?;
        fail::point("server.P6");
        self.ask_signer(slot, id, &read, checked, (announced, ask)).await
    }

    /// A role that left with the snapshot key begins again with version 1. Under that name and version there may be another
    /// file already, which never changes: refused here, because after the signer's mark nothing could be done.
    async fn not_stored_otherwise(&self, slot: &Slot, checked: &Checked) -> Result<(), AppError> {
        let before = slot.view();
        for role in &checked.changed {
            if before.as_deref().is_none_or(|view| view.state().roles().contains_key(role)) {
                continue;
            }
            let Some(file) = checked.state.roles().get(role) else { continue };
            let stored = self.store.file(slot.name().as_str(), role.as_str(), file.version().get()).await?;
            if stored.is_some_and(|stored| stored.as_slice() != &**file.bytes()) {
                let message = format!("{role}: version {} was published before with other content", file.version());
                return Err(AppError::refused("next_version", message));
            }
        }
        Ok(())
    }

    /// Expected versions, then every rule.
    async fn judge(&self, slot: &Slot, read: &Read, now: UtcTime) -> Result<Checked, AppError> {
        let before = match slot.shown() {
            Ok(view) => Some(view),
            Err(AppError::NotFound(_)) => None,
            Err(error) => return Err(error),
        };
        compare(&read.request, before.as_deref())?;
        self.check(slot, before, read, now).await
    }

    /// What became of an earlier publication with this idempotency key. Another body under it is refused.
    async fn earlier(&self, slot: &Slot, read: &Read, sum: [u8; 32]) -> Result<Option<Earlier>, AppError> {
        self.store_shown(slot).await?;
        let known = self.store.known(slot.name().as_str(), &read.request.idempotency_key).await?;
        let Some(known) = known else { return Ok(None) };
        if known.body_sha256 != sum {
            return Err(AppError::refused("idempotency_key", "this idempotency key came with another publication"));
        }
        Ok(Some(match known.result {
            Some(result) => Earlier::Done(serde_json::from_str(&result).map_err(|_| AppError::Internal)?),
            None => Earlier::Open,
        }))
    }

    /// The stored answer, if this publication was asked for before; else the error.
    async fn answer_again(
        &self,
        slot: &Slot,
        read: &Read,
        sum: [u8; 32],
        error: AppError,
    ) -> Result<PublicationResponse, AppError> {
        match self.earlier(slot, read, sum).await? {
            Some(Earlier::Done(answer)) => Ok(answer),
            Some(Earlier::Open) | None => Err(error),
        }
    }

    /// Judges the files by the state that is current.
    async fn check(
        &self,
        slot: &Slot,
        before: Option<Arc<View>>,
        read: &Read,
        now: UtcTime,
    ) -> Result<Checked, AppError> {
        let rules = Rules { now, allow_example_keys: self.options.allow_example_keys };
        let (collection, read) = (slot.name().clone(), read.clone());
        let size = read.size.saturating_add(before.as_deref().map_or(0, View::size));
        blocking_if(size, move || {
            let checked = match before {
                Some(view) => view.state().check(&read.files, &rules)?,
                None => RepositoryState::first(collection, &read.files, &rules)?,
            };
            check_blobs(&read.request, &checked)?;
            Ok(checked)
        })
        .await
    }

    /// Goes on with a stored candidate: judged again by the time at which it was judged first.
    pub(super) async fn roll_forward(
        &self,
        slot: &Slot,
        candidate: Candidate,
    ) -> Result<PublicationResponse, AppError> {
        let (id, created) = (candidate.id, UtcTime::from_unix(candidate.created).ok_or(AppError::Internal)?);
        let read = Read::stored(candidate)?;
        match self.check(slot, slot.view(), &read, created).await {
            Ok(checked) => {
                let ask = (Announced::default(), asking(slot, &read));
                self.ask_signer(slot, id, &read, checked, ask).await
            }
            // It was good when it was stored: the state has moved, so the signer's is ahead or it is in already.
            Err(error @ AppError::Refused { .. }) => self.settle(slot, id, &read, error).await,
            Err(error) => Err(error),
        }
    }

    async fn ask_signer(
        &self,
        slot: &Slot,
        id: i64,
        read: &Read,
        checked: Checked,
        (announced, request): (Announced, Request),
    ) -> Result<PublicationResponse, AppError> {
        fail::point("server.P7");
        let signed = match self.signer.publish(announced, request).await {
            Ok(Reply::Published(signed)) => signed,
            Ok(_) => {
                tracing::error!(collection = %slot.name(), "the signer answered something else than was asked");
                return Err(AppError::SignerUnavailable(KEPT));
            }
            Err(error @ SignerError::Refused { .. }) => return self.settle(slot, id, read, error.into()).await,
            Err(SignerError::Unavailable(reason)) => {
                tracing::warn!(collection = %slot.name(), reason, "the signer cannot be asked; the candidate stays");
                return Err(AppError::SignerUnavailable(KEPT));
            }
        };
        fail::point("server.P10");
        let (before, now) = (slot.view(), self.now());
        let size = read.size.saturating_add(before.as_deref().map_or(0, View::size));
        let (after, set) = blocking_if(size, move || {
            let cover = Cover::check(&checked.state, &signed, before.as_deref(), now).map_err(|error| {
                tracing::error!(%error, "the signer's answer does not verify");
                AppError::SignerUnavailable(KEPT)
            })?;
            let after = View::published(before.as_deref(), checked, cover);
            let set = after.to_store(before.as_deref());
            Ok((after, set))
        })
        .await?;
        fail::point("server.P12");
        let time = now.unix();
        let sequence = slot.sequence().saturating_add(1);
        let done = self.store.promote_later(set.clone(), id, time);
        slot.set_unstored(Unstored { set, candidate: id, time, done });
        Ok(shown(slot, read, after, sequence))
    }

    /// Sees to it that the store has made current what is shown. Without this nothing is read of it, and nothing else of
    /// the collection is written.
    pub(super) async fn store_shown(&self, slot: &Slot) -> Result<(), AppError> {
        let Some(mut unstored) = slot.take_unstored() else { return Ok(()) };
        let done = match unstored.done.try_recv() {
            Err(TryRecvError::Empty) => {
                // Whatever becomes of this write: it comes after that one.
                let _ = self.store.flush().await;
                unstored.done.await.ok()
            }
            // It failed before, and was not begun again. A channel that said so must not be asked once more.
            Err(TryRecvError::Closed) => None,
            Ok(done) => Some(done),
        };
        if let Some(Ok(sequence)) = done {
            slot.set_sequence(sequence);
            return Ok(());
        }
        let Unstored { set, candidate, time, .. } = unstored;
        match self.store.promote(set.clone(), Cause::Candidate(candidate), time).await {
            Ok(sequence) => {
                slot.set_sequence(sequence);
                Ok(())
            }
            Err(error) => {
                let (_, done) = oneshot::channel();
                slot.set_unstored(Unstored { set, candidate, time, done });
                Err(error.into())
            }
        }
    }

    /// Makes a verified set that holds the candidate current, in the store and then in memory.
    pub(super) async fn make_current(
        &self,
        slot: &Slot,
        id: i64,
        read: &Read,
        after: View,
    ) -> Result<PublicationResponse, AppError> {
        let set = after.to_store(slot.view().as_deref());
        let sequence = self.store.promote(set, Cause::Candidate(id), self.now().unix()).await?;
        tracing::info!(collection = %slot.name(), sequence, "published");
        Ok(shown(slot, read, after, sequence))
    }

    /// Ends a candidate that cannot become current.
    pub(super) async fn end_refused(&self, slot: &Slot, id: i64, why: &AppError) -> Result<(), AppError> {
        tracing::warn!(collection = %slot.name(), %why, "candidate refused");
        let event = Event {
            time: self.now().unix(),
            actor: "server".to_owned(),
            action: "publication refused",
            collection: Some(slot.name().as_str().to_owned()),
            detail: why.to_string(),
        };
        self.store.refuse(id, event).await?;
        slot.set_open(false);
        Ok(())
    }
}

/// Runs what takes long away from the threads that answer requests.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AppError> + Send + 'static,
) -> Result<T, AppError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "work was broken off");
        Err(AppError::Internal)
    })
}

/// Bytes up to which verifying takes less time than handing it to another thread and back is worth.
const SMALL: usize = 128 * 1024;

/// As [`blocking`], but small work is done at once.
async fn blocking_if<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> Result<T, AppError> + Send + 'static,
) -> Result<T, AppError> {
    if bytes <= SMALL { work() } else { blocking(work).await }
}

/// What the signer is asked.
fn asking(slot: &Slot, read: &Read) -> Request {
    Request::Publish {
        collection: slot.name().as_str().to_owned(),
        roots: read.request.roots.clone(),
        roles: read.request.roles.clone(),
        grant: read.request.grant.clone(),
    }
}

/// Shows a set that holds the publication, and gives its answer.
fn shown(slot: &Slot, read: &Read, after: View, sequence: u64) -> PublicationResponse {
    fail::point("server.P13");
    let roles = after.versions().roles;
    let sent = read.request.roles.keys().filter_map(|role| Some((role.clone(), *roles.get(role)?)));
    let answer = PublicationResponse {
        sequence,
        root: after.state().root().version().get(),
        snapshot: after.snapshot_version().get(),
        timestamp: after.timestamp().version().get(),
        roles: sent.collect(),
    };
    slot.set_sequence(sequence);
    slot.show(after);
    slot.set_open(false);
    fail::point("server.P14");
    answer
}

fn stored<R: Role>(role: &str, file: &Verified<R>) -> StoredFile {
    StoredFile { role: role.to_owned(), version: file.version().get(), body: Arc::clone(file.bytes()) }
}

fn changed(checked: &Checked) -> impl Iterator<Item = (&RoleName, &Verified<Targets>)> {
    checked.changed.iter().filter_map(|name| Some((name, checked.state.roles().get(name)?)))
}

impl Read {
    /// A candidate as it was stored: what came with it beside its files was judged then, and is stored.
    fn stored(candidate: Candidate) -> Result<Self, AppError> {
        let Candidate { roots, roles, grant, .. } = candidate;
        let size = roots.iter().chain(roles.values()).map(Vec::len).sum();
        let mut files = Publication { roots: roots.clone(), ..Publication::default() };
        for (name, file) in &roles {
            files.roles.insert(RoleName::parse(name).map_err(|_| AppError::Internal)?, file.clone());
        }
        let request = PublicationRequest {
            idempotency_key: String::new(),
            expected: Versions::default(),
            roots: roots.into_iter().map(Base64).collect(),
            roles: roles.into_iter().map(|(name, file)| (name, Base64(file))).collect(),
            blobs: Vec::new(),
            grant: grant.map(Base64),
        };
        Ok(Self { request: Arc::new(request), files, size })
    }
}

fn read(body: &[u8]) -> Result<Read, AppError> {
    if body.len() > PUBLICATION_BODY {
        return Err(AppError::TooLarge { what: "the publication", limit: PUBLICATION_BODY });
    }
    let request: PublicationRequest = decode(body).map_err(AppError::BadRequest)?;
    let key = &request.idempotency_key;
    let key_fits =
        (16..=64).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if !key_fits {
        return Err(AppError::BadRequest("`idempotency_key` is 16 to 64 of [A-Za-z0-9_-]".to_owned()));
    }
    if request.blobs.len() > BLOBS {
        return Err(AppError::refused("too_many", format!("publication: holds more than {BLOBS} contents")));
    }
    if request.blobs.iter().any(|blob| blob.bytes.0.len() > BLOB_BYTES) {
        return Err(AppError::TooLarge { what: "a target's content", limit: BLOB_BYTES });
    }
    let roots = request.roots.iter().map(|f| f.0.clone()).collect();
    let mut files = Publication { roots, ..Publication::default() };
    for (name, file) in &request.roles {
        let role = RoleName::parse(name).map_err(|e| AppError::refused("role_name", e.to_string()))?;
        files.roles.insert(role, file.0.clone());
    }
    Ok(Read { request: Arc::new(request), files, size: body.len() })
}

/// The versions on which the files were built must be the current ones: of roles that are sent, and of roles that are only
/// expected, because the publisher checked the files against them.
fn compare(request: &PublicationRequest, before: Option<&View>) -> Result<(), AppError> {
    let current = before.map(View::versions).unwrap_or_default();
    let expected = &request.expected;
    let named = request.roles.keys().chain(expected.roles.keys());
    let same = expected.root == current.root
        && named.into_iter().all(|role| expected.roles.get(role) == current.roles.get(role));
    if same {
        return Ok(());
    }
    Err(conflict(current))
}

pub(super) fn conflict(current: Versions) -> AppError {
    let message = "other versions are current: update, and sign again on those".to_owned();
    AppError::Conflict { message, current: Some(current) }
}

/// Every content must be what a role file of this publication names.
fn check_blobs(request: &PublicationRequest, checked: &Checked) -> Result<(), AppError> {
    for blob in &request.blobs {
        let Base64(bytes) = &blob.bytes;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let named = checked.changed.iter().filter_map(|name| checked.state.roles().get(name)?.target(&blob.path));
        if !named.into_iter().any(|t| t.length == length && t.hashes.match_bytes(bytes)) {
            let path: String = blob.path.escape_debug().take(200).collect();
            return Err(AppError::refused(
                "content",
                format!("no role of the publication names this content of `{path}`"),
            ));
        }
    }
    Ok(())
}
