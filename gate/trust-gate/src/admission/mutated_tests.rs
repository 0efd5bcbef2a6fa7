//! Reviews that were tampered with: never an allow for an image that is not signed, never a panic.
//!
//! What is in a mutated review is judged by a walk of its own: another parser (the last of two equal members counts, as in
//! many readers), pointers written out, and no code of the door.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trust_image::workload::custom::{CustomKind, CustomKinds};

use super::image_review::{self, ImageReview};
use super::judge::{self, Door, Rules};
use super::review::Review;
use crate::gatekeeper;
use crate::testing::{Fake, digest, is_signed, kinds, object, review};

const MUTATIONS: usize = 2_000;
const SEED: u64 = 0x5eed_2026_1121;
const SIGNED: &str = "signed.example.com/a:1";
const BAD: &str = "unsigned.example.com/a:1";

/// xorshift64*: the same sequence on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(n.max(1)).unwrap()).unwrap()
    }

    fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }
}

/// One review of each kind and operation, some of them good.
fn recorded() -> Vec<Value> {
    let pinned = format!("{SIGNED}@{}", digest(SIGNED));
    let forged = format!("{SIGNED}@{}", digest("signed.example.com/b:1"));
    let mut all = Vec::new();
    for (group, kind) in kinds() {
        for image in [SIGNED, &pinned, BAD, &forged] {
            let spec = |image: &str| {
                json!({
                    "containers": [{"name": "a", "image": SIGNED, "env": [{"name": "X", "value": BAD}]}, {"name": "b", "image": pinned}],
                    "initContainers": [{"name": "c", "image": image}],
                    "ephemeralContainers": [{"name": "d", "image": pinned}],
                    "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "image": {"reference": pinned}}],
                })
            };
            let (new, old) = (object(group, kind, &spec(image)), object(group, kind, &spec(BAD)));
            all.push(review("CREATE", new.clone(), Value::Null));
            all.push(review("UPDATE", new, old));
        }
    }
    for image in [SIGNED, &pinned, BAD, &forged] {
        let rollout = |image: &str| {
            json!({"apiVersion": "argoproj.io/v1", "kind": "Rollout", "metadata": {"name": "web"}, "spec": {
                "template": {"spec": {"containers": [{"image": image}, {"image": pinned}]}}, "hooks": [{"image": image}]}})
        };
        all.push(review("CREATE", rollout(image), Value::Null));
        all.push(review("UPDATE", rollout(image), rollout(BAD)));
    }
    all
}

fn kinds_of_others() -> Arc<CustomKinds> {
    let (pods, images) = (["spec.template.spec".to_owned()], ["spec.hooks[*].image".to_owned()]);
    let rollout = CustomKind::new("argoproj.io", "Rollout", &pods, &images).unwrap();
    Arc::new(CustomKinds::new(vec![rollout]).unwrap())
}

/// Words that mean something somewhere.
const WORDS: &[&str] = &[
    "containers",
    "initContainers",
    "ephemeralContainers",
    "volumes",
    "image",
    "reference",
    "spec",
    "template",
    "jobTemplate",
    "kind",
    "apiVersion",
    "request",
    "object",
    "oldObject",
    "operation",
    "metadata",
    "deletionTimestamp",
    "Pod",
    "Deployment",
    "List",
    "ConfigMap",
    "v1",
    "apps/v1",
    "batch/v1",
    "CREATE",
    "UPDATE",
    "Image",
    "CONTAINERS",
    "items",
    SIGNED,
    BAD,
    "unsigned.example.com/z:2",
    "signed.example.com/a:moved",
    "dryRun",
    "ephemeralcontainers",
    "subResource",
    "Rollout",
    "argoproj.io/v1",
    "hooks",
    "Hooks",
    "keys",
    "response",
    "namespace",
    "",
    "x",
];

fn leaf(random: &mut Random) -> Value {
    match random.below(8) {
        0 => Value::Null,
        1 => json!([]),
        2 => json!({}),
        3 => json!(7),
        4 => json!([{"image": BAD}]),
        5 => json!({"image": BAD, "reference": BAD}),
        6 => json!(true),
        _ => json!(random.pick(WORDS)),
    }
}

