//! A verified set in memory, without store, network or lock: what a gate answers from while the next update runs.
//!
//! A view holds every role that could be loaded when it was made, and for each other one the reason why not; a search
//! treats such a role as a reader does that cannot get it. It is judged by the time of its update: who uses it later looks
//! at [`View::expired`] and [`View::refreshed`] first. Deliberately absent: a clock, and anything that waits.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use trust_image::{Digest, Entry, ImageFacts, Reference, target};
use trust_tuf::lookup::{Lookup, LookupError, Outcome, RoleRequest, Step};
use trust_tuf::model::Role;
use trust_tuf::trusted::TrustedSet;
use trust_tuf::{CollectionName, Reason, Targets, UpdateError, UtcTime, Verified, Version, limits};

use crate::anchor::Anchor;
use crate::catalogue::Code;
use crate::problems::{Failure, Scene};
use crate::reader::Reader;
use crate::transport::Transport;
use crate::verdict::Problem;
use crate::verify::{Examination, Ground, Meaning, Require, VerifiedImage, digest_of};

/// Entries of one image name that [`View::entries`] gives.
pub const MAX_ENTRIES: usize = 10_000;

/// A verified set in memory.
#[derive(Debug)]
pub struct View {
    anchor: Anchor,
    set: TrustedSet,
    pinned_version: Version,
    warnings: Vec<String>,
    scene: Scene,
    refreshed: UtcTime,
    // By (delegator, role).
    unusable: BTreeMap<(String, String), Failure>,
}

/// One signed tag or digest of an image name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedEntry {
    /// The tag; `None` for an entry of the digest itself.
    pub tag: Option<String>,
    /// The digest that is signed.
    pub digest: Digest,
    /// The length of the manifest or index in bytes.
    pub length: u64,
    /// The signed facts, if there are any that can be read.
    pub facts: Option<ImageFacts>,
}

impl<T: Transport> Reader<T> {
    /// A view of what this reader verified, with every role: at most [`limits::ROLES_PER_COLLECTION`]. Roles that cannot be
    /// loaded are unusable in it; local faults are errors.
    pub async fn view(&mut self) -> Result<View, Problem> {
        self.view_after(None).await
    }

    /// The same. Roles that did not change since an earlier view are taken from there and not read and verified again, also
    /// where others did.
    pub async fn view_after(&mut self, earlier: Option<&View>) -> Result<View, Problem> {
        if let Some(earlier) = earlier.filter(|earlier| earlier.anchor == *self.anchor() && self.may_remember()) {
            self.trusted_mut().remember(&earlier.set);
        }
        let unusable = self.load_everything().await.map_err(|failure| self.scene().problem(failure))?;
        self.trusted_mut().forget();
        Ok(View {
            anchor: self.anchor().clone(),
            set: self.trusted().clone(),
            pinned_version: self.pinned_version(),
            warnings: self.warnings().to_vec(),
            scene: self.scene(),
            refreshed: self.updated_at(),
            unusable,
        })
    }

    /// Loads every role that can be reached, breadth first, under each of its delegators.
    async fn load_everything(&mut self) -> Result<BTreeMap<(String, String), Failure>, Failure> {
        let mut unusable = BTreeMap::new();
        let mut reached = BTreeSet::from(["targets".to_owned()]);
        let mut waiting = VecDeque::from([("targets".to_owned(), self.trusted().targets().clone())]);
        let mut left = limits::ROLES_PER_COLLECTION;
        while let Some((delegator, file)) = waiting.pop_front() {
            for role in delegated_by(&file, left) {
                left = left.saturating_sub(1);
                match self.load_named(&delegator, &role).await {
                    Ok(loaded) if reached.insert(role.clone()) => waiting.push_back((role, loaded)),
                    Ok(_) => {}
                    Err(failure @ Failure::State(_)) => return Err(failure),
                    Err(failure) => _ = unusable.insert((delegator.clone(), role), failure),
                }
            }
        }
        Ok(unusable)
    }
}

