//! The TLS configuration of every connection that the reader opens: server and registry.
//!
//! Invariant: the cryptographic provider is named explicitly (a process-wide default may not exist, or be another one), TLS is
//! 1.2 or 1.3, and certificates are always checked. Given authorities replace the machine's own and are not added to them.
//! Deliberately absent: a switch that turns the check off, and client certificates.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Largest file of certificate authorities that is read, in bytes.
pub const MAX_CA_FILE_LEN: u64 = 4 * 1024 * 1024;

/// Whom the other side of a TLS connection must be certified by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// PEM files of certificate authorities. If there is one or more, only these count; else the machine's own.
    pub ca_files: Vec<PathBuf>,
}

/// Why there is no TLS configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A file of authorities cannot be read.
    #[error("cannot read the CA file {path}: {kind}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        kind: std::io::ErrorKind,
    },
    /// A file of authorities is larger than [`MAX_CA_FILE_LEN`].
    #[error("the CA file {0} is larger than {MAX_CA_FILE_LEN} bytes")]
    TooLarge(PathBuf),
    /// A file of authorities is no PEM, or holds a certificate that cannot be used.
    #[error("the CA file {0} holds something that is not a usable certificate")]
    BadCertificate(PathBuf),
    /// A file of authorities holds no certificate.
    #[error("the CA file {0} holds no certificate")]
    NoCertificate(PathBuf),
    /// No file was given and the machine has no authorities of its own.
    #[error("this machine has no certificate authorities of its own; name a CA file")]
    NoNativeRoots,
    /// The cryptographic provider does not offer TLS 1.2 and 1.3.
    #[error("the cryptographic provider does not support TLS 1.2 and 1.3")]
    Provider,
}

/// The configuration of a TLS client. Reads files, so it is made once and only when a TLS connection is needed.
pub fn client_config(options: &TlsOptions) -> Result<ClientConfig, TlsError> {
    let roots = if options.ca_files.is_empty() { native_roots()? } else { file_roots(&options.ca_files)? };
    with_roots(roots)
}

/// A configuration that trusts nobody: for a client that is only asked for plain HTTP, so that it reads no files.
pub(crate) fn trusting_nobody() -> Result<ClientConfig, TlsError> {
    with_roots(RootCertStore::empty())
}

fn with_roots(roots: RootCertStore) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|_| TlsError::Provider)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn native_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    // One odd certificate in the machine's store is not a reason to trust none of the others.
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    match added {
        0 => Err(TlsError::NoNativeRoots),
        _ => Ok(roots),
    }
}

fn file_roots(files: &[PathBuf]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for path in files {
        let pem = read_limited(path)?;
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|_| TlsError::BadCertificate(path.clone()))?;
            roots.add(certificate).map_err(|_| TlsError::BadCertificate(path.clone()))?;
        }
        if roots.len() == before {
            return Err(TlsError::NoCertificate(path.clone()));
        }
    }
    Ok(roots)
}

fn read_limited(path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |error: std::io::Error| TlsError::Unreadable { path: path.to_owned(), kind: error.kind() };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_CA_FILE_LEN + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    match u64::try_from(bytes.len()) {
        Ok(len) if len <= MAX_CA_FILE_LEN => Ok(bytes),
        _ => Err(TlsError::TooLarge(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CA: &str = include_str!("registry/testdata/ca.pem");

    fn config_of(content: &[u8]) -> Result<ClientConfig, TlsError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        std::fs::write(&path, content).unwrap();
        client_config(&TlsOptions { ca_files: vec![path] })
    }

    #[test]
    fn a_ca_file_that_cannot_be_used_never_means_the_machines_own() {
        let missing = PathBuf::from("/nonexistent/ca.pem");
        assert_eq!(
            client_config(&TlsOptions { ca_files: vec![missing.clone()] }).err(),
            Some(TlsError::Unreadable { path: missing, kind: std::io::ErrorKind::NotFound })
        );
        assert!(matches!(config_of(b""), Err(TlsError::NoCertificate(_))));
        assert!(matches!(config_of(b"not pem"), Err(TlsError::NoCertificate(_))));
        let cut = CA.get(..CA.len() / 2).unwrap();
        assert!(matches!(config_of(cut.as_bytes()), Err(TlsError::BadCertificate(_) | TlsError::NoCertificate(_))));
        let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(config_of(empty.as_bytes()), Err(TlsError::BadCertificate(_))));
        let good_and_bad = format!("{CA}{empty}");
        assert!(matches!(config_of(good_and_bad.as_bytes()), Err(TlsError::BadCertificate(_))));
        let large = vec![b'\n'; usize::try_from(MAX_CA_FILE_LEN).unwrap() + 1];
        assert!(matches!(config_of(&large), Err(TlsError::TooLarge(_))));
    }

    #[test]
    fn a_given_authority_makes_a_configuration_without_a_process_default() {
        assert!(config_of(CA.as_bytes()).is_ok());
    }
}
