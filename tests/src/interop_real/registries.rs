//! The registry gate in front of two registries of others: the distribution registry 3, which has no referrers API, and the
//! one of go-containerregistry, which has one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use trust_image::Digest;

use super::artifacts::{self, Artifact};
use super::counterparts::Counterparts;
use super::report::{Outcome, Report, Said, equal};
use super::world::{REFRESH, World};
use crate::stack::gate::{Gate, GateOptions};
use crate::stack::images;
use crate::stack::scene::ask;
use crate::stack::{Process, free_port, tool, wait_for_port};

/// Both registries.
pub fn run(report: &mut Report, dir: &Path, built: &Counterparts, world: &World) {
    report.part("The registry gate before the distribution registry 3");
    match built.program("registry") {
        Ok(_) => {
            let outcome = distribution(report, dir, world);
            report.end_of_part(outcome);
        }
        Err(why) => report.absent("the distribution registry 3", &why),
    }
    report.part("The registry gate before a registry with the referrers API");
    match built.program("referrers") {
        Ok(program) => {
            let outcome = with_referrers(report, dir, &program, world);
            report.end_of_part(outcome);
        }
        Err(why) => report.absent("a registry with the referrers API", &why),
    }
}

fn launch(world: &World, name: &str, upstream: &str) -> io::Result<Gate> {
    let options = GateOptions {
        refresh: REFRESH.to_owned(),
        upstream: upstream.to_owned(),
        ..GateOptions::new(name, &world.stack, &[&world.collection])
    };
    Gate::launch(&world.stack, &world.operator, "registry", &options)
}

fn distribution(report: &mut Report, dir: &Path, world: &World) -> io::Result<()> {
    let registry = world.stack.registry.clone();
    let gate = launch(world, "before-distribution", &registry)?;
    pulls(report, dir, world, &gate);
    images::push(&world.unsigned, &world.name("app:v1"))?;
    let seen = pull(dir, &gate, "shop/app:v1").and_then(|digest| equal(&digest, &world.v1.digest));
    report.step("the tag is moved in the registry: the signed image still comes", seen);
    let seen = refused(dir, &gate, &format!("shop/app@{}", world.unsigned.digest));
    report.step("and what it was moved to does not", seen);
    images::push(&world.v1, &world.name("app:v1"))?;
    report.step("the list of tags holds what is signed alone", tags(&gate));

    let signed = artifacts::attach(&registry, "shop/app", &world.v1, "bill of materials of v1\n")?;
    let stray = artifacts::attach(&registry, "shop/app", &world.unsigned, "bill of materials of nobody\n")?;
    let straight = ask(&registry, "GET", &format!("/v2/shop/app/referrers/{}", world.v1.digest), &[])?;
    report.note(&format!(
        "asked straight, this registry answers {} for referrers, and notes the subject: {}",
        straight.status, signed.noted
    ));
    let nothing = listed(&gate, &world.v1.digest).and_then(|list| equal(&list.join(" "), ""));
    report.step("without the index that clients write, the list of referrers is empty, and no error", nothing);
    artifacts::tag(&registry, "shop/app", &world.v1, &signed)?;
    artifacts::tag(&registry, "shop/app", &world.unsigned, &stray)?;
    referrers(report, world, &gate, &signed, &stray);
    Ok(())
}

fn with_referrers(report: &mut Report, dir: &Path, program: &Path, world: &World) -> io::Result<()> {
    let address = format!("127.0.0.1:{}", free_port()?);
    let mut command = Command::new(program);
    command.env_clear().arg(&address);
    let mut process = Process::start("referrers", &mut command, &dir.join("referrers.log"))?;
    if !wait_for_port(&mut process, &address) {
        return Err(io::Error::other("the registry did not start"));
    }
    for (image, tag) in [(&world.v1, "v1"), (&world.v2, "v2"), (&world.unsigned, "unsigned")] {
        images::push(image, &format!("{address}/shop/app:{tag}"))?;
    }
    let signed = artifacts::attach(&address, "shop/app", &world.v1, "bill of materials of v1\n")?;
    let stray = artifacts::attach(&address, "shop/app", &world.unsigned, "bill of materials of nobody\n")?;
    let straight = ask(&address, "GET", &format!("/v2/shop/app/referrers/{}", world.v1.digest), &[])?;
    report.note(&format!("asked straight, this registry answers {} for referrers", straight.status));
    let gate = launch(world, "before-referrers", &address)?;
    pulls(report, dir, world, &gate);
    referrers(report, world, &gate, &signed, &stray);
    Ok(())
}

