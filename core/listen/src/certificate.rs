//! The certificate of a listener, read again when its files change.
//!
//! Invariant: what is served is always a chain and a key that fit. A change that is half written, or that does not fit,
//! leaves the old pair in force and says so. So does one that is about to end, 21, 7 and 1 days before. Running connections keep what they began with. Deliberately absent:
//! certificates of clients: with them, resumption would outlive a change of authorities, and the whole configuration
//! would have to change instead of the certificate alone.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{Context, SHA256};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::TlsAcceptor;

use crate::expiry::{Ending, Told, not_after};

/// The largest certificate or key file, in bytes.
const PEM_BYTES: u64 = 1024 * 1024;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// Certificate and key do not fit, or are of no known kind.
    #[error("{certificate} and {key} are no pair: {why}")]
    Pair {
        /// The file of the certificate.
        certificate: String,
        /// The file of the key.
        key: String,
        /// Why.
        why: rustls::Error,
    },
    /// TLS itself.
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
}

/// TLS 1.2 and 1.3 with this certificate chain and key (PEM), as they are now.
pub fn tls(certificate: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    Certificate::load(certificate, key)?.acceptor()
}

/// A certificate chain and its key, and the files that they came from.
pub struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
    current: ArcSwap<CertifiedKey>,
    /// Hash over the two files as they were last looked at.
    seen: Mutex<[u8; 32]>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Certificate {
    /// Reads chain and key (PEM, the key unencrypted).
    pub fn load(certificate: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        let files = Files::read(certificate, key)?;
        Ok(Arc::new(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            seen: Mutex::new(files.hash()),
            current: ArcSwap::from_pointee(files.pair(certificate, key)?),
        }))
    }

    /// TLS 1.2 and 1.3 with whatever certificate is in force when a client comes.
    pub fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, TlsError> {
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Takes what the files hold now. `Ok(true)` if it is another pair than before, or than the last one refused.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let files = Files::read(&self.certificate, &self.key)?;
        let hash = files.hash();
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == hash {
                return Ok(false);
            }
            *seen = hash;
        }
        self.current.store(Arc::new(files.pair(&self.certificate, &self.key)?));
        Ok(true)
    }

    /// When the pair in force ends: the first end in its chain. `None` if that cannot be read.
    pub fn expires(&self) -> Option<SystemTime> {
        self.current
            .load()
            .cert
            .iter()
            .map(|certificate| not_after(certificate))
            .collect::<Option<Vec<_>>>()?
            .into_iter()
            .min()
    }

    /// Says that it is about to end, or has ended; once for each step.
    fn warn_of_the_end(&self, told: &mut Told) {
        let now = SystemTime::now();
        let Some(end) = self.expires() else { return };
        let Some(ending) = told.next(end, now) else { return };
        let (path, left) = (self.certificate.display(), end.duration_since(now).unwrap_or_default());
        let (days, hours) = (left.as_secs() / 86_400, left.as_secs() / 3_600 % 24);
        match ending {
            Ending::Over => {
                tracing::error!("the certificate has expired, and nobody who checks connects any more: {path}")
            }
            Ending::Day1 => tracing::error!("the certificate ends in {days} days and {hours} hours: {path}"),
            Ending::Days7 | Ending::Days21 => {
                tracing::warn!("the certificate ends in {days} days and {hours} hours: {path}");
            }
        }
    }

    /// Looks at the files again and again, for ever. Reading two small files is cheap, and knows of every way of replacing them.
    pub async fn follow(self: Arc<Self>, every: Duration) {
        let mut last = String::new();
        let mut told = Told::default();
        loop {
            self.warn_of_the_end(&mut told);
            tokio::time::sleep(every).await;
            let this = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || this.reload()).await {
                Ok(Ok(true)) => {
                    tracing::info!("the certificate was changed: {}", self.certificate.display());
                    last.clear();
                }
                Ok(Err(error)) if error.to_string() != last => {
                    last = error.to_string();
                    tracing::warn!("the changed certificate is not used, the old one stays: {last}");
                }
                _ => {}
            }
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Whether somebody who believes these authorities (PEM) takes this chain (PEM) for `name` at that time.
pub fn is_believed(chain: &[u8], authorities: &[u8], name: &str, at: SystemTime) -> Result<(), rustls::Error> {
    let pem = |error: rustls_pki_types::pem::Error| rustls::Error::General(error.to_string());
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(authorities) {
        roots.add(authority.map_err(pem)?)?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>().map_err(pem)?;
    let (leaf, between) =
        chain.split_first().ok_or_else(|| rustls::Error::General("there is no certificate".to_owned()))?;
    let name = ServerName::try_from(name).map_err(|error| rustls::Error::General(error.to_string()))?;
    let at = UnixTime::since_unix_epoch(at.duration_since(UNIX_EPOCH).unwrap_or_default());
    verifier.verify_server_cert(leaf, between, &name, &[], at).map(drop)
}

/// When a chain (PEM) ends; `None` if that cannot be read.
pub fn expires(chain: &[u8]) -> Option<SystemTime> {
    let ends = CertificateDer::pem_slice_iter(chain).map(|certificate| not_after(&certificate.ok()?));
    ends.collect::<Option<Vec<_>>>()?.into_iter().min()
}

/// The two files.
struct Files {
    chain: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        Ok(Self { chain: read(certificate)?, key: read(key)? })
    }

    fn hash(&self) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        // A length in front keeps the border between the two.
        context.update(&self.chain.len().to_be_bytes());
        context.update(&self.chain);
        context.update(&self.key);
        context.finish().as_ref().try_into().unwrap_or_default()
    }

    fn pair(&self, certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
        let chain = CertificateDer::pem_slice_iter(&self.chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| problem(certificate, e.to_string()))?;
        if chain.is_empty() {
            return Err(problem(certificate, "holds no certificate".to_owned()));
        }
        let private = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| problem(key, "holds no private key in PEM (unencrypted)".to_owned()))?;
        CertifiedKey::from_der(chain, private, &provider()).map_err(|why| {
            let [certificate, key] = [certificate, key].map(|path| path.display().to_string());
            TlsError::Pair { certificate, key, why }
        })
    }
}

