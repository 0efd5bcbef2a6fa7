//! How the container tools of a machine pull the images of pinned collections, and whether they go around a gate.
//!
//! Invariant: a file that is there and is not understood is told as unknown, and never passed over; a client that tries
//! another place after a gate said no is a finding, whichever of the two places the gate is. Where the gate is known, a tool
//! that is there and has no settings is one, too. What asks a gate about every pull, wherever it goes, is none. Deliberately absent: changing a
//! file, flags of running programs (nothing on a disk says them), and asking anybody.

pub mod containerd;
pub mod containers;
pub mod engine;
pub mod installed;
pub mod rooted;
pub mod verifier;

use std::collections::BTreeSet;
use std::path::PathBuf;

use toml::{Table, Value};
use trust_image::Reference;

use rooted::Root;

/// What is asked.
#[derive(Debug)]
pub struct Question {
    /// Where the machine's files are.
    pub root: Root,
    /// Home folders in it, whose owners may have settings of their own.
    pub homes: Vec<PathBuf>,
    /// `CONTAINERS_REGISTRIES_CONF`, if this process has it.
    pub registries_conf: Option<PathBuf>,
    /// The pinned collections.
    pub names: Vec<Name>,
    /// The only place that pulls may go to, if it is known.
    pub gate: Option<String>,
}

/// A collection as its images are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The host, with its port.
    pub host: String,
    /// Host and path.
    pub whole: String,
}

