//! The keys of one run of a command: found by URI or by the role that they may sign for, opened once.
//!
//! Invariants: a key is located, and it is known to be allowed for the role, before anybody is asked for its passphrase; a
//! passphrase for root keys and one for all other keys come from different variables; a person may mistype three times.
//! Nothing is signed here with a key that the role does not list.

use std::collections::BTreeMap;
use std::io::Read;
use std::rc::Rc;

use trust_keys::{
    Algorithm, ExampleKeys, FileError, KeyName, KeyPlaces, KeyStore, KeyUri, LocalKey, LockedKey, Passphrase,
    PassphraseInputs, PassphraseSource, PassphraseVariable, PromptInfo, PromptPurpose, Protection, ScryptCost,
    SigningKey, StoreError, locate,
};
use trust_reader::verdict::Problem;
use trust_tuf::draft::Draft;
use trust_tuf::{PublicKey, RoleKeys, Signature};

use crate::app::App;
use crate::cli::keys::KeyOptions;
use crate::fault;

/// How often a person may mistype a passphrase.
const TRIES: usize = 3;

/// Whose passphrase: root keys have variables of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A root key.
    Root,
    /// Every other key.
    Other,
}

impl Kind {
    fn variables(self) -> [&'static str; 4] {
        match self {
            Self::Root => {
                ["TRUST_ROOT_PASSPHRASE", "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE", "NOTARY_ROOT_PASSPHRASE", ""]
            }
            Self::Other => [
                "TRUST_PASSPHRASE",
                "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE",
                "NOTARY_TARGETS_PASSPHRASE",
                "NOTARY_DELEGATION_PASSPHRASE",
            ],
        }
    }

    fn answer(self) -> &'static str {
        match self {
            Self::Root => "TRUST_ROOT_PASSPHRASE_FILE, TRUST_ROOT_PASSPHRASE, --passphrase-file or --passphrase-fd",
            Self::Other => "TRUST_PASSPHRASE_FILE, TRUST_PASSPHRASE, --passphrase-file or --passphrase-fd",
        }
    }
}

/// A key that was found and not opened yet.
struct Found {
    name: String,
    locked: LockedKey,
}

/// A new key that is not in the store yet.
struct Pending {
    name: KeyName,
    key: Rc<LocalKey>,
    passphrase: Option<Passphrase>,
}

/// The keys of one run.
pub struct Keyring<'a> {
    app: &'a App,
    options: &'a KeyOptions,
    examples: ExampleKeys,
    store: Option<KeyStore>,
    sources: [Option<PassphraseSource>; 2],
    named: Option<Vec<Found>>,
    opened_named: BTreeMap<usize, Rc<LocalKey>>,
    open: BTreeMap<String, Rc<LocalKey>>,
    pending: Vec<Pending>,
}

impl<'a> Keyring<'a> {
    /// The keys of this machine, with these flags. Opens nothing but the folder.
    pub fn new(app: &'a App, options: &'a KeyOptions) -> Result<Self, Problem> {
        let examples = if app.globals.dev { ExampleKeys::Allow } else { ExampleKeys::Refuse };
        let store = match KeyStore::open(&app.settings.paths.keys) {
            Ok(store) => Some(store.with_examples(examples)),
            Err(StoreError::File(FileError::NotFound { .. })) => None,
            Err(error) => return Err(fault::key(&error)),
        };
        let (opened_named, open) = (BTreeMap::new(), BTreeMap::new());
        let (sources, named, pending) = ([None, None], None, Vec::new());
        Ok(Self { app, options, examples, store, sources, named, opened_named, open, pending })
    }

    /// Whether a key may be used at all: the published example keys only where they are allowed.
    pub fn permits(&self, key: &PublicKey) -> bool {
        self.examples.permit(key)
    }

    /// What new key files cost to open.
    fn cost(&self) -> ScryptCost {
        if self.app.globals.dev { ScryptCost::DEV } else { ScryptCost::OFFLINE }
    }

    /// The key store, made if it is not there.
    pub fn store(&mut self) -> Result<&KeyStore, Problem> {
        if self.store.is_none() {
            let path = &self.app.settings.paths.keys;
            if let Some(above) = path.parent() {
                crate::settings::paths::create_private_folder(above).map_err(|e| fault::file(above, &e))?;
            }
            let store = KeyStore::open_or_create(path).map_err(|e| fault::key(&e))?;
            self.store = Some(store.with_examples(self.examples));
        }
        self.store.as_ref().ok_or_else(|| fault::internal("the key store was not opened"))
    }