fn problem(path: &Path, why: String) -> TlsError {
    TlsError::File { path: path.display().to_string(), why }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let file = std::fs::File::open(path).map_err(|e| problem(path, e.to_string()))?;
    let mut bytes = Vec::new();
    file.take(PEM_BYTES + 1).read_to_end(&mut bytes).map_err(|e| problem(path, e.to_string()))?;
    if bytes.len() as u64 > PEM_BYTES {
        return Err(problem(path, format!("larger than {PEM_BYTES} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, chain: &str, key: &str) -> (PathBuf, PathBuf) {
        let (certificate, private) = (folder.join("tls.crt"), folder.join("tls.key"));
        std::fs::write(&certificate, chain).unwrap();
        std::fs::write(&private, key).unwrap();
        (certificate, private)
    }

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_key_of_another_certificate_an_empty_file_and_an_absent_one_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let ((chain, _), (_, key)) = (pair(), pair());
        let (certificate, private) = write(dir.path(), &chain, &key);
        let refused = tls(&certificate, &private).err().unwrap();
        assert!(matches!(refused, TlsError::Pair { .. }));
        assert!(refused.to_string().contains("tls.crt and ") && refused.to_string().contains("tls.key are no pair"));
        let (certificate, private) = write(dir.path(), "", &key);
        assert!(tls(&certificate, &private).err().unwrap().to_string().contains("holds no certificate"));
        let (certificate, private) = write(dir.path(), &chain, &chain);
        assert!(tls(&certificate, &private).err().unwrap().to_string().contains("no private key"));
        assert!(tls(&dir.path().join("none"), &private).is_err());
        let (certificate, private) = write(dir.path(), &"x".repeat(1024 * 1024 + 1), &key);
        assert!(tls(&certificate, &private).err().unwrap().to_string().contains("larger than"));
    }

    #[test]
    fn the_end_that_is_told_is_that_of_the_pair_in_force() {
        let dir = tempfile::tempdir().unwrap();
        let until = |year: i32| {
            let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            let key = rcgen::KeyPair::generate().unwrap();
            (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
        };
        let year = |time: SystemTime| 1970 + time.duration_since(UNIX_EPOCH).unwrap().as_secs() / 31_556_952;
        let (old, new) = (until(2031), until(2033));
        let (certificate, private) = write(dir.path(), &old.0, &old.1);
        let served = Certificate::load(&certificate, &private).unwrap();
        assert_eq!(served.expires().map(year), Some(2031));
        write(dir.path(), &new.0, &old.1);
        assert!(served.reload().is_err());
        assert_eq!(served.expires().map(year), Some(2031), "the new one is not in force");
        write(dir.path(), &new.0, &new.1);
        served.reload().unwrap();
        assert_eq!(served.expires().map(year), Some(2033));
        // The first end of a chain counts.
        write(dir.path(), &format!("{}{}", new.0, old.0), &new.1);
        served.reload().unwrap();
        assert_eq!(served.expires().map(year), Some(2031));
        assert_eq!(expires(new.0.as_bytes()).map(year), Some(2033));
    }

    #[test]
    fn a_half_written_change_leaves_the_old_pair_and_the_whole_one_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (pair(), pair());
        let (certificate, private) = write(dir.path(), &old.0, &old.1);
        let served = Certificate::load(&certificate, &private).unwrap();
        let first = served.current.load_full();
        assert!(!served.reload().unwrap());

        write(dir.path(), &new.0, &old.1);
        assert!(served.reload().is_err());
        assert_eq!(served.current.load_full().cert, first.cert);
        std::fs::remove_file(&private).unwrap();
        assert!(served.reload().is_err());
        assert_eq!(served.current.load_full().cert, first.cert);

        write(dir.path(), &new.0, &new.1);
        assert!(served.reload().unwrap());
        assert_ne!(served.current.load_full().cert, first.cert);
        assert!(!served.reload().unwrap());
    }
}
