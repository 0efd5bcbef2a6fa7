//! `trust signer add | accept | remove | list`: who may sign in a collection.
//!
//! A delegation and the first file of its role become current together, and that file is signed by the signer. So either
//! the signer's private key is here, or the signer made the file with `accept` on their own machine. Of a reserved role
//! (`_policy`, …) that file holds what is in force of the kind, which leaves `targets` in the same publication.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::Value;
use trust_image::target::digest_pattern_beside;
use trust_keys::{LocalKey, read_public_file};
use trust_reader::catalogue::Code;
use trust_reader::verdict::Problem;
use trust_tuf::draft::{Draft, NewDelegation};
use trust_tuf::envelope::Unverified;
use trust_tuf::model::{Paths, Role};
use trust_tuf::{CollectionName, PublicKey, RoleName, Targets, Version, json, limits};

use super::signer_reserved::Held;
use super::{signer_bins, signer_reserved};
use crate::anchors;
use crate::app::App;
use crate::cli::keys::KeyOptions;
use crate::cli::people::{SignerAccept, SignerAdd, SignerCommand, SignerList, SignerRemove};
use crate::entries::{self, Layout};
use crate::fault;
use crate::keyring::{self, Keyring, Kind};
use crate::output::{SignerAccepted, SignerChange, SignerEntry, Signers};
use crate::policy::roles;
use crate::printer::{Answer, Printer};
use crate::publish::{self, Change, TARGETS_LIFE};
use crate::session::Session;
use crate::signing;
use crate::style::{self, Style};

/// Every image of a collection, to four path components below its name. Patterns do not cross a `/`.
const EVERY_IMAGE: [&str; 5] = ["*", "*/*", "*/*/*", "*/*/*/*", "*/*/*/*/*"];
/// Most keys of one signer that are given at once.
const MAX_KEYS: usize = 64;

/// Runs the command.
pub fn run(app: &App, printer: &Printer, command: &SignerCommand) -> Result<Box<dyn Answer>, Problem> {
    match command {
        SignerCommand::Add(args) => add(app, printer, args),
        SignerCommand::Accept(args) => accept(app, args),
        SignerCommand::Remove(args) => remove(app, printer, args),
        SignerCommand::Bins(args) => Ok(Box::new(signer_bins::lay_out(app, printer, args)?)),
        SignerCommand::Last(args) => Ok(Box::new(signer_bins::last(app, printer, args)?)),
        SignerCommand::List(args) => list(app, args),
    }
}

/// The patterns to delegate. A narrow one gets the one for digest entries beside it, or signing would fail.
fn patterns(given: &[String], mut note: impl FnMut(&str)) -> Vec<String> {
    if given.is_empty() {
        return EVERY_IMAGE.iter().map(|&p| p.to_owned()).collect();
    }
    let mut all: Vec<String> = given.to_vec();
    for pattern in given {
        if let Some(beside) = digest_pattern_beside(pattern)
            && !all.contains(&beside)
        {
            note(&format!("  also      {beside}   (the entry of each signed digest, beside {pattern})"));
            all.push(beside);
        }
    }
    all
}

