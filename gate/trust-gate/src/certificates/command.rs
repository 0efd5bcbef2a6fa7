//! `trust-gate certificates`: the command line of the folder of certificates.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::SystemTime;

use clap::{Args, Subcommand};

use super::{CertificateError, Folder, Report, Step};

/// Certificates for the admission webhook, without cert-manager.
#[derive(Debug, Args)]
pub struct Certificates {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make an authority and a certificate, as far as they are not there; nothing is made twice.
    Make {
        #[command(flatten)]
        place: Place,
        /// A name by which the gate is called, as trust-gate.trust-gate.svc; may be given again.
        #[arg(long = "dns", value_name = "NAME", required = true)]
        names: Vec<String>,
        #[command(flatten)]
        life: Life,
    },
    /// Issue the certificate anew, by the authority that issues today.
    Renew {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        life: Life,
    },
    /// Change the authority in three steps, between which nobody is without a certificate that they believe.
    Rotate {
        #[command(flatten)]
        place: Place,
        /// introduce, then switch, then retire. Each may be repeated.
        #[arg(long, value_enum)]
        step: Step,
        #[command(flatten)]
        life: Life,
    },
    /// Say what the folder holds, and until when.
    Show {
        #[command(flatten)]
        place: Place,
    },
    /// Print the value of `caBundle`: the authorities that the API server is to believe.
    Bundle {
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
struct Place {
    /// Folder of authority and certificate. It holds the authority's key: keep it out of the cluster.
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
}

#[derive(Debug, Args)]
struct Life {
    /// How long the certificate is valid, in days.
    #[arg(long, value_name = "DAYS", default_value_t = 365)]
    days: u32,
}

/// Does it.
pub fn run(command: &Certificates) -> Result<(), CertificateError> {
    let now = SystemTime::now();
    let report = match &command.what {
        What::Make { place, names, life } => Folder::take(&place.folder)?.make(names, life.days, now)?,
        What::Renew { place, life } => Folder::take(&place.folder)?.renew(life.days, now)?,
        What::Rotate { place, step, life } => Folder::take(&place.folder)?.rotate(*step, life.days, now)?,
        What::Show { place } => Folder::look(&place.folder).show(now)?,
        What::Bundle { place } => return print(&(Folder::look(&place.folder).ca_bundle()? + "\n")),
    };
    print(&text(&report))
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |head: &str, rest: &str| text.push_str(&format!("{head:<6}{rest}\n"));
    match report.done.as_slice() {
        [] if !report.next.is_empty() => line("done", "nothing: it is there already"),
        done => done.iter().for_each(|done| line("done", done)),
    }
    report.holds.iter().for_each(|held| line("holds", held));
    if !report.next.is_empty() {
        line("next", report.next);
    }
    text
}

fn print(text: &str) -> Result<(), CertificateError> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CertificateError::File { path: "standard output".to_owned(), why: error.to_string() })
        }
        _ => Ok(()),
    }
}
