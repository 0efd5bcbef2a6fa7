//! What a metadata file says, role by role. Values here are claims: only [`crate::Verified`] makes them facts.

mod delegation;
mod root;
mod snapshot;
mod targets;

use std::sync::Arc;

use aws_lc_rs::digest;

pub use delegation::{Bins, Delegation, Delegations, Paths, Succinct};
pub use root::{RoleKeys, Root};
pub use snapshot::{Snapshot, Timestamp};
pub use targets::{TargetInfo, Targets};

pub(crate) use delegation::pattern_matches;
pub(crate) use root::parse_keys;

use crate::error::MetadataError;
use crate::json::{Cursor, Value};
use crate::names::{RoleType, Version};
use crate::time::UtcTime;

/// A role type as a Rust type: how to read its `signed` part.
pub trait Role: Sized + sealed::Parse {
    /// The value of `_type`.
    const TYPE: RoleType;
    /// The version.
    fn version(&self) -> Version;
    /// The first second at which the file is expired.
    fn expires(&self) -> UtcTime;
}

pub(crate) mod sealed {
    use super::*;

    pub trait Parse: Sized {
        #[allow(private_interfaces)] // the trait is sealed: nobody outside can call this
        fn parse(cursor: &mut Cursor<'_>, document: &Arc<[u8]>) -> Result<Self, MetadataError>;
    }
}

/// The members that all roles have.
#[derive(Debug, Default)]
pub(crate) struct Header {
    type_fits: bool,
    spec_fits: bool,
    version: Option<Version>,
    expires: Option<UtcTime>,
}

impl Header {
    /// Reads the member if it is one of the common four; false if it is not.
    pub(crate) fn member(
        &mut self,
        role: RoleType,
        cursor: &mut Cursor<'_>,
        name: &str,
    ) -> Result<bool, MetadataError> {
        match name {
            "_type" => {
                self.type_fits = cursor.string()? == role.as_str();
                if !self.type_fits {
                    return Err(MetadataError::WrongType(role));
                }
            }
            "spec_version" => {
                self.spec_fits = spec_version_fits(&cursor.string()?);
                if !self.spec_fits {
                    return Err(MetadataError::SpecVersion);
                }
            }
            "version" => self.version = Some(version(cursor)?),
            "expires" => self.expires = Some(UtcTime::parse(&cursor.string()?).ok_or(MetadataError::Expires)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(crate) fn finish(&self) -> Result<(Version, UtcTime), MetadataError> {
        if !self.type_fits {
            return Err(MetadataError::Missing("_type"));
        }
        if !self.spec_fits {
            return Err(MetadataError::Missing("spec_version"));
        }
        let version = self.version.ok_or(MetadataError::Missing("version"))?;
        let expires = self.expires.ok_or(MetadataError::Missing("expires"))?;
        Ok((version, expires))
    }
}

pub(crate) fn version(cursor: &mut Cursor<'_>) -> Result<Version, MetadataError> {
    let value = cursor.integer()?;
    u64::try_from(value).ok().and_then(Version::new).ok_or(MetadataError::Version)
}

fn spec_version_fits(text: &str) -> bool {
    let mut parts = text.split('.');
    let number = |part: Option<&str>| {
        part.is_some_and(|p| !p.is_empty() && p.len() <= 9 && p.bytes().all(|b| b.is_ascii_digit()))
    };
    // `1.0` is met in old repositories; the suite's clients read it.
    parts.next() == Some("1")
        && number(parts.next())
        && parts.next().is_none_or(|p| number(Some(p)))
        && parts.next().is_none()
}

/// The hashes that are stated for a file. Algorithms that are not known are left aside; at least one must be known
/// where a file is checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hashes {
    /// SHA-256.
    pub sha256: Option<[u8; 32]>,
    /// SHA-512.
    pub sha512: Option<[u8; 64]>,
}

impl Hashes {
    /// The SHA-256 of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { sha256: Some(sha256(bytes)), sha512: None }
    }

    /// Whether at least one hash is known and every known one is the bytes' own.
    pub fn match_bytes(&self, bytes: &[u8]) -> bool {
        let fits256 = self.sha256.is_none_or(|h| h == sha256(bytes));
        let fits512 = self.sha512.is_none_or(|h| digest::digest(&digest::SHA512, bytes).as_ref() == h);
        (self.sha256.is_some() || self.sha512.is_some()) && fits256 && fits512
    }

    /// As it stands in a file.
    pub fn to_value(&self) -> Value {
        let sha256 = self.sha256.map(|h| ("sha256", Value::from(hex::encode(h))));
        let sha512 = self.sha512.map(|h| ("sha512", Value::from(hex::encode(h))));
        Value::object(sha256.into_iter().chain(sha512))
    }

    pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, MetadataError> {
        let mut hashes = Self::default();
        let mut any = false;
        cursor.object(|c, name| {
            let text = c.string()?;
            any = true;
            match name {
                "sha256" => hashes.sha256 = Some(hex_array(&text)?),
                "sha512" => hashes.sha512 = Some(hex_array(&text)?),
                _ => {}
            }
            Ok::<(), MetadataError>(())
        })?;
        if any { Ok(hashes) } else { Err(MetadataError::Hashes) }
    }
}

/// Exactly `N` bytes in hex of either case. A large file has very many of these.
fn hex_array<const N: usize>(text: &str) -> Result<[u8; N], MetadataError> {
    const NONE: u8 = 0x80;
    let digit = |byte: u8| {
        let (number, letter) = (byte.wrapping_sub(b'0'), (byte | 0x20).wrapping_sub(b'a'));
        let letter = if letter < 6 { letter + 10 } else { NONE };
        if number < 10 { number } else { letter }
    };
    let mut out = [0; N];
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(MetadataError::Hashes) };
    if pairs.len() != N {
        return Err(MetadataError::Hashes);
    }
    let mut seen = 0;
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        let (high, low) = (digit(*high), digit(*low));
        seen |= high | low;
        *byte = high << 4 | (low & 0xf);
    }
    if seen & NONE == 0 { Ok(out) } else { Err(MetadataError::Hashes) }
}

