//! Compose files: the image of each service, or why it is not known.
//!
//! Invariant: each image that compose would pull for a document is found here, or the document is an error. What compose fills
//! in from elsewhere (variables, other files), what it builds instead of pulling, and members that are not in the tables are
//! errors: `docker compose config` writes the first out, and nobody has signed the second. A service without an image is
//! only a part of one, and is an error unless another file beside it says the image ([`without_image`]). Profiles and
//! replicas change nothing: every service is looked at. Deliberately absent: filling in and merging.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path as FilePath;

use serde_json::{Map, Value};
use trust_image::workload::{self, Path, Place, PlaceKind, Step};
use trust_reader::verdict::Problem;

use super::files::Input;
use super::yaml::At;
use super::{Fault, Scan};

/// Services that extend services of the same document, one behind the other.
const MAX_EXTENDS: usize = 32;

/// Top-level members without images.
const TOP: &[&str] = &["version", "name", "services", "networks", "volumes", "secrets", "configs"];

/// Members of a service that name no image. What is looked into has a line of its own in [`Reader::service`].
const OF_A_SERVICE: &[&str] = &[
    "annotations",
    "attach",
    "blkio_config",
    "cap_add",
    "cap_drop",
    "cgroup",
    "cgroup_parent",
    "command",
    "configs",
    "container_name",
    "cpu_count",
    "cpu_percent",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpu_shares",
    "cpus",
    "cpuset",
    "credential_spec",
    "depends_on",
    "deploy",
    "develop",
    "device_cgroup_rules",
    "devices",
    "dns",
    "dns_opt",
    "dns_search",
    "domainname",
    "entrypoint",
    "env_file",
    "environment",
    "expose",
    "external_links",
    "extra_hosts",
    "gpus",
    "group_add",
    "healthcheck",
    "hostname",
    "init",
    "ipc",
    "isolation",
    "label_file",
    "labels",
    "links",
    "logging",
    "mac_address",
    "mem_limit",
    "mem_reservation",
    "mem_swappiness",
    "memswap_limit",
    "network_mode",
    "networks",
    "oom_kill_disable",
    "oom_score_adj",
    "pid",
    "pids_limit",
    "platform",
    "ports",
    "privileged",
    "profiles",
    "read_only",
    "restart",
    "runtime",
    "scale",
    "secrets",
    "security_opt",
    "shm_size",
    "stdin_open",
    "stop_grace_period",
    "stop_signal",
    "storage_opt",
    "sysctls",
    "tmpfs",
    "tty",
    "ulimits",
    "use_api_socket",
    "user",
    "userns_mode",
    "uts",
    "volumes_from",
    "working_dir",
];

/// Types of volumes that are no images.
const VOLUMES: &[&str] = &["volume", "bind", "tmpfs", "npipe", "cluster"];

/// Why the images of a compose file are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Members of both.
    #[error("has members of a compose file and of a Kubernetes object; tools differ on what it is")]
    Both,
    /// A member that is in no table.
    #[error("is no member of compose files that is known here, and may bring an image")]
    Member,
    /// Another type than compose has there.
    #[error("is not {0}")]
    Type(&'static str),
    /// `include`.
    #[error("brings services from other files")]
    Include,
    /// `extends` with a file.
    #[error("takes the service from another file")]
    OtherFile,
    /// `extends` of itself, or of what is not there.
    #[error("extends no service of this document, or itself")]
    Extends,
    /// `$` where the image depends on it.
    #[error("has a variable in it, so that the image is known only when it is filled in")]
    Variable,
    /// `build`.
    #[error("is built here and not pulled, so that nobody can have signed it")]
    Built,
    /// `provider`.
    #[error("is run by a program that compose calls, which may start any image")]
    Provider,
    /// `models`.
    #[error("pulls models, which are not checked here")]
    Models,
    /// Neither image nor `extends`.
    #[error("has no image, and no other compose file beside this one gives it one")]
    NoImage,
}

/// What a compose document holds.
#[derive(Debug, Default)]
pub struct Services {
    /// The images, each with its service.
    pub images: Vec<(String, Place)>,
    /// Services that have an image.
    pub with: Vec<String>,
    /// Services without one.
    pub without: Vec<String>,
}

/// Services of a file for its neighbours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// Services that have an image.
    pub with: BTreeSet<String>,
    /// Services without one, with their places.
    pub without: Vec<(At, String)>,
}

/// Whether a document is meant for compose. One that kubectl may take for its own is an error.
pub fn is_compose(document: &Value) -> Result<bool, Fault> {
    let Value::Object(members) = document else { return Ok(false) };
    let has = |name: &str| members.contains_key(name);
    if !has("services") && !has("include") {
        return Ok(false);
    }
    match members.keys().any(|key| ["apiversion", "kind"].contains(&key.to_ascii_lowercase().as_str())) {
        true => fault(&[if has("services") { "services" } else { "include" }], Why::Both),
        false => Ok(true),
    }
}

