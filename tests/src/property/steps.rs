//! The steps of a story, and what must hold after each.

use std::collections::BTreeMap;

use trust_tuf::UtcTime;

use super::dice::Dice;
use super::plain::{Hit, Ledger, Plain, Reply};
use super::scene::{PATHS, Scene};
use crate::simulator::reader::ReaderClient;
use crate::simulator::{Client, Stages, days};

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A target is listed or taken away.
    Target,
    /// A role delegates.
    Delegate,
    /// A role delegates to bins.
    Bins,
    /// A delegation ends.
    Undelegate,
    /// A top-level role gets other keys.
    Rotate,
    /// A delegated role gets other keys.
    RotateDelegated,
    /// A new timestamp.
    Timestamp,
    /// Everything is signed again.
    Resign,
    /// Time passes.
    Wait,
    /// The attacker gets keys.
    Leak,
    /// An update from the repository itself.
    Update,
    /// An update from files of which some are wrong.
    Attack,
    /// An update from a repository that the attacker goes on with.
    Forge,
    /// An update with a next root that its owners did not sign as they must.
    HastyRoot,
    /// A role is given one key as two, which is noticed and mended after an update.
    Twins,
    /// The reader dies in an update.
    Crash,
    /// A kept file is cut off.
    Damage,
    /// The reader's clock goes back.
    ClockBack,
    /// A client that has never updated.
    Cold,
    /// The repository is good again: that must be enough.
    Recover,
}

type Broken = Result<(), String>;

fn broken<T>(what: impl Into<String>) -> Result<T, String> {
    Err(what.into())
}

impl Step {
    /// A step; those that ask most of a client come most often.
    pub fn random(dice: &mut Dice) -> Self {
        use Step::*;
        const OFTEN: [Step; 33] = [
            Target,
            Target,
            Delegate,
            Delegate,
            Delegate,
            Bins,
            Undelegate,
            Rotate,
            Rotate,
            RotateDelegated,
            Timestamp,
            Resign,
            Wait,
            Wait,
            Leak,
            Leak,
            Update,
            Update,
            Update,
            Attack,
            Attack,
            Attack,
            Attack,
            Forge,
            Forge,
            HastyRoot,
            Twins,
            Crash,
            Crash,
            Damage,
            ClockBack,
            Cold,
            Recover,
        ];
        *dice.pick(&OFTEN)
    }

    /// Does it. The promise that is broken, if one is.
    pub fn run(self, scene: &mut Scene, dice: &mut Dice) -> Broken {
        match self {
            Self::Target => scene.publish_target(dice),
            Self::Delegate => scene.delegate(dice),
            Self::Bins => scene.bins(dice),
            Self::Undelegate => scene.undelegate(dice),
            Self::Rotate => scene.rotate_some(dice),
            Self::RotateDelegated => scene.rotate_delegated(dice),
            Self::Timestamp => scene.resign_timestamp(dice),
            Self::Resign => scene.resign_all(),
            Self::Wait => {
                let wait = *dice.pick(&[3_600, days(1), days(6), days(70)]);
                scene.now = scene.now.plus_secs(wait).expect("a time");
            }
            Self::Leak => scene.leak(dice),
            Self::Update => {
                scene.serve_honest();
                return update(scene, dice);
            }
            Self::Attack => {
                scene.serve_wrong(dice);
                return update(scene, dice);
            }
            Self::Forge => {
                scene.serve_forged(dice);
                return update(scene, dice);
            }
            Self::HastyRoot => {
                scene.serve_hasty_root(dice);
                return update(scene, dice);
            }
            Self::Twins => {
                let role = *dice.pick(&["timestamp", "snapshot", "targets"]);
                scene.rotate_to_twins(role, dice);
                scene.serve_honest();
                update(scene, dice)?;
                scene.rotate(role, false, dice);
            }
            Self::Crash => {
                if dice.once_in(2) {
                    scene.serve_honest();
                } else {
                    scene.serve_wrong(dice);
                }
                return crash(scene, dice);
            }
            Self::Damage => {
                scene.serve_honest();
                return damage(scene, dice);
            }
            Self::ClockBack => return clock_back(scene, dice),
            Self::Cold => {
                if dice.once_in(2) {
                    scene.serve_honest();
                }
                return cold(scene, dice);
            }
            Self::Recover => return recover(scene),
        }
        Ok(())
    }
}

