//! The arguments: `-name REF -digest DIGEST -stdin-media-type TYPE`, each followed by its value.
//!
//! Invariant: a question holds nothing that could be more than one line. Deliberately absent: the grammar of references, which is
//! the gate's, and standard input.

use std::ffi::OsString;

/// The longest name, in bytes.
const MAX_NAME: usize = 1_024;

/// What containerd asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// As it was asked for.
    pub(crate) name: String,
    /// What the registry made of it.
    pub(crate) digest: String,
}

/// How it is called.
const USAGE: &str = "containerd calls this program: -name REF -digest DIGEST -stdin-media-type TYPE";

/// Reads the arguments after the program's name.
pub(crate) fn parse(arguments: Vec<OsString>) -> Result<Question, String> {
    let (mut name, mut digest, mut kind) = (None, None, None);
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let place = match argument.to_str() {
            Some("-name") => &mut name,
            Some("-digest") => &mut digest,
            Some("-stdin-media-type") => &mut kind,
            other => {
                let argument = other.unwrap_or("?");
                return Err(format!("the argument {argument:?} is not known to this verifier; {USAGE}"));
            }
        };
        let Some(value) = arguments.next().and_then(|value| value.into_string().ok()) else {
            return Err("an argument has no value".to_owned());
        };
        if place.replace(value).is_some() {
            return Err("an argument is given twice".to_owned());
        }
    }
    let (Some(name), Some(digest)) = (name, digest) else {
        return Err(USAGE.to_owned());
    };
    let fits = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
    if !fits {
        return Err("the name of the image is not one".to_owned());
    }
    if !is_digest(&digest) {
        return Err("the digest of the image is not one: sha256 or sha512, in lower case".to_owned());
    }
    Ok(Question { name, digest })
}

fn is_digest(text: &str) -> bool {
    let (length, hex) = match text.split_once(':') {
        Some(("sha256", hex)) => (64, hex),
        Some(("sha512", hex)) => (128, hex),
        _ => return false,
    };
    hex.len() == length && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Question, String> {
        parse(arguments.iter().map(OsString::from).collect())
    }

    #[test]
    fn the_arguments_of_containerd_are_read_in_any_order() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let wanted = Question { name: "docker.io/library/busybox:latest".to_owned(), digest: digest.clone() };
        let kind = "application/vnd.oci.descriptor.v1+json";
        assert_eq!(read(&["-name", &wanted.name, "-digest", &digest, "-stdin-media-type", kind]), Ok(wanted.clone()));
        assert_eq!(read(&["-stdin-media-type", "another/type", "-digest", &digest, "-name", &wanted.name]), Ok(wanted));
    }

    #[test]
    fn everything_else_is_a_doubt() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let upper = digest.to_uppercase();
        for arguments in [
            &[][..],
            &["-name", "x"],
            &["-digest", &digest],
            &["-name", "x", "-digest"],
            &["-name", "x", "-digest", &digest, "-name", "y"],
            &["-name", "x", "-digest", &digest, "-new", "y"],
            &["-name=x", "-digest", &digest],
            &["--name", "x", "-digest", &digest],
            &["-name", "", "-digest", &digest],
            &["-name", "x y", "-digest", &digest],
            &["-name", "x\nsha256", "-digest", &digest],
            &["-name", "x", "-digest", "sha256:aa"],
            &["-name", "x", "-digest", &upper],
            &["-name", "x", "-digest", "md5:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"],
        ] {
            assert!(read(arguments).is_err(), "{arguments:?}");
        }
        assert!(read(&["-name", &"x".repeat(1_025), "-digest", &digest]).is_err());
    }
}