    /// The key store, if there is one.
    pub fn existing_store(&self) -> Option<&KeyStore> {
        self.store.as_ref()
    }

    /// Finds a key by its URI.
    pub fn locate(&self, uri: &str) -> Result<LockedKey, Problem> {
        let uri = KeyUri::parse(uri).map_err(|e| fault::key_uri(&e))?;
        let environment = &self.app.environment;
        let variable = |name: &str| environment.raw(name);
        let mut stdin = std::io::stdin().lock();
        let stdin: &mut dyn Read = &mut stdin;
        let mut places = KeyPlaces { store: self.store.as_ref(), variable: &variable, stdin, examples: self.examples };
        locate(&uri, &mut places).map_err(|e| match &e {
            // What is wrong with the content does not say where the content was.
            StoreError::KeyFile(_) | StoreError::Key(_) => fault::key(&e).fact("given", &uri),
            _ => fault::key(&e),
        })
    }

    /// Opens a key, asking for its passphrase if that is needed.
    pub fn unlock(&mut self, locked: &LockedKey, kind: Kind) -> Result<LocalKey, Problem> {
        let (app, no_passphrase) = (self.app, self.options.no_passphrase);
        let source = self.source(kind)?;
        let asks = matches!(source, PassphraseSource::Ask);
        let mut ask = |info: &PromptInfo| app.terminal.passphrase(info, kind.answer());
        let tries = if asks && app.terminal.is_interactive() { TRIES } else { 1 };
        let mut result = locked.unlock_from(source, no_passphrase, &mut ask);
        for _ in 1..tries {
            if !matches!(result, Err(StoreError::WrongPassphrase { .. })) {
                break;
            }
            result = locked.unlock_from(source, no_passphrase, &mut ask);
        }
        result.map_err(|e| fault::key(&e))
    }

    fn source(&mut self, kind: Kind) -> Result<&mut PassphraseSource, Problem> {
        let environment = &self.app.environment;
        let options = self.options;
        let [root, other] = &mut self.sources;
        let place = match kind {
            Kind::Root => root,
            Kind::Other => other,
        };
        if place.is_none() {
            let variables =
                kind.variables().into_iter().filter(|name| !name.is_empty()).map(|name| PassphraseVariable {
                    name: name.to_owned(),
                    value: environment.raw(name),
                    file: environment.raw(&format!("{name}_FILE")),
                });
            let inputs = PassphraseInputs {
                file: options.passphrase_file.clone(),
                descriptor: options.passphrase_fd,
                variables: variables.collect(),
            };
            *place = Some(PassphraseSource::resolve(inputs).map_err(|e| fault::passphrase(&e))?);
        }
        place.as_mut().ok_or_else(|| fault::internal("no passphrase source"))
    }

    /// Fails at once if a passphrase will certainly be needed and nobody can give it: before any network is used.
    pub fn expect_answer(&mut self, kind: Kind) -> Result<(), Problem> {
        if self.app.terminal.is_interactive() || !matches!(self.source(kind)?, PassphraseSource::Ask) {
            return Ok(());
        }
        let all_encrypted = if self.has_named() {
            self.named()?.iter().all(|found| found.locked.is_encrypted())
        } else {
            let keys = self.store.as_ref().map(|store| store.list().map_err(|e| fault::key(&e))).transpose()?;
            let keys = keys.unwrap_or_default();
            let usable = |entry: &trust_keys::KeyEntry| entry.summary.as_ref().is_ok_and(|s| !s.is_encrypted);
            !keys.is_empty() && !keys.iter().any(usable)
        };
        if all_encrypted { Err(self.nobody(kind)) } else { Ok(()) }
    }

    /// The same for a new key, which always gets a passphrase unless `--no-passphrase` was given.
    pub fn expect_new_answer(&mut self, kind: Kind) -> Result<(), Problem> {
        let asks = !self.options.no_passphrase && matches!(self.source(kind)?, PassphraseSource::Ask);
        if asks && !self.app.terminal.is_interactive() { Err(self.nobody(kind)) } else { Ok(()) }
    }

