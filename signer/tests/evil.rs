//! Random sequences of requests, honest and not, with restarts, lost answers and clocks that go back and forth. A seed makes
//! a sequence; `SOAK=N` (or `N=N`) makes more of them, `SEED=N` repeats one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test program
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use common::people::{Files, Key, Team, at, key, sign};
use common::{DAY, Dice, START, World};
use trust_signer::Config;
use trust_tuf::PublicKey;
use trust_tuf::draft::Draft;
use trust_wire::signer::{Reply, Request, Signed};

const NAMES: [&str; 2] = ["r.example/a", "r.example/b"];
const ROLES: [&str; 3] = ["alice", "bob", "ci"];
const STEPS: u64 = 10;

/// Root key, targets key and online keys of a root.
type RootKeys = (Key, Key, BTreeMap<String, Vec<PublicKey>>);

/// Who wrote which file: so that a file which nobody of the team wrote is noticed if it is accepted.
#[derive(Default)]
struct Book {
    roots: BTreeMap<Vec<u8>, RootKeys>,
    targets: BTreeMap<Vec<u8>, BTreeMap<String, Key>>,
    delegated: std::collections::BTreeSet<Vec<u8>>,
}

struct Side {
    team: Team,
    book: Book,
    history: Vec<Files>,
    last: Option<Files>,
}

impl Side {
    fn write_down(&mut self, after: &Team, files: &Files) {
        for root in &files.roots {
            let keys = (after.root_key.clone(), after.targets_key.clone(), after.online.clone());
            self.book.roots.insert(root.clone(), keys);
        }
        for (role, file) in &files.roles {
            if role == "targets" {
                self.book.targets.insert(file.clone(), after.delegated.clone());
            } else {
                self.book.delegated.insert(file.clone());
            }
        }
        self.history.push(files.clone());
    }

    /// The signer took these files. Whatever the server did to them, every one must be of the team.
    fn taken(&mut self, files: &Files) {
        if self.last.as_ref() == Some(files) {
            return;
        }
        let snapshot_keys = self.team.online.get("snapshot").cloned().unwrap_or_default();
        self.team.accepted(files);
        if !files.roots.is_empty() {
            let (root_key, targets_key, online) =
                self.book.roots.get(&self.team.root).expect("a root of somebody else").clone();
            (self.team.root_key, self.team.targets_key, self.team.online) = (root_key, targets_key, online);
        }
        if let Some(file) = files.roles.get("targets") {
            self.team.delegated = self.book.targets.get(file).expect("targets of somebody else").clone();
        }
        for (role, file) in &files.roles {
            assert!(role == "targets" || self.book.delegated.contains(file), "{role} of somebody else");
        }
        if !self.team.online["snapshot"].iter().any(|k| snapshot_keys.contains(k)) {
            let delegated = self.team.delegated.clone();
            self.team.roles.retain(|role, _| role == "targets" || delegated.contains_key(role));
        }
        self.last = Some(files.clone());
    }
}

struct Story {
    world: World,
    dice: Dice,
    sides: Vec<Side>,
    /// The time of the last signature.
    latest: i64,
    word: u64,
}

impl Story {
    fn begin(seed: u64) -> Self {
        let mut world = World::with(seed, Config::default(), false);
        let sides = NAMES
            .map(|name| {
                let mut team = Team::new(name, seed);
                team.fetch_online_keys(&mut world);
                Side { team, book: Book::default(), history: Vec::new(), last: None }
            })
            .into();
        Self { world, dice: Dice::new(seed), sides, latest: 0, word: 0 }
    }

    fn side(&mut self) -> usize {
        usize::try_from(self.dice.roll(2)).unwrap()
    }

    fn send(&mut self, side: usize, files: &Files) -> Result<(), String> {
        let in_two = self.dice.roll(3) == 0;
        self.send_as(side, files, in_two)
    }

    fn send_as(&mut self, side: usize, files: &Files, in_two: bool) -> Result<(), String> {
        let team = self.sides[side].team.clone();
        let before = self.world.checker.released(NAMES[side]);
        let answer = if in_two { self.in_two_steps(side, files) } else { self.world.publish(&team, files) };
        match answer {
            Ok(_) => {
                self.sides[side].taken(files);
                // What is given again is not signed again.
                if self.world.checker.released(NAMES[side]) > before {
                    self.latest = self.latest.max(self.world.now);
                }
                Ok(())
            }
            Err((rule, reason)) => Err(format!("{rule}: {reason}")),
        }
    }

