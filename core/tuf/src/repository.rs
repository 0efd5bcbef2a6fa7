//! The rules of a repository of ours: what a publication may change. Server and signer both use this, each on its own
//! copy of the state, so that neither believes the other.
//!
//! Stricter than reading: what is written must be read alike by every TUF client (key ids are content ids, patterns
//! have no undefined characters, one delegator for each role, no target outside its role's paths).

mod bins;
mod paths;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::envelope::Unverified;
use crate::error::Reason;
use crate::example_keys;
use crate::limits;
use crate::model::{Delegation, MetaEntry, Paths, Role, RoleKeys, Root, Targets};
use crate::names::{CollectionName, RoleName, RoleType, Version, is_target_path};
use crate::reserved;
use crate::shape;
use crate::time::UtcTime;
use crate::verify::Verified;

pub use bins::BinsRule;

/// Why a publication is refused: which file, and the rule that it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {rule}")]
pub struct Refusal {
    /// The role whose file it is, or `publication`.
    pub file: String,
    /// The rule.
    pub rule: Rule,
}

/// The rules of a publication.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rule {
    /// The file does not verify.
    #[error("{0}")]
    Trust(#[from] Reason),
    /// The version is not the last one plus one.
    #[error("has version {got}; the next one is {expected}")]
    NextVersion {
        /// The version that is due.
        expected: Version,
        /// The version that came.
        got: Version,
    },
    /// Nothing in it.
    #[error("holds no file")]
    Empty,
    /// The first publication lacks the root or the targets.
    #[error("the first publication must hold root version 1 and targets version 1")]
    Incomplete,
    /// More files than one publication may hold.
    #[error("holds more than {limit} {what}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Lives too short or too long.
    #[error("expires {expires}: a published file lives at least {least} and at most {most} days", least = limits::LEAST_LIFE / 86_400, most = limits::MOST_LIFE / 86_400)]
    Life {
        /// Its expiry.
        expires: UtcTime,
    },
    /// The root does not use consistent snapshots.
    #[error("`consistent_snapshot` must be true")]
    ConsistentSnapshot,
    /// A member beside `signatures` and `signed`.
    #[error("has members beside `signatures` and `signed`, which nobody signs")]
    Envelope,
    /// A member that not every reader ignores: in a key, in the delegations, or beside the four roles of a root.
    #[error("has a member `{0}` in a place where other TUF clients allow none")]
    Member(String),
    /// A key that we do not write, or whose id is not its content id.
    #[error("key {id} cannot be used for a role: {why}")]
    Key {
        /// The id.
        id: String,
        /// What is wrong with it.
        why: String,
    },
    /// A threshold above the number of distinct keys.
    #[error("threshold {threshold} of `{role}` is above its {keys} distinct keys")]
    ThresholdTooHigh {
        /// The role.
        role: String,
        /// The threshold.
        threshold: u64,
        /// How many distinct keys there are.
        keys: usize,
    },
    /// An online key that also speaks for root, targets or a delegation, or the other way round.
    #[error("key {0} is both online (timestamp, snapshot) and offline")]
    OnlineOffline(String),
    /// One of our example keys, whose private half everybody has.
    #[error("key {0} is an example key: its private half is public")]
    ExampleKey(String),
    /// A delegated role name that we do not write.
    #[error("delegates to `{0}`, which is no role name of ours")]
    RoleName(String),
    /// A pattern that clients read differently.
    #[error("pattern `{0}` is refused: only `*` and `?` are read alike by all clients")]
    Pattern(String),
    /// Hash bins that clients would read differently, or that say more than their signer.
    #[error("hash bins {0}")]
    Bins(#[from] BinsRule),
    /// More roles than every client reads in one snapshot.
    #[error(
        "the snapshot would list {roles} roles in about {bytes} bytes, and {most} are allowed: rotate the snapshot key with --emergency, so that removed roles leave it"
    )]
    SnapshotSize {
        /// How many roles, the removed ones among them.
        roles: usize,
        /// How many bytes, at most.
        bytes: u64,
        /// How many bytes are allowed: less for who is not the owner of `targets`.
        most: u64,
    },
    /// Two roles delegate to one.
    #[error("`{0}` has two delegators")]
    TwoDelegators(String),
    /// A delegation without a file.
    #[error("delegates to `{0}`, of which there is no file")]
    MissingRole(String),
    /// A file to which nobody delegates.
    #[error("nobody delegates to this role")]
    Undelegated,
    /// A target path that clients of ours refuse.
    #[error("target path `{0}` is refused")]
    TargetPath(String),
    /// A target outside the paths that the role was delegated.
    #[error("target `{0}` is outside the paths delegated to this role")]
    OutsidePaths(String),
    /// A reserved target in another role than its own.
    #[error("reserved target `{path}` counts only in role `{role}`")]
    Reserved {
        /// The target.
        path: String,
        /// The one role in which it counts.
        role: String,
    },
    /// A target without SHA-256.
    #[error("target `{0}` has no SHA-256")]
    NoSha256(String),
    /// Targets and patterns that take too long to compare.
    #[error("has more targets under more patterns than can be compared: use fewer patterns, or fewer `*`")]
    PathWork,
    /// Facts beyond their limit.
    #[error("`custom` of target `{0}` is larger than {limit} bytes", limit = limits::CUSTOM_BYTES)]
    Custom(String),
}

