//! Docker Engine's `daemon.json`.
//!
//! Invariant: `registry-mirrors` serve Docker Hub's names alone, and the engine goes on to the Hub when they fail; for every
//! other name nothing there leads to a gate.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Finding, Question, Route, State};

const TOOL: &str = "docker";
const FILES: [&str; 2] = ["/etc/docker/daemon.json", "/var/snap/docker/current/config/daemon.json"];
const HUB: &str = "docker.io";

/// What the engine of the system, and those of users, do.
pub fn look(question: &Question) -> Vec<Finding> {
    let own = question.homes.iter().map(|home| home.join(".config/docker/daemon.json"));
    let files = FILES.iter().map(PathBuf::from).chain(own);
    let (mut findings, mut is_there) = (Vec::new(), false);
    for path in files {
        match mirrors(question, &path) {
            Ok(None) => {}
            Ok(Some(mirrors)) => {
                is_there = true;
                findings.extend(of_file(question, &path, &mirrors));
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
        findings.push(route.finding(TOOL, question.gate.as_deref(), |gate| advice(&name.host, Some(gate))));
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

/// `registry-mirrors` of a file; `None` if there is no file.
fn mirrors(question: &Question, path: &Path) -> Result<Option<Vec<String>>, String> {
    let Some(text) = question.root.text(path)? else { return Ok(None) };
    let told = |why: &str| format!("{}: {why}", path.display());
    if text.trim().is_empty() {
        return Ok(Some(Vec::new()));
    }
    let value = trust_image::json::parse(text.as_bytes()).map_err(|e| told(&e.to_string()))?;
    let members = value.as_object().ok_or_else(|| told("it is no JSON object"))?;
    let mut named = members.iter().filter(|(name, _)| name.eq_ignore_ascii_case("registry-mirrors"));
    let mirrors = match (named.next(), named.next()) {
        (None, _) => return Ok(Some(Vec::new())),
        (Some((_, Value::Array(mirrors))), None) => mirrors,
        _ => return Err(told("`registry-mirrors` is no list in it, or stands there twice")),
    };
    let mirrors = mirrors.iter().map(|mirror| mirror.as_str().map(str::to_owned));
    mirrors.collect::<Option<_>>().map(Some).ok_or_else(|| told("`registry-mirrors` is no list of texts in it"))
}
