//! `trust rotate ROLE COLLECTION`: a new key for a role. Clients follow without anybody doing anything.
//!
//! Online roles in two steps, so that a cache between server and client never leaves a client with a root and a timestamp
//! that do not fit: first old and new key are both valid, later the old one leaves. The signer signs with the newest key of
//! a role that it holds. People's roles in one: what the new key makes invalid is signed again in the same publication.
//! On a root that has expired nothing is signed before somebody confirmed that it is the newest.

use std::rc::Rc;

use serde_json::Value;
use trust_keys::{KeyName, LocalKey, SigningKey};
use trust_reader::verdict::Problem;
use trust_tuf::draft::{Draft, NewDelegation};
use trust_tuf::model::{Paths, Role};
use trust_tuf::{PublicKey, RoleKeys, RoleName, RoleType, Root, UtcTime};

use super::init::slug;
use crate::anchors;
use crate::app::App;
use crate::cli::collections::Rotate;
use crate::cli::values::RotatedRole;
use crate::drafts;
use crate::entries::Entries;
use crate::fault;
use crate::keyring::{self, Keyring, Kind};
use crate::online_keys;
use crate::output::Rotated;
use crate::printer::{Answer, Printer};
use crate::publish::{self, Change, ROOT_LIFE};
use crate::server;
use crate::session::Session;
use crate::signing;
use crate::style::{self, Style};

/// How long caches may still show an old root or timestamp, unless `--overlap` says otherwise, in seconds.
const CACHE_LIFE: i64 = 300;
/// How many entries of the log are looked at for the first step.
const LOG_ENTRIES: u32 = 100;

/// Runs the command.
pub fn run(app: &App, printer: &Printer, args: &Rotate) -> Result<Rotated, Problem> {
    app.need_network("rotating a key")?;
    let online = matches!(args.role, RotatedRole::Timestamp | RotatedRole::Snapshot);
    if !online && (args.finish || args.emergency) {
        return Err(fault::usage(
            "--finish and --emergency go with timestamp and snapshot: other roles rotate in one step",
        ));
    }
    if !online && args.overlap.is_some() {
        return Err(fault::usage("--overlap goes with timestamp and snapshot: other roles rotate in one step"));
    }
    if online && args.new_key.is_some() {
        return Err(fault::usage("online keys are made by the signer: leave --new-key out"));
    }
    let pin = anchors::pin_of(app, &args.collection)?;
    let mut keyring = Keyring::new(app, &args.keys)?;
    let kind = if online || args.role == RotatedRole::Root { Kind::Root } else { Kind::Other };
    keyring.expect_answer(kind)?;
    // All but a signer's key stand in the root: these rotations publish a new one.
    let session = match &args.role {
        RotatedRole::Signer(_) => Session::for_change(app, pin)?,
        _ => Session::for_new_root(app, pin)?,
    };
    if !matches!(args.role, RotatedRole::Signer(_)) {
        confirm_root(app, printer, args, session.reader.trusted().root())?;
    }
    let work = Work { app, printer, args, keyring: &mut keyring, session };
    match &args.role {
        RotatedRole::Timestamp => work.online(RoleType::Timestamp),
        RotatedRole::Snapshot => work.online(RoleType::Snapshot),
        RotatedRole::Root => work.root(),
        RotatedRole::Targets => work.targets(),
        RotatedRole::Signer(name) => work.signer(name),
    }
}

/// An expired root can be one that was replaced long ago: whoever holds back the newer one would get a second root signed
/// for a version that is taken. Somebody has to have looked, before a key is made or opened.
fn confirm_root(app: &App, printer: &Printer, args: &Rotate, root: &Root) -> Result<(), Problem> {
    let (version, expires) = (root.version(), root.expires());
    if app.now()? < expires {
        return Ok(());
    }
    let danger = fault::expired_root_danger(version, expires);
    if args.change.dry_run {
        printer.note(&format!("! {danger}"));
        return Ok(());
    }
    let given = app.globals.confirm.as_deref();
    if given.is_none() && !app.terminal.is_interactive() {
        let why = "there is no terminal, or nobody may be asked";
        return Err(fault::expired_root(&args.collection, version, expires, why));
    }
    app.terminal.confirm_name(&danger, args.collection.as_str(), given)
}

struct Work<'a, 'k> {
    app: &'a App,
    printer: &'a Printer,
    args: &'a Rotate,
    keyring: &'k mut Keyring<'a>,
    session: Session,
}

fn ids(keys: &RoleKeys) -> Vec<String> {
    keys.keyids().iter().map(|id| id.as_str().to_owned()).collect()
}

fn id_texts(keys: &[PublicKey]) -> Vec<String> {
    keys.iter().map(|key| key.id().as_str().to_owned()).collect()
}