/// The names of the roles that a file delegates, bins as well.
fn delegated_by(file: &Targets, most: usize) -> Vec<String> {
    let Some(delegations) = file.delegations() else { return Vec::new() };
    let named = delegations.roles().iter().map(|d| d.name().to_owned());
    named.chain(delegations.succinct().into_iter().flat_map(|bins| bins.bins())).take(most).collect()
}

impl View {
    /// Verifies an image as [`Reader::verify_as`] does, by the same code.
    pub fn verify(&self, image: &Reference, require: &Require, meaning: Meaning) -> Result<VerifiedImage, Problem> {
        let mut ground = Frozen(self);
        let mut examination = Examination(&mut ground);
        let verification = pin!(examination.verify_as(image, require, meaning));
        // Nothing in it waits: one poll is the whole of it.
        match verification.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(Problem::new(Code::Internal).about(image)),
        }
    }

    /// The collection.
    pub fn collection(&self) -> &CollectionName {
        &self.anchor.collection
    }

    /// The verified set.
    pub fn trusted(&self) -> &TrustedSet {
        &self.set
    }

    /// When the update that this rests on began: the last successful one.
    pub fn refreshed(&self) -> UtcTime {
        self.refreshed
    }

    /// The first second at which root, timestamp, snapshot or targets is expired; a verified image may rest on a role that
    /// expires earlier.
    pub fn expires(&self) -> UtcTime {
        self.set.expires()
    }

    /// Whether both views give the same answers: the same files, and the same roles that cannot be used.
    pub fn answers_like(&self, other: &View) -> bool {
        let (a, b) = (&self.set, &other.set);
        self.anchor == other.anchor
            && a.root().bytes() == b.root().bytes()
            && a.timestamp().bytes() == b.timestamp().bytes()
            && a.snapshot().bytes() == b.snapshot().bytes()
            && a.targets().bytes() == b.targets().bytes()
            && self.unusable == other.unusable
            && self.warnings == other.warnings
    }

    /// The refusal if a file is expired at `now`: one of the top-level files, or a role that this image's verdict rests on.
    pub fn expired(&self, image: Option<&VerifiedImage>, now: UtcTime) -> Option<Problem> {
        let set = &self.set;
        let top = [
            ("root", set.root().expires()),
            ("timestamp", set.timestamp().expires()),
            ("snapshot", set.snapshot().expires()),
            ("targets", set.targets().expires()),
        ];
        let used = |role: &str| image.is_some_and(|image| image.versions.roles.contains_key(role));
        let roles = set.loaded().filter(|(_, role, _)| used(role)).map(|(_, role, file)| (role, file.expires()));
        let (role, expires) = top.into_iter().chain(roles).min_by_key(|(_, expires)| *expires)?;
        let reason = Reason::Expired { expires, now };
        (expires <= now).then(|| self.scene.problem(UpdateError { role: role.to_owned(), reason }.into()))
    }

    /// What is signed under one canonical image name (`HOST/PATH`), in all roles that may speak for it: at most
    /// [`MAX_ENTRIES`]. Each is the answer of a search; revocations are not looked at, which is for [`View::verify`].
    pub fn entries(&self, name: &str) -> Vec<SignedEntry> {
        let collection = self.anchor.collection.as_str();
        if !target::covers(collection, name) {
            return Vec::new();
        }
        let folder = name.get(collection.len()..).and_then(|rest| rest.strip_prefix('/'));
        let folder = folder.map(|rest| format!("{rest}/")).unwrap_or_default();
        let files = std::iter::once(self.set.targets()).chain(self.set.loaded().map(|(_, _, file)| file));
        let is_here = |path: &&str| path.get(folder.len()..).is_some_and(|last| !last.contains('/'));
        let paths: BTreeSet<&str> = files.flat_map(|f| f.paths_below(&folder).filter(is_here)).collect();
        let entry = |path: &str| {
            let image = target::image_of(collection, path).ok().filter(|image| image.name == name)?;
            let hit = self.search(path).ok()?.statements.into_iter().next()?.target;
            let tag = match image.entry {
                Entry::Tag(tag) => Some(tag),
                Entry::Digest(_) => None,
            };
            let facts =
                hit.custom.as_ref().and_then(|custom| ImageFacts::from_custom(&custom.to_json()).ok().flatten());
            Some(SignedEntry { tag, digest: digest_of(&hit)?, length: hit.length, facts })
        };
        paths.into_iter().filter_map(entry).take(MAX_ENTRIES).collect()
    }

    /// The canonical image names (`HOST/PATH`) under which a tag is signed, in ASCII order, each with its first tag: at most `limit`.
    pub fn names(&self, limit: usize) -> Vec<(String, String)> {
        let collection = self.anchor.collection.as_str();
        let files = std::iter::once(self.set.targets()).chain(self.set.loaded().map(|(_, _, file)| file));
        let paths: BTreeSet<&str> = files.flat_map(|file| file.paths_below("")).collect();
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        for path in paths {
            let Ok(image) = target::image_of(collection, path) else { continue };
            let Entry::Tag(tag) = image.entry else { continue };
            if names.len() >= limit && !names.contains_key(&image.name) {
                break;
            }
            // A path that a role has listed and may not speak for names nothing.
            if !names.contains_key(&image.name) && self.search(path).is_ok_and(|found| !found.statements.is_empty()) {
                names.insert(image.name, tag);
            }
        }
        names.into_iter().collect()
    }

    fn search(&self, path: &str) -> Result<Outcome, Failure> {
        let mut lookup = Lookup::new(&self.set, path);
        loop {
            match lookup.step(&self.set).map_err(|error| self.with_cause(error))? {
                Step::Done => return Ok(lookup.outcome()),
                Step::Need(request) => {
                    lookup.failed(self.why_not(&request)).map_err(|error| self.with_cause(error))?;
                }
            }
        }
    }

    /// Why a role is not here.
    fn why_not(&self, request: &RoleRequest) -> LookupError {
        match self.unusable.get(&(request.delegator.clone(), request.role.clone())) {
            Some(Failure::Update(error)) => LookupError::Role(error.clone()),
            Some(Failure::Lookup(error)) => error.clone(),
            Some(_) => LookupError::Unavailable { role: request.role.clone() },
            // Beyond as many roles as a collection has.
            None => LookupError::Limit { limit: limits::ROLES_PER_COLLECTION },
        }
    }

    /// The search says only that a role could not be fetched; what happened there is the better answer.
    fn with_cause(&self, error: LookupError) -> Failure {
        match &error {
            LookupError::Unavailable { role } => {
                let known = self.unusable.iter().find(|((_, name), _)| name == role);
                known.map_or_else(|| error.clone().into(), |(_, failure)| failure.clone())
            }
            _ => error.into(),
        }
    }
}

