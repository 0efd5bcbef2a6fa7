//! `trust init`: a collection is born.
//!
//! Order: reserve the name, get proved online keys, make or open the people's keys, sign root and targets, keep them,
//! publish, pin, verify. Everything up to the publication can be run again and goes on where it stopped: the signer admits
//! a root by its fingerprint, so the root must stay the same in between.

use std::io::Read;
use std::path::Path;

use serde_json::Value;
use trust_keys::{KeyName, SigningKey};
use trust_reader::anchor::{self, Anchor};
use trust_reader::api::ApiClient;
use trust_reader::catalogue::Code;
use trust_reader::verdict::Problem;
use trust_tuf::draft::Draft;
use trust_tuf::trusted::RootStage;
use trust_tuf::{CollectionName, RoleName, RoleType};

use super::pin;
use crate::app::App;
use crate::cli::collections::Init;
use crate::drafts::{self, FirstFiles};
use crate::fault;
use crate::keyring::{self, Keyring, Kind};
use crate::online_keys;
use crate::output::Initialised;
use crate::printer::{Answer, Printer};
use crate::publish::{self, Change, ROOT_LIFE, TARGETS_LIFE};
use crate::server;
use crate::session::Session;
use crate::style::{self, Style};

/// Largest grant that is read, in bytes.
const MAX_GRANT_BYTES: u64 = 64 * 1024;

/// Runs the command.
pub fn run(app: &App, printer: &Printer, args: &Init) -> Result<Initialised, Problem> {
    app.need_network("creating a collection")?;
    let collection = &args.collection;
    if let Some(pin) = app.settings.pin(collection.as_str()) {
        return Err(Problem::new(Code::NameTaken)
            .headline(format!("{collection} is pinned on this machine already"))
            .fact("pinned", &pin.fingerprint)
            .cause("init makes a new collection, and this one is in use here")
            .remedy(["use it: trust sign NAME:TAG@DIGEST", "or choose another name"]));
    }
    let identity = online_keys::identity(app, args.identity.as_ref())?;
    let grant = args.grant.as_deref().map(read_grant).transpose()?;
    let address = app.server()?;
    let api = server::api(app, &address)?;

    let earlier = drafts::load(app, collection)?;
    if earlier.is_none() {
        expect_answers(app, args)?;
    }
    let files = match earlier {
        Some(files) => {
            printer.note(&format!(
                "  going on with the root of an earlier run of init, {}",
                anchor::fingerprint(&files.root)
            ));
            files
        }
        None => make(app, printer, &api, args, &identity)?,
    };
    let fingerprint = anchor::fingerprint(&files.root);
    printer.note(&format!("  root      v1 {fingerprint}"));
    if args.change.dry_run {
        return initialised(app, collection, &files, None);
    }
    let change = Change {
        roots: vec![files.root.clone()],
        roles: [(RoleName::targets(), files.targets.clone())].into(),
        grant,
        ..Change::default()
    };
    let published = publish::publish_first(app, &api, collection, &change);
    let answer = match published {
        Ok(answer) => Some(answer),
        // An earlier run may have published and not heard of it: what is there decides, below.
        Err(problem) if problem.code == Code::Conflict => None,
        Err(problem) if problem.code == Code::SignerRefused => {
            return Err(not_admitted(problem, collection, &fingerprint));
        }
        Err(problem) => return Err(problem),
    };
    let session = Session::online(app, Anchor { collection: collection.clone(), root: files.root.clone() }, address)
        .map_err(|problem| if answer.is_none() { taken(&problem, collection) } else { problem })?;
    let publication = match answer {
        Some(answer) => publish::confirm(app, session, &change, &answer)?.1,
        None => already_published(&session),
    };
    pin::pin(app, collection.as_str(), &files.root)?;
    drafts::forget(app, collection);
    initialised(app, collection, &files, Some(publication))
}

