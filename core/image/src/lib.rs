//! Image references, digests, labels, and the mapping of images to targets.
//!
//! Everything here is a pure function of bytes and strings: no IO, no clock, no network, and nothing of our other
//! crates. What is refused is refused with a named reason, so that a caller can say what to do. Deliberately absent:
//! fetching (the reader's registry client), policy on labels, and the contents of TUF metadata.

pub mod config;
mod differ;
pub mod digest;
pub mod facts;
pub mod json;
pub mod manifest;
pub mod pin;
pub mod reference;
pub mod target;
pub mod text;
pub mod workload;

pub use config::{ConfigError, ImageConfig};
pub use differ::{Difference, Member};
pub use digest::{Digest, DigestError};
pub use facts::{FactsError, ImageFacts, PlatformFacts};
pub use manifest::{Descriptor, ImageManifest, Index, Manifest, ManifestError, MediaType, Platform};
pub use reference::{Reference, ReferenceError};
pub use target::{Entry, ImageEntry, TargetError};
