//! One case: a seed, its repository, its changes, and what the readers say of it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};

use super::explain::{self, Difference, Further, Kind};
use super::mutate::{self, Applied, Plan};
use super::python::{Interpreter, Python};
use super::readers::{Found, Observed, Oracle, Own, Sigstore, Tough, Who};
use super::scene::{Feature, Scene};
use crate::property::dice::Dice;

/// Who is asked beside ours and sigstore-tuf and tough.
#[derive(Clone, Default)]
pub struct Case {
    /// The seed.
    pub seed: u64,
    /// Whether the shipped reader is asked.
    pub reader: bool,
    /// python-tuf, if it is asked.
    pub python: Option<Arc<Mutex<Interpreter>>>,
}

/// A difference that nobody explained.
#[derive(Debug, Clone)]
pub struct Unexplained {
    /// The seed of its case.
    pub seed: u64,
    /// All that is known, for a person.
    pub text: String,
}

/// What came out of some cases.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Cases.
    pub cases: u64,
    /// Updates that were compared, by reader.
    pub compared: BTreeMap<Who, u64>,
    /// Updates that ours accepted, and refused.
    pub verdicts: [u64; 2],
    /// How often each change was made.
    pub changes: BTreeMap<&'static str, u64>,
    /// Differences of each kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Differences of no kind.
    pub unexplained: Vec<Unexplained>,
}

impl Report {
    /// Adds what came out of others.
    pub fn add(&mut self, other: Self) {
        fn sum<K: Ord>(into: &mut BTreeMap<K, u64>, from: BTreeMap<K, u64>) {
            for (name, n) in from {
                *into.entry(name).or_default() += n;
            }
        }
        self.cases += other.cases;
        sum(&mut self.compared, other.compared);
        sum(&mut self.changes, other.changes);
        sum(&mut self.kinds, other.kinds);
        self.verdicts = [self.verdicts[0] + other.verdicts[0], self.verdicts[1] + other.verdicts[1]];
        self.unexplained.extend(other.unexplained);
    }
}

/// What a case did to its repository.
pub struct Facts {
    /// What is special about it.
    pub features: Vec<Feature>,
    /// What was changed in the first publication, and in the second.
    pub applied: [Vec<Applied>; 2],
    /// Which publication is judged: 0 or 1; and whether the reader knows the first one.
    pub publication: usize,
    /// Whether the reader has state.
    pub warm: bool,
    /// The roles that have the same version in both publications.
    pub same_version: Vec<String>,
}

fn is_delegated(role: &str) -> bool {
    !["root", "timestamp", "snapshot", "targets"].contains(&role)
}

impl Facts {
    /// Whether a change of this name was made to what is judged, or to what was judged before.
    pub fn did(&self, what: &str) -> bool {
        self.all().any(|a| a.what == what)
    }

    /// Whether one of these was.
    pub fn did_any(&self, what: &[&str]) -> bool {
        what.iter().any(|w| self.did(w))
    }

    /// Whether a change of this name was made to this role.
    pub fn made(&self, what: &str, role: &str) -> bool {
        self.all().any(|a| a.what == what && a.role == role)
    }

    /// Whether the two publications may serve different files under one version.
    pub fn changed_under_its_version(&self) -> bool {
        // Another key in a delegation signs the file below anew, whose version may stay.
        let below = |a: &Applied| a.what.starts_with("key-") && self.same_version.iter().any(|role| is_delegated(role));
        self.applied.iter().flatten().any(|a| self.same_version.contains(&a.role) || below(a))
    }

    /// Whether a change of this name was made to a delegated role or to the delegations above it.
    pub fn delegated(&self) -> bool {
        self.all().any(|a| is_delegated(&a.role))
    }

    /// Whether what leads to delegated roles was changed: their delegations, or what the snapshot lists of them.
    pub fn above_delegated(&self) -> bool {
        self.all().any(|a| {
            a.role == "snapshot" && a.what.starts_with("entry-")
                || a.role == "targets" && (super::mutate::concerns_delegations(a.what))
        })
    }