fn refuse(file: impl Into<String>, rule: impl Into<Rule>) -> Refusal {
    Refusal { file: file.into(), rule: rule.into() }
}

/// What the checks are judged by.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The reference time.
    pub now: UtcTime,
    /// Whether example keys are allowed (`--dev`).
    pub allow_example_keys: bool,
}

/// The files of a publication. Snapshot and timestamp are not among them: the signer makes those.
#[derive(Debug, Clone, Default)]
pub struct Publication {
    /// New roots, oldest first; usually none or one.
    pub roots: Vec<Vec<u8>>,
    /// New targets files by role.
    pub roles: BTreeMap<RoleName, Vec<u8>>,
}

/// The verified state of a collection: its root and the current file of every role below it.
#[derive(Debug, Clone)]
pub struct RepositoryState {
    collection: CollectionName,
    root: Verified<Root>,
    roles: BTreeMap<RoleName, Verified<Targets>>,
    tombstones: BTreeMap<String, MetaEntry>,
}

/// A publication that keeps all rules, and the state it leads to.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The new roots, oldest first.
    pub roots: Vec<Verified<Root>>,
    /// The roles whose files are new.
    pub changed: Vec<RoleName>,
    /// Roles that were delegated before and are no longer.
    pub undelegated: Vec<RoleName>,
    /// The state after the publication.
    pub state: RepositoryState,
}

impl RepositoryState {
    /// Reads the first publication of a collection. Whether its root is the right one is for the caller to know.
    pub fn first(collection: CollectionName, publication: &Publication, rules: &Rules) -> Result<Checked, Refusal> {
        count_files(publication)?;
        let Some((first, later)) = publication.roots.split_first() else {
            return Err(refuse("publication", Rule::Incomplete));
        };
        if !publication.roles.contains_key(&RoleName::targets()) {
            return Err(refuse("publication", Rule::Incomplete));
        }
        let read = Unverified::<Root>::read(first.as_slice(), limits::ROOT_BYTES)
            .map_err(|e| refuse("root", Reason::from(e)))?;
        envelope_only(&read, "root")?;
        let root = read.verify_first().map_err(|r| refuse("root", r))?;
        if root.version() != Version::ONE {
            return Err(refuse("root", Rule::NextVersion { expected: Version::ONE, got: root.version() }));
        }
        check_root(&root, rules)?;
        check_members("root", root.bytes())?;
        let before = Self { collection, root: root.clone(), roles: BTreeMap::new(), tombstones: BTreeMap::new() };
        let rest = Publication { roots: later.to_vec(), roles: publication.roles.clone() };
        let mut checked = before.apply(&rest, rules)?;
        checked.roots.insert(0, root);
        Ok(checked)
    }

