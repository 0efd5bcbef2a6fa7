//! A thin client of OCI registries: what signing and verifying read, and what a gate passes on.
//!
//! Invariant: nothing that a registry says about content is believed. What is asked for by digest is hashed and compared; the
//! kind of a manifest comes from its body; headers are hints. Every body has a length limit that is counted while it is
//! read, and every request a deadline. Credentials go to the host that they are for and, in a token exchange, to the
//! realm that this host names, never to a redirect target, never into an error or a debug print, and never over plain
//! HTTP to anything that was not allowed it. Layers, lists and pushes pass only through [`Upstream`], for a gate. Deliberately
//! absent: retries.

mod auth_file;
mod blob;
mod caller;
mod challenge;
mod client;
mod direct;
mod error;
mod helper;
mod http;
mod inspect;
mod lists;
mod stream;
mod token;
mod writes;

pub use auth_file::AuthSources;
pub use blob::Blob;
pub use caller::{Caller, Refused};
pub use client::{FetchedManifest, RegistryClient, RegistryOptions};
pub use error::{Reason, RegistryError};
pub use inspect::{ImageContent, PlatformContent};
pub use reqwest::Body as PushBody;
pub use stream::{Span, Upstream, UpstreamOptions};
pub use writes::{Place, WriteTo, Written};

#[cfg(test)]
mod auth_tests;
#[cfg(test)]
mod caller_tests;
#[cfg(test)]
mod fake_registry;
#[cfg(test)]
mod fetch_tests;
#[cfg(test)]
mod inspect_tests;
#[cfg(test)]
mod stream_tests;
