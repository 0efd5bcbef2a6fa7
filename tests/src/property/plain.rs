//! A second client, as plain as it can be: the oracle of the property tests.
//!
//! It is written from the specification and shares nothing with `trust-tuf`: another JSON reader, its own canonical form,
//! its own matching of paths, times compared as text. It checks no cryptography: a signature is good if the [`Ledger`] of
//! all signatures that were ever made has it. It keeps what a client keeps and says what a client must answer.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value as Json;

use crate::simulator::{RoleDocument, TestKey};

/// What a request is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A file.
    Bytes(Vec<u8>),
    /// 404.
    NotFound,
    /// Anything else: a status, a connection that ends.
    Broken,
}

/// SHA-256 of bytes.
pub fn hash(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// The canonical form; `None` for what has none (a float).
pub fn canonical(value: &Json) -> Option<String> {
    let string = |s: &str| format!("\"{}\"", s.replace('\\', "\\\\").replace('"', "\\\""));
    Some(match value {
        Json::Null => "null".to_owned(),
        Json::Bool(b) => b.to_string(),
        Json::Number(n) if n.is_u64() || n.is_i64() => n.to_string(),
        Json::Number(_) => return None,
        Json::String(s) => string(s),
        Json::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Option<Vec<_>>>()?.join(",")),
        Json::Object(members) => {
            let sorted: BTreeMap<&[u8], (&str, &Json)> =
                members.iter().map(|(n, v)| (n.as_bytes(), (n.as_str(), v))).collect();
            let member = |(name, value): (&str, &Json)| Some(format!("{}:{}", string(name), canonical(value)?));
            format!("{{{}}}", sorted.into_values().map(member).collect::<Option<Vec<_>>>()?.join(","))
        }
    })
}

/// The hash of what is signed in a file of any kind; `None` if it is no file of metadata.
pub fn message(bytes: &[u8]) -> Option<[u8; 32]> {
    let file: Json = serde_json::from_slice(bytes).ok()?;
    Some(hash(canonical(file.get("signed")?)?.as_bytes()))
}

/// A file that could be read.
#[derive(Debug, Clone)]
struct Doc {
    bytes: Vec<u8>,
    signed: Json,
    message: [u8; 32],
    signatures: Vec<(String, Vec<u8>)>,
}

/// Every signature that was ever made: over which message, by which public key.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    made: BTreeSet<([u8; 32], String, Vec<u8>)>,
}

impl Ledger {
    /// Notes that the holder of this key signed this message.
    pub fn note(&mut self, message: &[u8], public: &str, signature: &[u8]) {
        self.made.insert((hash(message), public.to_owned(), signature.to_vec()));
    }

    /// The same, for the holder of a key of the simulator.
    pub fn note_key(&mut self, key: &TestKey, message: &[u8], signature: &[u8]) {
        self.note(message, &public_half(key), signature);
    }

    /// Notes what everybody who signs this document signs.
    pub fn note_document(&mut self, document: &RoleDocument) {
        let message = document.signed.canonical();
        for key in &document.signers {
            self.note_key(key, &message, &key.sign(&message));
        }
    }

    fn has(&self, message: &[u8; 32], public: &str, signature: &[u8]) -> bool {
        self.made.contains(&(*message, public.to_owned(), signature.to_vec()))
    }
}

/// The public half of an Ed25519 key, as it stands in files.
pub fn public_half(key: &TestKey) -> String {
    let value = key.value();
    value.get("keyval").and_then(|v| v.get("public")).and_then(|p| p.as_str()).expect("a public half").to_owned()
}

/// Version and expiry of a file of this kind; `None` if it is not one.
pub fn summary(kind: &str, bytes: &[u8]) -> Option<(u64, String)> {
    let doc = read(kind, bytes)?;
    Some((doc.version(), text(&doc.signed, "expires")?.to_owned()))
}

/// Whether a file of a top-level role is signed by those whom this root names.
pub fn is_signed(ledger: &Ledger, root: &[u8], kind: &str, bytes: &[u8]) -> bool {
    let root = read("root", root).expect("a root");
    read(kind, bytes).is_some_and(|doc| doc.is_signed_by_role(ledger, &root, kind))
}

fn text<'a>(value: &'a Json, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

fn version_of(value: &Json) -> Option<u64> {
    value.get("version")?.as_u64().filter(|v| (1..=i64::MAX as u64).contains(v))
}