fn add(app: &App, printer: &Printer, args: &SignerAdd) -> Result<Box<dyn Answer>, Problem> {
    app.need_network("adding a signer")?;
    let kind = roles::kind_of(args.name.as_str());
    if let Some(kind) = kind.filter(|_| !args.paths.is_empty() || args.bins.is_some()) {
        return Err(fault::usage(&format!("`{kind}` is the role for {}: its paths are fixed", roles::words(kind)))
            .remedy(["leave out --paths and --bins"]));
    }
    // `--key alice.pub` is how people know it from docker: no private key's URI ends like that.
    let (public_files, private): (Vec<String>, Vec<String>) =
        args.keys.key.iter().cloned().partition(|uri| uri.ends_with(".pub"));
    let options = KeyOptions { key: private, ..args.keys.clone() };
    let mut keyring = Keyring::new(app, &options)?;
    keyring.expect_answer(Kind::Other)?;
    for name in &args.signer_key {
        if let Some(near) = keyring.near(name)? {
            return Err(misspelt_key(name, &near));
        }
    }
    let own: Vec<Rc<LocalKey>> =
        args.signer_key.iter().map(|uri| keyring.take_or_make(uri, Kind::Other)).collect::<Result<_, _>>()?;
    let mut keys: Vec<PublicKey> = keyring::publics(&own);
    let public_files = public_files.iter().map(|uri| PathBuf::from(uri.strip_prefix("file:").unwrap_or(uri)));
    for path in &args.public_key.iter().cloned().chain(public_files).collect::<Vec<_>>() {
        let bytes = read_public_file(path).map_err(|e| fault::key(&e.into()))?;
        let key = trust_keys::public_key(&bytes, path).map_err(|e| fault::key(&e))?;
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    if keys.is_empty() || keys.len() > MAX_KEYS {
        return Err(fault::usage(
            "give the signer's public key: --public-key FILE, or --signer-key URI if it is on this machine",
        ));
    }
    for key in &keys {
        key.check_registrable().map_err(|e| fault::usage(&e.to_string()))?;
        if !keyring.permits(key) {
            return Err(Problem::new(Code::ExampleKey).fact("key", key.id()));
        }
    }
    if u64::try_from(keys.len()).is_ok_and(|n| args.threshold > n) {
        return Err(fault::usage("the threshold is above the number of the signer's keys"));
    }
    let accepted = args.accept.as_deref().map(read_accepted).transpose()?;
    let new = NewDelegation {
        name: args.name.to_string(),
        keys,
        threshold: args.threshold,
        // Nothing behind a reserved role is asked for its kind, as everywhere in this house.
        terminating: kind.is_some(),
        patterns: match kind {
            Some(kind) => roles::patterns(kind),
            None => patterns(&args.paths, |text| printer.note(text)),
        },
    };
    let pin = anchors::pin_of(app, &args.collection)?;
    // Not repeated after a race: another change of signers is to be looked at first.
    let mut session = Session::for_change(app, pin)?;
    if let Some(kind) = kind {
        signer_reserved::refuse(app, &mut session, kind)?;
    }
    if session.keys_of(&args.name).is_some() {
        return Err(there_already(args, kind));
    }
    let due = first_version(&session, &args.name);
    let mut draft = signing::next_version(app, session.reader.trusted().targets())?;
    let moved = kind.map(|kind| roles::take(&mut draft, kind)).unwrap_or_default();
    let files: Vec<String> = moved.keys().cloned().collect();
    let mut roles = match accepted {
        Some(file) => [(args.name.clone(), checked(file, &args.name, &new, due, &moved)?)].into(),
        None => first_files(app, args, &own, &new, due, moved)?,
    };
    if kind.is_some() {
        signer_reserved::note_shared_keys(printer, &session, &new.keys);
    }
    // A reserved role stands in front of everybody, bins or not.
    let place = if kind.is_some() { None } else { signer_bins::place(&session, &new, args.bins.is_some())? };
    match place {
        None => draft.set_delegation(&new),
        Some(other) => {
            printer.note(&format!("  before    {other}, whose bins some readers look no further than"));
            draft.set_delegation_before(&new, &other);
        }
    }
    if args.bins.is_some() {
        signer_bins::note_readers(printer);
    }
    let targets = signing::sign_as(&session, &mut keyring, &RoleName::targets(), &draft, false)?;
    roles.insert(RoleName::targets(), targets);
    let change = Change { roles, ..Change::default() };
    for key in keyring.new_keys() {
        printer.note(&format!("  {}   {key}", if args.change.dry_run { "would make" } else { "new key" }));
    }
    let publication = if args.change.dry_run {
        None
    } else {
        keyring.store_new()?;
        Some(publish::publish(app, session, &change)?.1)
    };
    Ok(Box::new(SignerChange {
        change: "added".to_owned(),
        name: args.name.to_string(),
        kind: roles::kind_word(args.name.as_str()).to_owned(),
        collection: args.collection.to_string(),
        files,
        files_unread: None,
        paths: new.patterns,
        bins: args.bins.map(Layout::files),
        publication,
    }))
}

/// The version that the role's next first file must have: 1, or the one after what it had when it was removed.
fn first_version(session: &Session, name: &RoleName) -> Version {
    let before = session.reader.trusted().snapshot().entry(name.as_str()).map(|entry| entry.version);
    before.and_then(Version::next).unwrap_or(Version::ONE)
}

/// An empty file of a role with this version.
fn empty_file(app: &App, version: Version) -> Result<Draft, Problem> {
    Ok(Draft::targets_at(version, publish::expires(app, TARGETS_LIFE)?))
}

/// The signer's own first file, and the bins if there are to be some.
fn first_files(
    app: &App,
    args: &SignerAdd,
    own: &[Rc<LocalKey>],
    new: &NewDelegation,
    due: Version,
    moved: BTreeMap<String, json::Value>,
) -> Result<BTreeMap<RoleName, Vec<u8>>, Problem> {
    let enough = u64::try_from(own.len()).is_ok_and(|n| n >= args.threshold);
    if !enough {
        let out = format!("{}.json", args.name);
        let accept =
            format!("the signer runs: trust signer accept {} {} --key URI --out {out}", args.name, args.collection);
        let add = format!("then add --accept {out} to this command");
        let bins = args.bins.map(|layout| {
            let (name, collection, count) = (&args.name, &args.collection, layout.files());
            format!("without --bins; those the signer makes then: trust signer bins {name} {collection} {count}")
        });
        let problem = Problem::new(Code::KeyMissing)
            .headline("the signer's first file is missing, and their private key is not on this machine")
            .fact("signer", &args.name);
        let problem = match moved.is_empty() {
            true => problem
                .cause("a delegation becomes current together with the first file of its role, which the signer signs"),
            false => problem
                .fact("in force", moved.keys().cloned().collect::<Vec<_>>().join(", "))
                .cause("what is in force moves into the first file of the role, which its own key signs"),
        };
        return Err(problem.remedy([accept, add].into_iter().chain(bins)));
    }
    let layout = args.bins.unwrap_or(Layout::OneFile);
    let mut drafts = entries::first_files(app, &args.name, due, layout, &new.keys, new.threshold)?;
    if let Some(draft) = drafts.get_mut(&args.name) {
        roles::put(draft, moved);
    }
    drafts.into_iter().map(|(name, draft)| Ok((name, keyring::sign(&draft, own)?))).collect()
}

fn read_accepted(path: &Path) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let limit = limits::PUBLISH_BYTES;
    let file = crate::settings::paths::open_now(path).map_err(|e| fault::file(path, &e))?;
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| fault::file(path, &e))?;
    if u64::try_from(bytes.len()).is_ok_and(|n| n > limit) {
        return Err(fault::bad_file(path, "too large for the first file of a role"));
    }
    Ok(bytes)
}

