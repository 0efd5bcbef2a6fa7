//! containerd: `hosts.toml` of each host, and the mirrors of its configuration.
//!
//! Invariant: places are tried as containerd does: each `[host]` that may pull, then `server`, which is the registry itself
//! where nothing is said; the first folder of `HOST_PORT_`, `HOST`, `_default` that is there counts. Where the image verifier is
//! asked about each pull, they do not matter.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Component, Path, PathBuf};

use toml::{Table, Value};

use super::rooted::Root;
use super::verifier::{self, Guard};
use super::{Finding, Question, Route, State, host_key, parsed, table, text, texts};

/// How its findings are called.
pub const TOOL: &str = "containerd";
const MAIN: &str = "/etc/containerd/config.toml";
/// Where hosts are looked for if the configuration says nothing.
const FOLDERS: [&str; 2] = ["/etc/containerd/certs.d", "/etc/docker/certs.d"];
/// Distributions that write containerd's configuration themselves, from files of their own.
const OTHERS: [&str; 2] = ["/etc/rancher/k3s/registries.yaml", "/etc/rancher/rke2/registries.yaml"];
/// Files that one configuration imports.
const MAX_IMPORTS: usize = 64;

/// What a configuration says about registries.
#[derive(Debug, Default)]
struct Config {
    folders: Vec<PathBuf>,
    /// Host (or `*`), its endpoints, and the file.
    mirrors: Vec<(String, Vec<String>, String)>,
    /// The main file, if it is there.
    file: String,
    /// The main file and what it imports, each once.
    files: Vec<(String, Table)>,
}

/// What containerd does for each host.
pub fn look(question: &Question) -> Vec<Finding> {
    let (root, mut findings) = (&question.root, Vec::new());
    for path in OTHERS {
        match root.text(Path::new(path)) {
            Ok(None) => {}
            Ok(Some(_)) => findings.push(Finding {
                fix: "set disable-default-registry-endpoint, and look at the hosts.toml that it writes".to_owned(),
                ..Finding::unknown(TOOL, format!("{path} is not read here; its mirrors go on to the registry itself"))
            }),
            Err(why) => findings.push(Finding::unknown(TOOL, why)),
        }
    }
    let mut hosts: Vec<&str> = question.names.iter().map(|name| name.host.as_str()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let config = match config(root) {
        Ok(config) => {
            match verifier::guard(root, &config.files) {
                Ok(Guard::Absent) => {}
                Ok(Guard::Asked(program)) => {
                    findings.extend(hosts.iter().map(|host| asked(host, &program)));
                    return findings;
                }
                Ok(Guard::Past(program, why)) => findings.push(Finding {
                    tool: TOOL,
                    state: State::Around,
                    found: format!("the image verifier {program} is there, and is not asked about every pull: {why}"),
                    fix: "change that; on the node, trust-gate containerd-doctor looks at more".to_owned(),
                }),
                Err(why) => findings.push(Finding::unknown(TOOL, why)),
            }
            config
        }
        Err(why) => {
            findings.push(Finding::unknown(TOOL, why));
            Config::default()
        }
    };
    let routes: Vec<_> = hosts.iter().map(|host| (host, route(root, &config, host))).collect();
    // The scheme by which this node reaches the gate, where it does.
    let scheme = |gate: &str| {
        let mut places = routes.iter().filter_map(|(_, route)| route.as_ref().ok()).flat_map(|route| &route.places);
        places
            .find_map(|place| place.split_once("://").filter(|_| host_key(place) == host_key(gate)))
            .map(|(s, _)| s.to_owned())
    };
    let of_gate = question.gate.as_deref().and_then(scheme);
    for (host, route) in routes {
        match route {
            Ok(route) => findings.push(route.finding(TOOL, question, |gate| {
                let gate = match (&of_gate, gate.split_once("://")) {
                    (Some(scheme), given) => format!("{scheme}://{}", given.map_or(gate, |(_, place)| place)),
                    (None, Some(_)) => gate.to_owned(),
                    (None, None) => format!("https://{gate}"),
                };
                format!("{}/{host}/hosts.toml: server = \"{gate}\", and no [host]", FOLDERS[0])
            })),
            Err(why) => findings.push(Finding::unknown(TOOL, why)),
        }
    }
    findings
}

fn asked(host: &str, program: &str) -> Finding {
    let found = format!(
        "{host}/…: each pull is decided by the image verifier {program} (containerd 2.1 and newer; trust-gate containerd-doctor looks at more)"
    );
    Finding { tool: TOOL, state: State::Fine, found, fix: String::new() }
}

fn config(root: &Root) -> Result<Config, String> {
    let mut config = Config::default();
    let (mut waiting, mut seen) = (VecDeque::from([PathBuf::from(MAIN)]), BTreeSet::new());
    while let Some(path) = waiting.pop_front() {
        if !seen.insert(path.clone()) {
            continue;
        }
        if seen.len() > MAX_IMPORTS {
            return Err(format!("{MAIN} imports more than {MAX_IMPORTS} files"));
        }
        let Some(text) = root.text(&path)? else { continue };
        let file = path.display().to_string();
        let told = |why: String| format!("{file}: {why}");
        let table = parsed(&text).map_err(told)?;
        read(&mut config, &table, &file)?;
        for pattern in texts(&table, "imports").map_err(told)?.unwrap_or_default() {
            waiting.extend(imported(root, &path, &pattern)?);
        }
        if path == Path::new(MAIN) {
            config.file.clone_from(&file);
        }
        config.files.push((file, table));
    }
    Ok(config)
}

/// Without `..`, as containerd joins paths: a circle of imports comes back to the same name.
fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            cleaned.pop();
        } else {
            cleaned.push(part);
        }
    }
    cleaned
}

