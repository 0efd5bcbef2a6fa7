//! From what was typed, the variables and the files to the settings in force: one conversion, once a command.
//!
//! Rank: flag, variable, project file (display only), user's file, system's file, built-in. Every value knows where it
//! came from. Invariants: an unknown key, a bad value or junk in a switch is an error (exit 3), never a default; nothing is
//! contacted and no secret is read here.

pub mod edit;
pub mod environment;
pub mod file;
pub mod paths;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use environment::Environment;
pub use paths::Paths;
use trust_reader::sources::check_mirrors;

use crate::cli::Globals;
use crate::cli::globals::{ColorWhen, Format};
use file::{ConfigFile, ContextEntry, PinEntry, ProjectFile};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag.
    Flag(&'static str),
    /// A variable.
    Variable(&'static str),
    /// A file.
    File(PathBuf),
    /// Nobody said anything.
    BuiltIn,
}

impl Origin {
    /// The flag, variable or file by its name alone.
    pub fn name(&self) -> String {
        match self {
            Self::Flag(name) | Self::Variable(name) => (*name).to_owned(),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::BuiltIn => f.write_str("built-in"),
        }
    }
}

/// A value with its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
}

impl<T> Sourced<T> {
    fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }
}

/// Which root is trusted for a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The collection.
    pub collection: String,
    /// SHA-256 of the root file.
    pub fingerprint: String,
    /// The server of this collection, if it is another than the context's.
    pub server: Option<String>,
    /// Mirrors of that server.
    pub mirrors: Vec<String>,
    /// The file in which it is written.
    pub file: PathBuf,
}

/// Where the token for publishing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenPlace {
    /// In `TRUST_TOKEN`.
    Variable,
    /// In this file.
    File(PathBuf),
}

/// How the answer looks, before anything else is known: also an error in the settings is printed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Display {
    /// The format.
    pub format: Format,
    /// Colour.
    pub color: ColorWhen,
}

/// The settings in force.
#[derive(Debug)]
pub struct Settings {
    /// Where things are.
    pub paths: Paths,
    /// Format of the answer.
    pub output: Sourced<Format>,
    /// Colour.
    pub color: Sourced<ColorWhen>,
    /// The context in use, if one is.
    pub context: Option<Sourced<String>>,
    /// The server.
    pub server: Option<Sourced<String>>,
    /// Mirrors that were typed, whatever the server; else those of the context, which go with its server.
    pub mirrors: Option<Sourced<Vec<String>>>,
    /// Certificate authorities of server and mirrors.
    pub ca: Option<Sourced<PathBuf>>,
    /// The certificate authorities of registries.
    pub registry_ca: Option<Sourced<PathBuf>>,
    /// Where the token is.
    pub token: Option<Sourced<TokenPlace>>,
    /// Fingerprint of the signer's identity key.
    pub identity: Option<Sourced<String>>,
    /// Hosts that may be reached by plain HTTP.
    pub plain_http: BTreeSet<String>,
    /// The collection whose policy decides.
    pub policy: Option<Sourced<String>>,
    /// Whether a tag is signed only with its digest given.
    pub require_digest: bool,
    /// No network.
    pub offline: Sourced<bool>,
    /// Never ask.
    pub non_interactive: Sourced<bool>,
    /// `TRUST_KEY`.
    pub key: Option<Sourced<String>>,
    /// Deadline of the command.
    pub timeout: Sourced<Duration>,
    /// What is pinned, the user's before the system's.
    pub pins: Vec<Pin>,
    /// The contexts by name, with the file they stand in.
    pub contexts: BTreeMap<String, (ContextEntry, PathBuf)>,
    /// The collection of the tree that the command runs in.
    pub collection: Option<Sourced<String>>,
}

/// Deadline of a command that names none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// The format that the flags and the variable ask for, without reading a file. Errors here fall back to text: they are
/// reported by [`resolve`].
pub fn early_display(globals: &Globals, environment: &Environment) -> Display {
    let variable = environment.text("TRUST_OUTPUT").ok().flatten().and_then(|text| format_from(&text));
    Display { format: globals.output.or(variable).unwrap_or_default(), color: globals.color.unwrap_or_default() }
}

