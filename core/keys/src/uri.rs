//! Key URIs: how a command names a key (command-line.md section 7).
//!
//! Invariants: an unknown scheme is a named error, never a file name; an error never repeats what was given, except a
//! well-formed scheme, because somebody may paste a secret here. Deliberately absent: tokens and key services; their
//! schemes are known by name so that the message can say that this build does not have them.

use std::path::PathBuf;

use crate::store::KeyName;

/// Longest key URI, in bytes.
pub const MAX_URI_BYTES: usize = 4096;

/// Schemes that the command's reference lists and this crate does not serve.
const KNOWN_ELSEWHERE: [&str; 8] = ["pkcs11", "yubikey", "awskms", "gcpkms", "azurekms", "hashivault", "k8s", "agent"];

/// Where a private key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyUri {
    /// A name in the key store.
    Name(KeyName),
    /// `file:PATH`, also `file:///PATH`.
    File(PathBuf),
    /// `env:VAR`, also `env://VAR`: the variable holds the PEM text.
    Env(String),
    /// `-` or `stdin:`: the PEM text comes through standard input.
    Stdin,
}

impl KeyUri {
    /// Reads a key URI of at most [`MAX_URI_BYTES`].
    pub fn parse(text: &str) -> Result<KeyUri, KeyUriError> {
        if text.len() > MAX_URI_BYTES {
            return Err(KeyUriError::TooLong);
        }
        if text.is_empty() {
            return Err(KeyUriError::Empty);
        }
        if text == "-" || text == "stdin:" {
            return Ok(KeyUri::Stdin);
        }
        let Some((scheme, rest)) = text.split_once(':') else {
            return KeyName::parse(text).map(KeyUri::Name).map_err(|_| KeyUriError::Name);
        };
        if !is_scheme(scheme) {
            return Err(KeyUriError::Name);
        }
        match scheme {
            "file" => file(rest),
            "env" => variable(rest.strip_prefix("//").unwrap_or(rest)),
            "stdin" => Err(KeyUriError::Stdin),
            _ if KNOWN_ELSEWHERE.contains(&scheme) => Err(KeyUriError::NotInThisBuild { scheme: scheme.to_owned() }),
            _ => Err(KeyUriError::UnknownScheme { scheme: scheme.to_owned() }),
        }
    }
}

impl std::fmt::Display for KeyUri {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KeyUri::Name(name) => f.write_str(name.as_str()),
            KeyUri::File(path) => write!(f, "file:{}", path.display()),
            KeyUri::Env(variable) => write!(f, "env:{variable}"),
            KeyUri::Stdin => f.write_str("stdin:"),
        }
    }
}

fn is_scheme(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 16
        && bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+.-".contains(&byte))
}

fn file(rest: &str) -> Result<KeyUri, KeyUriError> {
    let path = match rest.strip_prefix("//") {
        // `file://PATH` without a third slash would name a host.
        Some(after) if !after.starts_with('/') => return Err(KeyUriError::FileHost),
        Some(after) => after,
        None => rest,
    };
    if path.is_empty() || path.contains('\0') || path.ends_with('/') {
        return Err(KeyUriError::FilePath);
    }
    Ok(KeyUri::File(PathBuf::from(path)))
}

fn variable(name: &str) -> Result<KeyUri, KeyUriError> {
    let mut bytes = name.bytes();
    let fits = name.len() <= 128
        && bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if fits { Ok(KeyUri::Env(name.to_owned())) } else { Err(KeyUriError::Variable) }
}