fn fault<T>(steps: &[&str], why: Why) -> Result<T, Fault> {
    Err(Fault::Compose { path: path(steps), why })
}

fn path(steps: &[&str]) -> Path {
    steps.iter().map(|step| member((*step).to_owned())).collect()
}

fn member(name: String) -> Step {
    Step::Member(Cow::Owned(name))
}

fn is_extension(name: &str) -> bool {
    name.starts_with("x-")
}

/// The services of a compose document.
pub fn services(document: &Value) -> Result<Services, Fault> {
    let Value::Object(top) = document else { return Ok(Services::default()) };
    for (name, value) in top {
        match name.as_str() {
            "include" if !is_empty(value) => return fault(&[name], Why::Include),
            "models" if !is_empty(value) => return fault(&[name], Why::Models),
            "include" | "models" => {}
            name if is_extension(name) || TOP.contains(&name) => {}
            name => return fault(&[name], Why::Member),
        }
    }
    let services = match top.get("services") {
        None | Some(Value::Null) => return Ok(Services::default()),
        Some(Value::Object(services)) => services,
        Some(_) => return fault(&["services"], Why::Type("a mapping from names to services")),
    };
    let mut reader = Reader { services, found: Services::default() };
    // Some versions take one called `x-…` for a service, others for an extension: its images count.
    for (name, service) in services {
        reader.service(name, service)?;
    }
    reader.found.without.retain(|name| !is_extension(name));
    Ok(reader.found)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

struct Reader<'v> {
    services: &'v Map<String, Value>,
    found: Services,
}

impl Reader<'_> {
    fn service(&mut self, name: &str, service: &Value) -> Result<(), Fault> {
        let at = ["services", name];
        let members = match service {
            Value::Object(members) => members,
            Value::Null => {
                self.found.without.push(name.to_owned());
                return Ok(());
            }
            _ => return fault(&at, Why::Type("a mapping")),
        };
        let (mut has_image, mut extends) = (false, false);
        for (key, value) in members {
            let here = ["services", name, key.as_str()];
            match key.as_str() {
                "image" => has_image = self.image(name, &here, value)?,
                "build" if !value.is_null() => return fault(&at, Why::Built),
                "provider" if !value.is_null() => return fault(&at, Why::Provider),
                "models" if !is_empty(value) => return fault(&here, Why::Models),
                "build" | "provider" | "models" => {}
                "extends" => extends = self.extends(name, &here, value)?,
                "pull_policy" => match value {
                    Value::Null => {}
                    Value::String(policy) if policy == "build" => return fault(&at, Why::Built),
                    Value::String(policy) if policy.contains('$') => return fault(&here, Why::Variable),
                    Value::String(_) => {}
                    _ => return fault(&here, Why::Type("a text")),
                },
                "volumes" => self.volumes(name, value)?,
                // Commands in the container; a hook with an image of its own would be new.
                "post_start" | "pre_stop" => {
                    if workload::images_anywhere(&serde_json::json!({ "hook": value })).is_err() {
                        return fault(&here, Why::Member);
                    }
                }
                key if is_extension(key) || OF_A_SERVICE.contains(&key) => {}
                _ => return fault(&here, Why::Member),
            }
        }
        if has_image {
            self.found.with.push(name.to_owned());
        } else if !extends {
            self.found.without.push(name.to_owned());
        }
        Ok(())
    }

    fn image(&mut self, service: &str, at: &[&str; 3], value: &Value) -> Result<bool, Fault> {
        match value {
            Value::Null => Ok(false),
            Value::String(image) if image.is_empty() => Ok(false),
            Value::String(image) => self.push(service, path(at), image).map(|()| true),
            _ => fault(at, Why::Type("a text")),
        }
    }

    fn push(&mut self, service: &str, path: Path, image: &str) -> Result<(), Fault> {
        if image.contains('$') {
            return Err(Fault::Compose { path, why: Why::Variable });
        }
        if self.found.images.len() >= workload::MAX_PLACES {
            return Err(workload::WorkloadError::TooMany.into());
        }
        let object = trust_reader::verdict::printable(&format!("service {service}"));
        self.found.images.push((object, Place { path, image: image.to_owned(), kind: PlaceKind::Container }));
        Ok(())
    }

    /// Whether it takes its image from a service of this document, which is looked at itself.
    fn extends(&self, name: &str, at: &[&str; 3], value: &Value) -> Result<bool, Fault> {
        if value.is_null() {
            return Ok(false);
        }
        let mut next = extended(at, value)?;
        for _ in 0..MAX_EXTENDS {
            let Some(service) = self.services.get(next).filter(|_| next != name) else { break };
            match service.get("extends").filter(|value| !value.is_null()) {
                None => return Ok(true),
                Some(more) => next = extended(at, more)?,
            }
        }
        fault(at, Why::Extends)
    }

    fn volumes(&mut self, service: &str, value: &Value) -> Result<(), Fault> {
        let volumes = match value {
            Value::Null => return Ok(()),
            Value::Array(volumes) => volumes,
            _ => return fault(&["services", service, "volumes"], Why::Type("a list")),
        };
        for (index, volume) in volumes.iter().enumerate() {
            let steps = ["services", service, "volumes"].map(|step| member(step.to_owned()));
            let at = |name: &str| -> Path {
                steps.clone().into_iter().chain([Step::Index(index), member(name.to_owned())]).collect()
            };
            let refuse = |name: &str, why| Err(Fault::Compose { path: at(name), why });
            // `source:target` in one text is never an image.
            let Value::Object(volume) = volume else { continue };
            match volume.get("type") {
                Some(Value::String(kind)) if kind == "image" => match volume.get("source") {
                    Some(Value::String(image)) => self.push(service, at("source"), image)?,
                    _ => return refuse("source", Why::Type("a text")),
                },
                Some(Value::String(kind)) if kind.contains('$') => return refuse("type", Why::Variable),
                Some(Value::String(kind)) if VOLUMES.contains(&kind.as_str()) => {}
                _ => return refuse("type", Why::Type("a type of volume that is known here")),
            }
        }
        Ok(())
    }
}