    fn nobody(&self, kind: Kind) -> Problem {
        fault::passphrase(&trust_keys::PassphraseError::NotInteractive { answer: kind.answer().to_owned() })
    }

    /// A passphrase that protects a new key or copy; `None` if it is not to be encrypted.
    pub fn new_passphrase(
        &mut self,
        name: &str,
        algorithm: Algorithm,
        kind: Kind,
    ) -> Result<Option<Passphrase>, Problem> {
        if self.options.no_passphrase {
            return Ok(None);
        }
        let app = self.app;
        let info = PromptInfo {
            key: name.to_owned(),
            algorithm: Some(algorithm),
            key_id: None,
            purpose: PromptPurpose::Protect,
        };
        let mut ask = |info: &PromptInfo| app.terminal.passphrase(info, kind.answer());
        let passphrase = self.source(kind)?.obtain(&info, &mut ask).map_err(|e| fault::passphrase(&e))?;
        if passphrase.is_empty() {
            return Err(fault::usage(
                "a new key is not protected by an empty passphrase; give one, or say --no-passphrase",
            ));
        }
        Ok(Some(passphrase))
    }

    /// Makes a key in the store.
    pub fn generate(&mut self, name: &KeyName, algorithm: Algorithm, kind: Kind) -> Result<Rc<LocalKey>, Problem> {
        let key = self.prepare(name, algorithm, kind)?;
        self.store_new()?;
        Ok(key)
    }

    /// Makes a key in memory alone. [`Keyring::store_new`] keeps it, once everything else is known to be in order.
    fn prepare(&mut self, name: &KeyName, algorithm: Algorithm, kind: Kind) -> Result<Rc<LocalKey>, Problem> {
        if let Some(made) = self.pending.iter().find(|pending| pending.name == *name) {
            return Ok(Rc::clone(&made.key));
        }
        if let Some(store) = &self.store {
            store.ensure_free(name).map_err(|e| fault::key(&e))?;
        }
        let passphrase = self.new_passphrase(name.as_str(), algorithm, kind)?;
        let key = Rc::new(LocalKey::generate(algorithm).map_err(|e| fault::key(&e.into()))?);
        self.open.insert(key.id().as_str().to_owned(), Rc::clone(&key));
        self.pending.push(Pending { name: name.clone(), key: Rc::clone(&key), passphrase });
        Ok(key)
    }

    /// The new keys that are not in the store yet, for people: `NAME  (KIND, ID)`.
    pub fn new_keys(&self) -> Vec<String> {
        let line =
            |new: &Pending| format!("{}  ({}, {})", new.name.as_str(), new.key.algorithm(), new.key.id().short());
        self.pending.iter().map(line).collect()
    }

    /// Writes the new keys into the store: right before what they sign is kept or published.
    pub fn store_new(&mut self) -> Result<(), Problem> {
        let cost = self.cost();
        for new in std::mem::take(&mut self.pending) {
            let protection = protection(new.passphrase.as_ref(), cost);
            self.store()?.import(&new.name, &new.key, protection).map_err(|e| fault::key(&e))?;
        }
        Ok(())
    }

    /// Takes an opened key into the store.
    pub fn import(&mut self, name: &KeyName, key: &LocalKey, passphrase: Option<&Passphrase>) -> Result<(), Problem> {
        let protection = protection(passphrase, self.cost());
        self.store()?.import(name, key, protection).map_err(|e| fault::key(&e))
    }

    /// Whether [`Keyring::take_or_make`] would make a key of this name.
    fn would_make(&self, uri: &str) -> bool {
        let is_there = |name| self.store.as_ref().is_some_and(|store| store.ensure_free(&name).is_err());
        KeyName::parse(uri).is_ok_and(|name| !is_there(name))
    }

    /// The key of the store that was probably meant, where [`Keyring::take_or_make`] would make one of this name.
    pub fn near(&self, uri: &str) -> Result<Option<String>, Problem> {
        let Some(store) = self.store.as_ref().filter(|_| self.would_make(uri)) else { return Ok(None) };
        let entries = store.list().map_err(|e| fault::key(&e))?;
        let names = entries.iter().map(|entry| entry.name.as_str());
        Ok(trust_policy::nearest(uri, names).map(str::to_owned))
    }