/// Checks the signer's file before anything is signed because of it: of the right version, signed by their keys, and empty
/// but for what moves into it.
fn checked(
    file: Vec<u8>,
    name: &RoleName,
    new: &NewDelegation,
    due: Version,
    moved: &BTreeMap<String, json::Value>,
) -> Result<Vec<u8>, Problem> {
    let refused = |why: String| {
        Problem::new(Code::KeyNotAllowed).headline(format!("the first file of `{name}` cannot be used")).cause(why)
    };
    let read =
        Unverified::<Targets>::read(file.as_slice(), limits::PUBLISH_BYTES).map_err(|e| refused(e.to_string()))?;
    if read.claimed_version() != due {
        return Err(refused(format!("it has version {}, and {due} is due", read.claimed_version())));
    }
    let document = json::parse(&file).map_err(|e| refused(e.to_string()))?;
    let signed = document.get("signed");
    let is_empty = |member: &str| {
        signed
            .and_then(|s| s.get(member))
            .is_none_or(|m| m.as_object().is_some_and(std::collections::BTreeMap::is_empty))
    };
    if !is_empty("delegations") {
        return Err(refused("it delegates".to_owned()));
    }
    let targets = signed.and_then(|s| s.get("targets")).and_then(json::Value::as_object);
    if targets.map_or(!moved.is_empty(), |targets| targets != moved) {
        return Err(refused(match moved.is_empty() {
            true => "it is not empty".to_owned(),
            false => "it does not hold what is in force now, each file as it is; make it again (trust signer accept)"
                .to_owned(),
        }));
    }
    let payload = signed.map(json::Value::canonical).unwrap_or_default();
    let signatures = document.get("signatures").and_then(json::Value::as_array).unwrap_or_default();
    let valid = new.keys.iter().filter(|key| {
        signatures.iter().any(|signature| {
            let text = |name| signature.get(name).and_then(json::Value::as_str);
            text("keyid") == Some(key.id().as_str())
                && text("sig").and_then(|s| hex::decode(s).ok()).is_some_and(|sig| key.verify(&payload, &sig))
        })
    });
    let valid = u64::try_from(valid.count()).unwrap_or(0);
    if valid < new.threshold {
        return Err(refused(format!("it is signed by {valid} of {} needed keys", new.threshold)));
    }
    Ok(file)
}