/// The files of a pattern: one file, or `FOLDER/*ENDING`.
fn imported(root: &Root, by: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let path = clean(&by.parent().unwrap_or(Path::new("/")).join(pattern));
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let folder = path.parent().unwrap_or(Path::new("/"));
    let is_wild = |text: &str| text.contains(['*', '?', '[', '\\']);
    if !is_wild(pattern) {
        return Ok(vec![path]);
    }
    let ending = name.strip_prefix('*').filter(|ending| !is_wild(ending));
    let (Some(ending), false) = (ending, is_wild(&folder.to_string_lossy())) else {
        return Err(format!("{} imports {pattern}, which is not understood here", by.display()));
    };
    let names = root.names(folder)?.unwrap_or_default();
    Ok(names.iter().filter(|name| name.ends_with(ending)).map(|name| folder.join(name)).collect())
}

/// The registry settings of all plugins: which of them is in use depends on the version.
fn read(config: &mut Config, whole: &Table, file: &str) -> Result<(), String> {
    let told = |why: String| format!("{file}: {why}");
    let Some(plugins) = table(whole, "plugins").map_err(told)? else { return Ok(()) };
    for plugin in plugins.values().filter_map(Value::as_table) {
        let registry = table(plugin, "registry").map_err(told)?;
        for holder in registry.into_iter().chain([plugin]) {
            let folders = match holder.get("config_path") {
                Some(Value::String(folders)) => folders.as_str(),
                None => "",
                Some(_) => return Err(told("`config_path` is no text in it".to_owned())),
            };
            config.folders.extend(folders.split(':').filter(|folder| !folder.is_empty()).map(PathBuf::from));
        }
        let Some(mirrors) = registry.map(|registry| table(registry, "mirrors")).transpose().map_err(told)?.flatten()
        else {
            continue;
        };
        for (host, mirror) in mirrors {
            let mirror = mirror.as_table().ok_or_else(|| told("a mirror is no table in it".to_owned()))?;
            let endpoints = texts(mirror, "endpoint").map_err(told)?.unwrap_or_default();
            config.mirrors.push((host.clone(), endpoints, file.to_owned()));
        }
    }
    Ok(())
}

/// The places that are tried for a host.
fn route(root: &Root, config: &Config, host: &str) -> Result<Route, String> {
    let named = |places: Vec<String>, file: String| Route { name: format!("{host}/…"), places, file };
    // Settings of the old kind count where no folder is configured; both are told.
    let mut old = config.mirrors.iter().filter(|(of, endpoints, _)| (of == host || of == "*") && !endpoints.is_empty());
    if let Some((_, endpoints, file)) = old.next() {
        let places = endpoints.iter().cloned().chain([host.to_owned()]).collect();
        return Ok(named(places, file.clone()));
    }
    let with_port = host.replace(':', "_") + "_";
    let mut names = vec![host, "_default"];
    if host.contains(':') {
        names.insert(0, &with_port);
    }
    let defaults = FOLDERS.iter().map(PathBuf::from).filter(|folder| !config.folders.contains(folder));
    for folder in config.folders.iter().cloned().chain(defaults) {
        for name in &names {
            let below = folder.join(name);
            if !root.is_folder(&below)? {
                continue;
            }
            let path = below.join("hosts.toml");
            let Some(content) = root.text(&path)? else { break };
            let file = path.display().to_string();
            return hosts(&content, host)
                .map(|places| named(places, file.clone()))
                .map_err(|why| format!("{file}: {why}"));
        }
    }
    Ok(named(vec![host.to_owned()], config.file.clone()))
}

/// The places of a `hosts.toml`.
fn hosts(content: &str, host: &str) -> Result<Vec<String>, String> {
    let whole = parsed(content)?;
    let pulls = |table: &Table| -> Result<bool, String> {
        let can = texts(table, "capabilities")?;
        Ok(can.is_none_or(|can| can.iter().any(|can| matches!(can.to_ascii_lowercase().as_str(), "pull" | "resolve"))))
    };
    let mut places = Vec::new();
    for (place, settings) in table(&whole, "host")?.into_iter().flatten() {
        let settings = settings.as_table().ok_or_else(|| "`host` is no table of tables in it".to_owned())?;
        if pulls(settings)? {
            places.push(place.clone());
        }
    }
    if pulls(&whole)? {
        let server = text(&whole, "server")?;
        places.push(if server.is_empty() { host.to_owned() } else { server.to_owned() });
    }
    Ok(places)
}
