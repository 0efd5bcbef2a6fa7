use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

use super::*;
use crate::draft::Draft;
use crate::keys::{PublicKey, Signature};
use crate::lookup::{Lookup, Step};
use crate::model::TargetInfo;

fn time(text: &str) -> UtcTime {
    UtcTime::parse(text).unwrap()
}

fn now() -> UtcTime {
    time("2030-01-01T00:00:00Z")
}

fn version(n: u64) -> Version {
    Version::new(n).unwrap()
}

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn key(seed: u8) -> PublicKey {
    PublicKey::ed25519(pair(seed).public_key().as_ref()).unwrap()
}

fn signed(draft: &Draft, seeds: &[u8]) -> Arc<[u8]> {
    let message = draft.payload();
    let sign = |seed: &u8| Signature { keyid: key(*seed).id(), sig: pair(*seed).sign(&message).as_ref().to_vec() };
    draft.assemble(seeds.iter().map(sign).collect::<Vec<_>>()).into()
}

const ROOT: u8 = 1;
const TARGETS: u8 = 4;

/// A repository whose `targets` delegates to `a` (key 10) and `b` (key 11), both of which delegate to `shared`.
struct Repo {
    roots: Vec<Arc<[u8]>>,
    expires: UtcTime,
    version: u64,
    targets_seed: u8,
    /// Key of `shared` as `a` and as `b` name it, and those that signed it.
    shared: [u8; 2],
    shared_signed: Vec<u8>,
    targets_expires: UtcTime,
    /// A file of `shared` that is listed with version 1, whatever the version of the others.
    shared_file: Option<Arc<[u8]>>,
}

impl Repo {
    fn new() -> Self {
        let expires = time("2031-01-01T00:00:00Z");
        let mut repo = Self {
            roots: Vec::new(),
            expires,
            version: 1,
            targets_seed: TARGETS,
            shared: [12, 12],
            shared_signed: vec![12],
            targets_expires: expires,
            shared_file: None,
        };
        repo.next_root();
        repo
    }

    fn next_root(&mut self) {
        let mut draft = match self.roots.last() {
            Some(root) => Draft::next(root, self.expires).unwrap(),
            None => Draft::root(self.expires),
        };
        for (role, seed) in RoleType::ALL.into_iter().zip([ROOT, 2, 3, self.targets_seed]) {
            draft.set_role(role, &[key(seed)], 1);
        }
        self.roots.push(signed(&draft, &[ROOT]));
    }

    fn delegating(&self, expires: UtcTime, to: &[(&str, u8)]) -> Draft {
        let mut value = Draft::targets_at(version(self.version), expires);
        for (name, seed) in to {
            let delegation = crate::draft::NewDelegation {
                name: (*name).to_owned(),
                keys: vec![key(*seed)],
                threshold: 1,
                terminating: false,
                patterns: vec!["*".to_owned()],
            };
            value.set_delegation(&delegation);
        }
        value
    }

    fn files(&self) -> Files {
        let targets = self.delegating(self.targets_expires, &[("a", 10), ("b", 11)]);
        let targets = signed(&targets, &[self.targets_seed]);
        let a = signed(&self.delegating(self.expires, &[("shared", self.shared[0])]), &[10]);
        let b = signed(&self.delegating(self.expires, &[("shared", self.shared[1])]), &[11]);
        let mut shared = self.delegating(self.expires, &[]);
        shared.set_target("x", &TargetInfo::of(b"x"));
        let shared = self.shared_file.clone().unwrap_or_else(|| signed(&shared, &self.shared_signed));
        let roles = [("a", a), ("b", b), ("shared", shared), ("targets", targets)];
        let entry = |bytes: &Arc<[u8]>| MetaEntry::of(version(self.version), bytes);
        let entries = roles.each_ref().map(|(name, bytes)| match (*name, &self.shared_file) {
            ("shared", Some(_)) => (*name, MetaEntry::of(version(1), bytes)),
            _ => (*name, entry(bytes)),
        });
        let meta = entries.iter().map(|(name, entry)| (*name, entry));
        let snapshot = signed(&Draft::snapshot(version(self.version), self.expires, meta), &[3]);
        let timestamp = signed(&Draft::timestamp(version(self.version), self.expires, &entry(&snapshot)), &[2]);
        Files { timestamp, snapshot, roles: roles.into_iter().map(|(n, b)| (n.to_owned(), b)).collect() }
    }