fn accept(app: &App, args: &SignerAccept) -> Result<Box<dyn Answer>, Problem> {
    let mut keyring = Keyring::new(app, &args.keys)?;
    let keys = args.keys.key.iter().map(|uri| keyring.take_or_make(uri, Kind::Other)).collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() {
        return Err(fault::usage("name your key: --key URI"));
    }
    // Whoever was a signer before goes on with the version after the last one, if this machine knows the collection.
    let kind = roles::kind_of(args.name.as_str());
    let (mut due, mut moved) = (Version::ONE, BTreeMap::new());
    match app.settings.pin(args.collection.as_str()) {
        Some(pin) if app.server().is_ok() => {
            let session = Session::open(app, pin)?;
            due = first_version(&session, &args.name);
            if let Some(kind) = kind {
                moved = roles::take(&mut signing::next_version(app, session.reader.trusted().targets())?, kind);
            }
        }
        // Only a signer begins with nothing, whatever stands in the collection.
        None if kind.is_some() => return Err(fault::not_pinned(args.collection.as_str())),
        _ if kind.is_some() => return Err(fault::no_server()),
        _ => {}
    };
    let files: Vec<String> = moved.keys().cloned().collect();
    let mut draft = empty_file(app, due)?;
    roles::put(&mut draft, moved);
    let file = keyring::sign(&draft, &keys)?;
    keyring.store_new()?;
    let ids = keys.iter().map(|key| key.id().as_str().to_owned()).collect();
    Ok(Box::new(Accepted { file, name: args.name.clone(), collection: args.collection.clone(), keys: ids, files }))
}

/// The signer's first file.
struct Accepted {
    file: Vec<u8>,
    name: RoleName,
    collection: CollectionName,
    keys: Vec<String>,
    files: Vec<String>,
}

impl Answer for Accepted {
    fn command(&self) -> &'static str {
        "signer accept"
    }

    fn json(&self) -> Value {
        crate::output::value(&SignerAccepted {
            name: self.name.to_string(),
            collection: self.collection.to_string(),
            keys: self.keys.clone(),
            files: self.files.clone(),
            file: serde_json::from_slice(&self.file).unwrap_or(Value::Null),
        })
    }

    fn text(&self, _: Style) -> String {
        format!("{}\n", String::from_utf8_lossy(&self.file))
    }

    fn report(&self, style: Style) -> String {
        let who = format!("{} the first file of {} in {}\n", style.good("signed"), self.name, self.collection);
        let taken = roles::kind_of(self.name.as_str()).map(|kind| signer_reserved::taken_text(kind, &self.files));
        let next = style::facts(
            [
                ("takes over", taken.unwrap_or_default()),
                ("hand out", "this file and your public key (trust key export)".to_owned()),
                ("then", format!("trust signer add {} {} --public-key FILE --accept FILE", self.name, self.collection)),
            ]
            .into_iter()
            .filter(|(_, text)| !text.is_empty()),
        );
        format!("{who}{next}")
    }
}

fn remove(app: &App, printer: &Printer, args: &SignerRemove) -> Result<Box<dyn Answer>, Problem> {
    app.need_network("removing a signer")?;
    let pin = anchors::pin_of(app, &args.collection)?;
    let collection = args.collection.as_str();
    let kind = roles::kind_of(args.name.as_str());
    let held = |session: &mut Session| kind.map(|kind| Held::read(app, session, kind)).transpose();
    let ends = match kind {
        Some(_) => held(&mut Session::for_change(app, pin)?)?,
        None => None,
    };
    match &ends {
        _ if args.change.dry_run => {}
        Some(ends) => ends.confirm_end(app, collection)?,
        None => {
            let what = format!("What `{}` signed in {collection} will not count any more.", args.name);
            app.terminal.confirm_name(&what, collection, app.globals.confirm.as_deref())?;
        }
    }
    let mut keyring = Keyring::new(app, &args.keys)?;
    keyring.expect_answer(Kind::Other)?;
    let publication = publish::with_retries(
        |text| printer.note(text),
        || {
            let mut session = Session::for_change(app, pin)?;
            if let (Some(ends), Some(now)) = (&ends, held(&mut session)?)
                && let Some(problem) = ends.refuse_other(&now, collection)
            {
                // Not as an error of this attempt: another one would not make it right.
                return Ok(Err(problem));
            }
            let mut draft = signing::next_version(app, session.reader.trusted().targets())?;
            if !draft.remove_delegation(args.name.as_str()) {
                let known: Vec<String> = session.signers().iter().map(RoleName::to_string).collect();
                return Err(fault::no_such_signer(args.name.as_str(), args.collection.as_str(), &known));
            }
            let targets = signing::sign_as(&session, &mut keyring, &RoleName::targets(), &draft, true)?;
            let mut change = Change { roles: [(RoleName::targets(), targets)].into(), ..Change::default() };
            // Not of a signer of images: what they sign meanwhile ends anyway, and must not hold up that it does.
            change.rests_on.extend(kind.map(|_| args.name.clone()));
            if args.change.dry_run {
                return Ok(Ok(None));
            }
            publish::publish(app, session, &change).map(|(_, publication)| Ok(Some(publication)))
        },
    )??;
    Ok(Box::new(SignerChange {
        change: "removed".to_owned(),
        name: args.name.to_string(),
        kind: roles::kind_word(args.name.as_str()).to_owned(),
        collection: args.collection.to_string(),
        files: ends.as_ref().map(Held::files).unwrap_or_default(),
        files_unread: ends.as_ref().and_then(Held::unread).map(str::to_owned),
        paths: Vec::new(),
        bins: None,
        publication,
    }))
}