/// The settings in force. `folder` is where the command runs.
pub fn resolve(globals: &Globals, environment: &Environment, folder: Option<&Path>) -> Result<Settings, SettingsError> {
    let config = match &globals.config {
        Some(path) => Some(path.clone()),
        None => environment.text("TRUST_CONFIG")?.map(PathBuf::from),
    };
    let paths = Paths::find(environment, config.as_deref())?;
    let project = match folder {
        Some(folder) => file::read_project(folder)?,
        None => None,
    };
    let user = match file::read_config(&paths.config)? {
        None if config.is_some() && !paths.config.parent().is_some_and(Path::is_dir) => {
            return Err(SettingsError::Unreadable { path: paths.config, kind: std::io::ErrorKind::NotFound });
        }
        read => read.unwrap_or_default(),
    };
    let system = file::read_config(&paths.system)?.unwrap_or_default();
    Resolver { globals, environment, project, user, system }.settings(paths)
}

struct Resolver<'a> {
    globals: &'a Globals,
    environment: &'a Environment,
    project: Option<(ProjectFile, PathBuf)>,
    user: ConfigFile,
    system: ConfigFile,
}

impl Resolver<'_> {
    fn settings(self, paths: Paths) -> Result<Settings, SettingsError> {
        let contexts = self.contexts(&paths);
        let context = self.context(&paths)?;
        let entry = match &context {
            Some(context) => match contexts.get(&context.value) {
                Some((entry, file)) => Some((entry.clone(), file.clone())),
                None => return Err(SettingsError::NoContext { name: context.value.clone() }),
            },
            None => None,
        };
        // Both variables are checked even though a reference always has to verify here.
        self.environment.switch("TRUST_REQUIRE")?;
        self.environment.switch("DOCKER_CONTENT_TRUST")?;

        let of_context = |pick: fn(&ContextEntry) -> Option<PathBuf>| {
            entry.as_ref().and_then(|(e, file)| pick(e).map(|p| Sourced::new(p, Origin::File(file.clone()))))
        };
        let flag_or = |flag: &Option<PathBuf>, name, other: Option<Sourced<PathBuf>>| {
            flag.clone().map(|p| Sourced::new(p, Origin::Flag(name))).or(other)
        };
        let ca = flag_or(&self.globals.ca, "--ca", of_context(|e| e.ca.clone()));
        let registry_ca = flag_or(&self.globals.registry_ca, "--registry-ca", of_context(|e| e.registry_ca.clone()));
        let identity = entry.as_ref().and_then(|(e, file)| {
            e.identity.clone().map(|identity| Sourced::new(identity, Origin::File(file.clone())))
        });
        let mut plain_http: BTreeSet<String> = self.globals.plain_http.iter().cloned().collect();
        plain_http.extend(entry.iter().flat_map(|(e, _)| e.plain_http.iter().cloned()));
        let timeout = match self.globals.timeout {
            Some(timeout) => Sourced::new(timeout, Origin::Flag("--timeout")),
            None => Sourced::new(DEFAULT_TIMEOUT, Origin::BuiltIn),
        };
        let key = self.environment.text("TRUST_KEY")?.map(|key| Sourced::new(key, Origin::Variable("TRUST_KEY")));
        let collection = self.project.as_ref().and_then(|(project, path)| {
            project.collection.clone().map(|c| Sourced::new(c, Origin::File(path.clone())))
        });
        Ok(Settings {
            output: self.output(&paths)?,
            color: self.color(&paths)?,
            server: self.server(entry.as_ref())?,
            mirrors: self.mirrors(entry.as_ref())?,
            token: self.token(entry.as_ref())?,
            offline: self.switch(self.globals.offline, "--offline", "TRUST_OFFLINE")?,
            non_interactive: self.non_interactive()?,
            pins: self.pins(&paths),
            policy: self.policy(entry.as_ref(), &paths),
            require_digest: entry.as_ref().is_some_and(|(e, _)| e.sign.require_digest),
            paths,
            context,
            ca,
            registry_ca,
            identity,
            plain_http,
            key,
            timeout,
            contexts,
            collection,
        })
    }

    fn contexts(&self, paths: &Paths) -> BTreeMap<String, (ContextEntry, PathBuf)> {
        let all = |file: &ConfigFile, path: &PathBuf| -> Vec<_> {
            file.contexts.iter().map(|(name, entry)| (name.clone(), (entry.clone(), path.clone()))).collect()
        };
        let mut contexts: BTreeMap<_, _> = all(&self.system, &paths.system).into_iter().collect();
        contexts.extend(all(&self.user, &paths.config));
        contexts
    }

    fn context(&self, paths: &Paths) -> Result<Option<Sourced<String>>, SettingsError> {
        if let Some(name) = &self.globals.context {
            return Ok(Some(Sourced::new(name.clone(), Origin::Flag("--context"))));
        }
        if let Some(name) = self.environment.text("TRUST_CONTEXT")? {
            return Ok(Some(Sourced::new(name, Origin::Variable("TRUST_CONTEXT"))));
        }
        let of = |file: &ConfigFile, path: &PathBuf| {
            file.context.clone().map(|name| Sourced::new(name, Origin::File(path.clone())))
        };
        Ok(of(&self.user, &paths.config).or_else(|| of(&self.system, &paths.system)))
    }

    fn server(&self, entry: Option<&(ContextEntry, PathBuf)>) -> Result<Option<Sourced<String>>, SettingsError> {
        if let Some(server) = &self.globals.server {
            return Ok(Some(Sourced::new(server.clone(), Origin::Flag("--server"))));
        }
        if let Some((server, name)) = self.environment.first(&["TRUST_SERVER", "DOCKER_CONTENT_TRUST_SERVER"])? {
            return Ok(Some(Sourced::new(server, Origin::Variable(name))));
        }
        Ok(entry.and_then(|(e, file)| e.server.clone().map(|s| Sourced::new(s, Origin::File(file.clone())))))
    }

    fn mirrors(&self, entry: Option<&(ContextEntry, PathBuf)>) -> Result<Option<Sourced<Vec<String>>>, SettingsError> {
        let typed = match self.environment.text("TRUST_MIRRORS")? {
            _ if !self.globals.mirror.is_empty() => {
                check_mirrors(None, &self.globals.mirror).map_err(|what| SettingsError::Mirrors { what })?;
                return Ok(Some(Sourced::new(self.globals.mirror.clone(), Origin::Flag("--mirror"))));
            }
            Some(text) => text.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
            None => {
                let of_context = entry.filter(|(e, _)| !e.mirrors.is_empty());
                return Ok(of_context.map(|(e, file)| Sourced::new(e.mirrors.clone(), Origin::File(file.clone()))));
            }
        };
        check_mirrors(None, &typed)
            .map_err(|what| SettingsError::Mirrors { what: format!("TRUST_MIRRORS: {what}") })?;
        Ok(Some(Sourced::new(typed, Origin::Variable("TRUST_MIRRORS"))))
    }

    fn token(&self, entry: Option<&(ContextEntry, PathBuf)>) -> Result<Option<Sourced<TokenPlace>>, SettingsError> {
        let value = self.environment.raw("TRUST_TOKEN").filter(|v| !v.is_empty());
        let file = self.environment.text("TRUST_TOKEN_FILE")?;
        match (value, file) {
            (Some(_), Some(_)) => Err(SettingsError::Both { name: "TRUST_TOKEN" }),
            (Some(_), None) => Ok(Some(Sourced::new(TokenPlace::Variable, Origin::Variable("TRUST_TOKEN")))),
            (None, Some(path)) => {
                Ok(Some(Sourced::new(TokenPlace::File(path.into()), Origin::Variable("TRUST_TOKEN_FILE"))))
            }
            (None, None) => Ok(entry.and_then(|(e, file)| {
                e.token_file.clone().map(|path| Sourced::new(TokenPlace::File(path), Origin::File(file.clone())))
            })),
        }
    }

    /// The context's, else the user's, else the system's. No variable names it: whoever can set one does not choose the rules.
    fn policy(&self, entry: Option<&(ContextEntry, PathBuf)>, paths: &Paths) -> Option<Sourced<String>> {
        let of_context = entry.and_then(|(e, file)| Some((e.policy.clone()?, file.clone())));
        let of_user = || Some((self.user.policy.clone()?, paths.config.clone()));
        let of_system = || Some((self.system.policy.clone()?, paths.system.clone()));
        let found = of_context.or_else(of_user).or_else(of_system);
        found.map(|(collection, file)| Sourced::new(collection, Origin::File(file)))
    }

    fn switch(&self, flag: bool, name: &'static str, variable: &'static str) -> Result<Sourced<bool>, SettingsError> {
        let of_variable = self.environment.switch(variable)?;
        Ok(match (flag, of_variable) {
            (true, _) => Sourced::new(true, Origin::Flag(name)),
            (false, Some(value)) => Sourced::new(value, Origin::Variable(variable)),
            (false, None) => Sourced::new(false, Origin::BuiltIn),
        })
    }

    fn non_interactive(&self) -> Result<Sourced<bool>, SettingsError> {
        let switch = self.switch(self.globals.non_interactive, "--non-interactive", "TRUST_NON_INTERACTIVE")?;
        // CI is set by others and to anything: only `true` counts.
        let in_ci = self.environment.raw("CI").is_some_and(|value| value == "true");
        if !switch.value && in_ci { Ok(Sourced::new(true, Origin::Variable("CI"))) } else { Ok(switch) }
    }

    fn output(&self, paths: &Paths) -> Result<Sourced<Format>, SettingsError> {
        if let Some(format) = self.globals.output {
            return Ok(Sourced::new(format, Origin::Flag("--output")));
        }
        if let Some(text) = self.environment.text("TRUST_OUTPUT")? {
            let format = format_from(&text)
                .ok_or(SettingsError::Variable { name: "TRUST_OUTPUT", expected: "text, json or jsonl" })?;
            return Ok(Sourced::new(format, Origin::Variable("TRUST_OUTPUT")));
        }
        self.display(paths, |p| p.output.as_ref(), |c| c.output.as_ref(), format_from, "output")
    }

    fn color(&self, paths: &Paths) -> Result<Sourced<ColorWhen>, SettingsError> {
        if let Some(color) = self.globals.color {
            return Ok(Sourced::new(color, Origin::Flag("--color")));
        }
        let set = |name| self.environment.raw(name).is_some_and(|v| !v.is_empty());
        if set("NO_COLOR") {
            return Ok(Sourced::new(ColorWhen::Never, Origin::Variable("NO_COLOR")));
        }
        for name in ["CLICOLOR_FORCE", "FORCE_COLOR"] {
            if set(name) && self.environment.raw(name).is_some_and(|v| v != "0") {
                return Ok(Sourced::new(ColorWhen::Always, Origin::Variable(name)));
            }
        }
        if self.environment.raw("CLICOLOR").is_some_and(|v| v == "0") {
            return Ok(Sourced::new(ColorWhen::Never, Origin::Variable("CLICOLOR")));
        }
        self.display(paths, |p| p.color.as_ref(), |c| c.color.as_ref(), color_from, "color")
    }

    /// A display setting from the files, the nearest first.
    fn display<T: Default>(
        &self,
        paths: &Paths,
        project: fn(&ProjectFile) -> Option<&String>,
        config: fn(&ConfigFile) -> Option<&String>,
        read: fn(&str) -> Option<T>,
        key: &str,
    ) -> Result<Sourced<T>, SettingsError> {
        let places = [
            self.project.as_ref().and_then(|(file, path)| Some((project(file)?, path))),
            config(&self.user).map(|text| (text, &paths.config)),
            config(&self.system).map(|text| (text, &paths.system)),
        ];
        match places.into_iter().flatten().next() {
            None => Ok(Sourced::new(T::default(), Origin::BuiltIn)),
            Some((text, path)) => match read(text) {
                Some(value) => Ok(Sourced::new(value, Origin::File(path.clone()))),
                None => {
                    let what = format!("{key}: `{}` is not one of its values", text.escape_debug());
                    Err(SettingsError::Value { path: path.clone(), what })
                }
            },
        }
    }

    fn pins(&self, paths: &Paths) -> Vec<Pin> {
        let of = |pins: &[PinEntry], file: &PathBuf| -> Vec<Pin> {
            let pin = |p: &PinEntry| Pin {
                collection: p.collection.clone(),
                fingerprint: p.fingerprint.clone(),
                server: p.server.clone(),
                mirrors: p.mirrors.clone(),
                file: file.clone(),
            };
            pins.iter().map(pin).collect()
        };
        let mut pins = of(&self.user.pins, &paths.config);
        for pin in of(&self.system.pins, &paths.system) {
            if pins.iter().all(|p| p.collection != pin.collection) {
                pins.push(pin);
            }
        }
        pins
    }
}