/// The service that is extended.
fn extended<'v>(at: &[&str; 3], value: &'v Value) -> Result<&'v str, Fault> {
    let service = match value {
        Value::String(service) => service,
        Value::Object(members) => match (members.get("file"), members.get("service")) {
            (None | Some(Value::Null), Some(Value::String(service))) => service,
            (None | Some(Value::Null), _) => return fault(at, Why::Extends),
            (Some(_), _) => return fault(at, Why::OtherFile),
        },
        _ => return fault(at, Why::Extends),
    };
    if service.contains('$') { fault(at, Why::Variable) } else { Ok(service) }
}

/// The services that no file gives an image. A file and those beside it are one application to compose.
pub fn without_image(scanned: &[(Input, Scan)]) -> Vec<Problem> {
    fn folder(input: &Input) -> Option<&FilePath> {
        input.path.as_deref().and_then(FilePath::parent)
    }
    let mut problems = Vec::new();
    for (input, scan) in scanned {
        for (at, service) in &scan.compose.without {
            let beside = scanned.iter().filter(|(other, _)| folder(other) == folder(input));
            if beside.clone().all(|(_, other)| !other.compose.with.contains(service)) {
                let fault = Fault::Compose { path: path(&["services", service]), why: Why::NoImage };
                problems.push(super::not_known(&input.name, *at, &fault));
            }
        }
    }
    problems
}

/// A document without what compose passes over: there, an image of an anchor may change with the service that uses it.
pub fn counted(document: &Value) -> Cow<'_, Value> {
    if !matches!(is_compose(document), Ok(true)) {
        return Cow::Borrowed(document);
    }
    let mut counted = document.clone();
    if let Some(top) = counted.as_object_mut() {
        top.retain(|name, _| !is_extension(name));
        let services = top.get_mut("services").and_then(Value::as_object_mut);
        for service in services.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut) {
            service.retain(|name, _| !is_extension(name));
        }
    }
    Cow::Owned(counted)
}

/// What to do about it.
pub fn advised(problem: Problem, why: Why) -> Problem {
    const WRITTEN_OUT: &str =
        "check what compose makes of all files: docker compose --profile '*' config | trust verify --manifests -";
    match why {
        Why::Include | Why::OtherFile | Why::Extends | Why::Variable | Why::NoImage => {
            problem.cause("an image that is not written in the file cannot be checked in it").remedy([WRITTEN_OUT])
        }
        Why::Built => problem.cause("what is verified is an image in a registry, by its digest").remedy([
            "build it, push it, sign it, and name it by `image` alone in the file that is deployed",
            "keep `build` in a file of its own that is not deployed",
        ]),
        Why::Provider | Why::Models => problem
            .remedy(["deploy it apart, with a gate where its images are pulled", "then leave it out of this file"]),
        Why::Member | Why::Type(_) => {
            problem.remedy(["check the spelling", "or have compose write it in its newest form: docker compose config"])
        }
        Why::Both => problem.remedy(["keep each in a file of its own"]),
    }
}

#[cfg(test)]
#[path = "compose_tests.rs"]
mod tests;