/// A key is made where none is; but a name that is nearly that of another key is a typing error more often.
fn misspelt_key(name: &str, near: &str) -> Problem {
    Problem::new(Code::KeyMissing)
        .headline(format!("no key of this machine is called {}", style::plain(name)))
        .fact("did you mean", near)
        .cause("a new key is made for a name that is not there, and this one is nearly that of another key")
        .remedy([
            format!("to use that one: --signer-key {near}"),
            format!("to make a new one: trust key generate {}, then this command again", style::plain(name)),
        ])
}

fn there_already(args: &SignerAdd, kind: Option<&str>) -> Problem {
    let (what, how) = match kind {
        Some(_) => (
            "a role",
            "to give the policy other keys or another threshold: remove the role, then add it and publish again",
        ),
        None => ("a signer", "to change paths: remove the signer, then add them"),
    };
    fault::usage(&format!("{} has {what} `{}` already", args.collection, args.name))
        .remedy([format!("to give it a new key: trust rotate signer:{}", args.name), how.to_owned()])
}

fn list(app: &App, args: &SignerList) -> Result<Box<dyn Answer>, Problem> {
    let mut session = Session::open(app, anchors::pin_of(app, &args.collection)?)?;
    let mut signers = Vec::new();
    for name in session.signers() {
        let Some(keys) = session.keys_of(&name) else { continue };
        let paths = paths_of(&session, &name);
        let file = session.role(app, name.as_str()).ok();
        signers.push(SignerEntry {
            name: name.to_string(),
            kind: roles::kind_word(name.as_str()).to_owned(),
            threshold: keys.threshold(),
            keys: keys.keyids().iter().map(|id| id.as_str().to_owned()).collect(),
            paths,
            bins: session.bins_of(&name).map(|bins| bins.count()),
            version: file.as_ref().map(|file| file.version().get()),
            expires: file.as_ref().map(|file| file.expires().to_string()),
        });
    }
    Ok(Box::new(Signers { collection: args.collection.to_string(), signers }))
}

pub(super) fn paths_of(session: &Session, name: &RoleName) -> Vec<String> {
    if name.is_targets() {
        return vec!["everything".to_owned()];
    }
    let delegations = session.reader.trusted().targets().delegations();
    match delegations.and_then(|d| d.role(name.as_str())).map(|d| d.paths()) {
        Some(Paths::Patterns(patterns)) => patterns.clone(),
        Some(Paths::HashPrefixes(prefixes)) => prefixes.iter().map(|p| format!("hash {p}")).collect(),
        None => Vec::new(),
    }
}

/// Patterns for people.
fn paths_text(paths: &[String], bins: Option<u64>) -> String {
    let is_every = paths.iter().map(String::as_str).eq(EVERY_IMAGE.iter().copied());
    let text = if is_every { "every image".to_owned() } else { paths.join(" ") };
    bins.map_or(text.clone(), |bins| format!("{text}, in {bins} bins"))
}

impl Answer for Signers {
    fn command(&self) -> &'static str {
        "signer list"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        let mut rows = vec![["SIGNER", "VERSION", "KEYS", "PATHS"].map(str::to_owned).to_vec()];
        for signer in &self.signers {
            let keys: Vec<String> = signer.keys.iter().map(|id| style::plain(&style::short(id))).collect();
            rows.push(vec![
                style::plain(&signer.name),
                signer.version.map_or("cannot be used".to_owned(), |v| format!("v{v}")),
                format!("{} of {}: {}", signer.threshold, keys.len(), keys.join(", ")),
                style::plain(&match roles::kind_of(&signer.name) {
                    Some(kind) => format!("{}, and no image", roles::words(kind)),
                    None => paths_text(&signer.paths, signer.bins),
                }),
            ]);
        }
        style::table(&rows)
    }
}