fn paths(dice: &mut Dice) -> Vec<&'static str> {
    (0..3).map(|_| *dice.pick(&PATHS)).chain(["evil"]).collect()
}

type Answers = Result<Vec<Result<Hit, String>>, String>;

fn answers(client: &mut dyn Client, now: UtcTime, paths: &[&str]) -> Answers {
    let answers = client.lookups(now, paths).map_err(|failure| format!("{failure:?}"))?;
    let hit = |answer: &crate::simulator::Answer| {
        answer.outcome.hit().map(|s| (s.role.clone(), s.target.hashes.sha256.map(hex::encode).unwrap_or_default()))
    };
    Ok(answers.iter().map(|a| a.as_ref().map(hit).map_err(|failure| format!("{failure:?}"))).collect())
}

/// What must be the same of two answers: that there is one, and what it is.
fn gist(answers: &Answers) -> Option<Vec<Option<&Hit>>> {
    Some(answers.as_ref().ok()?.iter().map(|a| a.as_ref().ok()).collect())
}

fn show(files: &BTreeMap<String, Vec<u8>>) -> String {
    let line = |(name, bytes): (&String, &Vec<u8>)| {
        let file: Option<serde_json::Value> = serde_json::from_slice(bytes).ok();
        let version = file.map_or_else(|| "?".to_owned(), |f| f["signed"]["version"].to_string());
        format!("{name}={version}/{:.8}", hex::encode(super::plain::hash(bytes)))
    };
    files.iter().map(line).collect::<Vec<_>>().join(" ")
}

/// What an update and its look-ups of these paths must be like: exactly as due, or, from files that only the strictest
/// reader reads, at most as due.
pub(crate) fn judged(
    client: &mut dyn Client,
    plain: &mut Plain,
    (ledger, served): (&Ledger, &BTreeMap<String, Reply>),
    now: UtcTime,
    paths: &[&str],
) -> Broken {
    let reply = |name: &str| served.get(name).cloned().unwrap_or(Reply::NotFound);
    let time = now.to_string();
    let got = answers(client, now, paths);
    let due = plain.refresh(ledger, &reply, &time).map(|()| plain.lookups(ledger, &reply, &time, paths));
    let Ok(got) = got else { return Ok(()) };
    let Ok(due) = due else { return broken(format!("accepted, due is {due:?}")) };
    for ((got, due), path) in got.iter().zip(&due).zip(paths) {
        if let Ok(got) = got
            && Ok(got) != due.as_ref()
        {
            return broken(format!("{path}: {got:?}, due is {due:?}"));
        }
    }
    let (kept, due) = (client.files(), plain.files());
    for role in ["root.json", "timestamp.json", "snapshot.json", "targets.json"] {
        if kept.get(role) != due.get(role) {
            return broken(format!("keeps {}, due is {}", show(&kept), show(&due)));
        }
    }
    Ok(())
}

/// Runs one client and its oracle, and compares: whether the update succeeded, every answer, every kept file.
fn compare(
    who: &str,
    client: &mut dyn Client,
    plain: &mut Plain,
    (ledger, served): (&Ledger, &BTreeMap<String, Reply>),
    now: UtcTime,
    paths: &[&str],
) -> Result<Answers, String> {
    let reply = |name: &str| served.get(name).cloned().unwrap_or(Reply::NotFound);
    let time = now.to_string();
    let got = answers(client, now, paths);
    let due = plain.refresh(ledger, &reply, &time).map(|()| plain.lookups(ledger, &reply, &time, paths));
    if gist(&got) != gist(&due) {
        return broken(format!("{who} answers {got:?}, due is {due:?} (of {paths:?})"));
    }
    let (kept, due) = (client.files(), plain.files());
    if kept != due {
        return broken(format!("{who} keeps {}, due is {}", show(&kept), show(&due)));
    }
    let again = answers(client, now, paths);
    if gist(&again) != gist(&got) || client.files() != kept {
        return broken(format!("{who} answered {got:?}, and to the same again {again:?}"));
    }
    Ok(got)
}