    fn stage(&self, at: UtcTime, earlier: Option<&TrustedSet>) -> RootStage {
        let first = Arc::clone(&self.roots[0]);
        let mut stage = match earlier {
            Some(earlier) => RootStage::pinned_after(first, at, earlier).unwrap(),
            None => RootStage::pinned(first, at).unwrap(),
        };
        for root in &self.roots[1..] {
            stage.advance(Arc::clone(root)).unwrap();
        }
        stage
    }

    fn update(&self, files: &Files, at: UtcTime, earlier: Option<&TrustedSet>) -> Result<TrustedSet, UpdateError> {
        let (stage, _) = self.stage(at, earlier).finish()?.accept(Arc::clone(&files.timestamp))?;
        stage.accept(Arc::clone(&files.snapshot))?.accept(Arc::clone(&files.roles["targets"]))
    }
}

struct Files {
    timestamp: Arc<[u8]>,
    snapshot: Arc<[u8]>,
    roles: std::collections::BTreeMap<String, Arc<[u8]>>,
}

/// Whether both are one and the same file in memory, and not only equal: then nothing was verified again.
fn is_same<R>(a: &Verified<R>, b: &Verified<R>) -> bool {
    std::ptr::eq(a.signers(), b.signers())
}

fn request(set: &TrustedSet, delegator: &str, role: &str) -> RoleRequest {
    set.request(delegator, role).unwrap()
}

fn load(set: &mut TrustedSet, files: &Files, delegator: &str, role: &str) -> Result<(), Reason> {
    let request = request(set, delegator, role);
    set.accept_role(&request, Arc::clone(&files.roles[role])).map(drop).map_err(|e| e.reason)
}

#[test]
fn the_same_files_are_recognised_and_nothing_is_verified_again() {
    let mut repo = Repo::new();
    repo.next_root();
    let files = repo.files();
    let mut first = repo.update(&files, now(), None).unwrap();
    load(&mut first, &files, "targets", "a").unwrap();
    let mut second = repo.update(&files, now().plus_secs(60).unwrap(), Some(&first)).unwrap();
    assert!(is_same(first.root(), second.root()) && is_same(first.timestamp(), second.timestamp()));
    assert!(is_same(first.snapshot(), second.snapshot()) && is_same(first.targets(), second.targets()));
    assert!(is_same(&first.chain[0], &second.chain[0]), "the pinned root as well");
    load(&mut second, &files, "targets", "a").unwrap();
    assert!(is_same(first.delegated("targets", "a").unwrap(), second.delegated("targets", "a").unwrap()));
    // Also without the bytes at hand.
    let (stage, _) = repo.stage(now(), Some(&first)).finish().unwrap().accept(Arc::clone(&files.timestamp)).unwrap();
    let mut third = stage.accept(Arc::clone(&files.snapshot)).unwrap().accept_known().unwrap();
    let wanted = request(&third, "targets", "a");
    assert!(is_same(third.accept_known(&wanted).unwrap(), first.delegated("targets", "a").unwrap()));
    let wanted = request(&third, "targets", "b");
    assert!(third.accept_known(&wanted).is_none(), "nobody loaded it");
    // Without an earlier set there is nothing to recognise.
    let fresh = repo.update(&files, now(), None).unwrap();
    assert!(!is_same(first.targets(), fresh.targets()) && !is_same(first.root(), fresh.root()));
}