    /// Reads the state back from the files that were stored. Everything is verified again.
    pub fn restore(
        collection: CollectionName,
        root: impl Into<Arc<[u8]>>,
        roles: impl IntoIterator<Item = (RoleName, Vec<u8>)>,
        tombstones: BTreeMap<String, MetaEntry>,
    ) -> Result<Self, Refusal> {
        let root = Unverified::<Root>::read(root, limits::ROOT_BYTES)
            .map_err(Reason::from)
            .and_then(Unverified::verify_first)
            .map_err(|r| refuse("root", r))?;
        let mut files = BTreeMap::new();
        for (name, bytes) in roles {
            let read = Unverified::<Targets>::read(bytes, limits::STATED_BYTES)
                .map_err(|e| refuse(name.as_str(), Reason::from(e)))?;
            files.insert(name, File::New(Box::new(read)));
        }
        let mut walk = Walk { root: &root, files, before: BTreeMap::new(), done: BTreeMap::new() };
        walk.run()?;
        walk.nothing_left()?;
        let roles = walk.done;
        Ok(Self { collection, root, roles, tombstones })
    }

    /// Checks a publication against this state.
    pub fn check(&self, publication: &Publication, rules: &Rules) -> Result<Checked, Refusal> {
        count_files(publication)?;
        if publication.roots.is_empty() && publication.roles.is_empty() {
            return Err(refuse("publication", Rule::Empty));
        }
        self.apply(publication, rules)
    }

    fn apply(&self, publication: &Publication, rules: &Rules) -> Result<Checked, Refusal> {
        let roots = self.next_roots(publication, rules)?;
        let root = roots.last().unwrap_or(&self.root).clone();

        let mut files: BTreeMap<RoleName, File> =
            self.roles.iter().map(|(name, role)| (name.clone(), File::Old(role.clone()))).collect();
        for (name, bytes) in &publication.roles {
            let file = self.read_role(name, bytes, rules)?;
            files.insert(name.clone(), File::New(Box::new(file)));
        }
        let mut walk = Walk { root: &root, files, before: self.keys(), done: BTreeMap::new() };
        walk.run()?;
        let (roles, left) = (walk.done, walk.files);
        if let Some((name, _)) = left.iter().find(|(name, _)| publication.roles.contains_key(*name)) {
            return Err(refuse(name.as_str(), Rule::Undelegated));
        }
        let (parents, before) = (paths::Parents::of(&roles), paths::Parents::of(&self.roles));
        let mut work = limits::PATH_WORK;
        let reserved_roles = reserved_roles(&roles);
        for (name, role) in &roles {
            let chain = parents.chain(name);
            // What no way from `targets` leads to has no paths that it could be held to.
            if !name.is_targets() && !chain.last().is_some_and(|(delegator, _)| delegator.is_targets()) {
                return Err(refuse(name.as_str(), Rule::Undelegated));
            }
            if publication.roles.contains_key(name) {
                check_content(&root, &reserved_roles, name, role, rules)?;
                check_members(name.as_str(), role.bytes())?;
                bins::check_new(self, name, role)?;
                paths::check(name, role, &chain, &mut work)?;
            } else if chain != before.chain(name) {
                // Narrower paths for a role whose file stays: other clients refuse the whole repository.
                paths::check(name, role, &chain, &mut work)?;
            }
        }
        if publication.roles.keys().any(|name| name.is_targets() || bins::of(&roles, name).is_some()) {
            bins::check_order(&roles, &mut work)?;
        }
        // A root that changes keys can make an online key of one that a delegation uses. Without a new root the roles
        // that stay were judged when they came.
        if !roots.is_empty() {
            for (name, role) in &roles {
                check_delegated_keys(&root, name, role, rules)?;
            }
        }

        let undelegated: Vec<RoleName> = left.keys().cloned().collect();
        let mut tombstones = self.tombstones.clone();
        for (name, file) in left {
            if let File::Old(role) = file {
                tombstones.insert(name.as_str().to_owned(), role.own_entry());
            }
        }
        tombstones.retain(|name, _| RoleName::parse(name).map_or(true, |n| !roles.contains_key(&n)));
        // Clients drop their floor for the entries of a snapshot once none of the keys that signed it is left.
        let (old, new) = (self.root.role(RoleType::Snapshot), root.role(RoleType::Snapshot));
        if !old.keys().any(|(_, key)| new.holds(key)) {
            tombstones.clear();
        }
        let changed = publication.roles.keys().cloned().collect();
        let state = Self { collection: self.collection.clone(), root, roles, tombstones };
        // A longer list only: what goes on under the names that there are is never stopped by it.
        if state.listed() > self.listed() {
            let is_owners = publication.roles.keys().any(RoleName::is_targets);
            let reserve = if is_owners { 0 } else { limits::SNAPSHOT_RESERVE };
            state.fits_a_snapshot(limits::PUBLISH_SNAPSHOT_BYTES.saturating_sub(reserve))?;
        }
        Ok(Checked { roots, changed, undelegated, state })
    }