impl Work<'_, '_> {
    fn role_keys(&self, role: RoleType) -> RoleKeys {
        self.session.reader.trusted().root().role(role).clone()
    }

    fn next_root(&self) -> Result<Draft, Problem> {
        let root = self.session.reader.trusted().root();
        Draft::next(root.bytes(), publish::expires(self.app, ROOT_LIFE)?).map_err(|e| fault::draft(&e))
    }

    /// Signs a root with the keys of the one before, and with those that are new in it.
    fn sign_root(&mut self, draft: &Draft, more: &[Rc<LocalKey>]) -> Result<Vec<u8>, Problem> {
        let keys = self.role_keys(RoleType::Root);
        let mut mine = self.keyring.for_role("root", &keys, Kind::Root, false)?;
        mine.extend(more.iter().cloned());
        keyring::sign(draft, &mine)
    }

    /// A new key of a person: the one that was named, or a new one beside the old name.
    fn new_key(&mut self, stem: &str, kind: Kind) -> Result<Rc<LocalKey>, Problem> {
        let name = match &self.args.new_key {
            Some(name) => name.clone(),
            None => self.free_name(stem)?,
        };
        self.keyring.take_or_make(&name, kind)
    }

    /// The first free name of `STEM-2`, `STEM-3`, …
    fn free_name(&self, stem: &str) -> Result<String, Problem> {
        for number in 2..1_000_u32 {
            let name = format!("{stem}-{number}");
            let parsed = KeyName::parse(&name).map_err(|e| fault::key(&e))?;
            if self.keyring.is_free(&parsed) {
                return Ok(name);
            }
        }
        Err(fault::usage("name the new key: --new-key NAME"))
    }

    /// Keeps new keys and publishes, unless `--dry-run`, and reports.
    fn finish(self, change: &Change, told: Told) -> Result<Rotated, Problem> {
        let dry_run = self.args.change.dry_run;
        for key in self.keyring.new_keys() {
            self.printer.note(&format!("  {}   {key}", if dry_run { "would make" } else { "new key" }));
        }
        let publication = match dry_run {
            true => None,
            false => {
                self.keyring.store_new()?;
                Some(publish::publish(self.app, self.session, change)?.1)
            }
        };
        Ok(Rotated {
            collection: self.args.collection.to_string(),
            role: told.role,
            step: if told.finish_after.is_some() { "overlap" } else { "done" }.to_owned(),
            old_keys: told.old,
            new_keys: told.new,
            finish_after: told.finish_after.map(|time| time.to_string()),
            publication,
        })
    }

    fn online(self, role: RoleType) -> Result<Rotated, Problem> {
        let keys = self.role_keys(role);
        let current: Vec<PublicKey> = keys.keys().map(|(_, key)| key.clone()).collect();
        let overlapping = current.len() > 1;
        if self.args.finish && !overlapping {
            return Err(fault::rotation("there is nothing to finish: the role has one key"));
        }
        if overlapping && !self.args.emergency {
            if !self.args.finish {
                return Err(fault::both_valid(role.as_str(), &self.args.collection));
            }
            let now = self.app.now()?;
            match self.finish_after(role, &keys) {
                Some(after) if now < after => {
                    return Err(fault::finish_too_early(role.as_str(), &self.args.collection, after));
                }
                Some(_) => {}
                None => self.printer.note("! when the first step was done is not known here"),
            }
            // Step 2: the newest key stands last.
            let newest = current.last().cloned().into_iter().collect::<Vec<_>>();
            let (app, collection, dry_run) = (self.app, &self.args.collection, self.args.change.dry_run);
            let done = self.publish_online(role, &keys, &newest, None)?;
            if !dry_run {
                drafts::forget_overlap(app, collection, role);
            }
            return Ok(done);
        }
        let identity = online_keys::identity(self.app, self.args.identity.as_ref())?;
        let address = self.session.server.clone().ok_or_else(|| fault::internal("no server"))?;
        let api = server::api(self.app, &address)?;
        let made = online_keys::ask(self.app, &api, &self.args.collection, &[role], &identity)?;
        if self.args.emergency {
            return self.publish_online(role, &keys, &made, None);
        }
        let both: Vec<PublicKey> = current.into_iter().chain(made).collect();
        let overlap = self.args.overlap.map_or(Some(CACHE_LIFE), |overlap| i64::try_from(overlap.as_secs()).ok());
        let after = overlap.and_then(|overlap| self.app.now().ok()?.plus_secs(overlap)).ok_or_else(fault::clock)?;
        if !self.args.change.dry_run {
            let note = drafts::Overlap { keys: id_texts(&both), finish_after: after.to_string() };
            drafts::keep_overlap(self.app, &self.args.collection, role, &note)?;
        }
        self.publish_online(role, &keys, &both, Some(after))
    }