/// Reads a file of this kind, with the shape that every reader must demand.
fn read(kind: &str, bytes: &[u8]) -> Option<Doc> {
    let most = match kind {
        "root" => 512_000,
        "timestamp" => 16_384,
        _ => 64 * 1024 * 1024,
    };
    let file: Json = serde_json::from_slice(bytes).ok().filter(|_| bytes.len() <= most)?;
    let mut signatures: Vec<(String, Vec<u8>)> = Vec::new();
    for signature in file.get("signatures")?.as_array()? {
        let (id, sig) = (text(signature, "keyid")?, text(signature, "sig")?);
        if signatures.iter().any(|(other, _)| other == id) {
            return None;
        }
        signatures.push((id.to_owned(), hex::decode(sig).unwrap_or_default()));
    }
    let signed = file.get("signed")?.clone();
    let expires = text(&signed, "expires")?;
    let common = text(&signed, "_type")? == kind
        && text(&signed, "spec_version")?.starts_with("1.")
        && expires.len() == 20
        && expires.ends_with('Z');
    let fits = common && version_of(&signed).is_some() && shape_fits(kind, &signed)?;
    let message = hash(canonical(&signed)?.as_bytes());
    fits.then(|| Doc { bytes: bytes.to_vec(), signed, message, signatures })
}

fn shape_fits(kind: &str, signed: &Json) -> Option<bool> {
    let role_fits = |role: &Json| {
        let ids: Vec<&str> = role.get("keyids")?.as_array()?.iter().map(Json::as_str).collect::<Option<_>>()?;
        let distinct = ids.iter().collect::<BTreeSet<_>>().len() == ids.len();
        Some(distinct && role.get("threshold")?.as_u64()? >= 1)
    };
    let entries_fit = || Some(signed.get("meta")?.as_object()?.values().all(|e| version_of(e).is_some()));
    Some(match kind {
        "root" => {
            let roles = signed.get("roles")?;
            let four = ["root", "timestamp", "snapshot", "targets"];
            signed.get("keys")?.is_object() && four.iter().all(|r| roles.get(r).and_then(role_fits) == Some(true))
        }
        "timestamp" => {
            let meta = signed.get("meta")?.as_object()?;
            entries_fit()? && meta.len() == 1 && meta.contains_key("snapshot.json")
        }
        "snapshot" => entries_fit()? && signed.get("meta")?.get("targets.json").is_some(),
        _ => {
            let described = |t: &Json| t.get("length").is_some_and(Json::is_u64) && t.get("hashes").is_some();
            let delegations_fit = match signed.get("delegations") {
                None => true,
                Some(d) => match (d.get("roles"), d.get("succinct_roles")) {
                    (Some(roles), None) => roles.as_array()?.iter().all(|r| role_fits(r) == Some(true)),
                    (None, Some(bins)) => role_fits(bins)?,
                    _ => false,
                },
            };
            signed.get("targets")?.as_object()?.values().all(described) && delegations_fit
        }
    })
}

impl Doc {
    fn version(&self) -> u64 {
        version_of(&self.signed).unwrap_or(0)
    }

    fn is_expired(&self, now: &str) -> bool {
        text(&self.signed, "expires").is_none_or(|expires| expires <= now)
    }

    /// Whether enough distinct keys of `role` (with `keyids` and `threshold`) signed, looked up in `keys`.
    fn is_signed(&self, ledger: &Ledger, keys: Option<&Json>, role: Option<&Json>) -> bool {
        let (Some(keys), Some(role)) = (keys, role) else { return false };
        let ids: BTreeSet<&str> = role["keyids"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        let signer = |(id, signature): &(String, Vec<u8>)| {
            let key = keys.get(id).filter(|_| ids.contains(id.as_str()))?;
            let public = key.get("keyval")?.get("public")?.as_str()?.to_ascii_lowercase();
            ledger.has(&self.message, &public, signature).then_some(public)
        };
        let signers: BTreeSet<String> = self.signatures.iter().filter_map(signer).collect();
        role["threshold"].as_u64().is_some_and(|needed| signers.len() as u64 >= needed)
    }

    fn is_signed_by_role(&self, ledger: &Ledger, root: &Self, role: &str) -> bool {
        self.is_signed(ledger, root.signed.get("keys"), root.signed["roles"].get(role))
    }

    /// Whether these are the bytes that an entry of the file above states.
    fn is_stated(&self, entry: &Json) -> bool {
        let length = entry.get("length").is_none_or(|l| l.as_u64() == Some(self.bytes.len() as u64));
        let hashes =
            entry.get("hashes").is_none_or(|h| text(h, "sha256") == Some(hex::encode(hash(&self.bytes)).as_str()));
        length && hashes && Some(self.version()) == version_of(entry)
    }
}

/// What a look-up answers: the role that lists the target, and its SHA-256.
pub type Hit = Option<(String, String)>;

/// The client.
#[derive(Debug, Clone)]
pub struct Plain {
    roots: Vec<Doc>,
    kept: BTreeMap<String, Vec<u8>>,
}

type Outcome<T> = Result<T, String>;

fn no<T>(why: impl Into<String>) -> Outcome<T> {
    Err(why.into())
}

impl Plain {
    /// A client that has never updated, with this root pinned.
    pub fn new(pinned: &[u8]) -> Self {
        let root = read("root", pinned).expect("the pinned root is a root");
        Self { roots: vec![root], kept: BTreeMap::new() }
    }