/// Makes and signs the first files, and keeps them for the next run.
fn make(
    app: &App,
    printer: &Printer,
    api: &ApiClient,
    args: &Init,
    identity: &trust_tuf::KeyId,
) -> Result<FirstFiles, Problem> {
    let collection = &args.collection;
    let reserved = app.wait(api.reserve(collection))?;
    if reserved.published {
        return Err(Problem::new(Code::NameTaken).fact("collection", collection));
    }
    let online = [RoleType::Timestamp, RoleType::Snapshot];
    let online = online_keys::ask(app, api, collection, &online, identity)?;
    let [timestamp, snapshot] = online.as_slice() else {
        return Err(fault::internal("two online keys were asked for"));
    };

    let mut keyring = Keyring::new(app, &args.keys)?;
    let slug = slug(collection);
    let names = if args.root_key.is_empty() { vec![format!("{slug}-root")] } else { args.root_key.clone() };
    // Only default names are made: a key that was named is mistyped if it is not there.
    let mut root_keys = Vec::new();
    for name in &names {
        root_keys.push(match args.root_key.is_empty() {
            true => keyring.take_or_make(name, Kind::Root)?,
            false => keyring.take(name, Kind::Root)?,
        });
    }
    let distinct = keyring::publics(&root_keys);
    let too_few = u64::try_from(distinct.len()).is_ok_and(|n| args.root_threshold > n);
    if too_few
        || (1..distinct.len())
            .any(|at| distinct.get(..at).is_some_and(|before| distinct.get(at).is_some_and(|key| before.contains(key))))
    {
        return Err(fault::usage("the root threshold needs as many distinct root keys: give --root-key for each"));
    }
    let targets_key = match &args.targets_key {
        Some(name) => keyring.take(name, Kind::Other)?,
        None => keyring.take_or_make(&format!("{slug}-targets"), Kind::Other)?,
    };
    if distinct.contains(targets_key.public()) {
        return Err(fault::usage("a root key cannot also be the key of `targets`"));
    }

    let mut root = Draft::root(publish::expires(app, ROOT_LIFE)?);
    root.set_role(RoleType::Root, &distinct, args.root_threshold);
    root.set_role(RoleType::Targets, &[targets_key.public().clone()], 1);
    root.set_role(RoleType::Timestamp, std::slice::from_ref(timestamp), 1);
    root.set_role(RoleType::Snapshot, std::slice::from_ref(snapshot), 1);
    let targets = Draft::targets(publish::expires(app, TARGETS_LIFE)?);
    let files =
        FirstFiles { root: keyring::sign(&root, &root_keys)?, targets: keyring::sign(&targets, &[targets_key])? };
    // Our own files, judged as everybody else will judge them.
    RootStage::pinned(files.root.clone(), app.now()?).map_err(|e| fault::draft(&e))?;
    for key in keyring.new_keys() {
        printer.note(&format!("  {}   {key}", if args.change.dry_run { "would make" } else { "new key" }));
    }
    if !args.change.dry_run {
        keyring.store_new()?;
        drafts::keep(app, collection, &files)?;
    }
    Ok(files)
}

/// Fails at once if a named key is not there, or if keys are to be made and nobody can give their passphrases.
fn expect_answers(app: &App, args: &Init) -> Result<(), Problem> {
    let mut keyring = Keyring::new(app, &args.keys)?;
    // What comes from stdin can be read only once: it is read when it is used.
    for name in args.root_key.iter().chain(&args.targets_key).filter(|uri| KeyName::parse(uri).is_ok()) {
        keyring.locate(name)?;
    }
    if args.root_key.is_empty() {
        keyring.expect_new_answer(Kind::Root)?;
    }
    if args.targets_key.is_none() {
        keyring.expect_new_answer(Kind::Other)?;
    }
    Ok(())
}

/// The beginning of a key's name, from the collection's: key names have fewer characters and 64 of them at most.
pub fn slug(collection: &CollectionName) -> String {
    let plain: String = collection
        .as_str()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .collect();
    let plain = plain.trim_matches('-').to_owned();
    if plain.len() <= 48 {
        return plain;
    }
    let hash = anchor::fingerprint(collection.as_str().as_bytes());
    let tail: String = plain.chars().rev().take(32).collect::<Vec<_>>().into_iter().rev().collect();
    format!("{}-{}", tail.trim_matches('-'), style::short(&hash))
}