    /// Who speaks for each role.
    fn keys(&self) -> BTreeMap<String, &RoleKeys> {
        let top = (RoleName::targets().as_str().to_owned(), self.root.role(RoleType::Targets));
        let all = || self.roles.values().filter_map(|role| role.delegations());
        let named = all().flat_map(|d| d.roles()).map(|d| (d.name().to_owned(), d.keys()));
        let bins = all().filter_map(|d| d.succinct()).flat_map(|s| s.bins().map(|bin| (bin, s.keys())));
        named.chain(bins).chain([top]).collect()
    }

    /// How many roles the snapshot lists.
    fn listed(&self) -> usize {
        self.roles.len().saturating_add(self.tombstones.len())
    }

    /// Every client reads the snapshot.
    fn fits_a_snapshot(&self, most: u64) -> Result<(), Refusal> {
        // `"NAME.json":{"hashes":{"sha256":"…"},"length":…,"version":…},` with the largest length and version.
        const ENTRY: u64 = 142;
        let names = self.roles.keys().map(RoleName::as_str).chain(self.tombstones.keys().map(String::as_str));
        let sizes = names.map(|name| u64::try_from(name.len()).unwrap_or(u64::MAX).saturating_add(ENTRY));
        let bytes = sizes.fold(0_u64, u64::saturating_add);
        if bytes <= most {
            return Ok(());
        }
        Err(refuse("publication", Rule::SnapshotSize { roles: self.listed(), bytes, most }))
    }

    fn next_roots(&self, publication: &Publication, rules: &Rules) -> Result<Vec<Verified<Root>>, Refusal> {
        let mut roots: Vec<Verified<Root>> = Vec::new();
        for bytes in &publication.roots {
            let before = roots.last().unwrap_or(&self.root);
            let read = Unverified::<Root>::read(bytes.as_slice(), limits::ROOT_BYTES)
                .map_err(|e| refuse("root", Reason::from(e)))?;
            envelope_only(&read, "root")?;
            let next = read.verify_next(before).map_err(|r| refuse("root", r))?;
            is_next("root", Some(before.version()), next.version())?;
            check_root(&next, rules)?;
            check_members("root", next.bytes())?;
            roots.push(next);
        }
        Ok(roots)
    }

    fn read_role(&self, name: &RoleName, bytes: &[u8], rules: &Rules) -> Result<Unverified<Targets>, Refusal> {
        let error = |rule: Rule| refuse(name.as_str(), rule);
        let read =
            Unverified::<Targets>::read(bytes, limits::PUBLISH_BYTES).map_err(|e| error(Reason::from(e).into()))?;
        envelope_only(&read, name.as_str())?;
        let tombstone = self.tombstones.get(name.as_str()).map(|entry| entry.version);
        let last = self.roles.get(name).map(|role| role.version()).or(tombstone);
        is_next(name.as_str(), last, read.claimed_version())?;
        check_life(name.as_str(), read.role().expires(), rules.now)?;
        Ok(read)
    }

