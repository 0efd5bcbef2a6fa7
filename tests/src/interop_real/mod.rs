//! `make interop`: the gates against real counterparts that are built from public sources (tests/tools/interop.sh): a
//! `kube-apiserver` with `etcd`, `containerd`, the distribution registry, `helm`.
//!
//! Everything runs on loopback and ends with the program. Each step is checked and printed; what could not be built is a
//! line of its own with the reason, and then the program does not end well. It is not part of `make test`, which needs no
//! Go.

mod admission;
mod artifacts;
mod charts;
mod cluster;
mod counterparts;
mod disturbances;
mod engine;
mod gatekeeper;
mod hook;
mod image_review;
mod recovery;
mod registries;
mod report;
mod world;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use cluster::Cluster;
use counterparts::Counterparts;
use report::{Report, Said};
use world::World;

use crate::stack::built;

/// Runs every part below `dir`; whether everything was there and held.
pub fn run(dir: &Path, list: &Path) -> io::Result<bool> {
    let built = Counterparts::read(list)?;
    let mut report = Report::default();
    report.part("What is here");
    report.note(&built.versions());
    let registry = built.program("registry");
    let world = World::start(dir, registry.as_deref().ok())?;
    kubernetes(&mut report, dir, &built, &world);
    registries::run(&mut report, dir, &built, &world);
    engine::run(&mut report, dir, &built, &world);
    audit_logs(&mut report, &world);
    let well = report.close();
    if !well {
        // The stack takes its folder with it: what the gates said stays.
        let _ = std::fs::rename(world.stack.dir.join("gates"), dir.join("gates"));
    }
    Ok(well)
}

fn kubernetes(report: &mut Report, dir: &Path, built: &Counterparts, world: &World) {
    let programs = match built.programs(["etcd", "kube-apiserver", "kubectl"]) {
        Ok(programs) => programs,
        Err(why) => return report.absent("Kubernetes", &why),
    };
    let outcome = in_cluster(report, dir, built, &programs, world);
    report.end_of_part(outcome);
}

fn in_cluster(
    report: &mut Report,
    dir: &Path,
    built: &Counterparts,
    programs: &[PathBuf; 3],
    world: &World,
) -> io::Result<()> {
    let [etcd, apiserver, kubectl] = programs;
    let cluster = Cluster::start(&dir.join("cluster"), etcd, apiserver, kubectl)?;
    let mut hook = admission::run(report, &cluster, world)?;
    disturbances::rotation(report, &cluster, world, &hook)?;
    disturbances::down(report, &cluster, world, &mut hook)?;
    disturbances::removal(report, &cluster, world, &mut hook)?;
    let outcome = recovery::run(report, &cluster, world, &mut hook);
    report.end_of_part(outcome);
    let outcome = image_review::run(report, &cluster, apiserver, world, &hook);
    report.end_of_part(outcome);
    charts::run(report, built, &cluster, &hook)?;
    gatekeeper::run(report, built, &cluster, world, &mut hook)
}

/// What each gate decided is in a log that is whole, though some were killed in the middle of their work.
fn audit_logs(report: &mut Report, world: &World) {
    report.part("The audit logs of the gates, after all that");
    let gates = std::fs::read_dir(world.stack.dir.join("gates")).into_iter().flatten().flatten();
    for gate in gates.map(|entry| entry.path()).filter(|gate| gate.join("decisions.log").exists()) {
        let mut verify = Command::new(built("trust-gate"));
        verify.args(["audit", "verify", "--config"]).arg(gate.join("gate.toml"));
        let name = gate.file_name().unwrap_or_default().to_string_lossy().into_owned();
        report.step(&format!("trust-gate audit verify, the gate {name}"), Said::by(&mut verify).done(&[]));
    }
}
