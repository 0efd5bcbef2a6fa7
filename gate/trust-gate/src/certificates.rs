//! An authority and the certificate of the admission webhook, made here and rotated with overlap.
//!
//! A folder holds the authority that issues (`authority.crt`, `authority.key`), while one is introduced the next
//! (`next-authority.*`), the pair that the gate serves (`tls.crt`, `tls.key`), what whoever calls the gate is to believe
//! (`bundle.crt`, for `caBundle`), and the names (`names`). Invariants: each step can be repeated, also after it was killed
//! in the middle, and then ends where it would have ended; what is served is always issued by an authority of the bundle;
//! an authority leaves the bundle only after what it issued is not served any more. Deliberately absent: the cluster. What
//! was made is carried there by whoever runs this, so that the authority's key need not be in it.

pub mod command;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use base64ct::{Base64, Encoding};
use rcgen::{
    BasicConstraints, Certificate as Made, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use trust_decide::Hold;
use trust_image::Digest;
use trust_listen::{Certificate, expires, is_believed};
use trust_tuf::UtcTime;

/// How long an authority is valid.
const AUTHORITY_DAYS: u32 = 3_650;
/// The longest life of what is served.
pub const MAX_DAYS: u32 = 825;
/// Clocks differ.
const SKEW: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// Names of one certificate.
const MAX_NAMES: usize = 32;

/// Why nothing was done, or not all.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file or the folder.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
    /// What was asked for does not fit what is there.
    #[error("{0}")]
    State(String),
    /// A name that no certificate can have.
    #[error("{0:?} is no DNS name or address that a certificate can be made for")]
    Name(String),
    /// The making itself.
    #[error("the certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// What a folder holds, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What was done now; empty if everything was there.
    pub done: Vec<&'static str>,
    /// One line for each authority and for the pair.
    pub holds: Vec<String>,
    /// What whoever runs this does next.
    pub next: &'static str,
}

/// A step of a rotation of the authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Step {
    /// A new authority is made, and joins the bundle.
    Introduce,
    /// The pair that is served is issued anew, by the new authority.
    Switch,
    /// The old authority leaves the bundle.
    Retire,
}

const CARRY_ALL: &str =
    "put tls.crt and tls.key into the gate's secret, and the bundle into `caBundle` of both webhook configurations";
const CARRY_PAIR: &str = "put tls.crt and tls.key into the gate's secret; the gate takes them without a restart";
const CARRY_BUNDLE: &str = "put the bundle into `caBundle` of both webhook configurations";
const AFTER_INTRODUCE: &str = "put the bundle, which now holds both authorities, into `caBundle` of both webhook configurations; then `rotate --step switch`";
const AFTER_SWITCH: &str = "put tls.crt and tls.key into the gate's secret, and wait until every gate has said that its certificate was changed; then `rotate --step retire`";

/// The folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _hold: Option<Hold>,
}

impl Folder {
    /// Takes the folder, which it makes if it is missing. One process at a time has it.
    pub fn take(path: &Path) -> Result<Self, CertificateError> {
        let hold = Hold::take(path, "certificates").map_err(|error| {
            let why = error.problem().headline.clone();
            CertificateError::File { path: path.display().to_string(), why }
        })?;
        Ok(Self { path: path.to_owned(), _hold: Some(hold) })
    }

    /// Only looks.
    pub fn look(path: &Path) -> Self {
        Self { path: path.to_owned(), _hold: None }
    }

    /// An authority and a pair for these names, as far as they are not there yet.
    pub fn make(&self, names: &[String], days: u32, now: SystemTime) -> Result<Report, CertificateError> {
        check_names(names)?;
        self.settle()?;
        let mut done = Vec::new();
        if let Some(known) = self.names()? {
            if known != names {
                let why = format!("this folder is for {}; take another folder for other names", known.join(" "));
                return Err(CertificateError::State(why));
            }
        } else {
            self.write("names", &(names.join("\n") + "\n"), 0o644)?;
        }
        if !self.is_pair("authority") {
            if self.path("authority.crt").exists() {
                return Err(CertificateError::State(
                    "authority.crt has no authority.key that fits: bring the key back, or begin in a new folder"
                        .to_owned(),
                ));
            }
            self.make_authority("authority", now)?;
            done.push("made an authority");
        }
        self.bundle()?;
        if !self.serves(&self.current()?, now) {
            self.issue(&self.current()?, names, days, now)?;
            done.push("issued the certificate");
        }
        self.report(done, CARRY_ALL, now)
    }

    /// The pair anew, by the same authority.
    pub fn renew(&self, days: u32, now: SystemTime) -> Result<Report, CertificateError> {
        self.settle()?;
        let names = self.made()?;
        let issuer = self.current()?;
        self.issue(&issuer, &names, days, now)?;
        self.bundle()?;
        self.report(vec!["issued the certificate anew"], CARRY_PAIR, now)
    }

