//! The Helm chart rendered without Helm: exactly the part of Go's templates that the chart uses, and an error for all else.
//!
//! Invariants: what this renderer does not know is refused with its place, never rendered by a guess; an absent member is
//! null, printing null is an error, and so is a member of null. The renderings are kept as golden files, with which the real
//! Helm is compared where it is built (`make interop`). Deliberately absent: Helm's hooks, dependencies and look-ups.

mod eval;
mod parse;
pub mod yaml;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Map, Value, json};

use self::eval::Renderer;

/// A chart, as its files are.
pub struct Chart {
    metadata: Value,
    values: Value,
    templates: BTreeMap<String, String>,
}

/// Where and as what a chart is installed.
#[derive(Debug, Clone, Copy)]
pub struct Release<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
}

impl Chart {
    /// Reads `Chart.yaml`, `values.yaml` and the templates.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let one = |name: &str| {
            let documents = yaml::documents(&fs::read_to_string(folder.join(name))?).map_err(io::Error::other)?;
            match documents.as_slice() {
                [only] => Ok(only.clone()),
                _ => Err(io::Error::other(format!("{name} is not one document"))),
            }
        };
        let mut templates = BTreeMap::new();
        for entry in fs::read_dir(folder.join("templates"))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            templates.insert(name, fs::read_to_string(entry.path())?);
        }
        Ok(Self { metadata: one("Chart.yaml")?, values: one("values.yaml")?, templates })
    }

    /// What the chart can be told, with its defaults.
    pub fn values(&self) -> &Value {
        &self.values
    }

    /// The values that a release has: the defaults, and over them those of a file.
    pub fn with(&self, over: &Value) -> Value {
        merged(&self.values, over)
    }

    /// All objects as text, each template behind its name, in the order of the names.
    pub fn render(&self, release: Release<'_>, over: &Value) -> Result<String, String> {
        let word = |name: &str| self.metadata[name].as_str().unwrap_or_default();
        let root = json!({
            "Values": self.with(over),
            "Chart": {"Name": word("name"), "Version": word("version"), "AppVersion": word("appVersion")},
            "Release": {"Name": release.name, "Namespace": release.namespace, "Service": "Helm"},
        });
        let renderer = Renderer::new(&self.templates)?;
        let mut all = String::new();
        for name in self.templates.keys().filter(|name| name.ends_with(".yaml")) {
            let text = renderer.file(name, &root).map_err(|error| format!("{name}: {error}"))?;
            for document in text.split("\n---\n").map(str::trim).filter(|document| has_content(document)) {
                let document = document.trim_start_matches("---\n");
                all.push_str(&format!("---\n# Source: {}/templates/{name}\n{document}\n", word("name")));
            }
        }
        Ok(all)
    }
}

fn has_content(document: &str) -> bool {
    document.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#') && line != "---")
}

/// Maps are merged, everything else is replaced; null takes away.
fn merged(base: &Value, over: &Value) -> Value {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            let mut both: Map<String, Value> = base.clone();
            for (name, value) in over {
                match (both.get(name), value) {
                    (_, Value::Null) => drop(both.remove(name)),
                    (Some(old), value) => drop(both.insert(name.clone(), merged(old, value))),
                    (None, value) => drop(both.insert(name.clone(), value.clone())),
                }
            }
            Value::Object(both)
        }
        (_, over) => over.clone(),
    }
}
