//! `trust key generate | list | show | export | import`

use std::path::Path;

use serde_json::Value;
use trust_keys::{
    Algorithm, KeyName, KeyUri, LocalKey, PassphraseInputs, PassphraseSource, PromptInfo, PromptPurpose, Protection,
    ScryptCost, SigningKey, private_pem, write_private_file,
};
use trust_reader::verdict::Problem;
use trust_tuf::PublicKey;

use crate::app::App;
use crate::cli::keys::{Generate, KeyCommand, KeyExport, KeyImport, KeyKind, KeyShow};
use crate::fault;
use crate::keyring::{Keyring, Kind};
use crate::output::{KeyEntry, KeyExported, KeyReport, Keys};
use crate::printer::Answer;
use crate::style::{self, Style};

/// Runs the command.
pub fn run(app: &App, command: &KeyCommand) -> Result<Box<dyn Answer>, Problem> {
    match command {
        KeyCommand::Generate(args) => generate(app, args),
        KeyCommand::List(_) => list(app),
        KeyCommand::Show(args) => show(app, args),
        KeyCommand::Export(args) => export(app, args),
        KeyCommand::Import(args) => import(app, args),
    }
}

fn name(text: &str) -> Result<KeyName, Problem> {
    KeyName::parse(text).map_err(|e| fault::key(&e))
}

fn entry(name: &str, public: &PublicKey, encrypted: Option<bool>) -> KeyEntry {
    KeyEntry {
        name: name.to_owned(),
        kind: Some(Algorithm::of(public).map_or_else(|| public.scheme().to_owned(), |a| a.to_string())),
        key_id: Some(public.id().as_str().to_owned()),
        encrypted,
        fault: None,
    }
}

fn report(app: &App, change: &str, name: &KeyName, public: &PublicKey, encrypted: bool) -> KeyReport {
    let file = app.settings.paths.keys.join(format!("{name}.pub"));
    KeyReport {
        change: change.to_owned(),
        key: entry(name.as_str(), public, Some(encrypted)),
        public_pem: public.to_pem(),
        public_file: Some(file.display().to_string()),
    }
}

fn generate(app: &App, args: &Generate) -> Result<Box<dyn Answer>, Problem> {
    let name = name(&args.name)?;
    let algorithm = match args.kind {
        KeyKind::Ed25519 => Algorithm::Ed25519,
        KeyKind::P256 => Algorithm::P256,
    };
    let mut keyring = Keyring::new(app, &args.keys)?;
    let key = keyring.generate(&name, algorithm, Kind::Other)?;
    Ok(Box::new(report(app, "generated", &name, key.public(), !args.keys.no_passphrase)))
}

fn list(app: &App) -> Result<Box<dyn Answer>, Problem> {
    let options = crate::cli::keys::KeyOptions::default();
    let keyring = Keyring::new(app, &options)?;
    let none = || fault::no_keys(&app.settings.paths.keys);
    let entries = keyring.existing_store().ok_or_else(none)?.list().map_err(|e| fault::key(&e))?;
    let keys: Vec<KeyEntry> = entries
        .into_iter()
        .map(|entry| match entry.summary {
            Ok(summary) => KeyEntry {
                name: entry.name.to_string(),
                kind: Some(summary.algorithm.to_string()),
                key_id: Some(summary.key_id.as_str().to_owned()),
                encrypted: Some(summary.is_encrypted),
                fault: None,
            },
            Err(error) => KeyEntry {
                name: entry.name.to_string(),
                kind: None,
                key_id: None,
                encrypted: None,
                fault: Some(style::plain(&error.to_string())),
            },
        })
        .collect();
    if keys.is_empty() {
        return Err(none());
    }
    Ok(Box::new(Keys { keys }))
}

/// The public half of a key. Only a key without a public file beside it has to be opened.
fn public_of(keyring: &mut Keyring<'_>, uri: &str) -> Result<(PublicKey, bool), Problem> {
    let locked = keyring.locate(uri)?;
    let public = match locked.public() {
        Some(public) => public.clone(),
        None => keyring.unlock(&locked, Kind::Other)?.public().clone(),
    };
    Ok((public, locked.is_encrypted()))
}

fn show(app: &App, args: &KeyShow) -> Result<Box<dyn Answer>, Problem> {
    let mut keyring = Keyring::new(app, &args.keys)?;
    let (public, encrypted) = public_of(&mut keyring, &args.uri)?;
    if let Ok(name) = KeyName::parse(&args.uri) {
        return Ok(Box::new(report(app, "shown", &name, &public, encrypted)));
    }
    let uri = KeyUri::parse(&args.uri).map_err(|e| fault::key_uri(&e))?.to_string();
    let key = entry(&uri, &public, Some(encrypted));
    Ok(Box::new(KeyReport { change: "shown".to_owned(), key, public_pem: public.to_pem(), public_file: None }))
}

fn export(app: &App, args: &KeyExport) -> Result<Box<dyn Answer>, Problem> {
    let mut keyring = Keyring::new(app, &args.keys)?;
    let uri = KeyUri::parse(&args.uri).map_err(|e| fault::key_uri(&e))?.to_string();
    if !args.private {
        let (public, _) = public_of(&mut keyring, &args.uri)?;
        return Ok(Box::new(KeyExported { name: uri, public_pem: Some(public.to_pem()), private_file: None }));
    }
    let Some(out) = &app.globals.out else {
        return Err(fault::usage("a private key is written only into a file: give --out FILE"));
    };
    let locked = keyring.locate(&args.uri)?;
    let key = keyring.unlock(&locked, Kind::Other)?;
    let passphrase = new_passphrase(app, args.new_passphrase_file.as_deref(), &uri, &key)?;
    let cost = match (args.portable, app.globals.dev) {
        (true, _) => ScryptCost::PORTABLE,
        (false, true) => ScryptCost::DEV,
        (false, false) => ScryptCost::OFFLINE,
    };
    let pem = private_pem(&key, Protection::Passphrase { passphrase: &passphrase, cost }).map_err(fault::key_file)?;
    write_private_file(out, pem.as_bytes()).map_err(|e| fault::key(&e.into()))?;
    Ok(Box::new(Exported(KeyExported { name: uri, public_pem: None, private_file: Some(out.display().to_string()) })))
}