impl Answer for SignerChange {
    fn command(&self) -> &'static str {
        match self.change.as_str() {
            "added" => "signer add",
            "moved" => "signer last",
            _ => "signer remove",
        }
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        String::new()
    }

    fn report(&self, style: Style) -> String {
        let kind = roles::kind_of(&self.name);
        let what = if kind.is_some() { "role" } else { "signer" };
        let head = match &self.publication {
            Some(publication) => format!(
                "{} {what} {} in {}   {}\n",
                style.good(&self.change),
                self.name,
                self.collection,
                super::sign::published_text(publication)
            ),
            None => format!(
                "{} {what} {} in {}: nothing was published\n",
                style.warn("dry run"),
                self.name,
                self.collection
            ),
        };
        if let Some(kind) = kind {
            let facts = match self.change.as_str() {
                "added" => [
                    ("signs", format!("{}, and nothing else", roles::words(kind))),
                    ("moved", signer_reserved::taken_text(kind, &self.files)),
                ],
                _ => [
                    match &self.files_unread {
                        Some(why) => ("ended", signer_reserved::unread_text(kind, why)),
                        None => ("ended", signer_reserved::taken_text(kind, &self.files)),
                    },
                    ("now", "the key of `targets` signs this kind".to_owned()),
                ],
            };
            return format!("{head}{}", style::facts(facts));
        }
        if self.paths.is_empty() {
            head
        } else {
            format!("{head}{}", style::facts([("may sign", paths_text(&self.paths, self.bins))]))
        }
    }
}

#[cfg(test)]
mod tests {
    use trust_keys::SigningKey;

    use super::*;

    #[test]
    fn narrow_patterns_get_their_digest_entries_and_it_is_said() {
        let mut said = Vec::new();
        let given = ["api/v*".to_owned(), "web/*".to_owned()];
        let all = patterns(&given, |text| said.push(text.to_owned()));
        assert_eq!(all, ["api/v*", "web/*", "api/@sha256-*"]);
        assert_eq!(said.len(), 1);
        assert_eq!(patterns(&[], |_| panic!("nothing to say")).len(), EVERY_IMAGE.len());
    }

    #[test]
    fn an_accepted_file_must_be_empty_signed_and_of_the_due_version() {
        let key = Rc::new(LocalKey::generate(trust_keys::Algorithm::Ed25519).unwrap());
        let other = Rc::new(LocalKey::generate(trust_keys::Algorithm::Ed25519).unwrap());
        let new = NewDelegation {
            name: "alice".to_owned(),
            keys: vec![key.public().clone()],
            threshold: 1,
            terminating: false,
            patterns: vec!["*".to_owned()],
        };
        let alice = RoleName::parse("alice").unwrap();
        let none = BTreeMap::new();
        let expires = trust_tuf::UtcTime::parse("2030-01-01T00:00:00Z").unwrap();
        let draft = Draft::targets(expires);
        let good = keyring::sign(&draft, &[Rc::clone(&key)]).unwrap();
        assert!(checked(good.clone(), &alice, &new, Version::ONE, &none).is_ok());
        assert!(checked(good, &alice, &new, Version::new(2).unwrap(), &none).is_err());
        assert!(checked(keyring::sign(&draft, &[other]).unwrap(), &alice, &new, Version::ONE, &none).is_err());
        let mut full = draft;
        full.set_target("v1", &trust_tuf::TargetInfo::of(b"x"));
        let moved = full.clone().take_targets();
        let full_file = keyring::sign(&full, &[Rc::clone(&key)]).unwrap();
        assert!(checked(full_file.clone(), &alice, &new, Version::ONE, &moved).is_ok());
        let mut other = moved.clone();
        other.insert("v2".to_owned(), json::Value::from("x"));
        assert!(checked(full_file, &alice, &new, Version::ONE, &other).is_err(), "less than what is in force");
        assert!(checked(keyring::sign(&full, &[key]).unwrap(), &alice, &new, Version::ONE, &none).is_err());
        assert!(checked(b"{}".to_vec(), &alice, &new, Version::ONE, &none).is_err());
    }
}