#[test]
fn what_is_known_and_has_expired_is_refused() {
    let mut repo = Repo::new();
    repo.targets_expires = time("2030-01-02T00:00:00Z");
    let files = repo.files();
    let mut first = repo.update(&files, now(), None).unwrap();
    load(&mut first, &files, "targets", "a").unwrap();
    let later = time("2030-01-02T00:00:00Z");
    let expired = |result: Result<TrustedSet, UpdateError>, role: &str| {
        let error = result.unwrap_err();
        assert!(matches!(error.reason, Reason::Expired { .. }) && error.role == role, "{error}");
    };
    expired(repo.update(&files, later, Some(&first)), "targets");
    let (stage, _) = repo.stage(later, Some(&first)).finish().unwrap().accept(Arc::clone(&files.timestamp)).unwrap();
    assert!(stage.accept(Arc::clone(&files.snapshot)).unwrap().accept_known().is_err());
    // Every other role of the first set expires a year later, and the root first of all.
    expired(repo.update(&files, repo.expires, Some(&first)), "root");
}

#[test]
fn a_known_delegated_role_that_has_expired_is_not_taken() {
    let repo = Repo::new();
    let files = repo.files();
    let mut first = repo.update(&files, now(), None).unwrap();
    load(&mut first, &files, "targets", "a").unwrap();
    let mut second = repo.update(&files, now(), Some(&first)).unwrap();
    second.now = repo.expires;
    let wanted = request(&second, "targets", "a");
    assert!(second.accept_known(&wanted).is_none());
    assert!(matches!(load(&mut second, &files, "targets", "a"), Err(Reason::Expired { .. })));
}

#[test]
fn the_same_bytes_under_other_keys_are_verified_again_after_a_rotation() {
    let mut repo = Repo::new();
    let files = repo.files();
    let first = repo.update(&files, now(), None).unwrap();
    // The targets key was taken away: the old file must not be believed because it once was.
    repo.targets_seed = 40;
    repo.next_root();
    let error = repo.update(&files, now(), Some(&first)).unwrap_err();
    assert!(matches!(error.reason, Reason::Signatures { valid: 0, needed: 1 }), "{error}");
    let (stage, _) = repo.stage(now(), Some(&first)).finish().unwrap().accept(Arc::clone(&files.timestamp)).unwrap();
    assert!(stage.accept(Arc::clone(&files.snapshot)).unwrap().accept_known().is_err());
}

#[test]
fn a_role_that_one_delegator_vouches_for_is_judged_by_the_keys_of_the_other_one_for_itself() {
    let mut repo = Repo::new();
    repo.shared = [12, 13];
    let files = repo.files();
    let mut first = repo.update(&files, now(), None).unwrap();
    for role in ["a", "b"] {
        load(&mut first, &files, "targets", role).unwrap();
    }
    load(&mut first, &files, "a", "shared").unwrap();
    assert!(matches!(load(&mut first, &files, "b", "shared"), Err(Reason::Signatures { .. })));
    let mut second = repo.update(&files, now(), Some(&first)).unwrap();
    for role in ["a", "b"] {
        let wanted = request(&second, "targets", role);
        assert!(second.accept_known(&wanted).is_some());
    }
    let wanted = request(&second, "b", "shared");
    assert!(second.accept_known(&wanted).is_none(), "known under a, not under b");
    assert!(matches!(load(&mut second, &files, "b", "shared"), Err(Reason::Signatures { .. })));
    let wanted = request(&second, "a", "shared");
    assert!(second.accept_known(&wanted).is_some());
}

#[test]
fn a_known_role_whose_delegator_names_another_key_now_is_verified_again() {
    let mut repo = Repo::new();
    let files = repo.files();
    let mut first = repo.update(&files, now(), None).unwrap();
    load(&mut first, &files, "targets", "a").unwrap();
    load(&mut first, &files, "a", "shared").unwrap();
    // `a` gives `shared` to another key; the file of `shared` stays as it is.
    repo.shared = [13, 12];
    repo.version = 2;
    repo.shared_file = Some(Arc::clone(&files.roles["shared"]));
    let second = repo.files();
    let mut set = repo.update(&second, now(), Some(&first)).unwrap();
    load(&mut set, &second, "targets", "a").unwrap();
    let wanted = request(&set, "a", "shared");
    assert!(set.accept_known(&wanted).is_none());
    assert!(matches!(load(&mut set, &second, "a", "shared"), Err(Reason::Signatures { .. })));
}