/// SHA-256 of these bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// What a timestamp or snapshot says of another file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaEntry {
    /// The file's version.
    pub version: Version,
    /// The file's length in bytes, if stated.
    pub length: Option<u64>,
    /// The file's hashes, if stated.
    pub hashes: Option<Hashes>,
}

impl MetaEntry {
    /// The entry of a file with these bytes and this version.
    pub fn of(version: Version, bytes: &[u8]) -> Self {
        let length = u64::try_from(bytes.len()).ok();
        Self { version, length, hashes: Some(Hashes::of(bytes)) }
    }

    /// As it stands in a file.
    pub fn to_value(&self) -> Value {
        let version = Some(("version", Value::from(self.version.get())));
        let length = self.length.map(|n| ("length", Value::from(n)));
        let hashes = self.hashes.as_ref().map(|h| ("hashes", h.to_value()));
        Value::object(version.into_iter().chain(length).chain(hashes))
    }

    pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, MetadataError> {
        let (mut found, mut length, mut hashes) = (None, None, None);
        cursor.object(|c, name| {
            match name {
                "version" => found = Some(version(c)?),
                "length" => length = Some(c.u64()?),
                "hashes" => hashes = Some(Hashes::parse(c)?),
                _ => {
                    c.skip()?;
                }
            }
            Ok::<(), MetadataError>(())
        })?;
        Ok(Self { version: found.ok_or(MetadataError::Missing("version"))?, length, hashes })
    }
}

#[cfg(test)]
mod tests {
    use super::{hex_array, spec_version_fits};

    #[test]
    fn a_hash_is_hex_of_its_length_and_nothing_else() {
        assert_eq!(hex_array::<4>("00fFaB19").ok(), Some([0, 0xff, 0xab, 0x19]));
        for text in [
            "",
            "00fFaB1",
            "00fFaB190",
            "00fFaB19 0",
            "00fFaB1g",
            "@0fFaB19",
            ":0fFaB19",
            "/0fFaB19",
            "`0fFaB19",
            "00fFaB1é",
        ] {
            assert!(hex_array::<4>(text).is_err(), "{text}");
        }
        for byte in 0..=0x7f_u8 {
            let text = format!("0{}", char::from(byte));
            assert_eq!(hex_array::<1>(&text).is_ok(), byte.is_ascii_hexdigit(), "{text}");
        }
    }

    #[test]
    fn another_major_version_is_refused() {
        for text in ["1.0.31", "1.0.0", "1.0", "1.99.7"] {
            assert!(spec_version_fits(text), "{text}");
        }
        for text in ["", "1", "2.0.0", "0.9.9", "1.", "1.0.0.0", "1.0.x", "1.0.0-rc", "11.0.0", " 1.0.0"] {
            assert!(!spec_version_fits(text), "{text}");
        }
    }
}