    /// From when on the old key may leave: as this machine noted it at the first step, else as the server's log says.
    fn finish_after(&self, role: RoleType, keys: &RoleKeys) -> Option<UtcTime> {
        let collection = &self.args.collection;
        let mut both = ids(keys);
        both.sort_unstable();
        let noted = drafts::overlap(self.app, collection, role).filter(|note| {
            let mut noted = note.keys.clone();
            noted.sort_unstable();
            noted == both
        });
        if let Some(note) = noted {
            return UtcTime::parse(&note.finish_after);
        }
        let api = server::api(self.app, self.session.server.as_deref()?).ok()?;
        let log = self.app.wait(api.log(collection, None, LOG_ENTRIES)).ok()?;
        let root = self.session.reader.trusted().root().version().get();
        let published = log.entries.iter().find(|entry| entry.new_root && entry.root == root)?;
        UtcTime::parse(&published.time)?.plus_secs(CACHE_LIFE)
    }

    fn publish_online(
        mut self,
        role: RoleType,
        old: &RoleKeys,
        new: &[PublicKey],
        finish_after: Option<UtcTime>,
    ) -> Result<Rotated, Problem> {
        let mut draft = self.next_root()?;
        draft.set_role(role, new, 1);
        let root = self.sign_root(&draft, &[])?;
        let change = Change { roots: vec![root], ..Change::default() };
        let told = Told { role: role.to_string(), old: ids(old), new: id_texts(new), finish_after };
        self.finish(&change, told)
    }

    fn root(mut self) -> Result<Rotated, Problem> {
        let keys = self.role_keys(RoleType::Root);
        // Before a key is made: whoever cannot sign the change leaves nothing behind.
        self.keyring.for_role("root", &keys, Kind::Root, false)?;
        let stem = format!("{}-root", slug(&self.args.collection));
        let new = self.new_key(&stem, Kind::Root)?;
        if keys.holds(new.public()) {
            return Err(fault::rotation("this key is a root key already"));
        }
        // The key that leaves is the one that is here; other people's root keys stay.
        let mine = self.keyring.for_role("root", &keys, Kind::Root, false)?;
        let leaving = mine.first().map(|key| key.public().clone());
        let mut publics: Vec<PublicKey> =
            keys.keys().map(|(_, key)| key.clone()).filter(|key| Some(key) != leaving.as_ref()).collect();
        publics.push(new.public().clone());
        let mut draft = self.next_root()?;
        draft.set_role(RoleType::Root, &publics, keys.threshold());
        let root = self.sign_root(&draft, &[new])?;
        let change = Change { roots: vec![root], ..Change::default() };
        let told = Told { role: "root".to_owned(), old: ids(&keys), new: id_texts(&publics), finish_after: None };
        self.finish(&change, told)
    }

    fn targets(mut self) -> Result<Rotated, Problem> {
        let keys = self.role_keys(RoleType::Targets);
        self.keyring.for_role("root", &self.role_keys(RoleType::Root), Kind::Root, false)?;
        let stem = format!("{}-targets", slug(&self.args.collection));
        let new = self.new_key(&stem, Kind::Other)?;
        let publics = self.replaced("targets", &keys, &new)?;
        let mut root = self.next_root()?;
        root.set_role(RoleType::Targets, &publics, keys.threshold());
        let root = self.sign_root(&root, &[])?;
        let targets = signing::next_version(self.app, self.session.reader.trusted().targets())?;
        let targets = self.sign_anew("targets", &targets, &keys, &publics, &new)?;
        let change = Change { roots: vec![root], roles: [(RoleName::targets(), targets)].into(), ..Change::default() };
        let told = Told { role: "targets".to_owned(), old: ids(&keys), new: id_texts(&publics), finish_after: None };
        self.finish(&change, told)
    }

    fn signer(mut self, name: &RoleName) -> Result<Rotated, Problem> {
        let Some(keys) = self.session.keys_of(name) else {
            let known: Vec<String> = self.session.signers().iter().map(RoleName::to_string).collect();
            return Err(fault::no_such_signer(name.as_str(), self.args.collection.as_str(), &known));
        };
        self.delegation(name, &keys, &[])?;
        self.keyring.for_role("targets", &self.role_keys(RoleType::Targets), Kind::Other, false)?;
        let stem = format!("{}-{}", slug(&self.args.collection), name.as_str().trim_start_matches('_'))
            .chars()
            .take(60)
            .collect::<String>()
            .replace('.', "-");
        let new = self.new_key(&stem, Kind::Other)?;
        let publics = self.replaced(name.as_str(), &keys, &new)?;
        let delegation = self.delegation(name, &keys, &publics)?;
        let mut targets = signing::next_version(self.app, self.session.reader.trusted().targets())?;
        targets.set_delegation(&delegation);
        let targets_keys = self.role_keys(RoleType::Targets);
        let mine = self.keyring.for_role("targets", &targets_keys, Kind::Other, false)?;
        let targets = keyring::sign(&targets, &mine)?;
        // What hangs below the signer is signed with the signer's keys too.
        let drafts = Entries::of(self.app, &mut self.session, name)?.renewed(&publics, keys.threshold())?;
        let mut change = Change { roles: [(RoleName::targets(), targets)].into(), ..Change::default() };
        for (role, draft) in &drafts {
            change.roles.insert(role.clone(), self.sign_anew(name.as_str(), draft, &keys, &publics, &new)?);
        }
        let told =
            Told { role: format!("signer:{name}"), old: ids(&keys), new: id_texts(&publics), finish_after: None };
        self.finish(&change, told)
    }