    fn root(&self) -> &Doc {
        self.roots.last().expect("the pinned one at least")
    }

    /// The files that a client keeps, by name.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let roles = self.kept.iter().map(|(role, bytes)| (format!("{role}.json"), bytes.clone()));
        roles.chain([("root.json".to_owned(), self.root().bytes.clone())]).collect()
    }

    /// The kept file of a role is another one now: what a crash or a damage left.
    pub fn set_file(&mut self, role: &str, bytes: Option<Vec<u8>>) {
        match bytes {
            Some(bytes) => self.kept.insert(role.to_owned(), bytes),
            None => self.kept.remove(role),
        };
    }

    /// The roots from the pinned one, in order.
    pub fn chain(&self) -> Vec<Vec<u8>> {
        self.roots.iter().map(|root| root.bytes.clone()).collect()
    }

    /// Only this many roots of the chain are kept: what a crash left.
    pub fn cut_chain(&mut self, roots: usize) {
        self.roots.truncate(roots.max(1));
    }

    fn stored(&self, kind: &str, role: &str) -> Option<Doc> {
        read(kind, self.kept.get(role)?)
    }

    fn name(&self, version: Option<u64>, role: &str) -> String {
        let prefixed = self.root().signed.get("consistent_snapshot").and_then(Json::as_bool) == Some(true);
        match version {
            Some(version) if prefixed => format!("{version}.{role}.json"),
            _ => format!("{role}.json"),
        }
    }

    /// Whether the next root may follow this one.
    fn is_next_root(&self, ledger: &Ledger, next: &Doc) -> bool {
        let old = self.root();
        next.version() == old.version() + 1
            && next.is_signed_by_role(ledger, old, "root")
            && next.is_signed_by_role(ledger, next, "root")
    }

    /// One update. What it keeps, it keeps also if it fails later.
    pub fn refresh(&mut self, ledger: &Ledger, served: &dyn Fn(&str) -> Reply, now: &str) -> Outcome<()> {
        loop {
            match served(&format!("{}.root.json", self.root().version() + 1)) {
                Reply::NotFound => break,
                Reply::Broken => return no("next root cannot be fetched"),
                Reply::Bytes(bytes) => match read("root", &bytes).filter(|next| self.is_next_root(ledger, next)) {
                    Some(next) => self.roots.push(next),
                    None => return no("next root is refused"),
                },
            }
        }
        let root = self.root().clone();
        if root.is_expired(now) {
            return no("root is expired");
        }
        let timestamp = self.timestamp(ledger, &root, served, now)?;
        let entry = timestamp.signed["meta"]["snapshot.json"].clone();
        let snapshot = self.snapshot(ledger, &root, &entry, served, now)?;
        let entry = snapshot.signed["meta"]["targets.json"].clone();
        let signed = |doc: &Doc| doc.is_signed_by_role(ledger, &root, "targets");
        self.targets("targets", &entry, &signed, served, now).map(drop)
    }

    fn fetched(kind: &str, name: &str, served: &dyn Fn(&str) -> Reply) -> Outcome<Doc> {
        match served(name) {
            Reply::Bytes(bytes) => read(kind, &bytes).ok_or_else(|| format!("{name} is malformed")),
            _ => no(format!("{name} cannot be fetched")),
        }
    }

