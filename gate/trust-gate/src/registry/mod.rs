//! The registry's door: a pull-only registry that answers from verified bytes, in front of one that it does not believe.
//!
//! A request is read into parsed parts ([`path`]); a tag or digest is asked of the decider ([`ruling`], [`permit`]); manifests
//! come from memory or from the upstream by digest, hashed ([`content`], [`document`]); what hangs below a signed image is
//! known from verified content alone ([`reach`], [`walk`]); blobs are hashed on their way ([`blob`]). Invariants: nothing
//! goes out that is not signed, or led to by something signed, under the same name and allowed at this moment; tags are never
//! asked of the upstream; nothing of a request or of an upstream's headers travels on. Deliberately absent: pushing, the
//! catalogue, referrers, logins of clients, and a copy of the blobs.

mod blob;
mod content;
mod document;
mod door;
mod path;
mod permit;
mod reach;
mod reply;
mod ruling;
mod walk;

#[cfg(test)]
mod attack_tests;
#[cfg(test)]
mod blob_tests;
#[cfg(test)]
mod mutation_tests;
#[cfg(test)]
mod testing;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use trust_decide::Decider;
use trust_image::reference::canonical_domain;
use trust_listen::{Certificate, TlsError};
use trust_reader::registry::{AuthSources, Upstream, UpstreamOptions};
use trust_reader::tls::TlsOptions;

use self::permit::Permits;
use self::ruling::{Deciding, Rules};
use crate::config::RegistryConfig;

pub(crate) use self::door::is_known;

/// How often the certificate's files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Why the door does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// A value of the configuration, or a file that it names.
    #[error("{0}")]
    Configuration(String),
    /// This machine.
    #[error("{0}")]
    Local(String),
}

/// Serves on `listener`, which is bound to `config.listen`, until `stop`; then lets running requests end.
pub async fn run(
    config: &RegistryConfig,
    listener: TcpListener,
    decider: Arc<Decider>,
    stop: impl Future<Output = ()>,
) -> Result<(), RegistryError> {
    serve(config, listener, Box::new(Deciding(decider)), stop).await
}

/// Whether the values of the configuration can be used; opens nothing.
pub fn check(config: &RegistryConfig) -> Result<(), RegistryError> {
    upstream(config).map(|_| ())
}

async fn serve(
    config: &RegistryConfig,
    listener: TcpListener,
    rules: Box<dyn Rules>,
    stop: impl Future<Output = ()>,
) -> Result<(), RegistryError> {
    let (host, upstream) = upstream(config)?;
    let wrong = |error: TlsError| RegistryError::Configuration(error.to_string());
    let certificate = match (&config.certificate, &config.key) {
        (Some(certificate), Some(key)) => Some(Certificate::load(certificate, key).map_err(wrong)?),
        _ => None,
    };
    let tls = certificate.as_ref().map(Certificate::acceptor).transpose().map_err(wrong)?;
    let follower = certificate.map(|certificate| tokio::spawn(certificate.follow(LOOK)));
    let permits = Arc::new(Permits::new(host, rules, upstream));
    trust_listen::serve(listener, tls, door::router(permits), stop).await;
    if let Some(follower) = follower {
        follower.abort();
    }
    Ok(())
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
    let upstream = Upstream::new(options).map_err(|error| wrong("upstream", &error))?;
    Ok((host, upstream))
}
