//! The program `trust-signer`. It ends by any signal at any moment: every answer follows a durable transaction, and the
//! socket that is left behind is replaced at the next start.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use trust_keys::PassphraseVariable;
use trust_signer::cli::{Cli, Environment, run};

const PASSPHRASE: &str = "TRUST_SIGNER_PASSPHRASE";

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .with_ansi(false)
        .init();
    let variable = PassphraseVariable {
        name: PASSPHRASE.to_owned(),
        value: std::env::var_os(PASSPHRASE),
        file: std::env::var_os(format!("{PASSPHRASE}_FILE")),
    };
    let environment = Environment { passphrase: vec![variable] };
    match run(cli, environment, &mut std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "trust-signer: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
