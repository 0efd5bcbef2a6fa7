//! Reading the signed images of a name until one leads to what is asked for: after a restart a client goes on with a pull that it
//! began days ago, and asks for a layer first.
//!
//! Invariant: only images that may pass are read. One walk at a time for a name, bounded in fetches and time; what it read stays,
//! so that the next one goes on where it ended. A walk that found nothing is not repeated for the same list of signed images.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use moka::sync::Cache;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use trust_image::Digest;

use super::client::Client;
use super::permit::{Permits, Signed, of_content};
use super::reach::MAX_DEPTH;
use super::reply::Refusal;

/// Manifests that one walk fetches.
const MAX_FETCHES: usize = 2_048;
/// Fetches of one walk at one time.
const AT_ONCE: usize = 8;
/// How long one walk may take, with waiting for the one before it.
const MAX_TIME: Duration = Duration::from_secs(20);
/// Decisions after which others get their turn.
const PAUSE: usize = 32;
/// Names with a walk.
const MAX_NAMES: u64 = 1_024;

/// What is searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Manifest(Digest),
    Blob(Digest),
    /// A blob, also in images that may not pass: what they hold, nothing beside them opens.
    Held(Digest),
}

/// For each name the list of signed images that was walked to its end, and whether the images below indexes were read too.
type Last = Arc<Mutex<Option<(Arc<Signed>, Reads)>>>;

/// The walks of all names.
pub(crate) struct Walks {
    last: Cache<String, Last>,
}

impl Default for Walks {
    fn default() -> Self {
        Walks { last: Cache::new(MAX_NAMES) }
    }
}

/// What a walk reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reads {
    Indexes,
    Images,
    /// Those too that may not pass.
    Denied,
}

impl Target {
    fn reads(&self) -> Reads {
        match self {
            Target::Manifest(_) => Reads::Indexes,
            Target::Blob(_) => Reads::Images,
            Target::Held(_) => Reads::Denied,
        }
    }
}

impl Walks {
    /// Reads signed images of the name until one leads to the target, or all are read. What was found is in the links.
    pub(crate) async fn search(
        &self,
        permits: &Permits,
        name: &str,
        target: Target,
        client: &Client,
    ) -> Result<(), Refusal> {
        let signed = permits.signed(name);
        if signed.digests.is_empty() {
            return Ok(());
        }
        let last = self.last.get_with_by_ref(name, Last::default);
        let walk = async {
            let mut last = last.lock().await;
            // What was walked for a manifest has not read all that holds blobs.
            let reads = target.reads();
            let walked = |(seen, read): &(Arc<Signed>, Reads)| Arc::ptr_eq(seen, &signed) && *read >= reads;
            if permits.is_covered(name, &target, &client.whom) || last.as_ref().is_some_and(walked) {
                return Ok(());
            }
            if walk(permits, name, &signed, target, client).await? == End::AllRead {
                *last = Some((Arc::clone(&signed), reads));
            }
            Ok(())
        };
        tokio::time::timeout(MAX_TIME, walk).await.unwrap_or_else(|_| Err(not_yet()))
    }
}

#[derive(PartialEq, Eq)]
enum End {
    Found,
    AllRead,
}

async fn walk(permits: &Permits, name: &str, signed: &Signed, target: Target, client: &Client) -> Result<End, Refusal> {
    let whom = &*client.whom;
    // Those first whose facts list it.
    let likely = match &target {
        Target::Manifest(digest) => signed.indexes_of.get(digest).map(Vec::as_slice).unwrap_or_default(),
        Target::Blob(_) | Target::Held(_) => &[],
    };
    let mut waiting: VecDeque<(Digest, usize)> = likely.iter().chain(&signed.digests).map(|d| (*d, 0)).collect();
    let mut seen = HashSet::new();
    let mut running = JoinSet::new();
    let (mut looked, mut fetches, mut trouble) = (0, 0, None);
    loop {
        while running.len() < AT_ONCE {
            let Some((digest, depth)) = waiting.pop_front() else { break };
            if depth > MAX_DEPTH || seen.contains(&digest) {
                continue;
            }
            let entries = permits.reach.entries_of(name, &digest);
            // An image that was read leads to nothing new.
            if entries.as_ref().is_some_and(Vec::is_empty) {
                continue;
            }
            // The images below an index that may pass may pass with it, even those that may not for themselves.
            if depth == 0 {
                looked += 1;
                if looked % PAUSE == 0 {
                    tokio::task::yield_now().await;
                }
                if target.reads() < Reads::Denied && !permits.may_pass(name, &digest, signed, whom) {
                    continue;
                }
            }
            seen.insert(digest);
            if let Some(entries) = entries {
                waiting.extend(below(&entries, depth, &target));
                continue;
            }
            if fetches >= MAX_FETCHES {
                return Err(not_yet());
            }
            fetches += 1;
            let (content, upstream) = (Arc::clone(&permits.content), client.upstream.clone());
            let name = name.to_owned();
            running.spawn(async move { (depth, content.manifest(&upstream, &name, &digest).await) });
        }
        let Some(done) = running.join_next().await else { break };
        match done {
            Ok((depth, Ok(document))) => {
                permits.reach.learn(name, &document);
                if permits.is_covered(name, &target, whom) {
                    return Ok(End::Found);
                }
                let entries = permits.reach.entries_of(name, &document.digest).unwrap_or_default();
                waiting.extend(below(&entries, depth, &target));
            }
            // What the upstream does not have, or nobody may read, leads nowhere.
            Ok((_, Err(error))) if error.is_about_the_content() => {}
            // Who is not let in there once is not let in a second time.
            Ok((_, Err(error))) => match client.refused() {
                Some(refusal) => return Err(refusal),
                None => trouble = trouble.or_else(|| Some(of_content(&error))),
            },
            Err(_) => trouble = trouble.or_else(|| Some(not_yet())),
        }
    }
    trouble.map_or(Ok(End::AllRead), Err)
}

/// What is below an index: images lead to no manifests.
fn below(entries: &[(Digest, bool)], depth: usize, target: &Target) -> impl Iterator<Item = (Digest, usize)> {
    let images_too = target.reads() > Reads::Indexes;
    let entries = entries.iter().filter(move |(_, is_index)| images_too || *is_index);
    entries.map(move |(digest, _)| (*digest, depth + 1)).collect::<Vec<_>>().into_iter()
}

/// Clients try again after this one, and the next walk goes on.
fn not_yet() -> Refusal {
    let message = "the gate is still reading the signed images of this name";
    Refusal::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", message).retry_after(2)
}