/// Pointers to all nodes.
fn nodes(value: &Value, at: &str, into: &mut Vec<String>) {
    into.push(at.to_owned());
    match value {
        Value::Object(members) => members
            .iter()
            .for_each(|(k, v)| nodes(v, &format!("{at}/{}", k.replace('~', "~0").replace('/', "~1")), into)),
        Value::Array(items) => items.iter().enumerate().for_each(|(i, v)| nodes(v, &format!("{at}/{i}"), into)),
        _ => {}
    }
}

/// What somebody would write who wants to get past: (object, member, value).
fn claims() -> [(&'static str, &'static str, Value); 9] {
    let time = json!("2030-01-01T00:00:00Z");
    [
        ("/request/object/metadata", "deletionTimestamp", time.clone()),
        ("/request/oldObject/metadata", "deletionTimestamp", time),
        ("/request/object/metadata", "annotations", json!({"kubernetes.io/config.mirror": "x", "trust": "verified"})),
        ("/request/object/metadata", "ownerReferences", json!([{"kind": "ReplicaSet", "controller": true}])),
        ("/request", "subResource", json!("ephemeralcontainers")),
        ("/request", "dryRun", json!(true)),
        ("/request", "operation", json!("UPDATE")),
        ("/request", "kind", json!({"group": "", "version": "v1", "kind": "Pod"})),
        ("/request", "oldObject", Value::Null),
    ]
}

fn mutate_tree(value: &mut Value, random: &mut Random) {
    if random.below(4) == 0 {
        let (object, member, claim) = random.pick(&claims()).clone();
        if let Some(Value::Object(members)) = value.pointer_mut(object) {
            members.insert(member.to_owned(), claim);
        }
        return;
    }
    let mut all = Vec::new();
    nodes(value, "", &mut all);
    let (one, other) = (random.pick(&all).clone(), random.pick(&all).clone());
    let graft = value.pointer(&other).cloned().unwrap_or_default();
    let node = value.pointer_mut(&one).unwrap();
    match (random.below(5), node) {
        (0, node) => *node = leaf(random),
        (1, node) => *node = graft,
        (2, Value::Object(members)) if !members.is_empty() => {
            let names: Vec<String> = members.keys().cloned().collect();
            if let Some(inner) = members.remove(random.pick(&names)) {
                members.insert((*random.pick(WORDS)).to_owned(), inner);
            }
        }
        (3, Value::Object(members)) => {
            members.insert((*random.pick(WORDS)).to_owned(), graft);
        }
        (_, Value::Object(members)) if !members.is_empty() => {
            let names: Vec<String> = members.keys().cloned().collect();
            members.remove(random.pick(&names));
        }
        (2, Value::Array(items)) => items.push(graft),
        (_, Value::Array(items)) => {
            let at = random.below(items.len());
            if at < items.len() {
                items.remove(at);
            }
        }
        (_, node) => *node = leaf(random),
    }
}

fn mutate_text(text: &mut Vec<u8>, random: &mut Random) {
    if !text.contains(&b'{') || !text.contains(&b'"') {
        return;
    }
    let at = random.below(text.len());
    let end = (at + 1 + random.below(40)).min(text.len());
    match random.below(6) {
        0 => text[at] ^= 1 << random.below(8),
        1 => drop(text.drain(at..end)),
        2 => {
            let copy = text[at..end].to_vec();
            let to = random.below(text.len());
            text.splice(to..to, copy);
        }
        3 => {
            let word = format!("\"{}\":", random.pick(WORDS));
            let value = leaf(random).to_string();
            // After a brace or comma it is often still JSON: a member twice, a new member.
            let places: Vec<usize> = (0..text.len()).filter(|i| text[*i] == b'{').collect();
            let to = random.pick(&places) + 1;
            text.splice(to..to, format!("{word}{value},").into_bytes());
        }
        4 => text.truncate(at),
        _ => {
            let quoted: Vec<usize> = (0..text.len()).filter(|i| text[*i] == b'"').collect();
            if let [from, to, ..] = quoted[random.below(quoted.len())..] {
                text.splice(from..=to, format!("\"{}\"", random.pick(WORDS)).into_bytes());
            }
        }
    }
}