fn pulls(report: &mut Report, dir: &Path, world: &World, gate: &Gate) {
    let seen = pull(dir, gate, "shop/app:v1").and_then(|digest| equal(&digest, &world.v1.digest));
    report.step("skopeo pulls the signed image", seen);
    report.step("skopeo is denied the unsigned one", refused(dir, gate, "shop/app:unsigned"));
}

fn referrers(report: &mut Report, world: &World, gate: &Gate, signed: &Artifact, stray: &Artifact) {
    let digest = signed.descriptor["digest"].as_str().unwrap_or_default();
    let list = listed(gate, &world.v1.digest).and_then(|list| equal(&list.join(" "), digest));
    report.step("the referrers of a signed image are listed", list);
    let path = format!("/v2/shop/app/manifests/{digest}");
    report.step("such an artifact is pulled by its digest", content(gate, &path, digest).map(|_| String::new()));
    let path = format!("/v2/shop/app/blobs/{}", signed.blob);
    let blob = content(gate, &path, &signed.blob).and_then(|found| equal(&found, &signed.content));
    report.step("and what is in it", blob);
    let kind = |kind: &str| listed(gate, &format!("{}?artifactType={kind}", world.v1.digest));
    let filtered = kind(artifacts::KIND).and_then(|list| equal(&list.join(" "), digest));
    report.step("filtered by its type it is still there", filtered.map(|_| String::new()));
    let other = kind("application/vnd.example.other").and_then(|list| equal(&list.join(" "), ""));
    report.step("filtered by another type it is not", other);
    let none = listed(gate, &world.unsigned.digest).and_then(|list| equal(&list.join(" "), ""));
    report.step("the referrers of an unsigned image are an empty list", none);
    let stray = stray.descriptor["digest"].as_str().unwrap_or_default();
    let outcome = match ask(&gate.address, "GET", &format!("/v2/shop/app/manifests/{stray}"), &[]) {
        Ok(answer) if answer.status == 403 => Ok(String::new()),
        Ok(answer) => Err(format!("status {}", answer.status)),
        Err(error) => Err(error.to_string()),
    };
    report.step("and an artifact of it is denied", outcome);
}

fn listed(gate: &Gate, digest: &str) -> Result<Vec<String>, String> {
    let path = format!("/v2/shop/app/referrers/{digest}");
    let answer = ask(&gate.address, "GET", &path, &[]).map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&answer.body).into_owned();
    let index = answer.json();
    match (answer.status, index["manifests"].as_array()) {
        (200, Some(list)) => Ok(list.iter().filter_map(|m| m["digest"].as_str().map(str::to_owned)).collect()),
        (status, _) => Err(format!("status {status}: {said}")),
    }
}

fn content(gate: &Gate, path: &str, digest: &str) -> Outcome {
    let answer = ask(&gate.address, "GET", path, &[]).map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&answer.body).into_owned();
    if answer.status != 200 {
        return Err(format!("status {}: {said}", answer.status));
    }
    equal(&Digest::of(&answer.body).to_string(), digest)?;
    Ok(said)
}

fn tags(gate: &Gate) -> Outcome {
    let answer = ask(&gate.address, "GET", "/v2/shop/app/tags/list", &[]).map_err(|e| e.to_string())?;
    let list: Vec<Value> = answer.json()["tags"].as_array().cloned().unwrap_or_default();
    let list: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
    equal(&list.join(" "), "v1 v2")
}

fn skopeo(dir: &Path, gate: &Gate, image: &str) -> (Said, PathBuf) {
    let out = dir.join("pulled");
    let _ = fs::remove_dir_all(&out);
    let mut command = Command::new(tool("skopeo").unwrap_or_else(|| PathBuf::from("skopeo")));
    command.args(["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"]);
    command.arg(format!("docker://{}/{image}", gate.address)).arg(format!("dir:{}", out.display()));
    (Said::by(&mut command), out)
}

fn pull(dir: &Path, gate: &Gate, image: &str) -> Outcome {
    let (said, out) = skopeo(dir, gate, image);
    said.done(&[])?;
    let manifest = fs::read(out.join("manifest.json")).map_err(|e| e.to_string())?;
    Ok(Digest::of(&manifest).to_string())
}

fn refused(dir: &Path, gate: &Gate, image: &str) -> Outcome {
    let (said, out) = skopeo(dir, gate, image);
    match out.join("manifest.json").exists() {
        true => Err("a manifest came".to_owned()),
        false => said.refused(&["denied"]),
    }
}