#[test]
fn a_known_role_that_the_snapshot_lists_otherwise_now_is_not_taken() {
    let mut repo = Repo::new();
    let files = repo.files();
    let mut first = repo.update(&files, now(), None).unwrap();
    load(&mut first, &files, "targets", "a").unwrap();
    repo.version = 2;
    let mut set = repo.update(&repo.files(), now(), Some(&first)).unwrap();
    let wanted = request(&set, "targets", "a");
    assert!(set.accept_known(&wanted).is_none());
    assert!(load(&mut set, &files, "targets", "a").is_err(), "the old bytes are not the listed ones");
    load(&mut set, &repo.files(), "targets", "a").unwrap();
    // A snapshot of the same version with another hash, and one that states no hash at all.
    let changed = |entry: MetaEntry| {
        let targets = MetaEntry::of(version(1), &files.roles["targets"]);
        let meta = [("a", &entry), ("targets", &targets)];
        let snapshot = signed(&Draft::snapshot(version(1), repo.expires, meta), &[3]);
        let timestamp = Draft::timestamp(version(1), repo.expires, &MetaEntry::of(version(1), &snapshot));
        let (stage, _) = repo.stage(now(), Some(&first)).finish().unwrap().accept(signed(&timestamp, &[2])).unwrap();
        let mut set = stage.accept(snapshot).unwrap().accept_known().unwrap();
        let wanted = request(&set, "targets", "a");
        set.accept_known(&wanted).is_some()
    };
    let listed = MetaEntry::of(version(1), &files.roles["a"]);
    assert!(changed(listed.clone()));
    assert!(changed(MetaEntry { length: None, hashes: None, ..listed.clone() }));
    assert!(!changed(MetaEntry { version: version(2), length: None, hashes: None }));
    assert!(!changed(MetaEntry { length: Some(1), ..listed.clone() }));
    assert!(!changed(MetaEntry { hashes: MetaEntry::of(version(1), b"other").hashes, length: None, ..listed }));
}

#[test]
fn an_earlier_set_of_another_pinned_root_is_no_knowledge() {
    let repo = Repo::new();
    let files = repo.files();
    let mut first = repo.update(&files, now(), None).unwrap();
    load(&mut first, &files, "targets", "a").unwrap();
    let mut other = Repo { expires: time("2032-01-01T00:00:00Z"), roots: Vec::new(), ..Repo::new() };
    other.next_root();
    let mut set = other.update(&files, now(), Some(&first)).unwrap();
    assert!(!is_same(first.targets(), set.targets()));
    set.remember(&first);
    let wanted = request(&set, "targets", "a");
    assert!(set.accept_known(&wanted).is_none());
}

#[test]
fn rollback_is_refused_though_the_older_file_is_known() {
    let mut repo = Repo::new();
    let old = repo.files();
    let first = repo.update(&old, now(), None).unwrap();
    repo.version = 2;
    let new = repo.files();
    let mut stage = repo.stage(now(), Some(&first)).finish().unwrap();
    assert!(stage.offer_local(Arc::clone(&new.timestamp)));
    let error = stage.accept(Arc::clone(&old.timestamp)).unwrap_err();
    assert!(matches!(error.reason, Reason::Rollback { .. }), "{error}");
    let mut stage = repo.stage(now(), Some(&first)).finish().unwrap().accept(Arc::clone(&old.timestamp)).unwrap().0;
    assert!(stage.offer_local(Arc::clone(&new.snapshot)));
    let error = stage.accept(Arc::clone(&old.snapshot)).unwrap_err();
    assert!(matches!(error.reason, Reason::RoleLowered { .. }), "{error}");
}

