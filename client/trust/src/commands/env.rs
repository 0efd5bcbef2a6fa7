//! `trust env`: every variable that counts, with its origin. Secrets are shown only as set or not.

use serde_json::Value;
use trust_reader::http::shown_address;
use trust_reader::verdict::Problem;

use crate::output::{Environment as Report, EnvironmentEntry};
use crate::printer::Answer;
use crate::settings::Environment;
use crate::settings::environment::VARIABLES;
use crate::style::{self, Style};

/// What the environment says.
pub fn run(environment: &Environment) -> Result<Report, Problem> {
    let mut variables = Vec::new();
    for variable in VARIABLES {
        let mut names = vec![variable.name.to_owned()];
        names.extend(variable.aliases.iter().map(|&alias| alias.to_owned()));
        if variable.file_twin {
            names = names.into_iter().flat_map(|name| [format!("{name}_FILE"), name]).collect();
        }
        let set = names.into_iter().find_map(|name| environment.raw(&name).map(|value| (name, value)));
        let (origin, value) = match set {
            None => (None, None),
            Some((name, value)) => {
                let shown = match (variable.secret && !name.ends_with("_FILE"), value.is_empty()) {
                    (_, true) => "(empty)".to_owned(),
                    (true, false) => "(hidden)".to_owned(),
                    (false, false) => style::plain(&shown_address(&value.to_string_lossy())),
                };
                (Some(name), Some(shown))
            }
        };
        variables.push(EnvironmentEntry {
            name: variable.name.to_owned(),
            meaning: variable.meaning.to_owned(),
            value,
            origin,
        });
    }
    Ok(Report { variables })
}

impl Answer for Report {
    fn command(&self) -> &'static str {
        "env"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        let mut rows = vec![vec!["VARIABLE".to_owned(), "VALUE".to_owned(), "SET BY".to_owned()]];
        for entry in &self.variables {
            let value = entry.value.clone().unwrap_or_else(|| "-".to_owned());
            rows.push(vec![entry.name.clone(), value, entry.origin.clone().unwrap_or_else(|| "-".to_owned())]);
        }
        style::table(&rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let secret = "hunter2";
        for variable in VARIABLES.iter().filter(|v| v.secret) {
            let environment = Environment::fixed([(variable.name, secret)]);
            let report = run(&environment).unwrap();
            assert!(!report.text(Style::default()).contains(secret), "{}", variable.name);
            assert!(!report.json().to_string().contains(secret), "{}", variable.name);
            let entry = report.variables.iter().find(|e| e.name == variable.name).unwrap();
            assert_eq!(entry.value.as_deref(), Some("(hidden)"));
        }
    }

    #[test]
    fn an_old_name_is_shown_as_the_origin() {
        let report = run(&Environment::fixed([("NOTARY_TARGETS_PASSPHRASE", "x")])).unwrap();
        let entry = report.variables.iter().find(|e| e.name == "TRUST_PASSPHRASE").unwrap();
        assert_eq!(entry.origin.as_deref(), Some("NOTARY_TARGETS_PASSPHRASE"));
    }
}