    /// The collection.
    pub fn collection(&self) -> &CollectionName {
        &self.collection
    }

    /// The newest root.
    pub fn root(&self) -> &Verified<Root> {
        &self.root
    }

    /// The current file of every role, `targets` among them.
    pub fn roles(&self) -> &BTreeMap<RoleName, Verified<Targets>> {
        &self.roles
    }

    /// Roles that are no longer delegated, as the last snapshot lists them: they stay listed until the snapshot key
    /// rotates, because clients refuse a snapshot that drops a role.
    pub fn tombstones(&self) -> &BTreeMap<String, MetaEntry> {
        &self.tombstones
    }

    /// What the next snapshot lists, by role name.
    pub fn meta(&self) -> BTreeMap<String, MetaEntry> {
        let live = self.roles.iter().map(|(name, role)| (name.as_str().to_owned(), role.own_entry()));
        self.tombstones.iter().map(|(name, entry)| (name.clone(), entry.clone())).chain(live).collect()
    }
}

/// A role file of the publication, or one that is already trusted.
enum File {
    Old(Verified<Targets>),
    New(Box<Unverified<Targets>>),
}

/// A walk over all delegations from the top: every role that is reached must verify under its one delegator.
struct Walk<'a> {
    root: &'a Verified<Root>,
    files: BTreeMap<RoleName, File>,
    /// Who spoke for each role before.
    before: BTreeMap<String, &'a RoleKeys>,
    done: BTreeMap<RoleName, Verified<Targets>>,
}

/// A role that the walk has yet to reach.
struct Waiting {
    delegator: RoleName,
    name: RoleName,
    keys: RoleKeys,
    is_bin: bool,
}

impl Walk<'_> {
    fn run(&mut self) -> Result<(), Refusal> {
        let (top, keys) = (RoleName::targets(), self.root.role(RoleType::Targets).clone());
        let mut waiting = vec![Waiting { delegator: top.clone(), name: top, keys, is_bin: false }];
        while let Some(next) = waiting.pop() {
            let Waiting { delegator, name, keys, is_bin } = &next;
            if self.done.contains_key(name) {
                return Err(refuse(delegator.as_str(), Rule::TwoDelegators(name.as_str().to_owned())));
            }
            if self.done.len() >= limits::ROLES_PER_COLLECTION {
                let rule = Rule::TooMany { what: "roles", limit: limits::ROLES_PER_COLLECTION };
                return Err(refuse(delegator.as_str(), rule));
            }
            let Some(file) = self.files.remove(name) else {
                return Err(refuse(delegator.as_str(), Rule::MissingRole(name.as_str().to_owned())));
            };
            let role = self.verify(name, file, keys)?;
            if *is_bin && let Some(signer) = self.done.get(delegator) {
                bins::check_bin(name, &role, signer)?;
            }
            let Some(delegations) = role.delegations() else {
                self.done.insert(next.name, role);
                continue;
            };
            for d in delegations.roles() {
                let keys = d.keys().clone();
                waiting.push(Waiting { delegator: name.clone(), name: child(name, d.name())?, keys, is_bin: false });
            }
            if let Some(succinct) = delegations.succinct() {
                bins::check_signer(delegator, name, keys, &role, succinct)?;
                for bin in succinct.bins() {
                    let keys = succinct.keys().clone();
                    waiting.push(Waiting { delegator: name.clone(), name: child(name, &bin)?, keys, is_bin: true });
                }
            }
            self.done.insert(next.name, role);
        }
        Ok(())
    }

    fn verify(&self, name: &RoleName, file: File, keys: &RoleKeys) -> Result<Verified<Targets>, Refusal> {
        match file {
            File::New(file) => file.verify(keys).map_err(|r| refuse(name.as_str(), r)),
            // Verified before, and nothing about who speaks for it changed.
            File::Old(role) if self.before.get(name.as_str()).is_some_and(|before| *before == keys) => Ok(role),
            File::Old(role) => Unverified::<Targets>::read(Arc::clone(role.bytes()), limits::STATED_BYTES)
                .map_err(Reason::from)
                .and_then(|file| file.verify(keys))
                .map_err(|r| refuse(name.as_str(), r)),
        }
    }

    fn nothing_left(&self) -> Result<(), Refusal> {
        match self.files.keys().next() {
            Some(name) => Err(refuse(name.as_str(), Rule::Undelegated)),
            None => Ok(()),
        }
    }
}