fn read_grant(path: &Path) -> Result<Vec<u8>, Problem> {
    let mut grant = Vec::new();
    let file = crate::settings::paths::open_now(path).map_err(|e| fault::file(path, &e))?;
    file.take(MAX_GRANT_BYTES + 1).read_to_end(&mut grant).map_err(|e| fault::file(path, &e))?;
    if u64::try_from(grant.len()).is_ok_and(|n| n > MAX_GRANT_BYTES) {
        return Err(fault::bad_file(path, "too large for a grant"));
    }
    Ok(grant)
}

fn not_admitted(mut problem: Problem, collection: &CollectionName, fingerprint: &str) -> Problem {
    // The signer's own words end with the step that stands below, without the fingerprint's comparison.
    for (label, value) in &mut problem.facts {
        if label == "found"
            && let Some((found, _)) = value.split_once("; if the fingerprint")
        {
            *value = found.to_owned();
        }
    }
    problem.fact("root", fingerprint).remedy([
        "ask the signer's operator to admit this root, and compare the fingerprint with them:".to_owned(),
        format!("trust-signer admit {collection} {fingerprint} --data DIR"),
        format!("then run again: trust init {collection}    (keys and root were kept)"),
    ])
}

fn taken(problem: &Problem, collection: &CollectionName) -> Problem {
    Problem::new(Code::NameTaken)
        .headline(format!("{collection} was published by somebody else"))
        .fact("found", format!("{}: {}", problem.id(), problem.headline))
}

fn already_published(session: &Session) -> crate::output::Publication {
    let set = session.reader.trusted();
    crate::output::Publication {
        server: session.server.clone().unwrap_or_default(),
        sequence: 1,
        root: trust_tuf::model::Role::version(&**set.root()).get(),
        snapshot: trust_tuf::model::Role::version(&**set.snapshot()).get(),
        timestamp: trust_tuf::model::Role::version(&**set.timestamp()).get(),
        roles: [("targets".to_owned(), trust_tuf::model::Role::version(&**set.targets()).get())].into(),
    }
}

fn initialised(
    app: &App,
    collection: &CollectionName,
    files: &FirstFiles,
    publication: Option<crate::output::Publication>,
) -> Result<Initialised, Problem> {
    let stage = RootStage::pinned(files.root.clone(), app.now()?).map_err(|e| {
        Problem::new(Code::PinnedRootBroken).headline("the root of an earlier run cannot be used").fact("found", e)
    })?;
    let keys = |role: RoleType| stage.root().role(role).keyids().iter().map(|id| id.as_str().to_owned()).collect();
    Ok(Initialised {
        collection: collection.to_string(),
        fingerprint: anchor::fingerprint(&files.root),
        root_keys: keys(RoleType::Root),
        targets_keys: keys(RoleType::Targets),
        publication,
    })
}

impl Answer for Initialised {
    fn command(&self) -> &'static str {
        "init"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        format!("{}\n", self.fingerprint)
    }

    fn report(&self, style: Style) -> String {
        let Some(publication) = &self.publication else {
            return format!("{} {}: nothing was published\n", style.warn("dry run"), self.collection);
        };
        let mut text = format!(
            "{} {}   root v{}, snapshot v{}, timestamp v{}\n",
            style.good("created"),
            self.collection,
            publication.root,
            publication.snapshot,
            publication.timestamp
        );
        text.push_str(&style::facts([
            ("pinned", "this root, on this machine".to_owned()),
            ("others", format!("trust pin add {} {}", self.collection, self.fingerprint)),
            ("keep", "a copy of the root key on two media: trust key export NAME --private --out FILE".to_owned()),
        ]));
        if self.root_keys.len() == 1 {
            text.push_str(
                "  later    several people should hold root keys, for example 2 of 3 (--root-key, --root-threshold)\n",
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_collection_gives_a_key_name() {
        for name in [
            "registry.example.com/pay",
            "127.0.0.1:5000/demo",
            &format!("r.example/{}", "a".repeat(200)),
            "[::1]:5000/a",
        ] {
            let slug = slug(&CollectionName::parse(name).unwrap());
            assert!(trust_keys::KeyName::parse(&format!("{slug}-targets")).is_ok(), "{slug}");
        }
        let long =
            |c: &str| slug(&CollectionName::parse(&format!("r.example/{}{}", c.repeat(2), "a".repeat(100))).unwrap());
        assert_ne!(long("x"), long("y"), "long names that differ at the front do not share a key");
    }
}