    /// One step of the way to a new authority.
    pub fn rotate(&self, step: Step, days: u32, now: SystemTime) -> Result<Report, CertificateError> {
        self.settle()?;
        let names = self.made()?;
        let has_next = self.is_pair("next-authority");
        let mut done = Vec::new();
        let next = match step {
            Step::Introduce => {
                if !has_next {
                    self.make_authority("next-authority", now)?;
                    done.push("made a new authority");
                }
                AFTER_INTRODUCE
            }
            Step::Switch if !has_next => {
                return Err(CertificateError::State(
                    "there is no new authority: begin with `rotate --step introduce`".to_owned(),
                ));
            }
            Step::Switch => {
                if !self.serves("next-authority", now) {
                    self.bundle()?;
                    self.issue("next-authority", &names, days, now)?;
                    done.push("issued the certificate by the new authority");
                }
                AFTER_SWITCH
            }
            // It was retired already.
            Step::Retire if !has_next => CARRY_BUNDLE,
            Step::Retire if !self.serves("next-authority", now) => {
                let why = "the certificate that is served is still one of the old authority: `rotate --step switch` comes before";
                return Err(CertificateError::State(why.to_owned()));
            }
            Step::Retire => {
                // In this order: see `settle`.
                self.rename("next-authority.crt", "authority.crt")?;
                self.rename("next-authority.key", "authority.key")?;
                done.push("removed the old authority");
                CARRY_BUNDLE
            }
        };
        self.bundle()?;
        self.report(done, next, now)
    }

    /// What is there.
    pub fn show(&self, now: SystemTime) -> Result<Report, CertificateError> {
        self.made()?;
        self.report(Vec::new(), "", now)
    }

    /// The bundle as `caBundle` wants it.
    pub fn ca_bundle(&self) -> Result<String, CertificateError> {
        self.read("bundle.crt").map(|bundle| Base64::encode_string(&bundle))
    }

    /// Ends what a killed step left in the middle.
    fn settle(&self) -> Result<(), CertificateError> {
        let (next_key, next) = (self.path("next-authority.key"), self.path("next-authority.crt"));
        if next_key.exists() && !next.exists() {
            // The certificate was moved already, or not yet made.
            if Certificate::load(&self.path("authority.crt"), &next_key).is_ok() {
                self.rename("next-authority.key", "authority.key")?;
            }
        }
        Ok(())
    }

    /// The authority that issues today: the next one as soon as it serves.
    fn current(&self) -> Result<String, CertificateError> {
        let is_next = self.is_pair("next-authority") && self.issued("next-authority")?;
        Ok(if is_next { "next-authority" } else { "authority" }.to_owned())
    }

    /// Whether the pair was issued by this authority, whenever it ends.
    fn issued(&self, authority: &str) -> Result<bool, CertificateError> {
        let Ok(chain) = self.read("tls.crt") else { return Ok(false) };
        let Some(end) = expires(&chain) else { return Ok(false) };
        Ok(self.is_believed_by(authority, end.checked_sub(Duration::from_secs(60)).unwrap_or(end)))
    }

    /// Whether the pair fits, was issued by this authority, and holds for all names now.
    fn serves(&self, authority: &str, now: SystemTime) -> bool {
        Certificate::load(&self.path("tls.crt"), &self.path("tls.key")).is_ok() && self.is_believed_by(authority, now)
    }

    fn is_believed_by(&self, authority: &str, at: SystemTime) -> bool {
        let (Ok(chain), Ok(authority)) = (self.read("tls.crt"), self.read(&format!("{authority}.crt"))) else {
            return false;
        };
        let Ok(Some(names)) = self.names() else { return false };
        names.iter().all(|name| is_believed(&chain, &authority, name, at).is_ok())
    }

    fn is_pair(&self, name: &str) -> bool {
        Certificate::load(&self.path(&format!("{name}.crt")), &self.path(&format!("{name}.key"))).is_ok()
    }

    fn make_authority(&self, name: &str, now: SystemTime) -> Result<(), CertificateError> {
        let key_name = format!("{name}.key");
        // One that was killed between the two files goes on with its key.
        let key = match self.read(&key_name) {
            Ok(pem) => KeyPair::from_pem(&String::from_utf8_lossy(&pem))?,
            Err(_) => {
                let key = KeyPair::generate()?;
                self.write(&key_name, &key.serialize_pem(), 0o600)?;
                key
            }
        };
        let made = authority_params(&key, now)?.self_signed(&key)?;
        self.write(&format!("{name}.crt"), &made.pem(), 0o644)
    }

    fn issue(&self, authority: &str, names: &[String], days: u32, now: SystemTime) -> Result<(), CertificateError> {
        if days == 0 || days > MAX_DAYS {
            return Err(CertificateError::State(format!("a certificate is for 1 to {MAX_DAYS} days")));
        }
        let pem = self.read(&format!("{authority}.key"))?;
        let issuer_key = KeyPair::from_pem(&String::from_utf8_lossy(&pem))?;
        let issuer = Issuer::new(authority_params(&issuer_key, now)?, issuer_key);
        let key = KeyPair::generate()?;
        let made = pair_params(names, days, now)?.signed_by(&key, &issuer)?;
        self.check(&made, authority, names, now)?;
        // Whoever reads between the two finds no pair, and keeps the old one.
        self.write("tls.key", &key.serialize_pem(), 0o600)?;
        self.write("tls.crt", &made.pem(), 0o644)
    }

