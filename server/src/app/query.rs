//! What is asked beside publications: reservations, online keys, files, contents, the log, health.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use trust_tuf::limits;
use trust_tuf::model::Role;
use trust_tuf::{CollectionName, RoleName, RoleType, UtcTime};
use trust_wire::api::{
    CollectionSummary, LogEntry, OnlineKeysRequest, OnlineKeysResponse, PublicationResponse, ReserveResponse,
};
use trust_wire::signer::{Reply, Request};

use super::App;
use super::auth::{self, Principal};
use super::error::AppError;
use super::slot::Slot;
use super::view::{self, File};
use crate::store::{Event, Reserved};

/// Log entries in one answer.
pub const LOG_PAGE: u32 = 200;
/// How long an answer about health is good.
const HEALTH_LIFE: Duration = Duration::from_secs(1);
/// How long the signer may take to say that it is there.
const HEALTH_PATIENCE: Duration = Duration::from_secs(2);

/// What is read from the store and not yet taken by those who asked, in KiB over all requests. (Current files are in memory
/// once, however many ask.)
pub(super) const ROOM: usize = 64 * 1024;
/// The largest file in the store, in KiB.
const LARGEST: u32 = 8 * 1024;
/// How long a request waits for room.
const ROOM_PATIENCE: Duration = Duration::from_secs(5);

/// Bytes from the store, and their part of the room for as long as somebody takes them.
struct Placed {
    body: Vec<u8>,
    _place: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

fn from_store(body: Vec<u8>, mut place: OwnedSemaphorePermit) -> File {
    let needed = body.len().div_ceil(1024).min(place.num_permits());
    let etag = view::etag(&body);
    File { etag, bytes: Bytes::from_owner(Placed { body, _place: place.split(needed) }) }
}

/// Whether the server can do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// The store answers.
    pub database: bool,
    /// The signer answers.
    pub signer: bool,
    /// Collections that are not shown.
    pub blocked: usize,
}

impl Health {
    /// Whether requests should be sent here.
    pub fn is_ready(&self) -> bool {
        self.database && self.signer
    }
}

/// An answer about health, and when it was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checked(Instant, Health);

/// A file name below `_metadata/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileName {
    /// `timestamp.json`.
    Timestamp,
    /// `N.ROLE.json`: role and version.
    Versioned(String, u64),
}

impl FileName {
    /// Reads a name. `None`: there is no such file in any collection of ours.
    pub fn parse(name: &str) -> Option<Self> {
        if name == "timestamp.json" {
            return Some(Self::Timestamp);
        }
        let (number, role) = name.strip_suffix(".json")?.split_once('.')?;
        let fits = !number.starts_with('0') && number.len() <= 16 && number.bytes().all(|b| b.is_ascii_digit());
        let version = number.parse().ok().filter(|v| fits && *v <= limits::PUBLISH_VERSION)?;
        let known = matches!(role, "root" | "snapshot") || RoleName::parse(role).is_ok();
        known.then(|| Self::Versioned(role.to_owned(), version))
    }
}

impl App {
    /// Who sends a request with this token.
    pub async fn principal(&self, token: Option<&str>) -> Result<Principal, AppError> {
        let Some(token) = token else { return Ok(Principal::Anonymous) };
        let sum = auth::token_sum(token).ok_or(AppError::Unauthorized("the token is not valid"))?;
        auth::holder(sum, self.store.token(sum).await?, self.now())
    }

    /// A metadata file: current ones from memory, older ones from the store.
    pub async fn file(&self, collection: &CollectionName, name: &str) -> Result<File, AppError> {
        const NONE: AppError = AppError::NotFound("file");
        let view = self.slot(collection)?.shown()?;
        if let Some(file) = view.file(name) {
            return Ok(file.clone());
        }
        let Some(FileName::Versioned(role, version)) = FileName::parse(name) else { return Err(NONE) };
        // Every root is in memory: what is not there is the next one, for which clients ask all the time.
        if role == "root" {
            return Err(NONE);
        }
        let place = self.room().await?;
        let body = self.store.file(collection.as_str(), &role, version).await?.ok_or(NONE)?;
        Ok(from_store(body, place))
    }

    /// The content of a target that the current metadata lists under this path with this hash.
    pub async fn content(&self, collection: &CollectionName, path: &str, hash: &str) -> Result<File, AppError> {
        const NONE: AppError = AppError::NotFound("file");
        let view = self.slot(collection)?.shown()?;
        let sum = view.content(path, hash).ok_or(NONE)?;
        let place = self.room().await?;
        let body = self.store.blob(collection.as_str(), sum).await?.ok_or(NONE)?;
        Ok(from_store(body, place))
    }