#[test]
fn a_root_is_recognised_only_after_the_root_that_judged_it() {
    let mut repo = Repo::new();
    repo.next_root();
    repo.next_root();
    let set = repo.update(&repo.files(), now(), None).unwrap();
    // As a first root, the second one of the chain was never judged by itself alone; and the third one not after the first.
    let again = RootStage::pinned_after(Arc::clone(&repo.roots[1]), now(), &set).unwrap();
    assert!(!is_same(again.root(), &set.chain[1]));
    let mut skipping = RootStage::pinned_after(Arc::clone(&repo.roots[0]), now(), &set).unwrap();
    let error = skipping.advance(Arc::clone(&repo.roots[2])).unwrap_err();
    assert!(matches!(error.reason, Reason::WrongVersion { .. }), "{error}");
    skipping.advance(Arc::clone(&repo.roots[1])).unwrap();
    assert!(is_same(skipping.root(), &set.chain[1]));
}

#[test]
fn a_root_is_not_recognised_after_another_root_with_other_keys_in_the_place_of_the_one_that_judged_it() {
    let mut repo = Repo::new();
    repo.next_root();
    repo.next_root();
    let set = repo.update(&repo.files(), now(), None).unwrap();
    // Another second version, signed as it must be, that takes the root key away.
    let mut other = Draft::next(&repo.roots[0], repo.expires).unwrap();
    other.set_role(RoleType::Root, &[key(50)], 1);
    let mut stage = RootStage::pinned_after(Arc::clone(&repo.roots[0]), now(), &set).unwrap();
    stage.advance(signed(&other, &[ROOT, 50])).unwrap();
    let error = stage.advance(Arc::clone(&repo.roots[2])).unwrap_err();
    assert!(matches!(error.reason, Reason::RootSignatures { .. }), "{error}");
}

#[test]
fn what_is_kept_does_not_grow_from_update_to_update_nor_beyond_its_limit() {
    let mut repo = Repo::new();
    let files = repo.files();
    let mut set = repo.update(&files, now(), None).unwrap();
    for role in ["a", "b"] {
        load(&mut set, &files, "targets", role).unwrap();
    }
    let second = repo.update(&files, now(), Some(&set)).unwrap();
    assert_eq!((second.known.len(), second.delegated.len()), (2, 0));
    let third = repo.update(&files, now(), Some(&second)).unwrap();
    assert_eq!(third.known.len(), 0, "what an earlier set was offered and did not take is not handed on");
    let mut last = third;
    last.remember(&set);
    assert_eq!(last.known.len(), 2);
    last.forget();
    assert_eq!(last.known.len(), 0);
    for _ in 0..limits::ROOTS_KEPT + 5 {
        repo.next_root();
    }
    let long = repo.update(&files, now(), Some(&set)).unwrap();
    assert_eq!(long.chain.len(), limits::ROOTS_KEPT);
    let again = repo.update(&files, now(), Some(&long)).unwrap();
    assert_eq!(again.root().version(), version(repo.roots.len() as u64));
    assert!(!is_same(again.root(), long.root()), "beyond what is kept, verified again");
    assert!(is_same(again.chain.last().unwrap(), long.chain.last().unwrap()));
}

#[test]
fn a_look_up_in_known_roles_finds_what_it_found() {
    let repo = Repo::new();
    let files = repo.files();
    let search = |set: &mut TrustedSet, fetch: bool| {
        let mut lookup = Lookup::new(set, "x");
        while let Step::Need(request) = lookup.step(set).unwrap() {
            if fetch {
                set.accept_role(&request, Arc::clone(&files.roles[&request.role])).unwrap();
            } else {
                set.accept_known(&request).unwrap();
            }
        }
        lookup.outcome().hit().map(|hit| (hit.role.clone(), hit.target.clone()))
    };
    let mut first = repo.update(&files, now(), None).unwrap();
    let found = search(&mut first, true);
    assert_eq!(found.as_ref().map(|(role, _)| role.as_str()), Some("shared"));
    let mut second = repo.update(&files, now(), Some(&first)).unwrap();
    assert_eq!(search(&mut second, false), found);
}
