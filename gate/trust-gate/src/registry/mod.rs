//! The registry's door: a registry that answers from verified bytes, in front of one that it does not believe.
//!
//! A request is read into parsed parts ([`path`]); a tag or digest is asked of the decider ([`ruling`], [`permit`]); manifests
//! come from memory or from the upstream by digest, hashed ([`content`], [`document`]); what hangs below a signed image is
//! known from verified content alone ([`reach`], [`walk`]); blobs are hashed on their way ([`blob`]). What refers to an image is
//! looked at apart ([`referrers`], [`artifact`]). Pushes and logins pass only where they are switched on ([`writes`], [`push`],
//! [`client`]). Invariants: nothing goes out that is not signed, or led to by something signed, under the same name and allowed at
//! this moment, or refers to such a thing and cannot be run; no image is asked of the upstream by tag; nothing of a request or of
//! an upstream's headers travels on unparsed. Deliberately absent: a copy of the blobs.

mod artifact;
mod blob;
mod client;
mod content;
mod document;
mod door;
mod lists;
mod path;
mod permit;
mod push;
mod reach;
mod referrers;
mod reply;
mod ruling;
mod walk;
mod writes;

#[cfg(test)]
mod attack_tests;
#[cfg(test)]
mod bad_day_tests;
#[cfg(test)]
mod blob_tests;
#[cfg(test)]
mod bypass_tests;
#[cfg(test)]
mod list_tests;
#[cfg(test)]
mod login_tests;
#[cfg(test)]
mod mutation_tests;
#[cfg(test)]
mod push_tests;
#[cfg(test)]
mod referrer_tests;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use axum::Router;
use tokio::sync::Semaphore;
use trust_decide::Decider;
use trust_image::reference::canonical_domain;
use trust_reader::registry::{AuthSources, Upstream, UpstreamOptions};
use trust_reader::tls::TlsOptions;

use self::door::{Door, PUSHES};
use self::permit::Permits;
use self::ruling::{Deciding, Rules};
use crate::config::RegistryConfig;

pub(crate) use self::door::is_known;

/// Why the door does not open.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A value of the configuration, or a file that it names.
    #[error("{0}")]
    Configuration(String),
}

/// What serves.
pub fn router(config: &RegistryConfig, decider: Arc<Decider>) -> Result<Router, RegistryError> {
    routes(config, Box::new(Deciding(decider)))
}

/// Whether the values of the configuration can be used; opens nothing.
pub fn check(config: &RegistryConfig) -> Result<(), RegistryError> {
    upstream(config).map(|_| ())
}

fn routes(config: &RegistryConfig, rules: Box<dyn Rules>) -> Result<Router, RegistryError> {
    let (host, upstream) = upstream(config)?;
    let door = Door {
        permits: Permits::new(host, rules),
        upstream,
        login: config.login,
        push: config.push,
        catalog: config.catalog,
        pushing: Semaphore::new(PUSHES),
    };
    Ok(door::router(Arc::new(door)))
}

/// The logical host, and the registry behind.
fn upstream(config: &RegistryConfig) -> Result<(String, Upstream), RegistryError> {
    let wrong =
        |member: &str, why: &dyn std::fmt::Display| RegistryError::Configuration(format!("registry.{member}: {why}"));
    let host = canonical_domain(&config.host).map_err(|error| wrong("host", &error))?;
    let options = UpstreamOptions {
        tls: TlsOptions { ca_files: config.ca.iter().cloned().collect() },
        auth: config.auth.clone().map_or_else(AuthSources::none, |file| AuthSources::named(vec![file])),
        redirect_hosts: config.redirects.clone(),
        ..UpstreamOptions::at(&config.upstream)
    };
    if config.upstream.contains('@') {
        let shown = trust_reader::http::shown_address(&config.upstream);
        let why = format!("{shown} holds a name or password: the gate's own login is `auth`, a file");
        return Err(wrong("upstream", &why));
    }
    let upstream = Upstream::new(options).map_err(|error| wrong("upstream", &error))?;
    Ok((host, upstream))
}
