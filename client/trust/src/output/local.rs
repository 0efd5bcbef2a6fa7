//! Answers about this machine.

use schemars::JsonSchema;
use serde::Serialize;

/// `trust version`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Version {
    /// The version of the program.
    pub version: String,
    /// The version of these documents.
    pub json_schema: String,
}

/// `trust env`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Environment {
    /// Every variable that counts.
    pub variables: Vec<EnvironmentEntry>,
}

/// One variable.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct EnvironmentEntry {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub meaning: String,
    /// Its value; `(hidden)` for a secret. Null if it is not set.
    pub value: Option<String>,
    /// The variable that set it, which can be one of the old names. Null if it is not set.
    pub origin: Option<String>,
}

/// `trust config show`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ConfigReport {
    /// The settings in force.
    pub settings: Vec<Setting>,
}

/// One setting.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value; null if nobody set it.
    pub value: Option<String>,
    /// Where the value came from.
    pub origin: String,
}

/// `trust config path`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ConfigPath {
    /// The path of the configuration file.
    pub path: String,
}

/// `trust context list`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Contexts {
    /// The contexts.
    pub contexts: Vec<ContextEntry>,
}

/// One context.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ContextEntry {
    /// Its name.
    pub name: String,
    /// The server.
    pub server: Option<String>,
    /// Its mirrors.
    pub mirrors: Vec<String>,
    /// Fingerprint of the signer's identity key.
    pub identity: Option<String>,
    /// Where the token is.
    pub token_file: Option<String>,
    /// Whether it is the one in use.
    pub in_use: bool,
    /// The file in which it stands.
    pub file: String,
}

/// `trust context add | use | remove`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ContextChange {
    /// `added`, `selected` or `removed`.
    pub change: String,
    /// The context.
    pub name: String,
    /// Whether it is in use now.
    pub in_use: bool,
}

/// `trust man`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ManPages {
    /// The files that were written.
    pub pages: Vec<String>,
}

/// `trust help`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct HelpText {
    /// The topic.
    pub topic: String,
    /// What it says.
    pub text: String,
}

/// `trust completion`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CompletionScript {
    /// The script for the shell.
    pub script: String,
}

/// `trust key list`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Keys {
    /// The keys of this machine.
    pub keys: Vec<KeyEntry>,
}

/// One key.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct KeyEntry {
    /// Its name in the store, or its URI.
    pub name: String,
    /// `ed25519` or `p256`; null if the key cannot be used.
    pub kind: Option<String>,
    /// The id that its signatures carry, 64 hex digits.
    pub key_id: Option<String>,
    /// Whether a passphrase opens it.
    pub encrypted: Option<bool>,
    /// Why the key cannot be used.
    pub fault: Option<String>,
}

/// `trust key generate | import | show`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct KeyReport {
    /// `generated`, `imported` or `shown`.
    pub change: String,
    /// The key.
    pub key: KeyEntry,
    /// The public half as PEM: what to hand out.
    pub public_pem: String,
    /// The file of the public half, if the key is in the store.
    pub public_file: Option<String>,
}

/// `trust key export`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct KeyExported {
    /// The key.
    pub name: String,
    /// The public half as PEM; null when the private half was written to a file.
    pub public_pem: Option<String>,
    /// The file of the private half.
    pub private_file: Option<String>,
}

/// `trust pin list`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Pins {
    /// What is pinned.
    pub pins: Vec<PinEntry>,
}

/// One pin.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PinEntry {
    /// The collection.
    pub collection: String,
    /// SHA-256 of the root file.
    pub fingerprint: String,
    /// The server, if it is another one than the context's.
    pub server: Option<String>,
    /// Mirrors of that server.
    pub mirrors: Vec<String>,
    /// The file in which it stands.
    pub file: String,
    /// Whether the root file is on this machine; else the server delivers it.
    pub root_stored: bool,
}

/// `trust pin add | remove`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PinChange {
    /// `pinned` or `removed`.
    pub change: String,
    /// The collection.
    pub collection: String,
    /// SHA-256 of the root file.
    pub fingerprint: String,
    /// Its version; null if the root was not read.
    pub version: Option<u64>,
    /// Whether nothing was changed (`--dry-run`).
    pub dry_run: bool,
}

/// `trust pin show`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PinReport {
    /// The collection.
    pub collection: String,
    /// SHA-256 of the root file.
    pub fingerprint: String,
    /// The version of the pinned root.
    pub version: u64,
    /// When it expires. An expired root can still be the beginning of a chain.
    pub expires: String,
    /// Who speaks for the top-level roles in it.
    pub roles: Vec<RoleKeysReport>,
}

/// Who speaks for a role.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RoleKeysReport {
    /// The role.
    pub role: String,
    /// How many of the keys must sign.
    pub threshold: u64,
    /// Ids of its keys.
    pub keys: Vec<String>,
}
