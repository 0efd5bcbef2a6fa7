//! The envelope of a file: signatures beside the signed part, and the bytes as received.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use crate::error::MetadataError;
use crate::json::Cursor;
use crate::keys::{KeyId, Signature};
use crate::limits;
use crate::model::Role;

/// The signatures of a file and where its signed part stands, of which nothing is built.
pub(crate) struct Outline {
    pub(crate) signatures: Vec<Signature>,
    signed: Range<usize>,
    canonical: bool,
}

impl Outline {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, MetadataError> {
        let (mut signatures, mut signed) = (None, None);
        let mut cursor = Cursor::new(bytes)?;
        cursor.object(|c, name| {
            match name {
                "signatures" => signatures = Some(parse_signatures(c)?),
                "signed" => {
                    c.watch_canonical();
                    let span = c.skip()?;
                    signed = Some((span, c.is_canonical()));
                }
                _ => {
                    c.skip()?;
                }
            }
            Ok::<(), MetadataError>(())
        })?;
        cursor.end()?;
        let signatures = signatures.ok_or(MetadataError::Missing("signatures"))?;
        let (signed, canonical) = signed.ok_or(MetadataError::Missing("signed"))?;
        Ok(Self { signatures, signed, canonical })
    }

    /// Calls `check` with the canonical form of the signed part of these bytes, which were read.
    pub(crate) fn with_message<T>(&self, bytes: &[u8], check: impl FnOnce(&[u8]) -> T) -> Result<T, MetadataError> {
        with_message(bytes, &self.signed, self.canonical, check)
    }
}

fn with_message<T>(
    bytes: &[u8],
    signed: &Range<usize>,
    canonical: bool,
    check: impl FnOnce(&[u8]) -> T,
) -> Result<T, MetadataError> {
    let slice = bytes.get(signed.clone()).unwrap_or(&[]);
    if canonical {
        return Ok(check(slice));
    }
    Ok(check(&crate::json::canonical(slice)?))
}

/// A file that was read, but whose signatures nobody has checked. It shows nothing but what is needed to check it.
#[derive(Debug)]
pub struct Unverified<R> {
    bytes: Arc<[u8]>,
    signed: Range<usize>,
    canonical: bool,
    only_envelope: bool,
    signatures: Vec<Signature>,
    role: R,
}

impl<R: Role> Unverified<R> {
    /// Reads a file of this role. `limit` is in bytes.
    pub fn read(bytes: impl Into<Arc<[u8]>>, limit: u64) -> Result<Self, MetadataError> {
        let bytes: Arc<[u8]> = bytes.into();
        if u64::try_from(bytes.len()).is_ok_and(|n| n <= limit) {
            Self::parse(bytes)
        } else {
            Err(MetadataError::TooLarge { limit })
        }
    }

    fn parse(bytes: Arc<[u8]>) -> Result<Self, MetadataError> {
        let mut cursor = Cursor::new(&bytes)?;
        let mut signatures = None;
        let mut signed = None;
        let mut only_envelope = true;
        cursor.object(|c, name| {
            match name {
                "signatures" => signatures = Some(parse_signatures(c)?),
                "signed" => {
                    // The part may be canonical although the file around it is not.
                    c.watch_canonical();
                    let start = c.position();
                    let role = R::parse(c, &bytes)?;
                    signed = Some((start..c.position(), c.is_canonical(), role));
                }
                _ => {
                    only_envelope = false;
                    c.skip()?;
                }
            }
            Ok::<(), MetadataError>(())
        })?;
        cursor.end()?;
        let signatures = signatures.ok_or(MetadataError::Missing("signatures"))?;
        let (signed, canonical, role) = signed.ok_or(MetadataError::Missing("signed"))?;
        Ok(Self { signed, canonical, only_envelope, signatures, role, bytes: Arc::clone(&bytes) })
    }

    /// The version that the file claims.
    pub fn claimed_version(&self) -> crate::names::Version {
        self.role.version()
    }

    /// The key ids under which the file carries signatures.
    pub fn signed_by(&self) -> impl Iterator<Item = &KeyId> {
        self.signatures.iter().map(|s| &s.keyid)
    }

    /// Whether the envelope has `signatures` and `signed` and nothing else: other members are not signed.
    pub fn is_only_envelope(&self) -> bool {
        self.only_envelope
    }

    pub(crate) fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    pub(crate) fn role(&self) -> &R {
        &self.role
    }

    pub(crate) fn into_parts(self) -> (Arc<[u8]>, R) {
        (self.bytes, self.role)
    }

    /// Calls `check` with the canonical form of the signed part: the slice itself if it is canonical already.
    pub(crate) fn with_message<T>(&self, check: impl FnOnce(&[u8]) -> T) -> Result<T, MetadataError> {
        with_message(&self.bytes, &self.signed, self.canonical, check)
    }
}

fn parse_signatures(cursor: &mut Cursor<'_>) -> Result<Vec<Signature>, MetadataError> {
    let mut signatures = Vec::new();
    let mut ids = BTreeSet::new();
    cursor.array(|c| {
        if signatures.len() >= limits::SIGNATURES_PER_FILE {
            return Err(MetadataError::TooMany { what: "signatures", limit: limits::SIGNATURES_PER_FILE });
        }
        let (mut keyid, mut sig) = (None, None);
        c.object(|c, name| {
            match name {
                "keyid" => keyid = Some(KeyId::new(c.string()?)),
                // A signature that is not hex does not count; it does not spoil the file.
                "sig" => sig = Some(hex::decode(c.string()?.as_bytes()).unwrap_or_default()),
                _ => {
                    c.skip()?;
                }
            }
            Ok::<(), MetadataError>(())
        })?;
        let keyid = keyid.ok_or(MetadataError::Missing("keyid"))?;
        let sig = sig.ok_or(MetadataError::Missing("sig"))?;
        if !ids.insert(keyid.clone()) {
            return Err(MetadataError::DuplicateSignature(keyid));
        }
        signatures.push(Signature { keyid, sig });
        Ok(())
    })?;
    Ok(signatures)
}
