//! `registries.conf` of podman, skopeo, buildah and CRI-O.
//!
//! Invariant: the files are found and put together as these tools do: one main file (of the variable, else the user's, else
//! the system's), then the drop-ins by name, where a later entry of the same prefix replaces an earlier one; the longest
//! prefix alone counts for a name. After its mirrors the registry itself is tried, always.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{Finding, Name, Question, Route, member, parsed, text};

/// How its findings are called.
pub const TOOL: &str = "containers";
const MAIN: &str = "/etc/containers/registries.conf";
const DROP_INS: &str = "/etc/containers/registries.conf.d";
const BELOW_HOME: &str = ".config/containers";

/// One `[[registry]]`.
#[derive(Debug, Clone)]
struct Entry {
    location: String,
    is_blocked: bool,
    mirrors: Vec<String>,
    file: String,
}

/// Entries by their prefix, and the first file that was read, also if it has none.
#[derive(Debug, Default)]
struct Entries {
    by_prefix: BTreeMap<String, Entry>,
    file: String,
}

/// What the tools of the system and of each user do.
pub fn look(question: &Question) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut views = vec![None];
    views.extend(question.homes.iter().map(Some));
    for home in views {
        match entries(question, home) {
            Err(why) => findings.push(Finding::unknown(TOOL, why)),
            Ok(entries) => {
                findings.extend(question.names.iter().flat_map(|name| routes(&entries, name, question)));
            }
        }
    }
    findings
}

/// The entries as one user sees them.
fn entries(question: &Question, home: Option<&PathBuf>) -> Result<Entries, String> {
    let root = &question.root;
    let own = home.map(|home| home.join(BELOW_HOME));
    let (own_main, own_drop_ins) =
        (own.as_ref().map(|own| own.join("registries.conf")), own.as_ref().map(|own| own.join("registries.conf.d")));
    let mut folders = vec![PathBuf::from(DROP_INS)];
    folders.extend(own_drop_ins.clone());
    let mut entries = Entries::default();
    if let Some(given) = &question.registries_conf {
        let said = || format!("CONTAINERS_REGISTRIES_CONF names {}, which is not there", given.display());
        add(&mut entries, given, &root.text(given)?.ok_or_else(said)?)?;
    } else {
        let own_text = match &own_main {
            Some(path) => root.text(path)?.map(|text| (path.clone(), text)),
            None => None,
        };
        if own_text.is_some() {
            // Who has a main file of their own does not read the system's drop-ins.
            folders = own_drop_ins.into_iter().collect();
        }
        let main = match own_text {
            Some(found) => Some(found),
            None => root.text(Path::new(MAIN))?.map(|text| (PathBuf::from(MAIN), text)),
        };
        if let Some((path, text)) = main {
            add(&mut entries, &path, &text)?;
        }
    }
    for folder in folders {
        for name in root.names(&folder)?.unwrap_or_default() {
            let path = folder.join(&name);
            if name.ends_with(".conf")
                && let Some(text) = root.text(&path)?
            {
                add(&mut entries, &path, &text)?;
            }
        }
    }
    Ok(entries)
}

fn add(entries: &mut Entries, path: &Path, content: &str) -> Result<(), String> {
    let file = path.display().to_string();
    let told = |why: String| format!("{file}: {why}");
    let whole = parsed(content).map_err(told)?;
    if entries.file.is_empty() {
        entries.file.clone_from(&file);
    }
    let list = match member(&whole, "registry").map_err(told)? {
        None => return Ok(()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(told("`registry` is no list of tables in it".to_owned())),
    };
    for one in list {
        let one = one.as_table().ok_or_else(|| told("`registry` is no list of tables in it".to_owned()))?;
        let (prefix, entry) = entry(one, &file).map_err(told)?;
        entries.by_prefix.insert(prefix, entry);
    }
    Ok(())
}

fn entry(one: &Table, file: &str) -> Result<(String, Entry), String> {
    let clean = |text: &str| text.trim_end_matches('/').to_ascii_lowercase();
    let (prefix, location) = (clean(text(one, "prefix")?), clean(text(one, "location")?));
    if prefix.is_empty() && location.is_empty() {
        return Err("a [[registry]] has neither prefix nor location".to_owned());
    }
    // The tools refuse such a file, and pull nothing.
    if location.is_empty() && !prefix.starts_with("*.") {
        return Err(format!("the [[registry]] of {prefix} has no location"));
    }
    let is_blocked = match member(one, "blocked")? {
        None => false,
        Some(Value::Boolean(blocked)) => *blocked,
        Some(_) => return Err("`blocked` is neither true nor false in it".to_owned()),
    };
    let mirrors = match member(one, "mirror")? {
        None => Vec::new(),
        Some(Value::Array(mirrors)) => mirrors
            .iter()
            .map(|mirror| match mirror.as_table().map(|mirror| text(mirror, "location")) {
                Some(Ok(location)) if !location.is_empty() => Ok(location.to_owned()),
                _ => Err("a [[registry.mirror]] has no location".to_owned()),
            })
            .collect::<Result<_, _>>()?,
        Some(_) => return Err("`mirror` is no list of tables in it".to_owned()),
    };
    let prefix = if prefix.is_empty() { location.clone() } else { prefix };
    Ok((prefix, Entry { location, is_blocked, mirrors, file: file.to_owned() }))
}

/// What happens to the images of a collection: one route for the whole, and one for each part with an entry of its own.
fn routes(entries: &Entries, name: &Name, question: &Question) -> Vec<Finding> {
    let best = entries
        .by_prefix
        .iter()
        .filter(|(prefix, _)| is_below(&name.whole, prefix))
        .max_by_key(|(prefix, _)| prefix.len());
    let parts = entries.by_prefix.iter().filter(|(prefix, _)| **prefix != name.whole && is_below(prefix, &name.whole));
    let mut found = Vec::new();
    match best {
        Some((prefix, entry)) => found.push(route(&name.whole, prefix, entry, question)),
        None => {
            let direct =
                Route { name: name.whole.clone(), places: vec![name.host.clone()], file: entries.file.clone() };
            found.push(direct.finding(TOOL, question, |gate| advice(&name.host, gate)));
        }
    }
    found.extend(parts.map(|(prefix, entry)| route(prefix, prefix, entry, question)));
    found
}

fn route(name: &str, prefix: &str, entry: &Entry, question: &Question) -> Finding {
    // What follows a wildcard stays as it is; else the location takes the prefix's place.
    let host = name.split('/').next().unwrap_or_default();
    let own = if entry.location.is_empty() { host } else { &entry.location };
    let places = match entry.is_blocked {
        true => Vec::new(),
        false => entry.mirrors.iter().cloned().chain([own.to_owned()]).collect(),
    };
    let route = Route { name: name.to_owned(), places, file: entry.file.clone() };
    route.finding(TOOL, question, |gate| advice(prefix, gate))
}

fn advice(prefix: &str, gate: &str) -> String {
    // A location has no scheme: `insecure` says whether it is reached without TLS.
    let gate = gate.split_once("://").map_or(gate, |(_, place)| place);
    format!(
        "in registries.conf: [[registry]] with prefix = \"{prefix}\" and location = \"{gate}\", and no [[registry.mirror]]"
    )
}

/// Whether images that are called so are below this prefix.
fn is_below(name: &str, prefix: &str) -> bool {
    if let Some(domain) = prefix.strip_prefix('*') {
        let host = name.split('/').next().unwrap_or_default();
        return prefix.starts_with("*.") && host.split(':').next().unwrap_or_default().ends_with(domain);
    }
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':', '@']))
}