/// Why a text is no key URI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyUriError {
    /// Nothing was given.
    #[error("an empty key URI; give a key name, file:PATH, env:VAR or -")]
    Empty,
    /// Over [`MAX_URI_BYTES`].
    #[error("a key URI has at most {MAX_URI_BYTES} bytes")]
    TooLong,
    /// Neither a name nor a URI.
    #[error("not a key name ([a-z0-9][a-z0-9_-]{{0,63}}) and not a key URI; a path is written file:PATH")]
    Name,
    /// Text after `stdin:`.
    #[error("nothing may follow stdin:")]
    Stdin,
    /// `file://HOST/…`.
    #[error("file://HOST is not served; write file:PATH or file:///PATH")]
    FileHost,
    /// No usable path after `file:`.
    #[error("file: needs the path of a file")]
    FilePath,
    /// Not a variable's name.
    #[error("env: needs the name of a variable")]
    Variable,
    /// A scheme of the reference that this build does not serve.
    #[error("key scheme {scheme}: is not in this build; use a key name, file:, env: or -")]
    NotInThisBuild {
        /// The scheme.
        scheme: String,
    },
    /// A scheme that does not exist.
    #[error("unknown key scheme {scheme}:; use a key name, file:, env: or -")]
    UnknownScheme {
        /// The scheme.
        scheme: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_scheme_is_named_and_never_becomes_a_file() {
        assert_eq!(KeyUri::parse("s3:bucket/key"), Err(KeyUriError::UnknownScheme { scheme: "s3".into() }));
        for scheme in KNOWN_ELSEWHERE {
            let error = KeyUri::parse(&format!("{scheme}:x")).unwrap_err();
            assert_eq!(error, KeyUriError::NotInThisBuild { scheme: scheme.into() });
            assert!(error.to_string().contains(scheme));
        }
    }

    #[test]
    fn a_pasted_secret_is_not_repeated_in_the_error() {
        for secret in [
            "-----BEGIN PRIVATE KEY-----",
            "Hunter2",
            "hunter2 with blanks: x",
            "HUNTER2:x",
            "averyveryverylongsecret:x",
        ] {
            let error = KeyUri::parse(secret).unwrap_err();
            assert!(!error.to_string().to_lowercase().contains("hunter2"), "{error}");
            assert!(!format!("{error:?}").contains("PRIVATE"), "{error:?}");
            assert!(!error.to_string().contains("averyvery"), "{error}");
        }
    }

    #[test]
    fn bad_forms_are_refused_each_with_its_reason() {
        for (text, reason) in [
            ("", KeyUriError::Empty),
            ("file:", KeyUriError::FilePath),
            ("file:///", KeyUriError::FilePath),
            ("file:dir/", KeyUriError::FilePath),
            ("file:a\0b", KeyUriError::FilePath),
            ("file://host/key", KeyUriError::FileHost),
            ("env:", KeyUriError::Variable),
            ("env://", KeyUriError::Variable),
            ("env:A=B", KeyUriError::Variable),
            ("env:1A", KeyUriError::Variable),
            ("stdin:x", KeyUriError::Stdin),
            ("../key", KeyUriError::Name),
            ("/etc/key.pem", KeyUriError::Name),
            ("Alice", KeyUriError::Name),
            (":x", KeyUriError::Name),
        ] {
            assert_eq!(KeyUri::parse(text), Err(reason), "{text:?}");
        }
        assert_eq!(KeyUri::parse(&format!("file:{}", "x".repeat(MAX_URI_BYTES))), Err(KeyUriError::TooLong));
    }

    #[test]
    fn every_documented_form_is_read_and_prints_as_itself() {
        for (text, expected, printed) in [
            ("alice", KeyUri::Name(KeyName::parse("alice").unwrap()), "alice"),
            ("file:keys/a.pem", KeyUri::File("keys/a.pem".into()), "file:keys/a.pem"),
            ("file:/keys/a b.pem", KeyUri::File("/keys/a b.pem".into()), "file:/keys/a b.pem"),
            ("file:///keys/a.pem", KeyUri::File("/keys/a.pem".into()), "file:/keys/a.pem"),
            ("env:CI_KEY", KeyUri::Env("CI_KEY".into()), "env:CI_KEY"),
            ("env://CI_KEY", KeyUri::Env("CI_KEY".into()), "env:CI_KEY"),
            ("-", KeyUri::Stdin, "stdin:"),
            ("stdin:", KeyUri::Stdin, "stdin:"),
        ] {
            let uri = KeyUri::parse(text).unwrap();
            assert_eq!(uri, expected, "{text}");
            assert_eq!(uri.to_string(), printed);
        }
    }
}