/// One update of both clients from what is served now.
fn update(scene: &mut Scene, dice: &mut Dice) -> Broken {
    both(scene, &paths(dice)).map(drop)
}

fn both(scene: &mut Scene, paths: &[&str]) -> Result<(Answers, Answers), String> {
    let world = (&scene.ledger, &scene.served);
    let pair = &mut scene.stages;
    let stages = compare("the core", &mut *pair.client, &mut pair.plain, world, scene.now, paths)?;
    let reader = compare("the reader", &mut scene.reader, &mut scene.reader_plain, world, scene.now, paths)?;
    if reader.is_ok() {
        scene.last_success = Some(scene.now);
    }
    unforged(scene, scene.stages.client.files(), &stages)?;
    unforged(scene, scene.reader.files(), &reader)?;
    Ok((stages, reader))
}

/// What is kept, and what is answered, was said by somebody who had the power to say it.
fn unforged(scene: &Scene, kept: BTreeMap<String, Vec<u8>>, answers: &Answers) -> Broken {
    if scene.has_power("root") {
        return Ok(());
    }
    for (name, bytes) in kept {
        let role = name.strip_suffix(".json").unwrap_or(&name);
        let delegated = !matches!(role, "root" | "timestamp" | "snapshot" | "targets");
        let could = scene.has_power(role) || delegated && scene.has_any_targets_power();
        if !could && scene.is_forged(&bytes) {
            return broken(format!("a forged {name} is trusted: {}", String::from_utf8_lossy(&bytes)));
        }
    }
    for hit in answers.iter().flatten().flatten().flatten() {
        if !scene.has_any_targets_power() && !scene.ever_listed(&hit.1) {
            return broken(format!("{} says something that nobody signed", hit.0));
        }
    }
    Ok(())
}

/// The reader dies at a step of a write. What lies there then is what lay there before or what was stored, in order.
fn crash(scene: &mut Scene, dice: &mut Dice) -> Broken {
    let before = scene.reader_plain.clone();
    let mut after = before.clone();
    let reply = |name: &str| scene.served.get(name).cloned().unwrap_or(Reply::NotFound);
    let _ = after.refresh(&scene.ledger, &reply, &scene.now.to_string());
    scene.reader.crash(scene.now, dice.below(60));

    let stored = scene.reader.root_history();
    let (old, new) = (before.chain(), after.chain());
    if stored.len() > new.len() || stored.iter().zip(&new).any(|(a, b)| a != b) {
        return broken("the stored chain of roots is no beginning of the one that is due");
    }
    // A client that has never come so far as to store its first root has none; it is pinned all the same.
    let length = stored.len().max(1);
    if length < old.len() {
        return broken("a stored root is gone");
    }
    let kept = scene.reader.files();
    let (old, new) = (before.files(), after.files());
    let mut left = before.clone();
    let mut complete = length == after.chain().len();
    for role in ["timestamp", "snapshot", "targets"] {
        let name = format!("{role}.json");
        let (old, new, is) = (old.get(&name), new.get(&name), kept.get(&name));
        if is != old && is != new {
            return broken(format!("after a crash, {name} is neither the old nor the new file"));
        }
        if is != old && !complete {
            return broken(format!("after a crash, {name} is ahead of what vouches for it"));
        }
        complete &= is == new;
        left.set_file(role, is.cloned());
    }
    let mut whole = after;
    whole.cut_chain(length);
    for role in ["timestamp", "snapshot", "targets"] {
        whole.set_file(role, kept.get(&format!("{role}.json")).cloned());
    }
    scene.reader_plain = whole;
    Ok(())
}

