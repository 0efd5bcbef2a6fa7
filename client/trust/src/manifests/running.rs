//! What runs: the digest in a Pod's status, for each container whose spec names a tag.
//!
//! Invariant: an `imageID` that names no image by its digest is an error, and never passed over. A container whose spec has a
//! digest runs that one, or nothing. Deliberately absent: whether the digest is signed, and what the registry in `imageID` is:
//! an engine that has an image under two names may say either, so the name is the one of the spec.

use serde_json::Value;
use trust_image::workload::{self, Path, PlaceKind, Step};
use trust_image::{Digest, Reference};

use super::{Fault, Owner};

/// What runs in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Where its `imageID` stands.
    pub path: Path,
    /// The name of the spec with the digest that runs.
    pub image: String,
}

/// What runs for this place of a document, as far as the status of its Pod says.
pub fn of(document: &Value, place: &workload::Place) -> Result<Option<Running>, Fault> {
    let (list, statuses) = match place.kind {
        PlaceKind::Container => ("containers", "containerStatuses"),
        PlaceKind::InitContainer => ("initContainers", "initContainerStatuses"),
        PlaceKind::EphemeralContainer => ("ephemeralContainers", "ephemeralContainerStatuses"),
        PlaceKind::Volume | PlaceKind::Described => return Ok(None),
    };
    let owner = Owner::of(document, place.path.steps());
    let Some((before, [_, _, Step::Index(index), _])) = place.path.steps().split_last_chunk::<4>() else {
        return Ok(None);
    };
    // What cannot be read as a reference is told where it is verified.
    let Ok(image) = Reference::parse(&place.image) else { return Ok(None) };
    let status = owner.object.get("status").and_then(|status| status.get(statuses)).filter(|list| !list.is_null());
    let (Some(status), Some(("v1", "Pod")), None) = (status, owner.kind(), image.digest()) else { return Ok(None) };

    let member = |name: &'static str| Step::Member(name.into());
    let above: Vec<Step> = before.iter().cloned().chain([member("status"), member(statuses)]).collect();
    let fault = |path: Path, why: String| Fault::Running { object: owner.name(), path, why };
    let Some(status) = status.as_array() else {
        return Err(fault(above.into_iter().collect(), "is no list".to_owned()));
    };
    let container = owner.object.pointer(&format!("/spec/{list}/{index}"));
    let name = container.and_then(|container| container.get("name")).and_then(Value::as_str);
    let mut own = status.iter().enumerate().filter(|(_, one)| one.get("name").and_then(Value::as_str) == name);
    let Some((at, one)) = own.next() else { return Ok(None) };
    let path: Path = above.into_iter().chain([Step::Index(at), member("imageID")]).collect();
    if own.next().is_some() || name.is_none() {
        return Err(fault(path, "does not say which container it is about".to_owned()));
    }
    let id = match one.get("imageID") {
        // Not pulled yet.
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(id)) if id.is_empty() => return Ok(None),
        Some(Value::String(id)) => id,
        Some(_) => return Err(fault(path, "is no text".to_owned())),
    };
    match digest(id) {
        Ok(digest) => Ok(Some(Running { path, image: image.pinned(digest).to_string() })),
        Err(why) => Err(fault(path, format!("is `{id}` for {}: {why}", place.image))),
    }
}

