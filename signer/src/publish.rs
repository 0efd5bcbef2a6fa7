//! A publication: verified again from the signer's own copy, then snapshot and timestamp are made and everything is
//! recorded in one transaction. The mark that this leaves is the commit point of the whole publication.

use std::collections::BTreeMap;

use trust_tuf::envelope::Unverified;
use trust_tuf::model::{Role, sha256};
use trust_tuf::repository::{Checked, Publication, Refusal, RepositoryState, Rule};
use trust_tuf::{CollectionName, RoleName, RoleType, Root, Targets, UtcTime, limits};
use trust_wire::Base64;
use trust_wire::signer::{FRAME_BYTES, Signed};

use crate::collection::{Collection, due, length};
use crate::core::{SignerCore, collection_name};
use crate::fail_point::fail_point;
use crate::online_role::OnlineRole;
use crate::refusal::{No, RuleId, fail, refuse};
use crate::sign::Signing;
use crate::store::{Admission, Change, Marks, SignedFile};
use crate::vault::HeldKey;

/// What of a frame is not files: member names, versions, and room for snapshots that name the same files in other words.
const FRAME_REST: usize = 64 * 1024;

/// A publication as it was asked for: names that can be read, files that nobody has verified.
pub(crate) struct Asked {
    pub(crate) name: CollectionName,
    files: Publication,
    digest: [u8; 32],
    grant: Option<Base64>,
}

impl Asked {
    pub(crate) fn read(
        collection: &str,
        roots: Vec<Base64>,
        roles: BTreeMap<String, Base64>,
        grant: Option<Base64>,
    ) -> Result<Self, No> {
        let name = collection_name(collection)?;
        let files = read_publication(roots, roles)?;
        let digest = publication_digest(&files);
        Ok(Self { name, files, digest, grant })
    }
}

/// Verified and signed, and not durable: nothing of it has left. The collection as it will be, and what makes it so.
pub(crate) struct Made {
    pub(crate) change: Change,
    pub(crate) after: Collection,
    /// The keys that were held when it was made.
    pub(crate) from_keys: Vec<HeldKey>,
}

/// Whether this publication was counted by rule S10 before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    No,
    Already,
}

impl SignerCore {
    pub(crate) fn publish(&mut self, now: UtcTime, asked: &Asked, counted: Counted) -> Result<Signed, No> {
        let name = &asked.name;
        match self.take(name)? {
            Some(known) => {
                let made = match self.make_next(now, &known, asked, counted) {
                    Ok(Some(made)) => made,
                    Ok(None) => return self.answer_again(now, name.clone(), known),
                    Err(no @ No::Refused { .. }) => {
                        self.cache.put(name.clone(), known);
                        return Err(no);
                    }
                    Err(no) => return Err(no),
                };
                self.mark(now, made)
            }
            None => {
                let made = self.make_first(now, asked, counted)?;
                self.mark(now, made)
            }
        }
    }

    /// The commit point. If it fails the copies in memory are gone, and the one that this was made from must not come back.
    pub(crate) fn mark(&mut self, now: UtcTime, made: Made) -> Result<Signed, No> {
        let Made { change, after, .. } = made;
        let name = change.collection.clone();
        self.commit(now, &[change])?;
        fail_point("signer.after_commit_before_reply");
        Ok(self.keep(name, after))
    }

    /// The last publication asked again: the stored files, unless they are due. A server that died between the mark and its
    /// own transaction may come back after they expired, and could never show them.
    fn answer_again(&mut self, now: UtcTime, name: CollectionName, known: Collection) -> Result<Signed, No> {
        let new_snapshot = now >= due(&known.snapshot);
        if !new_snapshot && now < due(&known.timestamp) {
            return Ok(self.keep(name, known));
        }
        match self.renew(now, &name, &known, new_snapshot) {
            Ok((after, change)) => {
                self.commit(now, &[change])?;
                Ok(self.keep(name, after))
            }
            Err(no) => {
                self.cache.put(name, known);
                Err(no)
            }
        }
    }