    /// The key under this name if it is in the store (opened), else a new one, which [`Keyring::store_new`] keeps.
    pub fn take_or_make(&mut self, uri: &str, kind: Kind) -> Result<Rc<LocalKey>, Problem> {
        if self.would_make(uri)
            && let Ok(name) = KeyName::parse(uri)
        {
            return self.prepare(&name, Algorithm::default(), kind);
        }
        self.take(uri, kind)
    }

    /// A key that is there, opened.
    pub fn take(&mut self, uri: &str, kind: Kind) -> Result<Rc<LocalKey>, Problem> {
        let locked = self.locate(uri)?;
        self.open_found(&locked, kind)
    }

    /// Whether no key of this name is in the store.
    pub fn is_free(&self, name: &KeyName) -> bool {
        self.store.as_ref().is_none_or(|store| store.ensure_free(name).is_ok())
    }

    fn open_found(&mut self, locked: &LockedKey, kind: Kind) -> Result<Rc<LocalKey>, Problem> {
        if let Some(key) = locked.public().and_then(|public| self.open.get(public.id().as_str())) {
            return Ok(Rc::clone(key));
        }
        let key = Rc::new(self.unlock(locked, kind)?);
        self.open.insert(key.id().as_str().to_owned(), Rc::clone(&key));
        Ok(key)
    }

    /// The keys that were named with `--key` (or `TRUST_KEY`), located once.
    fn named(&mut self) -> Result<&[Found], Problem> {
        if self.named.is_none() {
            let mut uris: Vec<String> = self.options.key.clone();
            if uris.is_empty() {
                uris.extend(self.app.settings.key.iter().map(|key| key.value.clone()));
            }
            let located = uris.iter().map(|uri| self.locate(uri).map(|locked| Found { name: safe_name(uri), locked }));
            self.named = Some(located.collect::<Result<_, _>>()?);
        }
        Ok(self.named.as_deref().unwrap_or_default())
    }

    /// Whether keys were named on the command line or in the environment.
    pub fn has_named(&self) -> bool {
        !self.options.key.is_empty() || self.app.settings.key.is_some()
    }

    /// Whether a key of this machine is one of these, without opening any. Keys whose public half is not known count as
    /// possible.
    pub fn may_hold(&mut self, keys: &RoleKeys) -> Result<bool, Problem> {
        if self.has_named() {
            self.named()?;
            let opened = |at| self.opened_named.get(&at).map(|key| key.public());
            let named = self.named.iter().flatten().enumerate();
            let mut publics = named.map(|(at, found)| found.locked.public().or_else(|| opened(at)));
            return Ok(publics.any(|public| public.is_none_or(|public| keys.holds(public))));
        }
        let Some(store) = &self.store else { return Ok(false) };
        let ids = store.list().map_err(|e| fault::key(&e))?;
        let publics = ids.iter().filter_map(|entry| store.public(&entry.name).ok());
        Ok(publics.into_iter().any(|public| keys.holds(&public)))
    }

    /// Opens as many keys of the role as its threshold needs. Named keys come first; a named key of another role is left for
    /// that one. `only_named` is for commands with one role: where keys were named, no others are looked for.
    pub fn for_role(
        &mut self,
        role: &str,
        keys: &RoleKeys,
        kind: Kind,
        only_named: bool,
    ) -> Result<Vec<Rc<LocalKey>>, Problem> {
        let needed = usize::try_from(keys.threshold()).unwrap_or(usize::MAX);
        let listed: Vec<String> = keys.keyids().iter().map(|id| id.short().to_owned()).collect();
        let mut chosen: Vec<Rc<LocalKey>> = Vec::new();
        let already: Vec<Rc<LocalKey>> = self.open.values().filter(|key| keys.holds(key.public())).cloned().collect();
        let mut others: Vec<String> = Vec::new();
        let count = self.named()?.len();
        for at in 0..count {
            if chosen.len() >= needed {
                break;
            }
            let Some(found) = self.named.as_ref().and_then(|named| named.get(at)) else { break };
            let (name, public) = (found.name.clone(), found.locked.public().cloned());
            if public.as_ref().is_some_and(|public| !keys.holds(public)) {
                others.push(name);
                continue;
            }
            let key = self.open_named(at, kind)?;
            if keys.holds(key.public()) { push_distinct(&mut chosen, key) } else { others.push(name) }
        }
        for key in already {
            if chosen.len() < needed {
                push_distinct(&mut chosen, key);
            }
        }
        if count == 0 || !only_named {
            self.add_from_store(&mut chosen, keys, kind, needed)?;
        }
        if chosen.len() < needed {
            if chosen.is_empty() && only_named && !others.is_empty() {
                return Err(fault::key_not_of_role(role, &others.join(", "), &listed));
            }
            return Err(fault::no_key_for(role, keys.threshold(), &short_ids(&chosen), &listed));
        }
        Ok(chosen)
    }

