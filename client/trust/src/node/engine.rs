//! Docker Engine's `daemon.json`.
//!
//! Invariant: `registry-mirrors` serve Docker Hub's names alone, and the engine goes on to the Hub when they fail; for every
//! other name nothing there leads to a gate. An authorization plugin is asked about each pull, wherever it goes, and without an
//! answer the engine refuses: one that is called as ours counts, of another nobody can tell here what it is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{Finding, Question, Route, State};

/// How its findings are called.
pub const TOOL: &str = "docker";
/// How `deploy/docker` calls the plugin.
const PLUGIN: &str = "trustgate";
const FILES: [&str; 2] = ["/etc/docker/daemon.json", "/var/snap/docker/current/config/daemon.json"];
const HUB: &str = "docker.io";

/// What the engine of the system, and those of users, do.
pub fn look(question: &Question) -> Vec<Finding> {
    let own = question.homes.iter().map(|home| home.join(".config/docker/daemon.json"));
    let files = FILES.iter().map(PathBuf::from).chain(own);
    let (mut findings, mut is_there) = (Vec::new(), false);
    for path in files {
        match settings(question, &path) {
            Ok(None) => {}
            Ok(Some(settings)) => {
                is_there = true;
                findings.extend(match settings.plugins.is_empty() {
                    true => of_file(question, &path, &settings.mirrors),
                    false => asked(question, &path, &settings.plugins),
                });
            }
            Err(why) => {
                is_there = true;
                findings.push(Finding::unknown(TOOL, why));
            }
        }
    }
    if !is_there {
        findings.extend(of_file(question, Path::new(""), &[]));
    }
    findings
}

/// What is said where plugins are asked about each pull. All of them must say yes.
fn asked(question: &Question, path: &Path, plugins: &[String]) -> Vec<Finding> {
    let file = path.display();
    let all = plugins.join(", ");
    let hosts: BTreeSet<&str> = question.names.iter().map(|name| name.host.as_str()).collect();
    let of_host = |host: &str| match plugins.iter().any(|plugin| plugin == PLUGIN) {
        true => Finding {
            tool: TOOL,
            state: State::Fine,
            found: format!("{host}/…: each pull is decided by the authorization plugin {PLUGIN} ({file})"),
            fix: String::new(),
        },
        false => Finding {
            tool: TOOL,
            state: State::Note,
            found: format!(
                "{host}/…: each pull is decided by the authorization plugin {all}, if that is trust-gate ({file})"
            ),
            fix: format!("nothing, if it is; the name {PLUGIN} says so"),
        },
    };
    hosts.into_iter().map(of_host).collect()
}

fn of_file(question: &Question, path: &Path, mirrors: &[String]) -> Vec<Finding> {
    let file = path.display().to_string();
    let advice = |host: &str, gate: Option<&str>| {
        let gate = gate.map(|gate| format!(" ({gate})")).unwrap_or_default();
        format!("call images by the gate's name{gate}, or give the name {host} to the gate in DNS; a mirror is no gate")
    };
    let mut findings = Vec::new();
    for name in &question.names {
        let of_hub = mirrors.iter().filter(|_| name.host == HUB);
        let places = of_hub.cloned().chain([name.host.clone()]).collect();
        let route = Route { name: format!("{}/…", name.host), places, file: file.clone() };
        findings.push(route.finding(TOOL, question, |gate| advice(&name.host, Some(gate))));
    }
    if let Some(name) = question.names.iter().find(|name| name.host != HUB)
        && !mirrors.is_empty()
    {
        let found = format!("registry-mirrors serve Docker Hub's names alone, and no name of {} ({file})", name.host);
        findings.push(Finding {
            tool: TOOL,
            state: State::Note,
            found,
            fix: advice(&name.host, question.gate.as_deref()),
        });
    }
    findings
}

/// What a file says.
#[derive(Debug, Default)]
struct Settings {
    mirrors: Vec<String>,
    plugins: Vec<String>,
}

/// `None` if there is no file.
fn settings(question: &Question, path: &Path) -> Result<Option<Settings>, String> {
    let Some(text) = question.root.text(path)? else { return Ok(None) };
    let told = |why: String| format!("{}: {why}", path.display());
    if text.trim().is_empty() {
        return Ok(Some(Settings::default()));
    }
    let value = trust_image::json::parse(text.as_bytes()).map_err(|e| told(e.to_string()))?;
    let members = value.as_object().ok_or_else(|| told("it is no JSON object".to_owned()))?;
    let list = |name: &str| texts(members, name).map_err(told);
    Ok(Some(Settings { mirrors: list("registry-mirrors")?, plugins: list("authorization-plugins")? }))
}

/// A list of texts by its name in any case of letters; empty if it is absent.
fn texts(members: &Map<String, Value>, name: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("`{name}` is no list of texts in it, or stands there twice");
    let mut named = members.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
    match (named.next(), named.next()) {
        (None, _) => Ok(Vec::new()),
        (Some((_, Value::Array(items))), None) => {
            items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        _ => Err(wrong()),
    }
}