    /// Waits for room for the largest file: what it does not need is given back once it is read.
    async fn room(&self) -> Result<OwnedSemaphorePermit, AppError> {
        let room = Arc::clone(&self.room).acquire_many_owned(LARGEST);
        match tokio::time::timeout(ROOM_PATIENCE, room).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(AppError::Unavailable("too many old files and contents are being read; try again")),
        }
    }

    /// Reserves a name.
    pub async fn reserve(&self, token: &str, collection: &CollectionName) -> Result<ReserveResponse, AppError> {
        let name = collection.as_str().to_owned();
        let event = Event {
            time: self.now().unix(),
            actor: token.to_owned(),
            action: "collection reserved",
            collection: Some(name.clone()),
            detail: String::new(),
        };
        match self.store.reserve(&name, event).await? {
            Reserved::New => tracing::info!(collection = name, token, "reserved"),
            Reserved::Existing => {}
            Reserved::Overlaps(_) => {
                let message = "a collection above or below this name exists".to_owned();
                return Err(AppError::Conflict { message, current: None });
            }
        }
        self.add_slot(collection);
        let slot = self.slot(collection)?;
        // The signer may know the collection although this store does not: then its set is adopted.
        if !slot.is_synced()
            && let Ok(_turn) = slot.take_turn(self.options.patience).await
            && let Err(error) = self.recover(&slot).await
        {
            tracing::warn!(collection = name, %error, "not compared with the signer yet");
        }
        Ok(ReserveResponse { name, published: slot.view().is_some() })
    }

    /// Asks the signer for new online keys.
    pub async fn online_keys(
        &self,
        collection: &CollectionName,
        request: OnlineKeysRequest,
    ) -> Result<OnlineKeysResponse, AppError> {
        self.slot(collection)?;
        let bad = |text: &str| Err(AppError::BadRequest(text.to_owned()));
        let mut roles = request.roles.clone();
        roles.sort_unstable();
        roles.dedup();
        let online =
            |role: &String| [RoleType::Timestamp, RoleType::Snapshot].iter().any(|online| online.as_str() == role);
        if roles.is_empty() || roles.len() != request.roles.len() || !roles.iter().all(online) {
            return bad("`roles` lists `timestamp`, `snapshot` or both, each once");
        }
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        if !(16..=64).contains(&request.nonce.len()) || !request.nonce.bytes().all(fits) {
            return bad("`nonce` is 16 to 64 of [A-Za-z0-9_-]");
        }
        let OnlineKeysRequest { roles, nonce } = request;
        let asked = roles.len();
        let collection = collection.as_str().to_owned();
        match self.signer.call(Request::NewOnlineKeys { collection, roles, nonce }).await? {
            // The proofs are for the client, which knows the identity of the signer.
            Reply::NewOnlineKeys { proofs } if proofs.len() == asked => Ok(OnlineKeysResponse { proofs }),
            _ => Err(AppError::SignerUnavailable("the signer answered something else than was asked")),
        }
    }

    /// The collections that this principal's token allows to read.
    pub fn collections(&self, principal: &Principal) -> Vec<CollectionSummary> {
        let readable = |slot: &Arc<Slot>| principal.may_list(slot.name());
        let summary = |slot: Arc<Slot>| {
            let view = slot.view();
            CollectionSummary {
                name: slot.name().as_str().to_owned(),
                root: view.as_ref().map(|view| view.state().root().version().get()),
                timestamp_expires: view.map(|view| view.timestamp().expires().to_string()),
            }
        };
        self.all_slots().into_iter().filter(readable).map(summary).collect()
    }

    /// The log of a collection, newest first.
    pub async fn log(
        &self,
        collection: &CollectionName,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<LogEntry>, AppError> {
        let slot = self.slot(collection)?;
        if slot.is_unstored() {
            // What is shown is in the log, also where the first try to store it failed.
            let _turn = slot.take_turn(self.options.patience).await?;
            self.store_shown(&slot).await?;
        }
        let rows = self.store.log(collection.as_str(), before, limit.clamp(1, LOG_PAGE)).await?;
        rows.into_iter()
            .map(|row| {
                let result: PublicationResponse = serde_json::from_str(&row.result).map_err(|_| AppError::Internal)?;
                Ok(LogEntry {
                    sequence: row.sequence,
                    time: UtcTime::from_unix(row.time).map(|t| t.to_string()).unwrap_or_default(),
                    token: row.token,
                    root: result.root,
                    snapshot: result.snapshot,
                    roles: result.roles,
                    new_root: row.new_root,
                })
            })
            .collect()
    }

    /// Whether store and signer answer. Asked at most once a second, however many want to know.
    pub async fn health(&self) -> Health {
        let mut last = self.health.lock().await;
        if let Some(Checked(at, health)) = *last
            && at.elapsed() < HEALTH_LIFE
        {
            return health;
        }
        let database = self.store.ping().await.is_ok();
        let asked = tokio::time::timeout(HEALTH_PATIENCE, self.signer.call(Request::Health {})).await;
        let signer = matches!(asked, Ok(Ok(Reply::Health { .. })));
        let blocked = self.all_slots().iter().filter(|slot| slot.block().is_some()).count();
        let health = Health { database, signer, blocked };
        *last = Some(Checked(Instant::now(), health));
        health
    }
}

#[cfg(test)]
mod tests {
    use super::FileName;

    #[test]
    fn only_names_that_a_collection_of_ours_can_have_are_looked_for() {
        for name in [
            "",
            "json",
            ".json",
            "root.json",
            "snapshot.json",
            "0.root.json",
            "01.root.json",
            "1.root.json.gz",
            "-1.root.json",
            "+1.root.json",
            "1..json",
            "1.json",
            "1.../root.json",
            "1.%2e%2e.json",
            "1.A.json",
            "99999999999999999999.root.json",
            "9007199254740992.root.json",
            "1.root.json/",
            "1.timestamp.json",
            "1.x.root.json",
            "\u{661}.root.json",
        ] {
            assert_eq!(FileName::parse(name), None, "{name}");
        }
        assert_eq!(FileName::parse("timestamp.json"), Some(FileName::Timestamp));
        assert_eq!(FileName::parse("12.a.b.json"), Some(FileName::Versioned("a.b".to_owned(), 12)));
        assert_eq!(FileName::parse("1.root.json"), Some(FileName::Versioned("root".to_owned(), 1)));
    }
}