    /// The keys of a role with the new one in place of the one that is here (or of its only one).
    fn replaced(&mut self, role: &str, keys: &RoleKeys, new: &Rc<LocalKey>) -> Result<Vec<PublicKey>, Problem> {
        if keys.holds(new.public()) {
            return Err(fault::rotation("this key is one of the role's already"));
        }
        let all: Vec<PublicKey> = keys.keys().map(|(_, key)| key.clone()).collect();
        if all.len() == 1 {
            return Ok(vec![new.public().clone()]);
        }
        let mine = self.keyring.for_role(role, keys, Kind::Other, false)?;
        let leaving = mine.first().map(|key| key.public().clone());
        let stay = all.into_iter().filter(|key| Some(key) != leaving.as_ref());
        Ok(stay.chain([new.public().clone()]).collect())
    }

    /// Signs a file with the new key and, where the threshold wants more, with those that stay and are here.
    fn sign_anew(
        &mut self,
        role: &str,
        draft: &Draft,
        keys: &RoleKeys,
        publics: &[PublicKey],
        new: &Rc<LocalKey>,
    ) -> Result<Vec<u8>, Problem> {
        let mut mine = vec![Rc::clone(new)];
        if keys.threshold() > 1 {
            let old = self.keyring.for_role(role, keys, Kind::Other, false)?;
            mine.extend(old.into_iter().filter(|key| publics.contains(key.public())));
            if u64::try_from(mine.len()).is_ok_and(|n| n < keys.threshold()) {
                let listed: Vec<String> = publics.iter().map(|key| key.id().short().to_owned()).collect();
                return Err(fault::no_key_for(role, keys.threshold(), &keyring::short_ids(&mine), &listed));
            }
        }
        keyring::sign(draft, &mine)
    }

    fn delegation(&self, name: &RoleName, keys: &RoleKeys, publics: &[PublicKey]) -> Result<NewDelegation, Problem> {
        let delegations = self.session.reader.trusted().targets().delegations();
        let old = delegations.and_then(|d| d.role(name.as_str())).ok_or_else(|| fault::internal("no delegation"))?;
        let Paths::Patterns(patterns) = old.paths() else {
            return Err(fault::rotation("this signer has hash prefixes instead of paths, which are not written here"));
        };
        Ok(NewDelegation {
            name: name.to_string(),
            keys: publics.to_vec(),
            threshold: keys.threshold(),
            terminating: old.terminating(),
            patterns: patterns.clone(),
        })
    }
}

/// What is told of a rotation.
struct Told {
    role: String,
    old: Vec<String>,
    new: Vec<String>,
    finish_after: Option<UtcTime>,
}

impl Answer for Rotated {
    fn command(&self) -> &'static str {
        "rotate"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        String::new()
    }

    fn report(&self, style: Style) -> String {
        let short =
            |keys: &[String]| keys.iter().map(|id| style::plain(&style::short(id))).collect::<Vec<_>>().join(", ");
        let head = match &self.publication {
            Some(publication) => {
                let versions = format!("root v{}, {}", publication.root, super::sign::published_text(publication));
                match &self.finish_after {
                    Some(_) => {
                        let begun = style.good(&format!("rotation of {} begun (1 of 2)", self.role));
                        format!("{begun}   {}   {versions}\n", self.collection)
                    }
                    None => format!("{} {} of {}   {versions}\n", style.good("rotated"), self.role, self.collection),
                }
            }
            None => format!("{} {} of {}: nothing was published\n", style.warn("dry run"), self.role, self.collection),
        };
        let mut facts = vec![("before", short(&self.old_keys)), ("now", short(&self.new_keys))];
        if let Some(after) = &self.finish_after {
            facts.push(("next", format!("both keys are valid; from {after} on, when caches have seen the new root:")));
            facts.push(("", format!("trust rotate {} {} --finish", self.role, self.collection)));
        }
        format!("{head}{}", style::facts(facts))
    }
}