    fn timestamp(&mut self, ledger: &Ledger, root: &Doc, served: &dyn Fn(&str) -> Reply, now: &str) -> Outcome<Doc> {
        let signed = |doc: &Doc| doc.is_signed_by_role(ledger, root, "timestamp");
        let floor = self.stored("timestamp", "timestamp").filter(signed);
        let got = Self::fetched("timestamp", "timestamp.json", served)?;
        if !signed(&got) {
            return no("timestamp is not signed");
        }
        let named = |doc: &Doc| version_of(&doc.signed["meta"]["snapshot.json"]);
        let current = match floor {
            Some(floor) if got.version() < floor.version() => return no("timestamp goes back"),
            Some(floor) if got.version() == floor.version() => floor,
            Some(floor) if named(&got) < named(&floor) => return no("snapshot in the timestamp goes back"),
            _ => got,
        };
        if current.is_expired(now) {
            return no("timestamp is expired");
        }
        self.kept.insert("timestamp".to_owned(), current.bytes.clone());
        Ok(current)
    }

    fn snapshot(
        &mut self,
        ledger: &Ledger,
        root: &Doc,
        entry: &Json,
        served: &dyn Fn(&str) -> Reply,
        now: &str,
    ) -> Outcome<Doc> {
        let signed = |doc: &Doc| doc.is_signed_by_role(ledger, root, "snapshot");
        let floor = self.stored("snapshot", "snapshot").filter(signed);
        if let Some(floor) = &floor
            && floor.is_stated(entry)
            && !floor.is_expired(now)
        {
            return Ok(floor.clone());
        }
        let got = Self::fetched("snapshot", &self.name(version_of(entry), "snapshot"), served)?;
        if !got.is_stated(entry) || !signed(&got) {
            return no("snapshot is not the one of the timestamp, or not signed");
        }
        for (file, before) in floor.iter().flat_map(|f| f.signed["meta"].as_object()).flatten() {
            if got.signed["meta"].get(file).and_then(version_of) < version_of(before) {
                return no(format!("{file} goes back in the snapshot"));
            }
        }
        if got.is_expired(now) {
            return no("snapshot is expired");
        }
        self.kept.insert("snapshot".to_owned(), got.bytes.clone());
        Ok(got)
    }

    /// A targets file, top-level or delegated: the kept one if it is good, else the served one.
    fn targets(
        &mut self,
        role: &str,
        entry: &Json,
        signed: &dyn Fn(&Doc) -> bool,
        served: &dyn Fn(&str) -> Reply,
        now: &str,
    ) -> Outcome<Doc> {
        let is_good = |doc: &Doc| doc.is_stated(entry) && signed(doc) && !doc.is_expired(now);
        if let Some(stored) = self.stored("targets", role).filter(is_good) {
            return Ok(stored);
        }
        let got = Self::fetched("targets", &self.name(version_of(entry), role), served)?;
        if !is_good(&got) {
            return no(format!("{role} is refused"));
        }
        self.kept.insert(role.to_owned(), got.bytes.clone());
        Ok(got)
    }

    /// Looks targets up after an update that succeeded.
    pub fn lookups(
        &mut self,
        ledger: &Ledger,
        served: &dyn Fn(&str) -> Reply,
        now: &str,
        paths: &[&str],
    ) -> Vec<Outcome<Hit>> {
        let mut search = Search { client: self, ledger, served, now, loaded: BTreeMap::new() };
        paths.iter().map(|path| search.run(path)).collect()
    }
}

struct Search<'a> {
    client: &'a mut Plain,
    ledger: &'a Ledger,
    served: &'a dyn Fn(&str) -> Reply,
    now: &'a str,
    // By delegator and role: what was checked for one delegator says nothing to another.
    loaded: BTreeMap<(String, String), Doc>,
}

/// A delegation that is for a path: the role, and who speaks for it.
struct Way {
    role: String,
    keys: Json,
    who: Json,
    terminating: bool,
}

enum Visit {
    Found(String, String),
    GoOn,
    Stop,
}

