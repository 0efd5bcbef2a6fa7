//! The variables that count, as one table, and the environment as a value that tests can make up.
//!
//! Invariant: a switch is `0`, `1`, `true` or `false`; anything else is an error and never "off". Set but empty is unset,
//! except for a passphrase, where it is the empty passphrase.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::SettingsError;

/// One variable, or a pair with its `_FILE` twin.
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub meaning: &'static str,
    /// Old names that are read too, with lower rank.
    pub aliases: &'static [&'static str],
    /// Whether its value must not be shown.
    pub secret: bool,
    /// Whether `NAME_FILE` is read too.
    pub file_twin: bool,
}

const fn plain(name: &'static str, meaning: &'static str, aliases: &'static [&'static str]) -> Variable {
    Variable { name, meaning, aliases, secret: false, file_twin: false }
}

const fn secret(name: &'static str, meaning: &'static str, aliases: &'static [&'static str]) -> Variable {
    Variable { name, meaning, aliases, secret: true, file_twin: true }
}

/// Every variable that counts, in the order in which `trust env` prints them.
pub const VARIABLES: &[Variable] = &[
    plain("TRUST_SERVER", "address of the server", &["DOCKER_CONTENT_TRUST_SERVER"]),
    plain("TRUST_MIRRORS", "addresses of mirrors, separated by white space, as --mirror", &[]),
    plain("TRUST_CONTEXT", "name of the context", &[]),
    plain("TRUST_CONFIG", "path of the configuration file", &[]),
    secret("TRUST_TOKEN", "token for publishing", &[]),
    secret(
        "TRUST_ROOT_PASSPHRASE",
        "passphrase of root keys",
        &["DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE", "NOTARY_ROOT_PASSPHRASE"],
    ),
    secret(
        "TRUST_PASSPHRASE",
        "passphrase of every other key",
        &["DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE", "NOTARY_TARGETS_PASSPHRASE", "NOTARY_DELEGATION_PASSPHRASE"],
    ),
    plain("TRUST_KEY", "key to sign with, as --key", &[]),
    plain("TRUST_REQUIRE", "every reference must verify (it always must)", &["DOCKER_CONTENT_TRUST"]),
    plain("TRUST_OFFLINE", "no network, as --offline", &[]),
    plain("TRUST_OUTPUT", "format, as --output", &[]),
    plain("TRUST_NON_INTERACTIVE", "never ask, as --non-interactive", &[]),
    plain("CI", "`true`: never ask", &[]),
    plain("NO_COLOR", "no colour, if set and not empty", &[]),
    plain("CLICOLOR_FORCE", "colour, if set and not 0", &["FORCE_COLOR"]),
    plain("CLICOLOR", "`0`: no colour", &[]),
    plain("DOCKER_CONFIG", "folder of Docker's registry logins", &[]),
    plain("REGISTRY_AUTH_FILE", "file of Podman's registry logins", &[]),
    plain("XDG_CONFIG_HOME", "where the configuration is", &[]),
    plain("XDG_DATA_HOME", "where the keys are", &[]),
    plain("XDG_STATE_HOME", "where the trusted metadata is", &[]),
];

/// The environment of this process, or a made-up one.
#[derive(Debug, Clone)]
pub enum Environment {
    /// The real one.
    Process,
    /// Exactly these variables.
    Fixed(BTreeMap<String, OsString>),
}

impl Environment {
    /// A made-up environment.
    pub fn fixed<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::Fixed(variables.into_iter().map(|(n, v)| (n.to_owned(), OsString::from(v))).collect())
    }

    /// The value as it is, also an empty one.
    pub fn raw(&self, name: &str) -> Option<OsString> {
        match self {
            Self::Process => std::env::var_os(name),
            Self::Fixed(variables) => variables.get(name).cloned(),
        }
    }

    /// The value, if it is set and not empty; it must be text.
    pub fn text(&self, name: &'static str) -> Result<Option<String>, SettingsError> {
        match self.raw(name) {
            None => Ok(None),
            Some(value) if value.is_empty() => Ok(None),
            Some(value) => value.into_string().map(Some).map_err(|_| SettingsError::NotText { name }),
        }
    }

    /// The value and the name under which it was found: the variable itself before its old names.
    pub fn first(&self, names: &[&'static str]) -> Result<Option<(String, &'static str)>, SettingsError> {
        for name in names {
            if let Some(value) = self.text(name)? {
                return Ok(Some((value, name)));
            }
        }
        Ok(None)
    }

    /// A switch.
    pub fn switch(&self, name: &'static str) -> Result<Option<bool>, SettingsError> {
        match self.text(name)?.as_deref() {
            None => Ok(None),
            Some("1" | "true") => Ok(Some(true)),
            Some("0" | "false") => Ok(Some(false)),
            Some(_) => Err(SettingsError::Switch { name }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn junk_in_a_switch_is_an_error_and_never_off() {
        for (value, expected) in
            [("", None), ("0", Some(false)), ("1", Some(true)), ("true", Some(true)), ("false", Some(false))]
        {
            let environment = Environment::fixed([("TRUST_REQUIRE", value)]);
            assert_eq!(environment.switch("TRUST_REQUIRE").unwrap(), expected, "{value:?}");
        }
        assert_eq!(Environment::fixed([]).switch("TRUST_REQUIRE").unwrap(), None);
        for junk in ["yes", "on", "TRUE", " 1", "2", "off"] {
            let environment = Environment::fixed([("TRUST_REQUIRE", junk)]);
            assert!(matches!(environment.switch("TRUST_REQUIRE"), Err(SettingsError::Switch { .. })), "{junk}");
        }
    }

    #[test]
    fn every_secret_variable_is_marked_as_one() {
        for variable in VARIABLES {
            let looks_secret = variable.name.contains("PASSPHRASE") || variable.name.contains("TOKEN");
            assert_eq!(variable.secret, looks_secret, "{}", variable.name);
        }
    }
}