    /// Whether the repository has this feature.
    pub fn is(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }

    /// Every change that can be seen in what is judged: files of the first publication are served in the second as well.
    pub fn all(&self) -> impl Iterator<Item = &Applied> {
        self.applied.iter().take(self.publication + 1).flatten()
    }
}

/// Runs one case. Whoever panics is a difference of no kind.
pub fn run(case: &Case) -> Report {
    let report = catch_unwind(AssertUnwindSafe(|| played(case)));
    report.unwrap_or_else(|_| {
        let one = Unexplained { seed: case.seed, text: "ours panicked, or the generator".to_owned() };
        Report { cases: 1, unexplained: vec![one], ..Report::default() }
    })
}

fn played(case: &Case) -> Report {
    let mut dice = Dice::new(case.seed);
    let mut scene = Scene::new(&mut dice);
    let mut report = Report { cases: 1, ..Report::default() };

    let count = if dice.once_in(4) { 1 } else { 0 };
    let mut plan = Plan::random(&mut dice, &scene, count);
    let good = scene.repo.roles.clone();
    mutate::publish(&mut dice, &mut scene, &mut plan, true);
    let first = std::mem::take(&mut plan.applied);
    let paths = |scene: &Scene| {
        let mut paths = scene.paths.clone();
        paths.sort_unstable();
        paths.dedup();
        paths
    };

    let (pinned, wire) = (scene.repo.pinned.clone(), Arc::clone(&scene.repo.wire));
    let mut facts = Facts {
        features: scene.features.clone(),
        applied: [first, Vec::new()],
        publication: 0,
        warm: false,
        same_version: Vec::new(),
    };
    let mut readers = oracles(case, &pinned, &wire);
    let mut same: Vec<bool> = judge(case, &mut readers, &paths(&scene), &facts, &mut report);

    let before = scene.nominal.clone();
    // The next publication goes on from what was meant.
    scene.repo.wire.heal();
    for (name, role) in &good {
        scene.repo.roles.insert(name.clone(), role.clone());
    }
    scene.repo.roles.retain(|name, _| good.contains_key(name));
    scene.go_on(&mut dice);
    let count = *dice.pick(&[0, 1, 1, 1, 2, 2, 3]);
    let mut plan = Plan::random(&mut dice, &scene, count);
    let changed = plan.roles();
    let root = changed.iter().any(|r| r == "root");
    if root {
        scene.repo.root().bump();
    }
    for role in scene.targets_roles() {
        if changed.contains(&role) && !dice.once_in(6) {
            scene.repo.role(&role).bump();
        }
    }
    mutate::publish(&mut dice, &mut scene, &mut plan, root);
    facts.applied[1] = plan.applied;
    facts.features = scene.features.clone();
    facts.publication = 1;

    let same_version = |role: &&String| before.get(*role) == scene.nominal.get(*role);
    facts.same_version = scene.nominal.keys().filter(same_version).cloned().collect();
    facts.warm = true;
    let mut index = 0;
    readers.retain(|_| {
        index += 1;
        // Whoever differed before differs in what it goes on from.
        index == 1 || same[index - 2]
    });
    same = judge(case, &mut readers, &paths(&scene), &facts, &mut report);
    let _ = same;

    facts.warm = false;
    let mut fresh = oracles(case, &pinned, &wire);
    judge(case, &mut fresh, &paths(&scene), &facts, &mut report);
    for applied in facts.applied.iter().flatten() {
        *report.changes.entry(applied.what).or_default() += 1;
    }
    report
}

fn oracles(case: &Case, pinned: &[u8], wire: &Arc<crate::simulator::Wire>) -> Vec<Box<dyn Oracle>> {
    let mut readers: Vec<Box<dyn Oracle>> = vec![
        Box::new(Own::stages(pinned, wire)),
        Box::new(Sigstore::new(pinned, wire)),
        Box::new(Tough::new(pinned, wire)),
    ];
    if case.reader {
        readers.push(Box::new(Own::reader(pinned, wire)));
    }
    if let Some(process) = &case.python {
        readers.push(Box::new(Python::new(process, pinned, wire)));
    }
    readers
}

