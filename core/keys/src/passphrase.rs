//! Passphrases and where they come from without a terminal: a file, a descriptor, an environment variable.
//!
//! Invariants: a passphrase is never an argument value, is overwritten when dropped, and appears in no error and no
//! `Debug` output. *Set but empty* is an empty passphrase; *unset* means ask. Two answers at once are an error, because
//! either choice would surprise somebody. Deliberately absent: the prompt itself. The program that owns the terminal
//! hands in a callback; this module also never reads the environment, its values are handed in.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use zeroize::Zeroizing;

use crate::signing::Algorithm;

/// Longest passphrase that is accepted, in bytes, from whatever source.
pub const MAX_PASSPHRASE_BYTES: usize = 4096;

/// A secret that opens a key file or a sealed store: arbitrary bytes, at most [`MAX_PASSPHRASE_BYTES`].
///
/// The memory is overwritten when the value is dropped. An empty passphrase is a passphrase.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// Takes the bytes as they are: nothing is trimmed or normalised.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Passphrase, PassphraseError> {
        let bytes = Zeroizing::new(bytes.into());
        if bytes.len() > MAX_PASSPHRASE_BYTES {
            return Err(PassphraseError::TooLong);
        }
        Ok(Passphrase(bytes))
    }

    /// The secret bytes, for the key derivation only.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the empty passphrase (a variable that is set but empty).
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether both hold the same bytes: "type it again" of a new passphrase. Not in constant time, since both come
    /// from the same person.
    pub fn same_as(&self, other: &Passphrase) -> bool {
        self.0.as_slice() == other.0.as_slice()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(hidden)")
    }
}

/// What a prompt has to say: which key, and what for (command-line.md section 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptInfo {
    /// Name of the key in its store, or where it comes from, for example `file:/media/key.pem`.
    pub key: String,
    /// Kind of the key, if its public half is known before it is opened.
    pub algorithm: Option<Algorithm>,
    /// Key id, if the public half is known before it is opened.
    pub key_id: Option<String>,
    /// What the passphrase is for.
    pub purpose: PromptPurpose,
}

/// What the passphrase is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromptPurpose {
    /// To open an existing key: asked once.
    Open,
    /// To protect a new key or a new copy of one: asked twice.
    Protect,
}

/// The callback that asks a person. It returns [`PassphraseError::NotInteractive`] where nobody can be asked.
pub type Ask<'a> = dyn FnMut(&PromptInfo) -> Result<Passphrase, PassphraseError> + 'a;

/// One environment variable and its `…_FILE` twin, as the caller found them; `None` is *unset*.
#[derive(Clone)]
pub struct PassphraseVariable {
    /// Name of the variable, for messages: `TRUST_PASSPHRASE`.
    pub name: String,
    /// Value of the variable; set but empty is an empty passphrase.
    pub value: Option<OsString>,
    /// Value of the variable with `_FILE` appended: the path of a file that holds the passphrase.
    pub file: Option<OsString>,
}

impl fmt::Debug for PassphraseVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PassphraseVariable")
            .field("name", &self.name)
            .field("is_set", &self.value.is_some())
            .field("file_is_set", &self.file.is_some())
            .finish()
    }
}

/// Everything that can answer for a passphrase, before the order of rank is applied.
#[derive(Clone, Debug, Default)]
pub struct PassphraseInputs {
    /// `--passphrase-file`.
    pub file: Option<PathBuf>,
    /// `--passphrase-fd`.
    pub descriptor: Option<u32>,
    /// The variables that count here, highest rank first; the first that is set in either form decides.
    pub variables: Vec<PassphraseVariable>,
}

/// Where the passphrase will come from. Made by [`PassphraseSource::resolve`]; read by [`PassphraseSource::obtain`].
#[derive(Debug)]
pub enum PassphraseSource {
    /// Read this file.
    File(PathBuf),
    /// Read this open descriptor up to its end.
    Descriptor(u32),
    /// Already known.
    Given(Passphrase),
    /// Ask a person.
    Ask,
}

impl PassphraseSource {
    /// Applies the rank: flag, then the variables in their order, else ask. Reads nothing yet.
    pub fn resolve(inputs: PassphraseInputs) -> Result<PassphraseSource, PassphraseError> {
        match (inputs.file, inputs.descriptor) {
            (Some(_), Some(_)) => return Err(PassphraseError::TwoFlags),
            (Some(path), None) => return Ok(PassphraseSource::File(path)),
            (None, Some(descriptor)) => return Ok(PassphraseSource::Descriptor(descriptor)),
            (None, None) => {}
        }
        for variable in inputs.variables {
            match (variable.value, variable.file) {
                (Some(value), file) => {
                    // Into the zeroising type first: the error below must not leave the value behind.
                    let value = Passphrase::new(value.into_vec())?;
                    if file.is_some() {
                        return Err(PassphraseError::TwoVariables { name: variable.name });
                    }
                    return Ok(PassphraseSource::Given(value));
                }
                (None, Some(path)) if path.is_empty() => {
                    return Err(PassphraseError::EmptyFileVariable { name: variable.name });
                }
                (None, Some(path)) => return Ok(PassphraseSource::File(PathBuf::from(path))),
                (None, None) => {}
            }
        }
        Ok(PassphraseSource::Ask)
    }

    /// The passphrase for the key that `info` names.
    ///
    /// A file or descriptor is read at the first call and kept, because a pipe gives its content only once and a command
    /// may open several keys. A person is asked for each key anew.
    pub fn obtain(&mut self, info: &PromptInfo, ask: &mut Ask<'_>) -> Result<Passphrase, PassphraseError> {
        let passphrase = match self {
            PassphraseSource::Given(passphrase) => return Ok(passphrase.clone()),
            PassphraseSource::Ask => return ask(info),
            PassphraseSource::File(path) => read_passphrase_file(path)?,
            PassphraseSource::Descriptor(descriptor) => read_passphrase_descriptor(*descriptor)?,
        };
        *self = PassphraseSource::Given(passphrase.clone());
        Ok(passphrase)
    }
}

