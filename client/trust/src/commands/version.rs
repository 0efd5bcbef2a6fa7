//! `trust version`

use serde_json::Value;

use crate::output::Version;
use crate::printer::Answer;
use crate::style::Style;

/// The version of this program.
pub fn run() -> Version {
    Version { version: env!("CARGO_PKG_VERSION").to_owned(), json_schema: crate::printer::SCHEMA.to_owned() }
}

impl Answer for Version {
    fn command(&self) -> &'static str {
        "version"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        format!("trust {}\n", self.version)
    }
}