/// The images that a node would take from an object: pointers written out, whatever cannot be read is no image.
fn images(object: &Value) -> Vec<String> {
    let spec = match object["kind"].as_str() {
        Some("Pod") => "/spec",
        Some("PodTemplate") => "/template/spec",
        Some("CronJob") => "/spec/jobTemplate/spec/template/spec",
        _ => "/spec/template/spec",
    };
    let list =
        |name: &str| object.pointer(&format!("{spec}/{name}")).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut found = Vec::new();
    for name in ["containers", "initContainers", "ephemeralContainers"] {
        found.extend(list(name).iter().map(|c| c["image"].as_str().unwrap_or_default().to_owned()));
    }
    for volume in list("volumes") {
        found.extend(volume["image"]["reference"].as_str().map(str::to_owned));
    }
    if object["kind"] == "Rollout" {
        let hooks = object.pointer("/spec/hooks").and_then(Value::as_array).cloned().unwrap_or_default();
        found.extend(hooks.iter().filter_map(|hook| hook["image"].as_str().map(str::to_owned)));
    }
    found
}

/// Whether an allow is right, judged from the text alone.
fn may_be_allowed(text: &[u8], door: Door) -> Result<(), String> {
    let review: Value = serde_json::from_slice(text).map_err(|e| format!("no JSON: {e}"))?;
    let request = &review["request"];
    let operation = request["operation"].as_str().unwrap_or_default();
    if matches!(operation, "DELETE" | "CONNECT") {
        return Ok(());
    }
    let (new, old) = (&request["object"], &request["oldObject"]);
    if new["kind"] != request["kind"]["kind"] {
        return Err("kinds differ".to_owned());
    }
    let (is, was) = (images(new), images(old));
    if operation == "UPDATE" && is.iter().all(|image| was.contains(image)) {
        return Ok(());
    }
    if new["kind"] != "Rollout" && new.pointer("/spec").is_none() && new.pointer("/template").is_none() {
        return Err("no spec".to_owned());
    }
    let is_pod = new["kind"] == "Pod";
    let added = request["subResource"] == "ephemeralcontainers" && operation == "UPDATE";
    for image in is {
        if image.is_empty() && !is_pod || added && was.contains(&image) {
            continue;
        }
        if !is_signed(&image) {
            return Err(format!("{image:?} is not signed"));
        }
        if is_pod && door == Door::Validate && !image.contains('@') {
            return Err(format!("{image:?} is a tag alone"));
        }
    }
    Ok(())
}

/// How many mutations: more for a soak.
fn mutations() -> usize {
    std::env::var("SOAK").ok().and_then(|n| n.parse().ok()).unwrap_or(MUTATIONS)
}