/// Reads a passphrase file: at most [`MAX_PASSPHRASE_BYTES`], one trailing newline removed.
///
/// A regular file that its group or others may read or write is refused. A pipe or a `/dev/fd` path is taken as it is:
/// the shell made it for this process. Symbolic links are followed (mounted secrets are links).
pub fn read_passphrase_file(path: &Path) -> Result<Passphrase, PassphraseError> {
    let handed_over =
        path.starts_with("/dev/fd") || path.starts_with("/proc/self/fd") || path == Path::new("/dev/stdin");
    let file = open(path)?;
    let metadata = file.metadata().map_err(|source| PassphraseError::Unreadable { path: path.to_owned(), source })?;
    let kind = metadata.file_type();
    if kind.is_dir() || kind.is_block_device() {
        return Err(PassphraseError::NotAFile { path: path.to_owned() });
    }
    if kind.is_file() && !handed_over && metadata.mode() & 0o077 != 0 {
        return Err(PassphraseError::TooOpen { path: path.to_owned(), mode: metadata.mode() & 0o7777 });
    }
    read_to_end(file, path)
}

/// Reads a passphrase from an open descriptor of this process, up to its end; one trailing newline removed.
///
/// The descriptor is opened again by its name under `/proc/self/fd` (or `/dev/fd`): taking it over by number would need
/// `unsafe`. So a regular file is read from its start, and a socket cannot be read.
pub fn read_passphrase_descriptor(descriptor: u32) -> Result<Passphrase, PassphraseError> {
    if descriptor == 1 || descriptor == 2 {
        return Err(PassphraseError::OutputDescriptor { descriptor });
    }
    let mut path = PathBuf::from(format!("/proc/self/fd/{descriptor}"));
    if !Path::new("/proc/self/fd").exists() {
        path = PathBuf::from(format!("/dev/fd/{descriptor}"));
    }
    let file = open(&path)?;
    read_to_end(file, &path)
}

fn open(path: &Path) -> Result<File, PassphraseError> {
    let descriptor = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())
        .map_err(|errno| PassphraseError::Unreadable { path: path.to_owned(), source: errno.into() })?;
    // A terminal would show what is typed; the prompt of the program hides it.
    if rustix::termios::isatty(&descriptor) {
        return Err(PassphraseError::Terminal { path: path.to_owned() });
    }
    Ok(File::from(descriptor))
}

fn read_to_end(mut file: File, path: &Path) -> Result<Passphrase, PassphraseError> {
    // Room for the limit, a newline of two bytes and one byte more: a buffer of fixed size leaves no copies behind.
    let mut buffer = Zeroizing::new(vec![0u8; MAX_PASSPHRASE_BYTES + 3]);
    let mut filled = 0usize;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(source) if source.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => {
                return Err(PassphraseError::Unreadable { path: path.to_owned(), source });
            }
        }
    }
    if filled == buffer.len() {
        return Err(PassphraseError::TooLong);
    }
    buffer.truncate(filled);
    if buffer.last() == Some(&b'\n') {
        buffer.pop();
        if buffer.last() == Some(&b'\r') {
            buffer.pop();
        }
    }
    if buffer.len() > MAX_PASSPHRASE_BYTES {
        return Err(PassphraseError::TooLong);
    }
    Ok(Passphrase(buffer))
}

/// Why there is no passphrase. No variant holds one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseError {
    /// Longer than [`MAX_PASSPHRASE_BYTES`].
    #[error("the passphrase is longer than {MAX_PASSPHRASE_BYTES} bytes")]
    TooLong,
    /// Both flags were given.
    #[error("--passphrase-file and --passphrase-fd were both given; give one")]
    TwoFlags,
    /// A variable and its `_FILE` twin are both set.
    #[error("{name} and {name}_FILE are both set; unset one of them")]
    TwoVariables {
        /// The variable's name without `_FILE`.
        name: String,
    },
    /// The `_FILE` variable is set to nothing.
    #[error("{name}_FILE is set but names no file; unset it or give a path")]
    EmptyFileVariable {
        /// The variable's name without `_FILE`.
        name: String,
    },
    /// Others can read or change the file.
    #[error("passphrase file {} has mode {mode:04o}: others can use it; run: chmod 600 {}", path.display(), path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A directory or a disk.
    #[error("{} is not a passphrase file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A terminal stands where a file or pipe was expected.
    #[error("{} is a terminal; leave the flag out to be asked without echo", path.display())]
    Terminal {
        /// The path.
        path: PathBuf,
    },
    /// Descriptor 1 or 2.
    #[error("descriptor {descriptor} is an output of this program; pass the passphrase on another one, for example 3")]
    OutputDescriptor {
        /// The number.
        descriptor: u32,
    },
    /// The system refused.
    #[error("cannot read the passphrase from {}: {source}", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Somebody would have to be asked, and nobody can be (exit 40). The callback returns it.
    #[error("a passphrase is needed and nobody can be asked; use {answer}")]
    NotInteractive {
        /// The flag or variable that would have answered.
        answer: String,
    },
    /// The person gave up, or the two entries differed. The callback returns it.
    #[error("no passphrase was entered: {reason}")]
    Aborted {
        /// What happened, without what was typed.
        reason: String,
    },
}

#[cfg(test)]
#[path = "passphrase_tests.rs"]
mod tests;