    fn keep(&mut self, name: CollectionName, collection: Collection) -> Signed {
        let signed = collection.signed();
        self.cache.put(name, collection);
        signed
    }

    fn make_first(&mut self, now: UtcTime, asked: &Asked, counted: Counted) -> Result<Made, No> {
        let Asked { name, files, digest, grant } = asked;
        let Some(first) = files.roots.first() else {
            return Err(refuse(RuleId::S8, format!("{name} has no root here, and the publication brings none")));
        };
        let admission = self.admission(now, name, first, grant.as_ref())?;
        self.check_clock(now)?;
        self.take_publication(now, name, counted)?;
        let checked = RepositoryState::first(name.clone(), files, &self.rules(now))?;
        let keys: Result<Vec<HeldKey>, _> =
            self.store.keys(name)?.iter().map(|key| self.vault.unseal(name, key)).collect();
        let keys = keys.map_err(|error| fail(error.to_string()))?;
        self.make(now, name, None, checked, keys, *digest, admission, counted)
    }

    /// The collection after the publication, and what makes it so; `None` if it was the last one already. Nothing in memory
    /// or in the store is changed.
    pub(crate) fn make_next(
        &mut self,
        now: UtcTime,
        known: &Collection,
        asked: &Asked,
        counted: Counted,
    ) -> Result<Option<Made>, No> {
        let Asked { name, files, digest, .. } = asked;
        if known.marks.publication == *digest {
            return Ok(None);
        }
        self.check_clock(now)?;
        self.take_publication(now, name, counted)?;
        self.never_again(name, known, files)?;
        let checked = known
            .state
            .check(files, &self.rules(now))
            .map_err(|refusal| equivocation(&known.state, files, &refusal).unwrap_or_else(|| refusal.into()))?;
        never_lowered(known, &checked.state)?;
        self.make(now, name, Some(known), checked, known.keys.clone(), *digest, None, counted).map(Some)
    }

    /// Rule S15 over the whole life of a collection: a role that left with the snapshot key would begin again with version
    /// 1, and its old files would do for that, or other ones under the same names. Its name is not used again.
    fn never_again(&self, name: &CollectionName, known: &Collection, publication: &Publication) -> Result<(), No> {
        for role in publication.roles.keys() {
            if known.state.roles().contains_key(role) || known.state.tombstones().contains_key(role.as_str()) {
                continue;
            }
            if let Some(version) = self.store.retired(name, role)? {
                let reason =
                    format!("`{role}` had version {version} before the snapshot key was replaced: use another name");
                return Err(refuse(RuleId::S15, reason));
            }
        }
        Ok(())
    }

    fn take_publication(&mut self, now: UtcTime, name: &CollectionName, counted: Counted) -> Result<(), No> {
        if counted == Counted::Already || self.publications.take(name.as_str(), now) {
            return Ok(());
        }
        let rate = self.config.publications_per_second;
        Err(refuse(RuleId::S10, format!("more than {rate} publications a second for {name}")))
    }