    /// What would not be believed is not written.
    fn check(&self, made: &Made, authority: &str, names: &[String], now: SystemTime) -> Result<(), CertificateError> {
        let authority = self.read(&format!("{authority}.crt"))?;
        for name in names {
            is_believed(made.pem().as_bytes(), &authority, name, now).map_err(|error| {
                CertificateError::State(format!("the new certificate would not be believed for {name}: {error}"))
            })?;
        }
        Ok(())
    }

    fn bundle(&self) -> Result<(), CertificateError> {
        let mut bundle = self.read("authority.crt")?;
        if self.is_pair("next-authority") {
            bundle.extend(self.read("next-authority.crt")?);
        }
        match self.read("bundle.crt") {
            Ok(old) if old == bundle => Ok(()),
            _ => self.write("bundle.crt", &String::from_utf8_lossy(&bundle), 0o644),
        }
    }

    fn made(&self) -> Result<Vec<String>, CertificateError> {
        match self.names()? {
            Some(names) if self.is_pair("authority") => Ok(names),
            _ => Err(CertificateError::State(format!("{} holds no authority: begin with `make`", self.path.display()))),
        }
    }

    fn names(&self) -> Result<Option<Vec<String>>, CertificateError> {
        if !self.path("names").exists() {
            return Ok(None);
        }
        let names: Vec<String> = String::from_utf8_lossy(&self.read("names")?).lines().map(str::to_owned).collect();
        check_names(&names)?;
        Ok(Some(names))
    }

    fn report(&self, done: Vec<&'static str>, next: &'static str, now: SystemTime) -> Result<Report, CertificateError> {
        let mut holds = Vec::new();
        for (name, what) in [("authority", "authority"), ("next-authority", "new authority"), ("tls", "certificate")] {
            let Ok(chain) = self.read(&format!("{name}.crt")) else { continue };
            let Some(end) = expires(&chain) else { continue };
            let mut line = format!("{what} until {}", shown(end));
            if end <= now {
                line.push_str(", which is over");
            }
            if name == "tls" {
                let by = if self.current()? == "next-authority" { "the new authority" } else { "the authority" };
                line.push_str(&format!(", by {by}, for {}", self.names()?.unwrap_or_default().join(" ")));
            }
            holds.push(line);
        }
        Ok(Report { done, holds, next })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn problem(&self, name: &str, error: &io::Error) -> CertificateError {
        CertificateError::File { path: self.path(name).display().to_string(), why: error.to_string() }
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, CertificateError> {
        fs::read(self.path(name)).map_err(|error| self.problem(name, &error))
    }

    /// Whole or not at all, and on the disk before anything that rests on it.
    fn write(&self, name: &str, text: &str, mode: u32) -> Result<(), CertificateError> {
        let new = self.path(&format!(".{name}.new"));
        let written = (|| {
            let _ = fs::remove_file(&new);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, self.path(name))?;
            File::open(&self.path)?.sync_all()
        })();
        written.map_err(|error| self.problem(name, &error))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), CertificateError> {
        let renamed = fs::rename(self.path(from), self.path(to)).and_then(|()| File::open(&self.path)?.sync_all());
        renamed.map_err(|error| self.problem(from, &error))
    }
}

/// The authority with this key. Its name follows from the key, so that it need not be read from the certificate.
fn authority_params(key: &KeyPair, now: SystemTime) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    let hash = Digest::of(&key.subject_public_key_info());
    let id: String = hash.hex().chars().take(16).collect();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("trust-gate authority {id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    lives(&mut params, AUTHORITY_DAYS, now);
    Ok(params)
}

fn pair_params(names: &[String], days: u32, now: SystemTime) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "trust-gate");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    lives(&mut params, days, now);
    Ok(params)
}

fn lives(params: &mut CertificateParams, days: u32, now: SystemTime) {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since.saturating_sub(SKEW);
    params.not_after = epoch + since.saturating_add(DAY.saturating_mul(days));
}

fn check_names(names: &[String]) -> Result<(), CertificateError> {
    if names.is_empty() || names.len() > MAX_NAMES {
        return Err(CertificateError::State(format!("a certificate is for 1 to {MAX_NAMES} names")));
    }
    let is_fit = |name: &str| {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        name.parse::<std::net::IpAddr>().is_ok() || name.len() <= 253 && name.split('.').all(label)
    };
    names.iter().find(|name| !is_fit(name)).map_or(Ok(()), |name| Err(CertificateError::Name(name.clone())))
}

fn shown(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let time = i64::try_from(since.as_secs()).ok().and_then(UtcTime::from_unix);
    time.map_or_else(|| "an unknown time".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests;
