//! From signed files to "published": send, then verify with this client's own eyes.
//!
//! INVARIANT: [`publish`] says that something is published only after the reader verified, from the pinned root, a timestamp
//! whose snapshot lists every sent role with at least the sent version, and the sent bytes where the version is the same.
//! The server's answer alone proves nothing. Publications that lose a race are built again on the new state by
//! [`with_retries`], and only where the change means the same on any state.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use trust_reader::api::ApiClient;
use trust_reader::catalogue::{Code, exit};
use trust_reader::verdict::Problem;
use trust_tuf::model::Role;
use trust_tuf::{CollectionName, RoleName, UtcTime};
use trust_wire::api::{Blob, PublicationRequest, PublicationResponse, Versions};

use crate::app::App;
use crate::fault;
use crate::output::Publication;
use crate::server;
use crate::session::Session;

/// Life of a root, in seconds.
pub const ROOT_LIFE: i64 = 365 * 86_400;
/// Life of `targets` and of a signer's file, in seconds.
pub const TARGETS_LIFE: i64 = 180 * 86_400;
/// How often a publication is built, if others publish first: once, and three times again.
const ATTEMPTS: usize = 4;
/// How often the new timestamp is looked for: a cache on the way may still show the old one.
const LOOKS: u32 = 6;

/// Files that are to become current at once.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// New roots, oldest first.
    pub roots: Vec<Vec<u8>>,
    /// New role files.
    pub roles: BTreeMap<RoleName, Vec<u8>>,
    /// Roles that are not sent, and against which the change was checked: nothing is published if one is another by now.
    pub rests_on: BTreeSet<RoleName>,
    /// Contents of targets, by path.
    pub blobs: Vec<(String, Vec<u8>)>,
    /// A grant of the signer's operator, for a first publication.
    pub grant: Option<Vec<u8>>,
}

/// A time from now.
pub fn expires(app: &App, life: i64) -> Result<UtcTime, Problem> {
    app.now()?.plus_secs(life).ok_or_else(fault::clock)
}

/// 32 random hex digits: nonces and idempotency keys.
pub fn random_hex() -> Result<String, Problem> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|_| fault::internal("the system gives no random bytes"))?;
    Ok(hex::encode(bytes))
}

/// What the server is asked.
fn request(change: &Change, expected: Versions) -> Result<PublicationRequest, Problem> {
    Ok(PublicationRequest {
        idempotency_key: random_hex()?,
        expected,
        roots: change.roots.iter().map(|root| root.as_slice().into()).collect(),
        roles: change.roles.iter().map(|(name, file)| (name.as_str().to_owned(), file.as_slice().into())).collect(),
        blobs: change
            .blobs
            .iter()
            .map(|(path, bytes)| Blob { path: path.clone(), bytes: bytes.as_slice().into() })
            .collect(),
        grant: change.grant.as_ref().map(|grant| grant.as_slice().into()),
    })
}

/// The versions that a change to this session's collection is built on.
fn expected(session: &Session, change: &Change) -> Versions {
    let set = session.reader.trusted();
    let version = |role: &RoleName| {
        if role.is_targets() {
            return Some(set.targets().version().get());
        }
        // Of a role that was delegated before the snapshot still lists the last version: the next one counts on from it.
        set.snapshot().entry(role.as_str()).map(|entry| entry.version.get())
    };
    // A hash bin is built on the signer's own file too, which says that there is such a bin; and that file on all of its
    // bins, whose entries it may move.
    let signers = change.roles.keys().filter_map(|role| session.signer_of_bin(role));
    let bins = change.roles.keys().filter_map(|role| session.bins_of(role));
    let bins = bins.flat_map(|bins| bins.names().collect::<Vec<_>>());
    let below = bins.filter_map(|bin| RoleName::parse(&bin).ok());
    let others: BTreeSet<RoleName> = signers.chain(below).collect();
    let named = change.roles.keys().chain(&others).chain(&change.rests_on);
    let roles = named.filter_map(|role| Some((role.as_str().to_owned(), version(role)?)));
    Versions { root: Some(set.root().version().get()), roles: roles.collect() }
}

/// Sends a change and verifies that it is current.
pub fn publish(app: &App, session: Session, change: &Change) -> Result<(Session, Publication), Problem> {
    let address = session.server.clone().ok_or_else(|| fault::internal("publishing without a server"))?;
    let api = server::api(app, &address)?;
    let request = request(change, expected(&session, change))?;
    let answer = match send(app, &api, &session.collection, &request) {
        Err(problem) if problem.code == Code::Conflict => {
            return Err(with_who(app, &api, &session.collection, problem));
        }
        other => other?,
    };
    confirm(app, session, change, &answer)
}

/// Says who published first, if the log tells.
fn with_who(app: &App, api: &ApiClient, collection: &CollectionName, problem: Problem) -> Problem {
    match app.wait(api.log(collection, None, 1)).ok().and_then(|page| page.entries.into_iter().next()) {
        Some(entry) => problem.fact("published", format!("by token {} at {}", entry.token, entry.time)),
        None => problem,
    }
}