impl Settings {
    /// The pin of exactly this collection.
    pub fn pin(&self, collection: &str) -> Option<&Pin> {
        self.pins.iter().find(|pin| pin.collection == collection)
    }

    /// The pin of the collection that an image belongs to: the longest pinned name that covers it. No other is tried.
    pub fn pin_for_image(&self, name: &str) -> Result<Option<&Pin>, trust_image::TargetError> {
        let candidates = self.pins.iter().map(|pin| pin.collection.as_str());
        let found = trust_image::target::collection_for(name, candidates)?;
        Ok(found.and_then(|collection| self.pin(collection)))
    }
}

fn format_from(text: &str) -> Option<Format> {
    [("text", Format::Text), ("json", Format::Json), ("jsonl", Format::Jsonl)]
        .into_iter()
        .find_map(|(name, format)| (name == text).then_some(format))
}

fn color_from(text: &str) -> Option<ColorWhen> {
    [("auto", ColorWhen::Auto), ("always", ColorWhen::Always), ("never", ColorWhen::Never)]
        .into_iter()
        .find_map(|(name, when)| (name == text).then_some(when))
}

/// Why there are no settings. None holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// No folder to look in.
    #[error("neither {variable} nor HOME names a folder")]
    NoHome {
        /// The variable.
        variable: &'static str,
    },
    /// A file that is there cannot be read.
    #[error("cannot read {}: {kind}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        kind: std::io::ErrorKind,
    },
    /// A file with pins that every user may write.
    #[error("{} has mode {mode:04o}: every user of this machine can change it; run: chmod o-w {}", path.display(), path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A folder, pipe or device.
    #[error("{} is not a regular file", path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {kind}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        kind: std::io::ErrorKind,
    },
    /// Over its limit.
    #[error("{} is larger than {} bytes", path.display(), file::MAX_CONFIG_BYTES)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Not TOML, or an unknown key.
    #[error("{}: {what}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A value that is not one.
    #[error("{}: {what}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A key that only the user may set, in a checked-out tree.
    #[error("{} may not set `{key}`: a checked-out tree only says how things are displayed", path.display())]
    Project {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
    },
    /// A part of the user's file has another form than the one that is written.
    #[error("`{what}` in the configuration file has a form that cannot be edited")]
    Form {
        /// The part.
        what: String,
    },
    /// A path that does not fit into a text file.
    #[error("the path {} is not text", path.display())]
    PathText {
        /// The path.
        path: PathBuf,
    },
    /// Junk in a switch.
    #[error("{name} must be 0, 1, true or false")]
    Switch {
        /// The variable.
        name: &'static str,
    },
    /// Junk in another variable.
    #[error("{name} must be {expected}")]
    Variable {
        /// The variable.
        name: &'static str,
        /// What it may be.
        expected: &'static str,
    },
    /// Not UTF-8.
    #[error("{name} is not text")]
    NotText {
        /// The variable.
        name: &'static str,
    },
    /// A variable and its twin.
    #[error("{name} and {name}_FILE are both set; unset one of them")]
    Both {
        /// The variable without `_FILE`.
        name: &'static str,
    },
    /// Mirrors that cannot be used.
    #[error("{what}")]
    Mirrors {
        /// What is wrong.
        what: String,
    },
    /// A context that is not there.
    #[error("there is no context `{name}`")]
    NoContext {
        /// The name.
        name: String,
    },
}

#[cfg(test)]
mod tests;
