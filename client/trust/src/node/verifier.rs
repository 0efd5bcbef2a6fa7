//! containerd's image verifier: whether it asks `trust-containerd-verifier` about each pull.
//!
//! Invariant: it counts only if nothing in the configuration leads past it: containerd says nothing when it asks nobody.
//! Deliberately absent: who owns the program and its folder, and the version of containerd: `trust-gate containerd-doctor`
//! looks at more, on the node itself.

use std::path::Path;

use toml::{Table, Value};

use super::rooted::Root;

/// The name of the program, or its end: numbers before it say the order.
const PROGRAM: &str = "trust-containerd-verifier";
/// Where containerd looks if nothing is said.
const FOLDER: &str = "/opt/containerd/image-verifier/bin";
/// How many it asks if nothing is said.
const MOST: i64 = 10;

const VERIFIERS: &str = "io.containerd.image-verifier.v1.bindir";
const TRANSFER: &str = "io.containerd.transfer.v1.local";
const IMAGES: &str = "io.containerd.cri.v1.images";
const CRI: &str = "io.containerd.grpc.v1.cri";

/// What there is.
#[derive(Debug, PartialEq, Eq)]
pub enum Guard {
    /// No such program.
    Absent,
    /// This program is asked.
    Asked(String),
    /// This program is there, and is not asked about all: why.
    Past(String, String),
}

/// What the configuration (each file, in the order in which they count) makes of the program.
pub fn guard(root: &Root, files: &[(String, Table)]) -> Result<Guard, String> {
    let last = |name: &str| files.iter().rev().find_map(|(_, table)| plugin(table, VERIFIERS)?.get(name));
    let folder = match last("bin_dir") {
        None => FOLDER,
        Some(folder) => folder.as_str().ok_or("`bin_dir` of containerd is no text")?,
    };
    let most = match last("max_verifiers") {
        None => MOST,
        Some(most) => most.as_integer().ok_or("`max_verifiers` of containerd is no number")?,
    };
    let names = root.names(Path::new(folder))?.unwrap_or_default();
    let Some((at, name)) = names.iter().enumerate().find(|(_, name)| name.ends_with(PROGRAM)) else {
        return Ok(Guard::Absent);
    };
    let path = Path::new(folder).join(name);
    let shown = path.display().to_string();
    if most >= 0 && usize::try_from(most).is_ok_and(|most| at >= most) {
        return Ok(Guard::Past(shown, format!("containerd runs the first {most} of that folder (max_verifiers)")));
    }
    if !root.is_program(&path)? {
        return Ok(Guard::Past(shown, "it cannot be executed".to_owned()));
    }
    let why = files.iter().find_map(|(file, table)| past(table).map(|why| format!("{why} ({file})")));
    Ok(why.map_or(Guard::Asked(shown.clone()), |why| Guard::Past(shown, why)))
}

fn plugin<'t>(table: &'t Table, name: &str) -> Option<&'t Table> {
    table.get("plugins")?.as_table()?.get(name)?.as_table()
}

/// What in a file leads past every verifier.
fn past(table: &Table) -> Option<String> {
    if !matches!(table.get("version").and_then(Value::as_integer), Some(2 | 3)) {
        return Some("its version is neither 2 nor 3: such a containerd has no image verifiers".to_owned());
    }
    let mut disabled = table.get("disabled_plugins").and_then(Value::as_array).into_iter().flatten();
    if let Some(name) = disabled.find_map(|name| name.as_str().filter(|name| [VERIFIERS, TRANSFER].contains(name))) {
        return Some(format!("disabled_plugins holds {name}"));
    }
    let cri = plugin(table, CRI);
    let inner = cri.and_then(|cri| cri.get("containerd")).and_then(Value::as_table);
    [plugin(table, IMAGES), cri, inner].into_iter().flatten().find_map(old_pull)
}

/// The setting with which containerd pulls for Kubernetes in the old way, which asks nobody.
fn old_pull(images: &Table) -> Option<String> {
    let registry = images.get("registry").and_then(Value::as_table);
    let is_set =
        |name: &str| registry.and_then(|r| r.get(name)).is_some_and(|v| v.as_table().is_none_or(|t| !t.is_empty()));
    if let Some(name) = ["mirrors", "configs", "auths"].into_iter().find(|name| is_set(name)) {
        return Some(format!("registry.{name} is set, with which Kubernetes pulls past it"));
    }
    let harmless = [
        ("use_local_image_pull", Value::Boolean(false)),
        ("discard_unpacked_layers", Value::Boolean(false)),
        ("disable_snapshot_annotations", Value::Boolean(true)),
        ("image_pull_with_sync_fs", Value::Boolean(false)),
        ("max_concurrent_downloads", Value::Integer(3)),
    ];
    let (name, wanted) = harmless.iter().find(|(name, value)| images.get(*name).is_some_and(|found| found != value))?;
    Some(format!("{name} is not {wanted}, with which Kubernetes pulls past it"))
}