    #[allow(clippy::too_many_arguments)] // one call, two callers: a struct would only repeat the names
    fn make(
        &mut self,
        now: UtcTime,
        name: &CollectionName,
        known: Option<&Collection>,
        checked: Checked,
        mut keys: Vec<HeldKey>,
        digest: [u8; 32],
        admission: Option<Admission>,
        counted: Counted,
    ) -> Result<Made, No> {
        let from_keys = keys.clone();
        let lifetimes = self.config.lifetimes(name);
        let signing = Signing { now, name, state: &checked.state, keys: &keys, lifetimes };
        let cost = signing.cost(true)?;
        if counted == Counted::No {
            self.take_signatures(now, cost)?;
        }
        let (snapshot_record, snapshot) = signing.snapshot(known.map(|k| k.marks.snapshot))?;
        let (timestamp_record, timestamp) = signing.timestamp(known.map(|k| k.marks.timestamp), &snapshot)?;
        let listed = signing.judge(&snapshot, &timestamp)?;

        let before = known.map_or(0, |known| known.root_bytes);
        fits_a_frame(name, before, &checked, &snapshot, &timestamp)?;
        let root_bytes = checked.roots.iter().fold(before, |sum, root| sum.saturating_add(length(root.bytes())));

        let root = checked.state.root();
        let (named, dropped) = settle_keys(root, &mut keys);
        let (buried, gone) = role_changes(known.map(|k| &k.state), &checked);
        let marks = Marks {
            root: root.version(),
            snapshot: snapshot.version,
            timestamp: timestamp.version,
            publication: digest,
        };
        let change = Change {
            collection: name.clone(),
            expected: known.map(|k| k.marks.clone()),
            marks: marks.clone(),
            admission,
            roots: checked.roots.iter().map(|root| (root.version(), root.bytes().clone())).collect(),
            roles: checked
                .changed
                .iter()
                .filter_map(|role| Some((role, checked.state.roles().get(role)?)))
                .map(|(role, file)| (role.clone(), file.version(), file.bytes().clone()))
                .collect(),
            buried,
            gone,
            named_keys: named,
            dropped_keys: dropped,
            signed: vec![snapshot_record, timestamp_record],
        };
        let after = Collection { state: checked.state, marks, root_bytes, snapshot, listed, timestamp, keys };
        Ok(Made { change, after, from_keys })
    }
}

/// All files of a collection must fit into one answer: what could not be handed to a restored server, or to one that is
/// a snapshot behind, would be lost for it. `root_bytes`: of the roots that there are already.
fn fits_a_frame(
    name: &CollectionName,
    root_bytes: u64,
    checked: &Checked,
    snapshot: &SignedFile,
    timestamp: &SignedFile,
) -> Result<(), No> {
    // In base64, with quotes, names and separators.
    let encoded = |bytes: usize| bytes.div_ceil(3).saturating_mul(4).saturating_add(8);
    let roots = usize::try_from(root_bytes).unwrap_or(usize::MAX);
    let count = usize::try_from(checked.state.root().version().get()).unwrap_or(usize::MAX);
    let roots = encoded(roots).saturating_add(count.saturating_mul(8));
    let new = checked.roots.iter().map(|root| encoded(root.bytes().len()));
    let roles = checked
        .state
        .roles()
        .iter()
        .map(|(role, file)| encoded(file.bytes().len()).saturating_add(role.as_str().len()));
    let signed = [snapshot, timestamp].map(|file| encoded(file.bytes.len()));
    let all = new.chain(roles).chain(signed).fold(roots, usize::saturating_add);
    if all <= FRAME_BYTES - FRAME_REST {
        return Ok(());
    }
    Err(refuse(RuleId::S13, format!("the files of {name} together would be larger than one answer can hold")))
}

fn read_publication(roots: Vec<Base64>, roles: BTreeMap<String, Base64>) -> Result<Publication, No> {
    let mut publication = Publication { roots: roots.into_iter().map(|root| root.0).collect(), roles: BTreeMap::new() };
    for (role, file) in roles {
        if RoleType::from_name(&role).is_some_and(|role| role != RoleType::Targets) {
            return Err(refuse(RuleId::S1, format!("`{role}` is not among the roles of a publication")));
        }
        let role = RoleName::parse(&role).map_err(|error| refuse(RuleId::Request, error.to_string()))?;
        publication.roles.insert(role, file.0);
    }
    Ok(publication)
}

/// What makes two publications the same one: every file, in order.
fn publication_digest(publication: &Publication) -> [u8; 32] {
    let mut text = Vec::new();
    for root in &publication.roots {
        text.extend_from_slice(b"root:");
        text.extend_from_slice(&sha256(root));
    }
    for (role, file) in &publication.roles {
        text.extend_from_slice(format!("role:{role}:").as_bytes());
        text.extend_from_slice(&sha256(file));
    }
    sha256(&text)
}