impl Name {
    /// Of a collection; `None` if no image can be called so.
    pub fn of(collection: &str) -> Option<Self> {
        let image = Reference::parse(&format!("{collection}:x")).ok()?;
        let host = image.canonical_domain().to_owned();
        Some(Self { whole: format!("{host}/{}", image.canonical_path()), host })
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// One place, and it is the right one if that is known.
    Fine,
    /// Somebody may believe something that is not so.
    Note,
    /// A file that is not understood.
    Unknown,
    /// There is a way around.
    Around,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The tools: `containers`, `containerd` or `docker`; `node` for all of them.
    pub tool: &'static str,
    /// How bad it is.
    pub state: State,
    /// In words.
    pub found: String,
    /// What to do.
    pub fix: String,
}

impl Finding {
    fn unknown(tool: &'static str, why: String) -> Self {
        let fix =
            "run it as a user who may read the file, or correct the file; until then nothing is known of these pulls";
        Self { tool, state: State::Unknown, found: format!("unknown: {why}"), fix: fix.to_owned() }
    }
}

/// Looks at all tools; the same finding once.
pub fn look(question: &Question) -> Vec<Finding> {
    if question.names.is_empty() {
        return Vec::new();
    }
    let found = [containers::look(question), containerd::look(question), engine::look(question), nothing(question)];
    let mut seen = BTreeSet::new();
    found.into_iter().flatten().filter(|finding| seen.insert(finding.clone())).collect()
}

/// A node on which nothing is found is hardly one: nothing is known of it.
fn nothing(question: &Question) -> Vec<Finding> {
    let tools = [containers::TOOL, containerd::TOOL, engine::TOOL];
    let is_there = |tool: &&str| !matches!(installed::sign(question, tool), Ok(None));
    if question.gate.is_none() || question.registries_conf.is_some() || tools.iter().any(is_there) {
        return Vec::new();
    }
    let programs = tools.map(installed::programs).join(", ");
    vec![Finding {
        tool: "node",
        state: State::Unknown,
        found: format!(
            "no container tool is seen here, so that it is not known how images are pulled: none of {programs}, and no folder of theirs"
        ),
        fix: "--node-root DIR: the folder that is the node's /; with none of these tools there is nothing to ask"
            .to_owned(),
    }]
}

/// Where a name is pulled from in the end.
struct Route {
    /// The collection, or the part of it.
    name: String,
    /// Every place that is tried, in order, each once.
    places: Vec<String>,
    /// The file that says so; empty if the tool has none.
    file: String,
}

impl Route {
    /// What there is to say of it. `fix` is for a way around, given the place that should be the only one.
    fn finding(self, tool: &'static str, question: &Question, fix: impl FnOnce(&str) -> String) -> Finding {
        let Self { name, mut places, file } = self;
        let gate = question.gate.as_deref();
        let mut seen = BTreeSet::new();
        places.retain(|place| seen.insert(place_key(place)));
        let by = if file.is_empty() { String::new() } else { format!(" ({file})") };
        let right = gate.map_or_else(|| places.first().cloned().unwrap_or_default(), str::to_owned);
        match places.as_slice() {
            [only] if gate.is_none_or(|gate| host_key(gate) == host_key(only)) => {
                let found = format!("{name}: pulled from {only} alone{by}");
                Finding { tool, state: State::Fine, found, fix: String::new() }
            }
            // A tool without a file need not be there at all.
            [only] if file.is_empty() => match installed::sign(question, tool) {
                Err(why) => Finding::unknown(tool, why),
                Ok(Some(sign)) => {
                    let found = format!(
                        "{name}: nothing is configured, so that it is pulled from {only}, past the gate {right} ({} is there)",
                        sign.display()
                    );
                    Finding { tool, state: State::Around, found, fix: fix(&right) }
                }
                Ok(None) => {
                    let programs = installed::programs(tool);
                    let found = format!(
                        "{name}: nothing is configured, and no such tool is seen ({programs}); one would pull from {only}, past the gate {right}"
                    );
                    let fix = format!("nothing, if there is no such tool; else {}", fix(&right));
                    Finding { tool, state: State::Note, found, fix }
                }
            },
            [only] => {
                let found = format!("{name}: pulled from {only}, past the gate {right}{by}");
                Finding { tool, state: State::Around, found, fix: fix(&right) }
            }
            [first @ .., last] => {
                let found = format!(
                    "{name}: asks {}, and goes on to {last} when that says no: around the gate{by}",
                    first.join(", then ")
                );
                Finding { tool, state: State::Around, found, fix: fix(&right) }
            }
            [] => Finding {
                tool,
                state: State::Fine,
                found: format!("{name}: is not pulled at all{by}"),
                fix: String::new(),
            },
        }
    }
}

/// What tells two places apart: their scheme does not, nor what stands for the root of a host.
fn place_key(place: &str) -> String {
    let place = place.split_once("://").map_or(place, |(_, rest)| rest).trim_end_matches('/');
    place.strip_suffix("/v2").unwrap_or(place).trim_end_matches('/').to_ascii_lowercase()
}

fn host_key(place: &str) -> String {
    let key = place_key(place);
    let host = key.split('/').next().unwrap_or_default();
    host.strip_suffix(":443").unwrap_or(host).to_owned()
}

/// A member by its name in any case of letters, as Go's readers of TOML match them; twice is an error.
fn member<'t>(table: &'t Table, name: &str) -> Result<Option<&'t Value>, String> {
    let mut found = table.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(format!("it says `{name}` twice, in different letters")),
        (one, None) => Ok(one.map(|(_, value)| value)),
    }
}

/// A text; empty if it is absent.
fn text<'t>(table: &'t Table, name: &str) -> Result<&'t str, String> {
    match member(table, name)? {
        None => Ok(""),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(format!("`{name}` is no text in it")),
    }
}

/// A list of texts, if it is there.
fn texts(table: &Table, name: &str) -> Result<Option<Vec<String>>, String> {
    let wrong = || format!("`{name}` is no list of texts in it");
    match member(table, name)? {
        None => Ok(None),
        Some(Value::Array(items)) => {
            let items = items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong));
            items.collect::<Result<_, _>>().map(Some)
        }
        Some(_) => Err(wrong()),
    }
}

/// A table; empty if it is absent.
fn table<'t>(above: &'t Table, name: &str) -> Result<Option<&'t Table>, String> {
    match member(above, name)? {
        None => Ok(None),
        Some(Value::Table(table)) => Ok(Some(table)),
        Some(_) => Err(format!("`{name}` is no table in it")),
    }
}

fn parsed(text: &str) -> Result<Table, String> {
    text.parse::<Table>().map_err(|e| format!("it is no TOML: {}", e.message()))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