    /// The same in two steps, with something between them that a server can do.
    fn in_two_steps(&mut self, side: usize, files: &Files) -> Result<Signed, (String, String)> {
        let name = NAMES[side];
        let prepared = self.world.prepare(name, files);
        match self.dice.roll(6) {
            0 if self.world.now >= self.latest => self.world.now += 1,
            1 => {
                let released = |story: &Self| NAMES.map(|n| story.world.checker.released(n));
                let before = released(self);
                self.world.ask(Request::Resign { collections: NAMES.map(str::to_owned).into() });
                if before != released(self) {
                    self.latest = self.latest.max(self.world.now);
                }
            }
            2 => drop(self.world.prepare(NAMES[1 - side], files)),
            3 => {
                let older = self.dice.pick(&self.sides[side].history).cloned();
                older.into_iter().for_each(|older| drop(self.world.prepare(name, &older)));
            }
            4 => {
                let roles = vec!["timestamp".to_owned()];
                let collection = name.to_owned();
                self.world.ask(Request::NewOnlineKeys { collection, roles, nonce: "n".repeat(16) });
            }
            _ => {}
        }
        self.world.commit(name, files, prepared)
    }

    /// Something that the people of a collection really want. It is taken, unless the clock is behind.
    fn honest(&mut self, side: usize) {
        let now = self.world.now;
        self.word += 1;
        let words = format!("w{}", self.word);
        let before = self.sides[side].team.clone();
        let mut team = before.clone();
        let files = if team.root.is_empty() {
            let first = team.first(now);
            self.world.admit(&team.name, &first.roots[0]);
            first
        } else {
            match self.dice.roll(9) {
                0 | 1 => team.next_targets(now, &words),
                2 | 3 => {
                    let role = *self.dice.pick(&ROLES).unwrap();
                    match team.delegated.contains_key(role) {
                        true if self.dice.roll(2) == 0 => team.undelegate(now, role),
                        true => team.next_delegated(now, role, &words),
                        false => team.delegate(now, role),
                    }
                }
                4 => {
                    team.root_key = key(&format!("{words} root"));
                    team.next_root(now, &before.root_key)
                }
                5 => {
                    team.targets_key = key(&format!("{words} targets"));
                    let root = team.next_root(now, &before.root_key);
                    let targets = team.next_targets(now, &words);
                    Files { roots: root.roots, roles: targets.roles }
                }
                6 => self.new_online(&mut team, true),
                7 => self.new_online(&mut team, false),
                _ => {
                    for keys in team.online.values_mut() {
                        keys.drain(..keys.len() - 1);
                    }
                    team.next_root(now, &before.root_key)
                }
            }
        };
        self.sides[side].write_down(&team, &files);
        let result = self.send(side, &files);
        let behind = self.world.now < self.latest;
        assert_eq!(result.is_err(), behind, "honest files: {result:?}");
    }

    fn new_online(&mut self, team: &mut Team, overlap: bool) -> Files {
        let role = if self.dice.roll(2) == 0 { "timestamp" } else { "snapshot" };
        let new = team.new_online_key(&mut self.world, role);
        let keys = team.online.get_mut(role).unwrap();
        if !overlap {
            keys.clear();
        }
        keys.push(new);
        let root_key = team.root_key.clone();
        team.next_root(self.world.now, &root_key)
    }