/// The first publication of a collection. The caller verifies it with a session that this makes possible.
pub fn publish_first(
    app: &App,
    api: &ApiClient,
    collection: &CollectionName,
    change: &Change,
) -> Result<PublicationResponse, Problem> {
    let request = request(change, Versions::default())?;
    send(app, api, collection, &request)
}

/// Sends the request; once more if no answer came. The idempotency key makes sure that it counts once.
fn send(
    app: &App,
    api: &ApiClient,
    collection: &CollectionName,
    request: &PublicationRequest,
) -> Result<PublicationResponse, Problem> {
    match app.wait(api.publish(collection, request)) {
        Err(problem) if problem.code == Code::CutOff => app.wait(api.publish(collection, request)),
        other => other,
    }
}

/// Verifies that a publication is current.
pub fn confirm(
    app: &App,
    session: Session,
    change: &Change,
    answer: &PublicationResponse,
) -> Result<(Session, Publication), Problem> {
    let Session { collection, server, mut reader } = session;
    let mut pause = Duration::from_millis(50);
    for look in 1..=LOOKS {
        let renewed = app.now().and_then(|now| app.wait(reader.renew(now)));
        reader = renewed.map_err(|problem| not_published(&problem))?;
        let mut session = Session { collection: collection.clone(), server: server.clone(), reader };
        if is_current(app, &mut session, change)? {
            let set = session.reader.trusted();
            // As verified here: the server's own word could name any role.
            let verified = |role: &RoleName| {
                let entry = set.snapshot().entry(role.as_str())?;
                Some((role.as_str().to_owned(), entry.version.get()))
            };
            let publication = Publication {
                server: session.server.clone().unwrap_or_default(),
                sequence: answer.sequence,
                root: set.root().version().get(),
                snapshot: set.snapshot().version().get(),
                timestamp: set.timestamp().version().get(),
                roles: change.roles.keys().filter_map(verified).collect(),
            };
            return Ok((session, publication));
        }
        reader = session.reader;
        if look < LOOKS {
            std::thread::sleep(pause);
            pause = pause.saturating_mul(2);
        }
    }
    let mut problem = Problem::new(Code::NotPublished).fact("collection", &collection);
    if let Some(server) = &server {
        problem = problem.fact("server", server);
    }
    Err(problem.fact("timestamp", format!("v{}", reader.trusted().timestamp().version())))
}

/// Whether what the reader verified contains every file of the change.
fn is_current(app: &App, session: &mut Session, change: &Change) -> Result<bool, Problem> {
    let sent_root = u64::try_from(change.roots.len()).unwrap_or(u64::MAX);
    if sent_root > 0 {
        let newest = change.roots.last().map(Vec::as_slice).unwrap_or_default();
        let sent = claimed_version(newest).unwrap_or(u64::MAX);
        let root = session.reader.trusted().root();
        let same = root.version().get() > sent || (root.version().get() == sent && **root.bytes() == *newest);
        if !same {
            return Ok(false);
        }
    }
    for (role, bytes) in &change.roles {
        let sent = claimed_version(bytes).unwrap_or(u64::MAX);
        let entry = session.reader.trusted().snapshot().entry(role.as_str());
        let is_listed = entry.as_ref().and_then(|entry| entry.hashes.as_ref()).is_some_and(|h| h.match_bytes(bytes));
        match entry.map(|entry| entry.version.get()) {
            Some(listed) if listed > sent => {}
            // Of hash bins there can be a thousand: that the snapshot lists exactly these bytes is enough.
            Some(listed) if listed == sent && is_listed && session.keys_of(role).is_none() => {}
            Some(listed) if listed == sent => {
                let file = session.role(app, role.as_str()).map_err(|problem| not_published(&problem))?;
                if **file.bytes() != **bytes {
                    return Ok(false);
                }
            }
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// The version that one of our own files says.
fn claimed_version(file: &[u8]) -> Option<u64> {
    trust_tuf::json::parse(file).ok()?.get("signed")?.get("version")?.as_u64()
}

/// What was sent could not be verified: that is the message, whatever stood in the way; but where this machine itself is
/// at fault, nothing is said about the server.
fn not_published(problem: &Problem) -> Problem {
    const UNKNOWN: &str = "the server took the files; whether they are current could not be verified";
    if problem.exit() == exit::LOCAL {
        return problem.clone().fact("not confirmed", UNKNOWN);
    }
    let mut out = Problem::new(Code::NotPublished).fact("found", format!("{}: {}", problem.id(), problem.headline));
    out = out.cause(UNKNOWN);
    for (label, value) in &problem.facts {
        out = out.fact(label, value);
    }
    out
}

/// Builds and publishes a change; if somebody else published first, builds it again on what is current then.
pub fn with_retries<T>(
    mut note: impl FnMut(&str),
    mut attempt: impl FnMut() -> Result<T, Problem>,
) -> Result<T, Problem> {
    for left in (0..ATTEMPTS).rev() {
        match attempt() {
            Err(problem) if problem.code == Code::Conflict && left > 0 => {
                let told = problem.facts.iter().filter(|(label, _)| label == "current" || label == "published");
                let told: Vec<&str> = told.map(|(_, value)| value.as_str()).collect();
                note(&format!("! someone published first ({}); building on the new state", told.join("; ")));
            }
            other => return other,
        }
    }
    Err(Problem::new(Code::Conflict))
}