    /// Opens the named keys whose public half is not known: then it is known for which roles they may sign.
    pub fn learn_named(&mut self, kind: Kind) -> Result<(), Problem> {
        for at in 0..self.named()?.len() {
            let unknown = self.named()?.get(at).is_some_and(|found| found.locked.public().is_none());
            if unknown {
                self.open_named(at, kind)?;
            }
        }
        Ok(())
    }

    fn open_named(&mut self, at: usize, kind: Kind) -> Result<Rc<LocalKey>, Problem> {
        if let Some(key) = self.opened_named.get(&at) {
            return Ok(Rc::clone(key));
        }
        // Taken out while it is opened: opening needs the whole keyring.
        let Some(named) = self.named.take() else { return Err(fault::internal("no named key")) };
        let result = match named.get(at) {
            Some(found) => self.open_found(&found.locked, kind),
            None => Err(fault::internal("no named key")),
        };
        self.named = Some(named);
        if let Ok(key) = &result {
            self.opened_named.insert(at, Rc::clone(key));
        }
        result
    }

    fn add_from_store(
        &mut self,
        chosen: &mut Vec<Rc<LocalKey>>,
        keys: &RoleKeys,
        kind: Kind,
        needed: usize,
    ) -> Result<(), Problem> {
        let Some(store) = &self.store else { return Ok(()) };
        let entries = store.list().map_err(|e| fault::key(&e))?;
        for entry in entries {
            if chosen.len() >= needed {
                break;
            }
            let Some(store) = &self.store else { break };
            let Ok(public) = store.public(&entry.name) else { continue };
            if !keys.holds(&public) || chosen.iter().any(|key| *key.public() == public) {
                continue;
            }
            let locked = store.locate(&entry.name).map_err(|e| fault::key(&e))?;
            let key = self.open_found(&locked, kind)?;
            push_distinct(chosen, key);
        }
        Ok(())
    }
}

fn push_distinct(chosen: &mut Vec<Rc<LocalKey>>, key: Rc<LocalKey>) {
    if chosen.iter().all(|other| other.public() != key.public()) {
        chosen.push(key);
    }
}

/// Their ids, as messages name them.
pub fn short_ids(keys: &[Rc<LocalKey>]) -> Vec<String> {
    keys.iter().map(|key| key.id().short().to_owned()).collect()
}

/// A URI for messages. What follows a scheme that we do not know could be a pasted secret: only what parses is repeated.
fn safe_name(uri: &str) -> String {
    KeyUri::parse(uri).map_or_else(|_| "the given key".to_owned(), |uri| uri.to_string())
}

fn protection(passphrase: Option<&Passphrase>, cost: ScryptCost) -> Protection<'_> {
    match passphrase {
        Some(passphrase) => Protection::Passphrase { passphrase, cost },
        None => Protection::Unencrypted,
    }
}

/// Signs a draft with these keys, and checks each signature before anybody sees it.
pub fn sign(draft: &Draft, keys: &[Rc<LocalKey>]) -> Result<Vec<u8>, Problem> {
    let payload = draft.payload();
    let mut signatures: Vec<Signature> = Vec::new();
    for key in keys {
        if signatures.iter().any(|s| s.keyid == *key.id()) {
            continue;
        }
        let signature = key.sign(&payload).map_err(|e| fault::signing(&e))?;
        if !key.public().verify(&payload, &signature.sig) {
            return Err(fault::signing(&trust_keys::SignError::Refused));
        }
        signatures.push(signature);
    }
    Ok(draft.assemble(signatures))
}

/// The public halves.
pub fn publics(keys: &[Rc<LocalKey>]) -> Vec<PublicKey> {
    keys.iter().map(|key| key.public().clone()).collect()
}