/// The passphrase of a copy: from its own file, or asked. A copy is never left without one.
fn new_passphrase(
    app: &App,
    file: Option<&Path>,
    name: &str,
    key: &LocalKey,
) -> Result<trust_keys::Passphrase, Problem> {
    let inputs = PassphraseInputs { file: file.map(Path::to_owned), ..PassphraseInputs::default() };
    let info = PromptInfo {
        key: format!("the copy of {name}"),
        algorithm: Some(key.algorithm()),
        key_id: Some(key.id().as_str().to_owned()),
        purpose: PromptPurpose::Protect,
    };
    let mut ask = |info: &PromptInfo| app.terminal.passphrase(info, "--new-passphrase-file");
    let passphrase = PassphraseSource::resolve(inputs)
        .and_then(|mut source| source.obtain(&info, &mut ask))
        .map_err(|e| fault::passphrase(&e))?;
    if passphrase.is_empty() {
        return Err(fault::usage("a copy of a private key is not protected by an empty passphrase"));
    }
    Ok(passphrase)
}

fn import(app: &App, args: &KeyImport) -> Result<Box<dyn Answer>, Problem> {
    let name = name(&args.name)?;
    let mut keyring = Keyring::new(app, &args.keys)?;
    keyring.store()?.ensure_free(&name).map_err(|e| fault::key(&e))?;
    let locked = keyring.locate(&args.uri)?;
    // A key that comes without encryption may be read: it is protected here.
    let key = if locked.is_encrypted() {
        keyring.unlock(&locked, Kind::Other)?
    } else {
        locked.unlock_unencrypted().map_err(|e| fault::key(&e))?
    };
    let passphrase = match (&args.new_passphrase_file, args.keys.no_passphrase) {
        (Some(file), _) => Some(new_passphrase(app, Some(file), name.as_str(), &key)?),
        (None, true) => None,
        (None, false) => keyring.new_passphrase(name.as_str(), key.algorithm(), Kind::Other)?,
    };
    if !args.change.dry_run {
        keyring.import(&name, &key, passphrase.as_ref())?;
    }
    Ok(Box::new(report(app, "imported", &name, key.public(), passphrase.is_some())))
}

impl Answer for Keys {
    fn command(&self) -> &'static str {
        "key list"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        let mut rows = vec![["KEY", "KIND", "ID", "ENCRYPTED"].map(str::to_owned).to_vec()];
        for key in &self.keys {
            let dash = || "-".to_owned();
            let encrypted = match (&key.fault, key.encrypted) {
                (Some(fault), _) => format!("! cannot be used: {fault}"),
                (None, Some(true)) => "yes".to_owned(),
                (None, _) => "no".to_owned(),
            };
            let id = key.key_id.as_deref().map_or_else(dash, style::short);
            rows.push(vec![key.name.clone(), key.kind.clone().unwrap_or_else(dash), id, encrypted]);
        }
        style::table(&rows)
    }
}

impl Answer for KeyReport {
    fn command(&self) -> &'static str {
        match self.change.as_str() {
            "generated" => "key generate",
            "imported" => "key import",
            _ => "key show",
        }
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        if self.change != "shown" {
            return format!("{}\n", self.key.key_id.as_deref().unwrap_or_default());
        }
        let encrypted = if self.key.encrypted == Some(true) { "yes" } else { "no" };
        let facts = [
            ("key", self.key.name.as_str()),
            ("kind", self.key.kind.as_deref().unwrap_or("-")),
            ("id", self.key.key_id.as_deref().unwrap_or("-")),
            ("encrypted", encrypted),
        ];
        format!("{}{}", style::facts(facts), self.public_pem)
    }

    fn report(&self, style: Style) -> String {
        if self.change == "shown" {
            return String::new();
        }
        let kind = self.key.kind.as_deref().unwrap_or_default();
        let mut text = format!("{} key {} ({kind})\n", style.good(&self.change), self.key.name);
        if self.key.encrypted == Some(false) {
            text.push_str(&format!(
                "{} the key is not encrypted: whoever reads the file can sign\n",
                style.warn("note")
            ));
        }
        if let Some(file) = &self.public_file {
            text.push_str(&style::facts([("hand out", file)]));
        }
        text
    }
}

impl Answer for KeyExported {
    fn command(&self) -> &'static str {
        "key export"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        self.public_pem.clone().unwrap_or_default()
    }
}

/// The private half was written by `export` itself, with its own mode: the printer must not write that file again.
struct Exported(KeyExported);

impl Answer for Exported {
    fn command(&self) -> &'static str {
        "key export"
    }

    fn json(&self) -> Value {
        crate::output::value(&self.0)
    }

    fn text(&self, _: Style) -> String {
        String::new()
    }

    fn report(&self, style: Style) -> String {
        let file = self.0.private_file.as_deref().unwrap_or_default();
        format!("{} key {} into {file}, encrypted\n", style.good("exported"), self.0.name)
    }

    fn wrote_out(&self) -> bool {
        true
    }
}