fn child(delegator: &RoleName, name: &str) -> Result<RoleName, Refusal> {
    RoleName::parse(name).map_err(|_| refuse(delegator.as_str(), Rule::RoleName(name.to_owned())))
}

fn count_files(publication: &Publication) -> Result<(), Refusal> {
    let limit = limits::FILES_PER_PUBLICATION;
    if publication.roots.len().saturating_add(publication.roles.len()) > limit {
        return Err(refuse("publication", Rule::TooMany { what: "files", limit }));
    }
    Ok(())
}

fn envelope_only<R: Role>(file: &Unverified<R>, name: &str) -> Result<(), Refusal> {
    if file.is_only_envelope() { Ok(()) } else { Err(refuse(name, Rule::Envelope)) }
}

fn check_members(name: &str, bytes: &[u8]) -> Result<(), Refusal> {
    match shape::stray_member(bytes) {
        Some(member) => Err(refuse(name, Rule::Member(member.escape_debug().to_string()))),
        None => Ok(()),
    }
}

fn is_next(name: &str, last: Option<Version>, got: Version) -> Result<(), Refusal> {
    let expected = match last {
        None => Some(Version::ONE),
        Some(last) => last.next().filter(|v| v.get() <= limits::PUBLISH_VERSION),
    };
    if expected == Some(got) {
        return Ok(());
    }
    Err(refuse(name, Rule::NextVersion { expected: expected.unwrap_or(Version::ONE), got }))
}

fn check_life(name: &str, expires: UtcTime, now: UtcTime) -> Result<(), Refusal> {
    let life = expires.secs_since(now);
    if (limits::LEAST_LIFE..=limits::MOST_LIFE).contains(&life) {
        Ok(())
    } else {
        Err(refuse(name, Rule::Life { expires }))
    }
}

fn check_root(root: &Root, rules: &Rules) -> Result<(), Refusal> {
    check_life("root", root.expires(), rules.now)?;
    if !root.consistent_snapshot() {
        return Err(refuse("root", Rule::ConsistentSnapshot));
    }
    for role in RoleType::ALL {
        check_keys("root", role.as_str(), root.role(role), rules)?;
    }
    for online in [RoleType::Timestamp, RoleType::Snapshot] {
        for (id, key) in root.role(online).keys() {
            if root.role(RoleType::Root).holds(key) || root.role(RoleType::Targets).holds(key) {
                return Err(refuse("root", Rule::OnlineOffline(id.as_str().to_owned())));
            }
        }
    }
    Ok(())
}