/// A kept file is cut off. One that guards against rollback stops the update by name; another one is fetched again.
fn damage(scene: &mut Scene, dice: &mut Dice) -> Broken {
    let kept = scene.reader.files();
    let roles: Vec<&str> = kept.keys().filter_map(|n| n.strip_suffix(".json")).filter(|r| *r != "root").collect();
    if roles.is_empty() {
        return Ok(());
    }
    let role = (*dice.pick(&roles)).to_owned();
    let name = format!("{role}.json");
    let whole = kept[&name].clone();
    let cut = whole[..dice.below(whole.len())].to_vec();
    // What a running process knows, it does not read from the disk.
    scene.reader.restart();
    scene.reader.plant(&name, &cut);
    if !matches!(role.as_str(), "timestamp" | "snapshot") {
        scene.reader_plain.set_file(&role, Some(cut));
        return update(scene, dice);
    }
    let reply = |name: &str| scene.served.get(name).cloned().unwrap_or(Reply::NotFound);
    let mut due = scene.reader_plain.clone();
    let time = scene.now.to_string();
    let was = due.refresh(&scene.ledger, &reply, &time);
    if scene.reader.refresh(scene.now).is_ok() {
        return broken(format!("a cut {role} is taken for a first use"));
    }
    // A timestamp can be stored before the snapshot is looked at; the roots always are.
    let mut plain = scene.reader_plain.clone();
    plain = with_roots(plain, &due, scene.reader.root_history().len());
    if role == "snapshot" {
        plain.set_file("timestamp", scene.reader.files().get("timestamp.json").cloned());
        let stored = plain.files();
        let (old, new) = (scene.reader_plain.files(), due.files());
        let place = "timestamp.json";
        if stored.get(place) != old.get(place) && stored.get(place) != new.get(place) {
            return broken("a timestamp that is not due was stored");
        }
    }
    drop(was);
    scene.reader_plain = plain;
    scene.reader.plant(&name, &whole);
    update(scene, dice)
}

fn with_roots(plain: Plain, due: &Plain, length: usize) -> Plain {
    let mut with = due.clone();
    with.cut_chain(length);
    let kept = plain.files();
    let names: Vec<String> = due.files().keys().chain(kept.keys()).cloned().collect();
    for name in names {
        let role = name.strip_suffix(".json").unwrap_or(&name);
        if role != "root" {
            with.set_file(role, kept.get(&name).cloned());
        }
    }
    with
}

/// With a clock that is days behind its last success, the reader refuses, and changes nothing.
fn clock_back(scene: &mut Scene, dice: &mut Dice) -> Broken {
    let Some(last) = scene.last_success else { return Ok(()) };
    let now = last.plus_secs(-301 - dice.below(900_000) as i64 - 60).expect("a time");
    let before = scene.reader.files();
    if scene.reader.refresh(now).is_ok() {
        return broken(format!("a clock at {now} is believed, {last} was seen"));
    }
    if scene.reader.files() != before {
        return broken("a refused clock changed what is kept");
    }
    Ok(())
}

/// A client that has never updated, against the same served files.
fn cold(scene: &mut Scene, dice: &mut Dice) -> Broken {
    let pinned = scene.repo.pinned.clone();
    let mut plain = Plain::new(&pinned);
    let world = (&scene.ledger, &scene.served);
    let mut client: Box<dyn Client> = if dice.once_in(2) {
        Box::new(Stages::new(pinned, scene.wire()))
    } else {
        Box::new(ReaderClient::new(pinned, scene.wire()))
    };
    let answers = compare("a new client", &mut *client, &mut plain, world, scene.now, &paths(dice))?;
    unforged(scene, client.files(), &answers)
}

/// The repository is good again. Where nothing forged was ever trusted, that alone must be enough; else the keys of
/// timestamp, snapshot and targets are replaced, and then it must be. Only a fallen root cannot be helped.
fn recover(scene: &mut Scene) -> Broken {
    if scene.has_power("root") {
        return Ok(());
    }
    let trusted_only_honest = |scene: &Scene| {
        let kept = scene.stages.client.files().into_values().chain(scene.reader.files().into_values());
        !kept.into_iter().any(|bytes| scene.is_forged(&bytes))
    };
    if !trusted_only_honest(scene) {
        for role in ["timestamp", "snapshot", "targets"] {
            scene.rotate(role, false, &mut Dice::new(0));
        }
    }
    scene.resign_all();
    scene.serve_honest();
    let (stages, reader) = both(scene, &PATHS)?;
    if stages.is_err() || reader.is_err() {
        return broken(format!("a good repository is refused: {stages:?} {reader:?}"));
    }
    if gist(&stages) != gist(&reader) {
        return broken(format!("the core answers {stages:?}, the reader {reader:?}"));
    }
    Ok(())
}
