//! One pinned collection: its newest verified view, and how it is refreshed.
//!
//! The stored state is read first, so that a start without network works; then the server is asked. A refresh that fails
//! changes nothing but what is said of it: the last good view goes on until its deadlines pass. One that gets the newest
//! roles of the policy collection and not the files that they list has failed. Refreshes of one collection
//! take turns, those of several do not wait for each other, and no question waits for any of them. The state on disk is
//! open (and locked) only while a refresh runs, so that several gates of one machine can share it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use trust_reader::anchor::Anchor;
use trust_reader::catalogue::{Code, exit};
use trust_reader::reader::{Options, Reader};
use trust_reader::sources::{SourceState, Sources};
use trust_reader::state::StateStore;
use trust_reader::transport::Transport;
use trust_reader::verdict::Problem;
use trust_reader::view::View;
use trust_tuf::example_keys::is_example;
use trust_tuf::{RoleType, UtcTime};

use crate::clock::Watch;
use crate::policy::{Found, Sets};
use crate::transport::AnyTransport;

/// How long one file, or the update of the four top-level files, may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one refresh may take in all.
const WHOLE: Duration = Duration::from_secs(180);
/// How long another process may hold the state.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// A view with the number that its answers are cached by.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) view: View,
    /// Another number whenever the answers could be others.
    pub(crate) generation: u64,
}

/// One pinned collection.
#[derive(Debug)]
pub(crate) struct Collection {
    pub(crate) anchor: Anchor,
    sources: Sources<AnyTransport>,
    state: PathBuf,
    has_policy: bool,
    loaded: ArcSwapOption<Loaded>,
    problem: ArcSwapOption<Problem>,
    turn: Mutex<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Stored,
    Server,
}

impl Collection {
    pub(crate) fn new(anchor: Anchor, sources: Sources<AnyTransport>, state: &Path, has_policy: bool) -> Self {
        let state = state.join(StateStore::folder_name(&anchor.collection));
        let (loaded, problem) = (ArcSwapOption::empty(), ArcSwapOption::empty());
        Self { anchor, sources, state, has_policy, loaded, problem, turn: Mutex::new(()) }
    }

    pub(crate) fn name(&self) -> &str {
        self.anchor.collection.as_str()
    }

    /// The newest view, if there ever was one.
    pub(crate) fn loaded(&self) -> Option<Arc<Loaded>> {
        self.loaded.load_full()
    }

    /// What the last refresh failed with, if it did.
    pub(crate) fn problem(&self) -> Option<Arc<Problem>> {
        self.problem.load_full()
    }

    /// Reads the stored state. Gives what it says of the policy, if this is the policy's collection and there is a state.
    pub(crate) async fn load_stored(self: &Arc<Self>, watch: &Arc<Watch>) -> Option<Found> {
        self.turn_at(watch, From::Stored).await
    }

    /// Asks the server. Gives what it says of the policy, if this is the policy's collection and it was reached.
    pub(crate) async fn refresh(self: &Arc<Self>, watch: &Arc<Watch>) -> Option<Found> {
        self.turn_at(watch, From::Server).await
    }

