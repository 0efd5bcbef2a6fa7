//! Start and refresh: each collection by itself, never in the way of a question.

use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use trust_reader::catalogue::Code;
use trust_reader::verdict::Problem;

use super::Decider;
use crate::collection::Collection;
use crate::policy::because;
use crate::settings::StartError;

/// How long a start waits for servers where the stored state is enough to begin with.
const START_WAIT: Duration = Duration::from_secs(2);
/// The first pause after a refresh that failed; it doubles up to the usual one.
const RETRY: Duration = Duration::from_secs(2);

impl Decider {
    /// Reads the stored states, then asks the servers; waits for them only as long as something is missing.
    pub(super) async fn load(self: &Arc<Self>) -> Result<(), StartError> {
        let mut stored = JoinSet::new();
        for collection in &self.collections {
            let (this, collection) = (Arc::clone(self), Arc::clone(collection));
            stored.spawn(async move {
                let found = collection.load_stored(&this.watch).await;
                this.take(&collection, found);
            });
        }
        stored.join_all().await;
        let is_enough = self.collections.iter().all(|c| c.loaded().is_some())
            && self.policy.as_ref().is_none_or(|source| source.slot.state().in_force.is_some());
        let this = Arc::clone(self);
        // A task of its own: it goes on when the start waits no longer.
        let refresh = tokio::spawn(async move { this.refresh().await });
        if is_enough {
            let _ = tokio::time::timeout(START_WAIT, refresh).await;
        } else {
            let _ = refresh.await;
        }
        let Some(source) = &self.policy else { return Ok(()) };
        if source.slot.state().in_force.is_some() {
            return Ok(());
        }
        let no_policy = Problem::new(Code::NoPolicy).fact("policy collection", source.collection.name());
        let problem = match source.collection.problem() {
            Some(problem) => because(no_policy, &problem),
            None => match self.watch.now().and_then(|now| source.slot.usable(now)) {
                Err(problem) => problem,
                Ok(_) => return Ok(()),
            },
        };
        Err(StartError::NoPolicy(problem))
    }

    /// Refreshes every collection once, side by side, and waits for all.
    pub async fn refresh(self: &Arc<Self>) {
        let mut running = JoinSet::new();
        for collection in &self.collections {
            let (this, collection) = (Arc::clone(self), Arc::clone(collection));
            running.spawn(async move { this.refresh_one(&collection).await });
        }
        running.join_all().await;
        self.follow_log().await;
    }

    /// Refreshes until `stop` is done, each collection at its own pace.
    pub async fn run(self: &Arc<Self>, stop: impl Future) {
        let mut running = JoinSet::new();
        for collection in &self.collections {
            let (this, collection) = (Arc::clone(self), Arc::clone(collection));
            running.spawn(async move {
                let mut failures = u32::from(collection.problem().is_some());
                loop {
                    tokio::time::sleep(this.pause(failures)).await;
                    this.refresh_one(&collection).await;
                    this.follow_log().await;
                    failures = if collection.problem().is_some() { failures.saturating_add(1) } else { 0 };
                }
            });
        }
        stop.await;
        running.shutdown().await;
    }

    async fn refresh_one(&self, collection: &Arc<Collection>) {
        let found = collection.refresh(&self.watch).await;
        self.take(collection, found);
    }

    /// Hands to the policy what its collection says.
    fn take(&self, collection: &Arc<Collection>, found: Option<crate::policy::Found>) {
        if let (Some(source), Some(found)) = (&self.policy, found)
            && Arc::ptr_eq(&source.collection, collection)
        {
            source.slot.take(found, self.watch.wall());
        }
    }

    /// Brings the audit log to the disk, and its head into the state folder: so that the next process goes on exactly there.
    /// Waits no longer than this for a disk that hangs.
    pub async fn settle(self: &Arc<Self>, at_most: Duration) {
        let _ = tokio::time::timeout(at_most, self.follow_log()).await;
    }

    /// The disk may hang: not on a thread that answers questions.
    async fn follow_log(self: &Arc<Self>) {
        let this = Arc::clone(self);
        let followed = tokio::task::spawn_blocking(move || this.log.as_ref().map(|log| log.follow())).await;
        match followed {
            Ok(Some(Err(problem))) => tracing::error!("{}", crate::answer::problem_line(&problem)),
            // The next line shows whether it can be written again.
            Ok(Some(Ok(()))) => self.log_problem.store(None),
            _ => {}
        }
    }

    /// The pause before the next refresh: less after a failure, and a tenth of it by chance, so that many gates do not ask
    /// at the same moment.
    fn pause(&self, failures: u32) -> Duration {
        let pause = match failures {
            0 => self.refresh,
            n => RETRY.saturating_mul(1 << n.min(16).saturating_sub(1)).min(self.refresh),
        };
        let chance = u32::try_from(RandomState::new().hash_one(failures) % 1_000).unwrap_or(0);
        let jitter = pause.checked_div(10_000).unwrap_or_default().saturating_mul(chance);
        pause.saturating_sub(jitter)
    }
}
