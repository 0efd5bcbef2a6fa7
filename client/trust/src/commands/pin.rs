//! `trust pin add | list | remove | show`

use serde_json::Value;
use trust_reader::anchor::{self, Anchor};
use trust_reader::catalogue::Code;
use trust_reader::problems::{Failure, Scene};
use trust_reader::transport::{FetchError, Transport};
use trust_reader::verdict::Problem;
use trust_tuf::model::Role;
use trust_tuf::trusted::RootStage;
use trust_tuf::{RoleType, Root, Verified, limits};

use crate::anchors;
use crate::app::App;
use crate::cli::setup::{PinAdd, PinCommand, PinRemove, PinShow};
use crate::fault;
use crate::output::{PinChange, PinEntry, PinReport, Pins, RoleKeysReport};
use crate::printer::Answer;
use crate::server;
use crate::settings::file::PinEntry as Written;
use crate::settings::{Pin, edit};
use crate::style::{self, Style};

/// Runs the command.
pub fn run(app: &App, command: &PinCommand) -> Result<Box<dyn Answer>, Problem> {
    match command {
        PinCommand::Add(args) => add(app, args),
        PinCommand::List(_) => Ok(Box::new(list(app)?)),
        PinCommand::Remove(args) => remove(app, args),
        PinCommand::Show(args) => show(app, args),
    }
}

/// Reads a root and checks that its own keys signed it.
fn root_of(app: &App, bytes: &[u8]) -> Result<Verified<Root>, Problem> {
    let stage = RootStage::pinned(bytes.to_vec(), app.now()?);
    stage.map(|stage| stage.root().clone()).map_err(|error| Problem::new(Code::PinnedRootBroken).fact("found", error))
}

fn add(app: &App, args: &PinAdd) -> Result<Box<dyn Answer>, Problem> {
    let collection = args.collection.as_str();
    if let Some(pin) = app.settings.pin(collection)
        && !args.replace
    {
        let same = args.fingerprint.as_deref() == Some(pin.fingerprint.as_str());
        if !same {
            return Err(fault::usage(&format!("{collection} is pinned already; give --replace to pin another root"))
                .fact("pinned", &pin.fingerprint));
        }
    }
    let bytes = match (&args.root, &args.fingerprint) {
        (Some(path), _) => anchors::read_root(path)?,
        (None, Some(fingerprint)) => fetched(app, args, fingerprint)?.root,
        (None, None) => first_use(app, args)?,
    };
    let fingerprint = anchor::fingerprint(&bytes);
    if let Some(wanted) = &args.fingerprint
        && *wanted != fingerprint
    {
        return Err(Problem::new(Code::FingerprintDiffers)
            .headline("the root file does not have this fingerprint")
            .fact("collection", collection)
            .fact("given", wanted)
            .fact("found", fingerprint));
    }
    let root = root_of(app, &bytes)?;
    if !args.change.dry_run {
        pin(app, collection, &bytes)?;
    }
    Ok(Box::new(PinChange {
        change: "pinned".to_owned(),
        collection: collection.to_owned(),
        fingerprint,
        version: Some(root.version().get()),
        dry_run: args.change.dry_run,
    }))
}

/// Keeps the root file, then writes the pin: a pin never names a file that is not there.
pub fn pin(app: &App, collection: &str, root: &[u8]) -> Result<(), Problem> {
    anchors::keep(app, root)?;
    // A server that is not the context's stays with the pin, so that the next command finds it.
    let of_flag = app.settings.server.as_ref().filter(|s| matches!(s.origin, crate::settings::Origin::Flag(_)));
    let written = Written {
        collection: collection.to_owned(),
        fingerprint: anchor::fingerprint(root),
        mirrors: if of_flag.is_some() { app.globals.mirror.clone() } else { Vec::new() },
        server: of_flag.map(|server| server.value.clone()),
    };
    edit::edit(&app.settings.paths.config, |document| edit::set_pin(document, &written))?;
    Ok(())
}

fn fetched(app: &App, args: &PinAdd, fingerprint: &str) -> Result<Anchor, Problem> {
    app.need_network("fetching the root")?;
    let address = server::address(app, None)?;
    let sources = server::with_mirrors(app, server::anonymous(app, &address)?, &server::mirrors(app, None))?;
    app.wait(anchor::fetch_pinned_from(&sources, &args.collection, fingerprint))
}

/// Whatever root the server shows first; never a mirror, which nobody trusts with this. A person has to want this, by the flag.
fn first_use(app: &App, args: &PinAdd) -> Result<Vec<u8>, Problem> {
    app.need_network("fetching the root")?;
    let address = server::address(app, None)?;
    let transport = server::anonymous(app, &address)?;
    let path = trust_reader::layout::Layout::of(&args.collection).metadata("1.root.json");
    let scene = Scene::online(args.collection.as_str(), &address);
    let bytes = app.wait(async {
        transport.fetch(&path, limits::ROOT_BYTES).await.map_err(|error| match error {
            FetchError::NotFound => scene.problem(Failure::NoCollection),
            error => scene.problem(Failure::Fetch { file: "1.root.json".to_owned(), error }),
        })
    })?;
    let question = format!("Trust root {} for {}?", anchor::fingerprint(&bytes), args.collection);
    app.terminal.confirm(&question, app.globals.yes)?;
    Ok(bytes.to_vec())
}