    /// What a server does that is taken over. None of it may be taken unless the people wrote it so.
    fn attack(&mut self, side: usize) {
        let other = 1 - side;
        let now = self.world.now;
        let files = match self.dice.roll(8) {
            // Played again, to the right collection or to the other one.
            0 => self.dice.pick(&self.sides[side].history).cloned(),
            1 => self.dice.pick(&self.sides[other].history).cloned(),
            // Two publications cut up and put together.
            2 => {
                let one = self.dice.pick(&self.sides[side].history).cloned();
                let two = self.dice.pick(&self.sides[side].history).cloned();
                one.zip(two).map(|(one, two)| {
                    let (roots, mut roles) = (one.roots, two.roles);
                    for (role, file) in one.roles {
                        if self.dice.roll(2) == 0 {
                            roles.insert(role, file);
                        }
                    }
                    Files { roots, roles }
                })
            }
            // A bit that changed.
            3 => self.dice.pick(&self.sides[side].history).cloned().map(|mut files| {
                let all: Vec<&mut Vec<u8>> = files.roots.iter_mut().chain(files.roles.values_mut()).collect();
                let count = all.len().max(1) as u64;
                let chosen = usize::try_from(self.dice.roll(count)).unwrap();
                if let Some(file) = all.into_iter().nth(chosen) {
                    let place = usize::try_from(self.dice.roll(file.len().max(1) as u64)).unwrap();
                    if let Some(byte) = file.get_mut(place) {
                        *byte ^= 1 << self.dice.roll(8);
                    }
                }
                files
            }),
            // A first root of the attacker's own, for the keys that are here.
            4 => {
                let mut attacker = Team::new(NAMES[side], self.dice.next());
                attacker.online = self.sides[side].team.online.clone();
                Some(attacker.first(now))
            }
            // Next files signed by a stranger, or by the one who speaks for another role.
            5 | 6 if !self.sides[side].team.root.is_empty() => {
                let team = self.sides[side].team.clone();
                let by = match self.dice.roll(3) {
                    0 => key("a stranger"),
                    1 => team.delegated.values().next().cloned().unwrap_or(key("nobody")),
                    _ => self.sides[other].team.targets_key.clone(),
                };
                let draft = Draft::next(&team.root, at(now + 300 * DAY)).unwrap();
                let root = sign(&draft, &[&by]);
                let targets = sign(&team.targets_draft(now), &[&by]);
                Some(if self.dice.roll(2) == 0 {
                    Files::default().root(root)
                } else {
                    Files::default().role("targets", targets)
                })
            }
            // Another content for the version that is there.
            7 if !self.sides[side].team.root.is_empty() => {
                let mut team = self.sides[side].team.clone();
                let older = self.dice.pick(&self.sides[side].history).cloned().unwrap_or_default();
                if let Some(old) = older.roles.get("targets") {
                    team.roles.insert("targets".to_owned(), old.clone());
                }
                let files = team.next_targets(now, "another");
                let fits = common::checker::version_of(&files.roles["targets"])
                    == common::checker::version_of(&self.sides[side].team.roles["targets"]) + 1;
                // By chance it can be what is due: then it is the people's own.
                if fits {
                    let mut after = self.sides[side].team.clone();
                    after.delegated =
                        self.sides[side].book.targets.get(&team.roles["targets"]).cloned().unwrap_or_default();
                    self.sides[side].write_down(&after, &files);
                }
                Some(files)
            }
            _ => None,
        };
        if let Some(files) = files {
            let _ = self.send(side, &files);
        }
    }

    fn step(&mut self) {
        let side = self.side();
        let name = NAMES[side].to_owned();
        self.world.now += 1;
        match self.dice.roll(20) {
            0..=5 => self.honest(side),
            6..=10 => self.attack(side),
            11 => {
                let mut collections: Vec<String> = NAMES.map(str::to_owned).into();
                collections.push("r.example/none".to_owned());
                if self.dice.roll(2) == 0 {
                    collections.push(name);
                }
                let released = |story: &Self| NAMES.map(|n| story.world.checker.released(n));
                let before = released(self);
                self.world.ask(Request::Resign { collections });
                if before != released(self) {
                    self.latest = self.latest.max(self.world.now);
                }
            }
            12 => {
                self.world.ask(Request::Files { collection: name.clone() });
                self.world.ask(Request::State { collection: name });
            }
            13 => {
                let roles = ["timestamp", "snapshot", "targets", "root"].map(str::to_owned);
                let roles = roles.into_iter().filter(|_| self.dice.roll(2) == 0).collect();
                self.world.ask(Request::NewOnlineKeys { collection: name, roles, nonce: "n".repeat(16) });
            }
            14 | 15 => self.world.restart(),
            // The answer is lost, and the process too.
            16 => {
                if let Some(files) = self.dice.pick(&self.sides[side].history).cloned() {
                    let now = self.world.time();
                    let reply = self.world.core.as_mut().unwrap().handle(now, files.request(&name));
                    self.world.restart();
                    // At once: the checker has not seen the answer that was lost.
                    let again = self.send_as(side, &files, false);
                    assert_eq!(matches!(reply, Reply::Published(_)), again.is_ok(), "{again:?}");
                }
            }
            17 => self.world.now = self.latest.max(START) - i64::try_from(self.dice.roll(10 * 86_400)).unwrap(),
            18 => self.world.now = self.latest.max(START),
            _ => self.world.now = self.latest.max(START) + i64::try_from(self.dice.roll(6 * 86_400)).unwrap(),
        }
    }

    /// Whatever happened, the people go on.
    fn end(mut self) {
        self.world.now = self.world.now.max(self.latest) + 1;
        self.world.restart();
        for side in 0..NAMES.len() {
            self.honest(side);
        }
        self.world.check_audit();
    }
}

fn run(seed: u64) {
    let mut story = Story::begin(seed);
    for _ in 0..STEPS {
        story.step();
    }
    story.end();
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn random_sequences_with_restarts_make_no_bad_signature_soak() {
    if let Some(seed) = number("SEED") {
        return run(seed);
    }
    let count = number("SOAK").or(number("N")).unwrap_or(2_000);
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= count {
                        break;
                    }
                    if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
                        eprintln!("the sequence of SEED={seed} failed");
                        std::panic::resume_unwind(panic);
                    }
                }
            });
        }
    });
    println!("{count} sequences of {STEPS} steps");
}
