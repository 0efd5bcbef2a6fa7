//! `trust completion SHELL`

use clap::CommandFactory;
use serde_json::Value;

use crate::cli::Cli;
use crate::cli::setup::Completion;
use crate::output::CompletionScript;
use crate::printer::Answer;
use crate::style::Style;

/// A completion script.
pub struct Script(String);

/// Makes the script.
pub fn run(args: &Completion) -> Script {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "trust", &mut script);
    Script(String::from_utf8_lossy(&script).into_owned())
}

impl Answer for Script {
    fn command(&self) -> &'static str {
        "completion"
    }

    fn json(&self) -> Value {
        crate::output::value(&CompletionScript { script: self.0.clone() })
    }

    fn text(&self, _: Style) -> String {
        self.0.clone()
    }
}