/// The digest of an image in an `imageID`.
fn digest(id: &str) -> Result<Digest, &'static str> {
    let id = id.split_once("://").map_or(id, |(_, rest)| rest);
    let is_hex = || id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
    match id.rsplit_once('@') {
        Some((_, digest)) => Digest::parse(digest).map_err(|_| "that is no digest, so what runs is not known"),
        None if is_hex() || Digest::parse(id).is_ok() => {
            Err("that is the digest of a configuration, which nobody signs, so what runs cannot be judged")
        }
        None => Err("that names no digest, so what runs is not known"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::scan;
    use super::*;

    const HEX: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn pod(image: &str, status: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  containers:\n  - {{name: b, image: r.io/b:v1}}\n  - {{name: c, image: {image}}}\nstatus: {status}\n"
        )
    }

    fn of_container(id: &str) -> String {
        format!("{{containerStatuses: [{{name: c, imageID: '{id}'}}, {{name: b, imageID: ''}}]}}")
    }

    /// What runs, each with what is written for it and its place.
    fn running(text: &str) -> Vec<(String, String, String)> {
        let scan = scan(text).unwrap();
        assert!(scan.faults.is_empty(), "{:?}", scan.faults);
        let running = scan.images.into_iter().filter_map(|found| Some((found.image, found.written?, found.path)));
        running.map(|(image, written, path)| (image, written, path.to_string())).collect()
    }

    #[test]
    fn what_runs_is_the_name_of_the_spec_with_the_digest_of_the_status() {
        for id in [
            format!("docker-pullable://mirror.io/other@sha256:{HEX}"),
            format!("r.io/c@sha256:{HEX}"),
            format!("docker.io/library/import-2026-01-01@sha256:{HEX}"),
        ] {
            let text = pod("r.io:5000/c:v1", &of_container(&id));
            let path = "status.containerStatuses[0].imageID";
            let expected = (format!("r.io:5000/c@sha256:{HEX}"), "r.io:5000/c:v1".to_owned(), path.to_owned());
            assert_eq!(running(&text), vec![expected.clone()], "{id}");
            let item = text.trim_end().replace('\n', "\n  ");
            for kind in ["List", "PodList"] {
                let list = format!("apiVersion: v1\nkind: {kind}\nitems:\n- {item}\n");
                assert_eq!(running(&list), [(expected.0.clone(), expected.1.clone(), format!("items[0].{path}"))]);
            }
        }
        let untagged = pod("c", &of_container(&format!("sha256@sha256:{HEX}")));
        assert_eq!(running(&untagged)[0].0, format!("docker.io/library/c@sha256:{HEX}"));
    }

    #[test]
    fn init_and_debug_containers_run_too() {
        let id = |list: &str| format!("{list}: [{{name: x, imageID: 'r.io/x@sha256:{HEX}'}}]");
        let (init, debug) = (id("initContainerStatuses"), id("ephemeralContainerStatuses"));
        let text = format!(
            "apiVersion: v1\nkind: Pod\nspec:\n  containers: [{{name: c, image: r.io/c:v1}}]\n  initContainers: [{{name: x, image: r.io/i:v1}}]\n  ephemeralContainers: [{{name: x, image: r.io/e:v1}}]\nstatus: {{{init}, {debug}}}\n"
        );
        let mut names: Vec<String> = running(&text).into_iter().map(|(image, ..)| image).collect();
        names.sort();
        assert_eq!(names, [format!("r.io/e@sha256:{HEX}"), format!("r.io/i@sha256:{HEX}")]);
    }

    #[test]
    fn where_nothing_runs_or_the_spec_has_the_digest_nothing_is_added() {
        let id = of_container(&format!("r.io/c@sha256:{HEX}"));
        for text in [
            pod("r.io/c:v1", "{}"),
            pod("r.io/c:v1", "{containerStatuses: ~}"),
            pod("r.io/c:v1", &of_container("")),
            pod("r.io/c:v1", &id.replace("name: c", "name: d")),
            pod(&format!("'r.io/c:v1@sha256:{HEX}'"), &id),
        ] {
            assert_eq!(running(&text), [], "{text}");
        }
    }

    #[test]
    fn an_id_that_names_no_image_is_an_error_at_its_line() {
        for (id, says) in [
            (format!("sha256:{HEX}"), "digest of a configuration"),
            (HEX.to_owned(), "digest of a configuration"),
            (format!("docker://sha256:{HEX}"), "digest of a configuration"),
            ("r.io/c:v1".to_owned(), "names no digest"),
            ("r.io/c@sha256:abc".to_owned(), "no digest"),
        ] {
            let scan = scan(&pod("r.io/c:v1", &of_container(&id))).unwrap();
            let [(at, fault)] = scan.faults.as_slice() else { panic!("{id}: {:?}", scan.faults) };
            assert!(at.line == 8 && fault.to_string().contains(says), "{id}: {fault}");
            assert_eq!(scan.images.len(), 2, "what is written is verified all the same");
        }
        for status in [
            "{containerStatuses: {}}",
            "{containerStatuses: [{name: c, imageID: 5}]}",
            "{containerStatuses: [{name: c, imageID: a}, {name: c, imageID: b}]}",
        ] {
            let scan = scan(&pod("r.io/c:v1", status)).unwrap();
            assert!(matches!(scan.faults.as_slice(), [.., (_, Fault::Running { .. })]), "{status}");
        }
    }
}