/// A view as the ground of a verification.
struct Frozen<'a>(&'a View);

impl Ground for Frozen<'_> {
    fn lookup(&mut self, path: &str) -> impl Future<Output = Result<Outcome, Problem>> {
        std::future::ready(self.0.search(path).map_err(|failure| self.0.scene.problem(failure)))
    }

    fn role(&mut self, role: &str) -> impl Future<Output = Result<Verified<Targets>, Problem>> {
        let view = self.0;
        let missing = || {
            let known = view.unusable.get(&("targets".to_owned(), role.to_owned())).cloned();
            let not_listed = || UpdateError { role: role.to_owned(), reason: Reason::NotInSnapshot }.into();
            view.scene.problem(known.unwrap_or_else(not_listed))
        };
        std::future::ready(view.set.delegated("targets", role).cloned().ok_or_else(missing))
    }

    fn trusted(&self) -> &TrustedSet {
        &self.0.set
    }

    fn anchor(&self) -> &Anchor {
        &self.0.anchor
    }

    fn pinned_version(&self) -> Version {
        self.0.pinned_version
    }

    fn warnings(&self) -> &[String] {
        &self.0.warnings
    }

    fn scene(&self) -> Scene {
        self.0.scene.clone()
    }
}

#[cfg(test)]
mod tests;