fn check_keys(file: &str, role: &str, keys: &RoleKeys, rules: &Rules) -> Result<(), Refusal> {
    let limit = limits::KEYS_PER_ROLE;
    if keys.keyids().len() > limit {
        return Err(refuse(file, Rule::TooMany { what: "keys in a role", limit }));
    }
    let mut distinct: Vec<&crate::PublicKey> = Vec::new();
    for id in keys.keyids() {
        let bad = |why: String| refuse(file, Rule::Key { id: id.as_str().chars().take(80).collect(), why });
        let key =
            keys.key(id).ok_or_else(|| bad("its kind is not known, or its material does not parse".to_owned()))?;
        key.check_registrable().map_err(|e| bad(e.to_string()))?;
        if key.id() != *id {
            return Err(bad(format!("its id should be {}", key.id())));
        }
        if example_keys::is_example(key) && !rules.allow_example_keys {
            return Err(refuse(file, Rule::ExampleKey(id.as_str().to_owned())));
        }
        if distinct.contains(&key) {
            return Err(bad("it stands there twice".to_owned()));
        }
        distinct.push(key);
    }
    if u64::try_from(distinct.len()).is_ok_and(|n| keys.threshold() > n) {
        let rule = Rule::ThresholdTooHigh { role: role.to_owned(), threshold: keys.threshold(), keys: distinct.len() };
        return Err(refuse(file, rule));
    }
    Ok(())
}

fn check_delegated_keys(root: &Root, name: &RoleName, role: &Targets, rules: &Rules) -> Result<(), Refusal> {
    let Some(delegations) = role.delegations() else { return Ok(()) };
    let named = delegations.roles().iter().map(|d| (d.name(), d.keys()));
    let bins = delegations.succinct().map(|s| (s.layout().name_prefix(), s.keys()));
    for (delegated, keys) in named.chain(bins) {
        check_keys(name.as_str(), delegated, keys, rules)?;
        for (id, key) in keys.keys() {
            if root.role(RoleType::Timestamp).holds(key) || root.role(RoleType::Snapshot).holds(key) {
                return Err(refuse(name.as_str(), Rule::OnlineOffline(id.as_str().to_owned())));
            }
        }
    }
    Ok(())
}

/// The roles in which one kind of reserved targets counts each; every other kind counts in `targets`.
fn reserved_roles(roles: &BTreeMap<RoleName, Verified<Targets>>) -> BTreeSet<&str> {
    let top = roles.get(&RoleName::targets()).and_then(|t| t.delegations());
    top.into_iter().flat_map(|d| d.roles()).map(Delegation::name).filter(|n| n.starts_with('_')).collect()
}

/// What a new targets file may say.
fn check_content(
    root: &Root,
    reserved_roles: &BTreeSet<&str>,
    name: &RoleName,
    role: &Targets,
    rules: &Rules,
) -> Result<(), Refusal> {
    check_delegated_keys(root, name, role, rules)?;
    for d in role.delegations().into_iter().flat_map(|d| d.roles()) {
        check_patterns(name, d)?;
    }
    for (path, target) in role.targets() {
        let shown = || path.escape_debug().to_string();
        // Other clients normalise Unicode before they sign and look up: ASCII is the same in every one of them.
        if !is_target_path(path) || !path.is_ascii() {
            return Err(refuse(name.as_str(), Rule::TargetPath(shown())));
        }
        if let Some(kind) = reserved::kind(path) {
            let home = if reserved_roles.contains(kind) { kind } else { "targets" };
            if name.as_str() != home {
                return Err(refuse(name.as_str(), Rule::Reserved { path: shown(), role: home.to_owned() }));
            }
        }
        if target.hashes.sha256.is_none() {
            return Err(refuse(name.as_str(), Rule::NoSha256(shown())));
        }
        if target.custom.is_some_and(|c| c.canonical().len() > limits::CUSTOM_BYTES) {
            return Err(refuse(name.as_str(), Rule::Custom(shown())));
        }
    }
    Ok(())
}

fn check_patterns(name: &RoleName, d: &Delegation) -> Result<(), Refusal> {
    match d.paths() {
        Paths::HashPrefixes(_) => Ok(()),
        Paths::Patterns(patterns) => {
            for pattern in patterns {
                let undefined = pattern.contains(['[', ']', '{', '}', '\\']) || pattern.contains("**");
                let literal = pattern.replace(['*', '?'], "x");
                if undefined || !is_target_path(&literal) || !pattern.is_ascii() {
                    return Err(refuse(name.as_str(), Rule::Pattern(pattern.escape_debug().to_string())));
                }
            }
            Ok(())
        }
    }
}