/// Rule S15, named as what it is: other bytes under a version that is already there.
fn equivocation(state: &RepositoryState, publication: &Publication, refusal: &Refusal) -> Option<No> {
    let Rule::NextVersion { got, .. } = refusal.rule else { return None };
    let other = |kind: &str| Some(refuse(RuleId::S15, format!("{kind} {got} is there already, with other content")));
    if refusal.file == "root" {
        let same = |bytes: &Vec<u8>| {
            let read = Unverified::<Root>::read(bytes.as_slice(), limits::ROOT_BYTES);
            read.is_ok_and(|r| r.claimed_version() == got) && bytes.as_slice() != &**state.root().bytes()
        };
        return if state.root().version() == got && publication.roots.iter().any(same) { other("root") } else { None };
    }
    let name = RoleName::parse(&refusal.file).ok()?;
    let (old, new) = (state.roles().get(&name)?, publication.roles.get(&name)?);
    let read = Unverified::<Targets>::read(new.as_slice(), limits::PUBLISH_BYTES).ok()?;
    let differs = read.claimed_version() == old.version() && new.as_slice() != &**old.bytes();
    if differs { other(name.as_str()) } else { None }
}

/// Rule S4, judged from the last snapshot alone and not from the rules that made the new state: no entry leaves or goes
/// down, unless none of the keys that signed that snapshot speaks for snapshots any more.
fn never_lowered(known: &Collection, next: &RepositoryState) -> Result<(), No> {
    let (old_keys, new_keys) = (known.state.root().role(RoleType::Snapshot), next.root().role(RoleType::Snapshot));
    if !old_keys.keys().any(|(_, key)| new_keys.holds(key)) {
        return Ok(());
    }
    let next = next.meta();
    // Verified from its bytes under the same keys when it was made, or read back from the store (`check_signed`): the
    // type says so, and it is kept with the state that it belongs to.
    for (file, entry) in known.listed.meta() {
        let role = file.strip_suffix(".json").unwrap_or(file);
        if next.get(role).is_none_or(|new| new.version < entry.version) {
            return Err(refuse(RuleId::S4, format!("the snapshot would drop or lower {role}")));
        }
    }
    Ok(())
}

type Keys = Vec<(OnlineRole, trust_tuf::KeyId)>;

/// Which keys the root names for the first time, and which it named before and does not any more: those leave.
fn settle_keys(root: &Root, keys: &mut Vec<HeldKey>) -> (Keys, Keys) {
    use trust_keys::SigningKey;
    let (mut named, mut dropped) = (Vec::new(), Vec::new());
    keys.retain_mut(|held| {
        let is_named = root.role(held.role.role_type()).holds(held.key.public());
        if is_named {
            // Most roots name what the one before them named, and the store knows that.
            if !held.named {
                named.push((held.role, held.key.id().clone()));
            }
            held.named = true;
        } else if held.named {
            dropped.push((held.role, held.key.id().clone()));
            return false;
        }
        true
    });
    (named, dropped)
}

/// Which roles become tombstones, and which names leave the list of files.
fn role_changes(before: Option<&RepositoryState>, checked: &Checked) -> (Vec<String>, Vec<String>) {
    let Some(before) = before else { return (Vec::new(), Vec::new()) };
    let after = &checked.state;
    let mut buried = Vec::new();
    let mut gone: Vec<String> = Vec::new();
    for role in &checked.undelegated {
        let stays = after.tombstones().contains_key(role.as_str());
        if stays { &mut buried } else { &mut gone }.push(role.as_str().to_owned());
    }
    for role in before.tombstones().keys() {
        let lives = RoleName::parse(role).is_ok_and(|role| after.roles().contains_key(&role));
        if !lives && !after.tombstones().contains_key(role) {
            gone.push(role.clone());
        }
    }
    (buried, gone)
}