/// A pin as it is reported.
pub fn entry(app: &App, pin: &Pin) -> PinEntry {
    PinEntry {
        collection: pin.collection.clone(),
        fingerprint: pin.fingerprint.clone(),
        server: pin.server.clone(),
        mirrors: pin.mirrors.clone(),
        file: pin.file.display().to_string(),
        root_stored: anchors::root_file(app, pin).is_some(),
    }
}

fn list(app: &App) -> Result<Pins, Problem> {
    // Nothing found is never 0: whoever asks what is pinned must not read "none" as "fine".
    if app.settings.pins.is_empty() {
        return Err(fault::nothing_pinned());
    }
    Ok(Pins { pins: app.settings.pins.iter().map(|pin| entry(app, pin)).collect() })
}

fn remove(app: &App, args: &PinRemove) -> Result<Box<dyn Answer>, Problem> {
    let pin = anchors::pin_of(app, &args.collection)?;
    let collection = args.collection.as_str();
    if pin.file != app.settings.paths.config {
        return Err(fault::configuration("the pin stands in the system's file, which this command does not change")
            .fact("file", pin.file.display()));
    }
    let what = format!("Images of {collection} will not be verified on this machine any more.");
    app.terminal.confirm_name(&what, collection, app.globals.confirm.as_deref())?;
    let mut removed = false;
    if !args.change.dry_run {
        edit::edit(&app.settings.paths.config, |document| {
            removed = edit::remove_pin(document, collection);
            Ok(())
        })?;
        if !removed {
            return Err(fault::not_pinned(collection));
        }
    }
    Ok(Box::new(PinChange {
        change: "removed".to_owned(),
        collection: collection.to_owned(),
        fingerprint: pin.fingerprint.clone(),
        version: None,
        dry_run: args.change.dry_run,
    }))
}

fn show(app: &App, args: &PinShow) -> Result<Box<dyn Answer>, Problem> {
    let pin = anchors::pin_of(app, &args.collection)?;
    let anchor = anchors::load(app, pin)?;
    let root = root_of(app, &anchor.root)?;
    let roles = RoleType::ALL.into_iter().map(|role| role_keys(role.as_str(), root.role(role))).collect();
    let report = PinReport {
        collection: pin.collection.clone(),
        fingerprint: pin.fingerprint.clone(),
        version: root.version().get(),
        expires: root.expires().to_string(),
        roles,
    };
    if args.root {
        return Ok(Box::new(RootFile { report, bytes: anchor.root }));
    }
    Ok(Box::new(report))
}

/// Who speaks for a role, as it is reported.
pub fn role_keys(role: &str, keys: &trust_tuf::RoleKeys) -> RoleKeysReport {
    RoleKeysReport {
        role: role.to_owned(),
        threshold: keys.threshold(),
        keys: keys.keyids().iter().map(|id| id.as_str().to_owned()).collect(),
    }
}

/// The root file itself, as it was signed.
struct RootFile {
    report: PinReport,
    bytes: Vec<u8>,
}

impl Answer for RootFile {
    fn command(&self) -> &'static str {
        "pin show"
    }

    fn json(&self) -> Value {
        let mut value = crate::output::value(&self.report);
        if let Some(members) = value.as_object_mut() {
            members.insert("root".to_owned(), Value::String(String::from_utf8_lossy(&self.bytes).into_owned()));
        }
        value
    }

    // The bytes themselves, without a newline behind: the fingerprint is over them.
    fn text(&self, _: Style) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

impl Answer for PinReport {
    fn command(&self) -> &'static str {
        "pin show"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        let mut facts = vec![
            ("collection".to_owned(), self.collection.clone()),
            ("pinned root".to_owned(), format!("v{}, expires {}", self.version, self.expires)),
            ("sha256".to_owned(), self.fingerprint.clone()),
        ];
        for role in &self.roles {
            let keys: Vec<String> = role.keys.iter().map(|id| style::short(id)).collect();
            facts
                .push((style::plain(&role.role), format!("{} of {}: {}", role.threshold, keys.len(), keys.join(", "))));
        }
        style::facts(facts)
    }
}

impl Answer for Pins {
    fn command(&self) -> &'static str {
        "pin list"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        let mut rows = vec![["COLLECTION", "ROOT", "SERVER"].map(str::to_owned).to_vec()];
        for pin in &self.pins {
            let server = pin.server.as_deref().map_or("(context)".to_owned(), style::plain);
            let server = match pin.mirrors.len() {
                0 => server,
                1 => format!("{server} and 1 mirror"),
                n => format!("{server} and {n} mirrors"),
            };
            rows.push(vec![pin.collection.clone(), pin.fingerprint.clone(), server]);
        }
        style::table(&rows)
    }
}

impl Answer for PinChange {
    fn command(&self) -> &'static str {
        if self.change == "pinned" { "pin add" } else { "pin remove" }
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        format!("{}\n", self.fingerprint)
    }

    fn report(&self, style: Style) -> String {
        let version = self.version.map(|v| format!("   root v{v}")).unwrap_or_default();
        let dry = if self.dry_run { " (nothing was changed: --dry-run)" } else { "" };
        format!("{} {}{version}{dry}\n", style.good(&self.change), self.collection)
    }
}