/// Changes a document in one of three ways.
fn changed(tree: &Value, round: usize, random: &mut Random) -> Vec<u8> {
    let mut tree = tree.clone();
    let mut text = serde_json::to_vec(&tree).unwrap();
    match round % 3 {
        0 => (0..=random.below(3)).for_each(|_| mutate_text(&mut text, random)),
        1 => {
            (0..=random.below(3)).for_each(|_| mutate_tree(&mut tree, random));
            text = serde_json::to_vec(&tree).unwrap();
        }
        _ => {
            mutate_tree(&mut tree, random);
            text = serde_json::to_vec(&tree).unwrap();
            mutate_text(&mut text, random);
        }
    }
    text
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[test]
fn mutated_reviews_give_no_allow_for_an_unsigned_image_and_no_panic_soak() {
    let mut random = Random(SEED);
    let (recorded, kinds) = (recorded(), kinds_of_others());
    let (mut allowed, mut denied, mut refused) = (0, 0, 0);
    let rounds = mutations();
    for round in 0..rounds {
        let text = changed(random.pick(&recorded), round, &mut random);
        for door in [Door::Mutate, Door::Validate] {
            let Ok(review) = Review::parse_with(&text, &kinds) else {
                refused += 1;
                continue;
            };
            let answer = judge::answer(&review, door, Rules::default(), &Fake::default(), later());
            match answer.allowed {
                true => allowed += 1,
                false => denied += 1,
            }
            if answer.allowed
                && let Err(why) = may_be_allowed(&text, door)
            {
                panic!("round {round}, {door:?}: allowed although {why}: {}", String::from_utf8_lossy(&text));
            }
            let json: Value = serde_json::from_slice(&answer.to_json(&review.uid)).unwrap();
            let sent: Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(json["response"]["uid"], sent["request"]["uid"]);
        }
    }
    // A test whose mutations are all refused, or all pass, would show nothing.
    let few = rounds / 5;
    assert!(allowed > few && denied > few && refused > few, "{allowed} {denied} {refused}");
}

#[test]
fn mutated_questions_of_gatekeeper_give_no_value_for_an_unsigned_image_and_no_panic_soak() {
    let mut random = Random(SEED);
    let pinned = format!("{SIGNED}@{}", digest(SIGNED));
    let keys = json!([
        SIGNED,
        pinned,
        BAD,
        "signed.example.com/b:2",
        "",
        format!("{SIGNED}@{}", digest("signed.example.com/b:1"))
    ]);
    let asked = json!({"apiVersion": "externaldata.gatekeeper.sh/v1beta1", "kind": "ProviderRequest", "request": {"keys": keys}});
    let (mut answered, mut values, mut refused) = (0, 0, 0);
    let rounds = mutations();
    for round in 0..rounds {
        let text = changed(&asked, round, &mut random);
        let Ok(question) = gatekeeper::Question::parse(&text) else {
            refused += 1;
            continue;
        };
        answered += 1;
        let answer = gatekeeper::answer(&question, None, &Fake::default(), later()).to_json(&question);
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let sent: Value = serde_json::from_slice(&text).unwrap();
        let keys = sent["request"]["keys"].as_array().cloned().unwrap_or_default();
        for item in answer["response"]["items"].as_array().unwrap() {
            let key = item["key"].as_str().unwrap();
            assert!(keys.iter().any(|sent| sent == key), "round {round}: {key} was not asked for");
            assert_ne!(item.get("value").is_some(), item.get("error").is_some(), "round {round}: {item}");
            if let Some(value) = item["value"].as_str() {
                values += 1;
                assert!(is_signed(key) && is_signed(value) && value.contains('@'), "round {round}: {item}");
            }
        }
        for key in &keys {
            assert!(answer["response"]["items"].as_array().unwrap().iter().any(|item| item["key"] == *key), "{key}");
        }
    }
    let few = rounds / 5;
    assert!(answered > few && values > few && refused > few, "{answered} {values} {refused}");
}

#[test]
fn mutated_image_reviews_give_no_allow_for_an_unsigned_image_and_no_panic_soak() {
    let mut random = Random(SEED);
    let pinned = format!("{SIGNED}@{}", digest(SIGNED));
    let recorded: Vec<Value> = [pinned.as_str(), SIGNED, BAD]
        .map(|image| {
            json!({"apiVersion": "imagepolicy.k8s.io/v1alpha1", "kind": "ImageReview", "spec": {
                "containers": [{"image": pinned}, {"image": image}], "namespace": "shop", "annotations": {"x": BAD}}})
        })
        .into();
    let (mut allowed, mut denied, mut refused) = (0, 0, 0);
    let rounds = mutations();
    for round in 0..rounds {
        let text = changed(random.pick(&recorded), round, &mut random);
        let Ok(review) = ImageReview::parse(&text) else {
            refused += 1;
            continue;
        };
        let answer = image_review::answer(&review, Rules::default(), &Fake::default(), later());
        if !answer.allowed {
            denied += 1;
            continue;
        }
        allowed += 1;
        let sent: Value = serde_json::from_slice(&text).unwrap();
        for container in sent["spec"]["containers"].as_array().unwrap_or(&Vec::new()) {
            let image = container["image"].as_str().unwrap_or_default();
            assert!(is_signed(image) && image.contains('@'), "round {round}: {image:?} in {sent}");
        }
    }
    let few = rounds / 40;
    assert!(allowed > few && denied > few && refused > few, "{allowed} {denied} {refused}");
}

#[test]
fn the_walk_of_this_test_sees_an_unsigned_image() {
    let bad = object("batch", "CronJob", &json!({"containers": [{"image": BAD}]}));
    let text = review("CREATE", bad, Value::Null).to_string();
    assert!(may_be_allowed(text.as_bytes(), Door::Validate).unwrap_err().contains(BAD));
}
