//! From this crate's errors to problems of the catalogue: every sentence that this crate adds to one stands here.
//!
//! Invariant: exit codes and ids come only from the catalogue; nothing here repeats what was typed where a secret may be.

use std::path::Path;
use std::time::Duration;

use trust_image::{Digest, Reference, TargetError};
use trust_keys::{FileError, KeyFileError, KeyUriError, PassphraseError, SignError, StoreError};
use trust_reader::catalogue::Code;
use trust_reader::verdict::Problem;

use trust_tuf::{CollectionName, UtcTime, Version, limits};

use crate::prompt::ENTRIES_DIFFER;
use crate::settings::{Origin, SettingsError};
use crate::style::plain;
use crate::tools::ToolError;

/// Wrong use of the command line.
pub fn usage(why: &str) -> Problem {
    // The headline is the cause.
    Problem::new(Code::Usage).headline(why).cause("")
}

/// Names the help of the command in a usage error that only says "the command".
pub fn with_help_of(problem: Problem, command: &str) -> Problem {
    let general = Problem::new(Code::Usage).remedy;
    if problem.code == Code::Usage && problem.remedy == general {
        return problem.remedy([format!("look at: {command} --help")]);
    }
    problem
}

/// Arguments that cannot be read. What was typed is not repeated beyond what the parser says of it.
pub fn arguments(error: &clap::Error) -> Problem {
    if let Some(problem) = no_reference(error) {
        return problem;
    }
    let text = without_values(error, error.render().to_string());
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default().trim_start_matches("error: ").trim_end_matches(':').to_owned();
    let mut more: Vec<String> = Vec::new();
    let mut usage = None;
    for line in lines {
        if let Some(line) = line.strip_prefix("Usage: ") {
            usage = Some(line.to_owned());
        } else if !line.starts_with("For more information") {
            more.push(line.to_owned());
        }
    }
    // What the parser says is the cause.
    let mut problem = Problem::new(Code::Usage).headline(first).cause("");
    for line in more {
        let (label, value) = match line.split_once(": ") {
            Some((label @ ("tip" | "note"), value)) => (label.to_owned(), value.to_owned()),
            _ => ("needed".to_owned(), line),
        };
        problem = problem.fact(&label, value);
    }
    let Some(usage) = usage else { return problem };
    let command: Vec<&str> = usage
        .split(' ')
        .take_while(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') && !word.starts_with('-'))
        .collect();
    let help = format!("look at: {} --help", command.join(" "));
    problem.fact("usage", usage).remedy([help])
}

/// A value that is no image reference.
fn no_reference(error: &clap::Error) -> Option<Problem> {
    let text = |kind| match error.get(kind) {
        Some(clap::error::ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let is_reference = text(clap::error::ContextKind::InvalidArg).is_some_and(|name| name.starts_with("<REF>"));
    if error.kind() != clap::error::ErrorKind::ValueValidation || !is_reference {
        return None;
    }
    let why = std::error::Error::source(error)?;
    let given = text(clap::error::ContextKind::InvalidValue).unwrap_or_default();
    Some(Problem::new(Code::BadReference).headline(why).fact("given", format!("`{given}`")))
}

/// The parser's text without what could be a secret: values of unknown arguments, and of those about passphrases.
fn without_values(error: &clap::Error, text: String) -> String {
    use clap::error::{ContextKind, ContextValue};
    const HIDDEN: &str = "(not shown)";
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let (argument, value) = (context(ContextKind::InvalidArg), context(ContextKind::InvalidValue));
    let mut text = text;
    if argument.contains("passphrase") && !value.is_empty() {
        text = text.replace(&value, HIDDEN);
    }
    if error.kind() == clap::error::ErrorKind::UnknownArgument {
        let name = argument.split('=').next().unwrap_or_default();
        let is_flag = name.strip_prefix("--").is_some_and(|rest| {
            rest.len() <= 32
                && rest.starts_with(|c: char| c.is_ascii_lowercase())
                && rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
        });
        let shown = if is_flag { name } else { HIDDEN };
        text = text.replace(&argument, shown);
    }
    text
}

/// A bug.
pub fn internal(why: &str) -> Problem {
    Problem::new(Code::Internal).fact("fault", why)
}

/// A setting.
pub fn configuration(why: &str) -> Problem {
    Problem::new(Code::Configuration).headline(why)
}

/// No server is named.
pub fn no_server() -> Problem {
    Problem::new(Code::NoServer)
}

/// The clock shows no time that metadata can hold.
pub fn clock() -> Problem {
    configuration("the clock of this machine shows no usable time")
}

/// The deadline of the command.
pub fn deadline(after: Duration) -> Problem {
    Problem::new(Code::Timeout)
        .headline(format!("the command was not done within {} s", after.as_secs()))
        .remedy(["try again, or give it longer with --timeout"])
}

/// Something needs the network.
pub fn offline(what: &str, origin: &Origin) -> Problem {
    usage(&format!("{what} needs the network")).fact("offline", origin)
}

/// The token cannot be used.
pub fn token(why: &str) -> Problem {
    configuration("the token for publishing cannot be used").fact("token", why)
}

/// A file of the user's.
pub fn file(path: &Path, error: &std::io::Error) -> Problem {
    let code = if error.kind() == std::io::ErrorKind::StorageFull { Code::DiskFull } else { Code::FileIo };
    Problem::new(code).fact("file", path.display()).fact("system", error)
}

/// The answer could not be written.
pub fn stdout(error: &std::io::Error) -> Problem {
    let code = if error.kind() == std::io::ErrorKind::StorageFull { Code::DiskFull } else { Code::FileIo };
    Problem::new(code).fact("stdout", error)
}

/// The terminal failed.
pub fn terminal(error: &std::io::Error) -> Problem {
    Problem::new(Code::FileIo).headline("the terminal cannot be read").fact("system", error)
}

/// Somebody would have to confirm.
pub fn confirmation_needed(question: &str, answer: &str, why: &str) -> Problem {
    Problem::new(Code::NeedConfirmation)
        .fact("to confirm", question.trim_end_matches('?'))
        .fact("no prompt", why)
        .remedy([format!("answer with {answer}")])
}

/// Somebody said no.
pub fn declined(question: &str) -> Problem {
    Problem::new(Code::Interrupted)
        .headline("nothing was changed: you answered no")
        .fact("question", question.lines().next().unwrap_or_default())
        .cause("the question above was not answered with yes")
        .remedy(["run it again, and confirm it"])
}

/// `--confirm` with another name.
pub fn wrong_confirmation(given: &str, name: &str) -> Problem {
    usage("--confirm names something else").fact("given", plain(given)).fact("expected", name)
}

/// A collection that nobody pinned.
pub fn not_pinned(collection: &str) -> Problem {
    Problem::new(Code::NoPin)
        .headline(format!("{collection} is not pinned on this machine"))
        .fact("collection", collection)
        .remedy([format!("trust pin add {collection} FINGERPRINT")])
}

/// Pins to list, and none is there.
pub fn nothing_pinned() -> Problem {
    Problem::new(Code::NoPin)
        .headline("nothing is pinned on this machine")
        .cause("a pin is the root by which a collection is verified; without one no image is accepted")
        .remedy([
            "pin a collection, with the fingerprint that its people told you: trust pin add COLLECTION FINGERPRINT",
            "or set up one of your own: trust init COLLECTION",
        ])
}

/// Keys to list, and none is there.
pub fn no_keys(folder: &Path) -> Problem {
    Problem::new(Code::KeyMissing)
        .headline("there are no keys on this machine")
        .fact("folder", folder.display())
        .cause("none was made or imported here")
        .remedy(["make one: trust key generate NAME", "or bring one: trust key import URI NAME"])
}

/// An image in no pinned collection.
pub fn image_not_pinned(image: &Reference, pinned: &[&str]) -> Problem {
    let problem = Problem::new(Code::NoPin).fact("image", image);
    if pinned.is_empty() { problem.fact("pinned", "nothing") } else { problem.fact("pinned", pinned.join(", ")) }
}

/// A collection name that is not canonical got as far as a look-up.
pub fn target(error: &TargetError) -> Problem {
    configuration(&format!("the collection cannot be looked up: {error}"))
}

/// The fingerprint of the signer is not known.
pub fn no_identity() -> Problem {
    configuration("the fingerprint of the signer's identity key is not known")
        .cause("online keys are accepted only with a proof by a signer whose fingerprint you have from elsewhere")
        .remedy([
            "ask the signer's operator for it: trust-signer identity --data DIR",
            "write it into a context: trust context add NAME --server URL --identity FINGERPRINT --use",
            "where NAME is there already, add --replace; for one command alone: --identity FINGERPRINT",
        ])
}

/// A digest is needed to sign.
pub fn digest_needed(image: &Reference, why: &str) -> Problem {
    Problem::new(Code::NeedConfirmation)
        .headline("the digest to sign is not given, and nobody can confirm the one that the registry names")
        .fact("image", image)
        .fact("no prompt", why)
        .remedy([format!("trust sign {image} --expect DIGEST, with the digest that you built")])
}

/// Rotation would change nothing, or cannot be done.
pub fn rotation(why: &str) -> Problem {
    usage(why)
}

/// A rotation of an online key was begun before.
pub fn both_valid(role: &str, collection: &CollectionName) -> Problem {
    usage(&format!("a rotation of {role} was begun: the old and the new key are both valid"))
        .fact("collection", collection)
        .remedy([
            format!("to remove the old key: trust rotate {role} {collection} --finish"),
            "a new key at once, without the time in which both are valid: --emergency".to_owned(),
        ])
}

/// The old online key may not leave yet.
pub fn finish_too_early(role: &str, collection: &CollectionName, after: UtcTime) -> Problem {
    usage(&format!("the old {role} key stays until {after}: caches may still show a root that names only it"))
        .fact("collection", collection)
        .remedy([
            format!("after that time: trust rotate {role} {collection} --finish"),
            "if the key is stolen, skip the wait: --emergency".to_owned(),
        ])
}

/// What may happen if a root is signed on one that has expired, and what to look at before.
pub fn expired_root_danger(version: Version, expires: UtcTime) -> String {
    format!(
        "The newest root that this machine knows, v{version}, expired {expires}. If there is a newer one and the server \
         holds it back, this signs a second root for a version that is taken, and that stays valid for every client that \
         has not seen the first. Ask the other holders of root keys whether v{version} is the newest."
    )
}

/// Nobody confirmed that an expired root is the newest one.
pub fn expired_root(collection: &CollectionName, version: Version, expires: UtcTime, why: &str) -> Problem {
    Problem::new(Code::NeedConfirmation)
        .headline(format!(
            "the newest root that this machine knows, v{version}, has expired, and nobody said that it is the newest"
        ))
        .fact("collection", collection)
        .fact("root here", format!("v{version}, expired {expires}"))
        .fact("no prompt", why)
        .cause(
            "a server that holds back a newer root looks the same: this would sign a second root for a version that is \
             taken, and that stays valid for every client that has not seen the first",
        )
        .remedy([
            format!(
                "ask the other holders of root keys whether v{version} is the newest; trust inspect shows them theirs"
            ),
            "compare with a machine that updated lately, and with the publication that you remember last".to_owned(),
            format!("if it is the newest: --confirm {collection}"),
        ])
}

/// A file that was given holds something else.
pub fn bad_file(path: &Path, why: &str) -> Problem {
    usage(&format!("{}: {why}", path.display()))
}

/// Nobody here has a key for the role.
pub fn no_key_for(role: &str, needed: u64, have: &[String], listed: &[String]) -> Problem {
    let problem = Problem::new(Code::KeyNotAllowed).fact("role", role).fact("its keys", listed.join(", "));
    if have.is_empty() {
        return problem
            .headline(format!("no key of this machine may sign for `{role}`"))
            .remedy(["name a key of the role with --key URI, or look at: trust key list"]);
    }
    let (given, others) = (have.len(), listed.iter().filter(|id| !have.contains(id)).cloned().collect::<Vec<_>>());
    let more = usize::try_from(needed).unwrap_or(usize::MAX).saturating_sub(given);
    problem
        .headline(format!("`{role}` is signed by {needed} of its keys together: {given} of {needed} given"))
        .cause(format!("its threshold is {needed}; {} may sign for it, and more is needed", have.join(", ")))
        .remedy([
            format!("also give {more} of {} with --key URI", others.join(", ")),
            "see those of this machine: trust key list".to_owned(),
        ])
}

/// A key that was named is none of the role's.
pub fn key_not_of_role(role: &str, key: &str, listed: &[String]) -> Problem {
    Problem::new(Code::KeyNotAllowed).fact("key", plain(key)).fact("role", role).fact("its keys", listed.join(", "))
}

/// A passphrase.
pub fn passphrase(error: &PassphraseError) -> Problem {
    match error {
        PassphraseError::NotInteractive { answer } => {
            Problem::new(Code::NeedPassphrase).remedy([format!("use {answer}")])
        }
        PassphraseError::Aborted { reason } if reason == ENTRIES_DIFFER => Problem::new(Code::WrongPassphrase)
            .headline(reason)
            .cause("a new passphrase is typed twice, so that a mistyped one locks nobody out")
            .remedy(["run it again"]),
        PassphraseError::Aborted { reason } => {
            Problem::new(Code::Interrupted).headline("no passphrase was entered").cause(reason)
        }
        other => configuration(&other.to_string()),
    }
}

/// A key URI.
pub fn key_uri(error: &KeyUriError) -> Problem {
    match error {
        // The "scheme" may be the beginning of something that was pasted here by mistake.
        KeyUriError::UnknownScheme { .. } => usage("this is no key URI; use a key name, file:PATH, env:VAR or -"),
        other => usage(&other.to_string()),
    }
}

/// A key, or its file.
pub fn key(error: &StoreError) -> Problem {
    let code = match error {
        StoreError::Passphrase(error) => return passphrase(error),
        StoreError::File(error) => return key_path(error),
        StoreError::WrongPassphrase { .. } | StoreError::KeyFile(KeyFileError::WrongPassphrase) => {
            Code::WrongPassphrase
        }
        StoreError::Unknown { .. } | StoreError::NoStore { .. } | StoreError::VariableUnset { .. } => Code::KeyMissing,
        StoreError::Example { .. } => Code::ExampleKey,
        StoreError::Name => return usage(&error.to_string()),
        StoreError::NotEncrypted { key } => {
            return Problem::new(Code::KeyRefused)
                .headline("the key is not encrypted")
                .fact("key", plain(key))
                .cause("whoever reads its file can sign, so that somebody has to want this")
                .remedy(["protect it: trust key import with a passphrase", "or use it as it is: --no-passphrase"]);
        }
        _ => Code::KeyRefused,
    };
    Problem::new(code).fact("key", plain(&error.to_string()))
}

fn key_path(error: &FileError) -> Problem {
    let code = match error {
        FileError::NotFound { .. } => Code::KeyMissing,
        FileError::Exists { .. } => Code::KeyExists,
        FileError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => Code::DiskFull,
        FileError::Io { .. } => Code::FileIo,
        _ => Code::KeyRefused,
    };
    Problem::new(code).fact("key", plain(&error.to_string()))
}

/// A key file's form.
pub fn key_file(error: KeyFileError) -> Problem {
    key(&StoreError::KeyFile(error))
}

/// A key that did not sign.
pub fn signing(error: &SignError) -> Problem {
    Problem::new(Code::KeyRefused).headline("the key did not sign").fact("why", error)
}

/// Our own file does not hold what was just written: a bug.
pub fn draft(error: &impl std::fmt::Display) -> Problem {
    internal(&format!("a role file could not be made: {error}"))
}

/// A tool whose arguments are not understood.
pub fn tool(error: &ToolError) -> Problem {
    match error {
        ToolError::Reference { .. } => Problem::new(Code::BadReference).headline(error),
        _ => usage(&error.to_string()).remedy(["trust help exec"]),
    }
}

/// A program that does not start.
pub fn program(name: &str, error: &std::io::Error) -> Problem {
    Problem::new(Code::CommandFailed).fact("program", plain(name)).fact("system", error)
}

impl From<SettingsError> for Problem {
    fn from(error: SettingsError) -> Self {
        let problem = match &error {
            SettingsError::Unwritable { kind, .. } => {
                let code = if *kind == std::io::ErrorKind::StorageFull { Code::DiskFull } else { Code::FileIo };
                Problem::new(code).fact("file", plain(&error.to_string()))
            }
            _ => configuration(&plain(&error.to_string())),
        };
        match error {
            SettingsError::NoContext { .. } => problem.remedy(["look at: trust context list"]),
            SettingsError::NoHome { .. } => {
                problem.remedy(["set HOME, or the three XDG variables (trust help environment)"])
            }
            _ => problem,
        }
    }
}

/// Those who sign images: roles for policy are none of them.
fn people(known: &[String]) -> String {
    known.iter().filter(|name| !name.starts_with('_')).map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// A signer that the collection does not have.
pub fn no_such_signer(name: &str, collection: &str, known: &[String]) -> Problem {
    Problem::new(Code::KeyNotAllowed)
        .headline(format!("{collection} has no signer `{name}`"))
        .cause("only roles that `targets` delegates directly can sign under their name")
        .fact("signers", people(known))
        .remedy([
            format!("check the name: trust signer list {collection}"),
            format!("a new signer is added by whoever holds the targets key: trust signer add {name} {collection}"),
        ])
}

/// A path that a role may not list.
pub fn outside_paths(role: &str, path: &str) -> Problem {
    Problem::new(Code::KeyNotAllowed)
        .headline(format!("`{role}` may not sign `{}`", plain(path)))
        .cause("the path is outside the patterns that were delegated to the role")
        .fact("role", role)
        .remedy(["ask whoever holds the targets key for wider paths (trust signer list shows them)"])
}

/// A signer's file that no server of ours takes.
pub fn file_too_large(role: &str, signer: &str, collection: &CollectionName, bytes: usize) -> Problem {
    let most = limits::PUBLISH_BYTES;
    Problem::new(Code::PublicationRefused)
        .headline(format!("the file of `{role}` would have {bytes} bytes, and at most {most} are published"))
        .cause("a role's file lists everything that was signed in it")
        .remedy([
            format!("spread it over more files: trust signer bins {signer} {collection} 256"),
            "remove what is not used any more: trust unsign --digest".to_owned(),
        ])
}

/// No role lists a key of this machine.
pub fn no_role_for_my_keys(collection: &str, known: &[String]) -> Problem {
    Problem::new(Code::KeyNotAllowed)
        .headline(format!("no key of this machine may sign in {collection}"))
        .fact("signers", people(known))
        .remedy([
            "name a key of one of the signers with --key URI",
            "or ask whoever holds the targets key: trust signer add",
        ])
}

/// Several roles list keys of this machine.
pub fn several_roles(names: &[String]) -> Problem {
    usage("several signers could sign with the keys of this machine")
        .fact("signers", names.join(", "))
        .remedy(["say which one: --as NAME"])
}

/// The registry serves another digest than the one to sign.
pub fn serves_another(image: &Reference, digest: &Digest, served: &Digest) -> Problem {
    Problem::new(Code::DigestDiffers)
        .headline("the registry serves another image under this tag than the one to sign")
        .fact("image", image)
        .fact("to sign", digest)
        .fact("served", served)
        .digests(digest, served)
        .cause("the tag was pushed again, or the digest is that of another image")
        .remedy([
            "push the image that you want to sign under this tag, or sign the digest that is served if you made it",
        ])
}

/// Facts that cannot be signed.
pub fn facts(image: &Reference, error: &trust_image::FactsError) -> Problem {
    let problem = Problem::new(Code::ImageUnreadable)
        .headline("the facts of this image cannot be signed")
        .fact("image", image)
        .cause(error);
    match error {
        trust_image::FactsError::NotComposed { .. } => problem
            .fact("why", "clients that compose text before they check a signature would refuse the whole role file")
            .remedy(["write it with composed characters (é as one character, not e and an accent): in the image, and build it again; in -a, and sign again"]),
        _ => problem.remedy(["shorten the labels or annotations of the image, or state less with -a"]),
    }
}

/// A signature to remove that is not there.
pub fn not_signed_by_me(image: &Reference, role: &str) -> Problem {
    Problem::new(Code::NotSigned)
        .headline(format!("`{role}` has not signed {image}"))
        .cause("only an own entry can be removed")
        .remedy(["look at: trust inspect", "to declare the image bad whoever signed it: trust revoke"])
}

/// A signature to remove that is for another digest.
pub fn signed_another(image: &Reference, signed: &Digest, role: &str) -> Problem {
    let problem = Problem::new(Code::TagIsOther).fact("image", image).fact("signed", format!("{signed}  by {role}"));
    match image.digest() {
        Some(given) => problem.digests(signed, given),
        None => problem,
    }
}

/// A collection without a single signed image.
pub fn nothing_signed(collection: &str) -> Problem {
    Problem::new(Code::NotSigned)
        .headline(format!("nothing is signed in {collection}"))
        .fact("collection", collection)
        .cause("no role of the collection lists an image")
        .remedy(["sign an image: trust sign NAME:TAG@DIGEST"])
}