    async fn turn_at(self: &Arc<Self>, watch: &Arc<Watch>, from: From) -> Option<Found> {
        let _turn = self.turn.lock().await;
        let (this, watch, runtime) = (Arc::clone(self), Arc::clone(watch), Handle::current());
        // The state waits for its lock and for the disk: not on a thread that answers questions.
        let work = tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                let now = watch.now()?;
                let late = |_| Problem::new(Code::Timeout).fact("collection", this.name());
                tokio::time::timeout(WHOLE, this.update(from, now)).await.map_err(late)?
            })
        });
        let outcome = work.await.unwrap_or_else(|_| Err(Problem::new(Code::Internal).within(self.name())));
        match outcome {
            Ok((view, found)) => {
                self.store(view);
                if from == From::Server {
                    self.problem.store(None);
                }
                found
            }
            Err(problem) => {
                if from == From::Server {
                    let line = crate::answer::problem_line(&problem);
                    tracing::warn!(collection = self.name(), "refresh failed: {line}");
                }
                self.note(problem);
                None
            }
        }
    }

    async fn update(&self, from: From, now: UtcTime) -> Result<(View, Option<Found>), Problem> {
        let store = StateStore::open_at(&self.state, self.name(), LOCK_WAIT).map_err(|error| Problem::from(&error))?;
        let anchor = self.anchor.clone();
        let earlier = self.loaded().map(|loaded| loaded.view.trusted().clone());
        let options = Options { patience: PATIENCE, earlier, ..Options::default() };
        match from {
            // A reader without a server: the type of the transport is only a name.
            From::Stored => self.look(Reader::<AnyTransport>::offline_with(anchor, store, now, options)?).await,
            From::Server => {
                let sources = self.sources.clone();
                let reader = Reader::refresh_from(anchor, store, sources, now, options).await?;
                for source in reader.sources() {
                    if let SourceState::Failed(failure) = &source.state {
                        let (name, address) = (self.name(), &source.address);
                        tracing::warn!(collection = name, "{address} did not help, another place did: {failure}");
                    }
                }
                self.look(reader).await
            }
        }
    }

    async fn look(&self, mut reader: Reader<impl Transport>) -> Result<(View, Option<Found>), Problem> {
        let earlier = self.loaded();
        let view = reader.view_after(earlier.as_ref().map(|loaded| &loaded.view)).await?;
        refuse_example_keys(&view)?;
        if !self.has_policy {
            return Ok((view, None));
        }
        let rules = match sets(&mut reader).await {
            // Signed so, and refused: the last good policy may go on for a while.
            Err(problem) if problem.code != Code::PolicyRefused => return Err(problem),
            // What cannot be had is no refresh: a server that holds it back gains no time.
            rules => rules,
        };
        let exceptions = reader.reserved("_exceptions").await;
        Ok((view, Some(Found { rules, exceptions })))
    }

    fn store(&self, view: View) {
        let earlier = self.loaded();
        let generation = match &earlier {
            Some(earlier) if earlier.view.answers_like(&view) => earlier.generation,
            Some(earlier) => earlier.generation.wrapping_add(1),
            None => 0,
        };
        self.loaded.store(Some(Arc::new(Loaded { view, generation })));
    }

    /// Keeps what stands in the way. That the stored state is expired says more than that no newer one can be had.
    fn note(&self, problem: Problem) {
        let problem = match self.problem() {
            Some(before) if self.loaded().is_none() && is_expired(&before) && !is_expired(&problem) => {
                let facts = before.facts.iter().filter(|(label, _)| label != "refresh").cloned().collect();
                let before = Problem { facts, ..(*before).clone() };
                before.fact("refresh", crate::answer::problem_line(&problem))
            }
            _ => problem,
        };
        self.problem.store(Some(problem.into()));
    }
}

/// A collection whose roles name a published key is everybody's. A gate has no way to allow it.
fn refuse_example_keys(view: &View) -> Result<(), Problem> {
    let set = view.trusted();
    let top = RoleType::ALL.into_iter().map(|role| (role.as_str(), set.root().role(role)));
    let files = std::iter::once(set.targets()).chain(set.loaded().map(|(_, _, file)| file));
    let below = files.filter_map(|file| file.delegations()).flat_map(|delegations| {
        let named = delegations.roles().iter().map(|d| (d.name(), d.keys()));
        named.chain(delegations.succinct().map(|bins| ("bins", bins.keys())))
    });
    for (role, keys) in top.chain(below) {
        if let Some((_, key)) = keys.keys().find(|(_, key)| is_example(key)) {
            let problem = Problem::new(Code::ExampleKey).fact("collection", view.collection());
            return Err(problem.fact("role", role).fact("key", key.id()));
        }
    }
    Ok(())
}

fn is_expired(problem: &Problem) -> bool {
    problem.exit() == exit::EXPIRED && problem.code != Code::ClockBack
}

async fn sets(reader: &mut Reader<impl Transport>) -> Result<Sets, Problem> {
    Ok(Sets { policy: reader.reserved("_policy").await?, labels: reader.reserved("_labels").await? })
}