impl Search<'_> {
    /// Every signer below `targets` is asked, in order; the first that lists the target is the answer.
    fn run(&mut self, path: &str) -> Outcome<Hit> {
        let Some(top) = self.client.stored("targets", "targets") else { return no("no targets") };
        if let Some(hash) = listed(&top, path) {
            // Those after it are asked too: what they say is kept.
            let _ = self.signers(&top, path, true);
            return Ok(Some(("targets".to_owned(), hash)));
        }
        self.signers(&top, path, false)
    }

    fn signers(&mut self, top: &Doc, path: &str, answered: bool) -> Outcome<Hit> {
        let mut seen = BTreeSet::from(["targets".to_owned()]);
        let mut hit = None;
        for way in ways(top, path) {
            let mut last = way.terminating;
            match self.visit("targets", &way, path, &mut seen, &mut last) {
                Ok(Visit::Found(role, hash)) => {
                    hit.get_or_insert((role, hash));
                }
                Ok(Visit::GoOn | Visit::Stop) => {}
                Err(why) if hit.is_none() && !answered => return Err(why),
                Err(_) => {}
            }
            if last {
                break;
            }
        }
        Ok(hit)
    }

    /// `last` becomes true when a terminating delegation was met: no signer comes after it.
    fn visit(
        &mut self,
        from: &str,
        way: &Way,
        path: &str,
        seen: &mut BTreeSet<String>,
        last: &mut bool,
    ) -> Outcome<Visit> {
        if seen.contains(&way.role) {
            return Ok(Visit::GoOn);
        }
        if seen.len() >= 32 {
            return no("too many roles");
        }
        let doc = self.load(from, way)?;
        seen.insert(way.role.clone());
        if let Some(hash) = listed(&doc, path) {
            return Ok(Visit::Found(way.role.clone(), hash));
        }
        let below = ways(&doc, path);
        *last |= below.iter().any(|way| way.terminating);
        for next in below {
            match self.visit(&way.role, &next, path, seen, last)? {
                Visit::GoOn if !next.terminating => {}
                Visit::GoOn => return Ok(Visit::Stop),
                other => return Ok(other),
            }
        }
        Ok(Visit::GoOn)
    }

    fn load(&mut self, from: &str, way: &Way) -> Outcome<Doc> {
        let place = (from.to_owned(), way.role.clone());
        if let Some(doc) = self.loaded.get(&place) {
            return Ok(doc.clone());
        }
        let snapshot = self.client.stored("snapshot", "snapshot").ok_or("no snapshot")?;
        let entry = snapshot.signed["meta"].get(format!("{}.json", way.role)).ok_or("not in the snapshot")?;
        let signed = |doc: &Doc| doc.is_signed(self.ledger, Some(&way.keys), Some(&way.who));
        let doc = self.client.targets(&way.role, entry, &signed, self.served, self.now)?;
        self.loaded.insert(place, doc.clone());
        Ok(doc)
    }
}

fn listed(doc: &Doc, path: &str) -> Option<String> {
    Some(text(doc.signed.get("targets")?.get(path)?.get("hashes")?, "sha256").unwrap_or("").to_owned())
}

fn ways(doc: &Doc, path: &str) -> Vec<Way> {
    let Some(delegations) = doc.signed.get("delegations") else { return Vec::new() };
    let keys = &delegations["keys"];
    let digest = hash(path.as_bytes());
    let way = |role: String, who: &Json, terminating| Way { role, keys: keys.clone(), who: who.clone(), terminating };
    if let Some(bins) = delegations.get("succinct_roles") {
        let bits = bins["bit_length"].as_u64().unwrap_or(0);
        // The first bits of the hash, one after the other.
        let bit = |i: u64| u64::from(digest[(i / 8) as usize] >> (7 - i % 8) & 1);
        let number = (0..bits).fold(0, |number, i| number << 1 | bit(i));
        let width = bits.div_ceil(4) as usize;
        return vec![way(format!("{}-{number:0width$x}", text(bins, "name_prefix").unwrap_or("")), bins, false)];
    }
    let is_for = |role: &Json| {
        let list = |name: &str| role.get(name).and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
        list("paths").any(|pattern| {
            let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
            pattern.len() == path.len() && pattern.iter().zip(&path).all(|(p, t)| fits(p.as_bytes(), t.as_bytes()))
        }) || list("path_hash_prefixes").any(|prefix| hex::encode(digest).starts_with(prefix))
    };
    let roles = delegations.get("roles").and_then(Json::as_array).into_iter().flatten();
    roles
        .filter(|role| is_for(role))
        .map(|role| way(text(role, "name").unwrap_or("").to_owned(), role, role["terminating"] == Json::Bool(true)))
        .collect()
}

/// One segment (ASCII only): the textbook recursion.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => fits(rest, text) || text.split_first().is_some_and(|(_, less)| fits(pattern, less)),
        (Some((b'?', rest)), Some((_, less))) => fits(rest, less),
        (Some((a, rest)), Some((b, less))) => a == b && fits(rest, less),
        _ => false,
    }
}

/// Whether a segment of ASCII fits a pattern, by the textbook recursion: for small inputs.
pub fn segment_fits(pattern: &str, text: &str) -> bool {
    fits(pattern.as_bytes(), text.as_bytes())
}
