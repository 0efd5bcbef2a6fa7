//! `trust exec -- CMD…`: the tool runs with verified digests, or not at all.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use trust_reader::verdict::Problem;

use super::verify::{Verifier, require};
use crate::app::App;
use crate::cli::images::Exec;
use crate::fault;
use crate::settings::environment::VARIABLES;
use crate::tools::{self, ToolError};

/// Verifies every image of the command, then becomes the tool. Comes back only with a problem.
pub fn run(app: &App, args: &Exec, note: impl Fn(&str)) -> Result<std::convert::Infallible, Problem> {
    let words = words(&args.command).map_err(|e| fault::tool(&e))?;
    let places = tools::find_images(&words).map_err(|e| fault::tool(&e))?;
    let mut verifier = Verifier::new(app, require(&args.signer, args.min_signers));
    verifier.open_all(places.iter().map(|place| &place.image), None);
    let mut pinned = Vec::new();
    for place in &places {
        let verified = verifier.verify(&place.image)?;
        note(&format!("✓ verified {} → {}", place.image, verified.digest));
        pinned.push((place, verified.digest));
    }
    // The locks of the stored state must not be inherited for as long as a container runs.
    drop(verifier);
    let command = tools::pin_images(&words, pinned);
    let (program, arguments) = command.split_first().ok_or_else(|| fault::usage("there is no command after --"))?;
    let error = tool(program, arguments).exec();
    Err(fault::program(program, &error))
}

/// The tool, without our secrets in its environment: it could hand all of that on to a container.
fn tool(program: &str, arguments: &[String]) -> Command {
    let mut tool = Command::new(program);
    tool.args(arguments);
    for variable in VARIABLES.iter().filter(|variable| variable.secret) {
        for name in std::iter::once(&variable.name).chain(variable.aliases) {
            tool.env_remove(name);
        }
    }
    tool
}

fn words(command: &[OsString]) -> Result<Vec<String>, ToolError> {
    let text = |(at, word): (usize, &OsString)| word.to_str().map(str::to_owned).ok_or(ToolError::NotText(at));
    command.iter().enumerate().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_and_its_containers_see_no_token_and_no_passphrase() {
        let tool = tool("podman", &["run".to_owned(), "--env-host".to_owned()]);
        let removed: Vec<_> = tool.get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
        for name in [
            "TRUST_TOKEN",
            "TRUST_PASSPHRASE",
            "TRUST_ROOT_PASSPHRASE",
            "NOTARY_ROOT_PASSPHRASE",
            "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE",
        ] {
            assert!(removed.contains(&std::ffi::OsStr::new(name)), "{name}");
        }
    }
}