/// Asks all of them, the first of which is ours. Gives for each other whether it agreed on all that goes on.
fn judge(
    case: &Case,
    readers: &mut [Box<dyn Oracle>],
    paths: &[String],
    facts: &Facts,
    report: &mut Report,
) -> Vec<bool> {
    let mut observed = readers.iter_mut().map(|reader| (reader.who(), watched(reader.as_mut(), paths)));
    let Some((_, ours)) = observed.next() else { return Vec::new() };
    let others: Vec<(Who, Observed)> = observed.collect();
    report.verdicts[usize::from(ours.refresh.is_err())] += 1;
    let mut same = Vec::new();
    for (who, theirs) in &others {
        *report.compared.entry(*who).or_default() += 1;
        let differences = compare(*who, &ours, theirs, paths);
        same.push(!differences.iter().any(|d| d.path.is_none()));
        for difference in differences {
            match explain::explain(&difference, facts) {
                Some(Kind { id, .. }) => *report.kinds.entry(id).or_default() += 1,
                None => report.unexplained.push(Unexplained { seed: case.seed, text: describe(&difference, facts) }),
            }
        }
    }
    same
}

/// What a reader says; the others may panic (sigstore-tuf does at version 2^64−1), and then they refuse. Ours may not.
fn watched(reader: &mut dyn Oracle, paths: &[String]) -> Observed {
    let who = reader.who();
    match catch_unwind(AssertUnwindSafe(|| reader.observe(paths))) {
        Ok(observed) => observed,
        Err(panic) if matches!(who, Who::Ours | Who::Reader) => resume_unwind(panic),
        Err(_) => Observed { refresh: Err(format!("{who} panicked")), kept: None, found: Vec::new() },
    }
}

fn compare<'a>(who: Who, ours: &'a Observed, theirs: &'a Observed, paths: &'a [String]) -> Vec<Difference<'a>> {
    let mut differences = Vec::new();
    let reason = |observed: &'a Observed| observed.refresh.as_ref().err().map(String::as_str);
    let whole =
        |further| Difference { who, path: None, further, ours: reason(ours), theirs: reason(theirs), found: None };
    match (&ours.refresh, &theirs.refresh) {
        (Ok(()), Err(_)) => differences.push(whole(Further::Ours)),
        (Err(_), Ok(())) => differences.push(whole(Further::Theirs)),
        _ => {
            if let (Some(ours), Some(theirs)) = (ours.kept, theirs.kept)
                && ours != theirs
            {
                differences.push(whole(if ours > theirs { Further::Ours } else { Further::Theirs }));
            }
        }
    }
    for ((path, ours), theirs) in paths.iter().zip(&ours.found).zip(&theirs.found) {
        let (further, ours_failed, theirs_failed) = match (ours, theirs) {
            (Found::Failed(_), Found::Failed(_)) => continue,
            (ours, theirs) if ours == theirs => continue,
            (Found::Failed(reason), _) => (Further::Theirs, Some(reason.as_str()), None),
            (_, Found::Failed(reason)) => (Further::Ours, None, Some(reason.as_str())),
            _ => (Further::Neither, None, None),
        };
        let found = Some((ours, theirs));
        differences.push(Difference {
            who,
            path: Some(path),
            further,
            ours: ours_failed,
            theirs: theirs_failed,
            found,
        });
    }
    differences
}

fn describe(difference: &Difference<'_>, facts: &Facts) -> String {
    let when = match (facts.publication, facts.warm) {
        (0, _) => "first publication",
        (_, true) => "second publication, warm",
        _ => "second publication, cold",
    };
    format!(
        "{when}\n  {difference:?}\n  first {:?}\n  second {:?}\n  {:?}\n  same version: {:?}",
        facts.applied[0], facts.applied[1], facts.features, facts.same_version
    )
}
