//! Requests that were tampered with: never an allow for something that is not signed, never a panic.
//!
//! What a mutated request would make an engine do is told by a reader of its own, which reads as engines do and takes nothing of
//! the door: first value of a query, last member of an object in any case, whatever follows the first JSON value.

use std::fmt;

use base64ct::{Base64, Encoding};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

use super::testing::{APP, Scene, digest};

const MUTATIONS: usize = 2_000;

/// SplitMix64: the same numbers in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides.max(1) as u64) as usize
    }

    fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.roll(from.len())]
    }
}

/// A request to the engine.
#[derive(Debug, Clone)]
struct Sent {
    method: String,
    uri: Vec<u8>,
    body: Vec<u8>,
}

fn recorded() -> Vec<Sent> {
    let (good, evil) = (format!("{APP}@{}", digest("one")), format!("{APP}@{}", digest("evil")));
    let mut all = Vec::new();
    let mut post = |uri: String, body: Value| {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        all.push(Sent { method: "POST".to_owned(), uri: uri.into_bytes(), body });
    };
    for image in [&format!("{APP}:v1"), "evil:v1", "built:v1", "twice:v1", &good, &evil, &digest("id-evil").to_string()]
    {
        let mount = json!([{"Type": "image", "Source": image, "Target": "/x"}, {"Type": "bind", "Source": "/etc"}]);
        post(
            "/v1.41/containers/create?name=x".into(),
            json!({"Image": image, "Cmd": ["true"], "Labels": {"Image": "evil:v1"}}),
        );
        post("/v1.41/containers/create".into(), json!({"Image": good, "HostConfig": {"Mounts": mount, "Binds": []}}));
        post(
            "/v1.41/services/create".into(),
            json!({"Name": "s", "TaskTemplate": {"ContainerSpec": {"Image": image}}}),
        );
        post("/services/s/update?version=1".into(), json!({"TaskTemplate": {"ContainerSpec": {"Image": image}}}));
    }
    let name = APP.replace('/', "%2F");
    for tag in ["v1".to_owned(), "v9".to_owned(), String::new(), digest("one").to_string(), digest("evil").to_string()]
    {
        post(format!("/v1.41/images/create?fromImage={name}&tag={tag}"), Value::Null);
        post(format!("/images/create?tag={tag}&fromImage=registry.example.com/evil/app"), Value::Null);
    }
    for uri in [
        "/v1.41/containers/web/start",
        "/v1.41/containers/bad/start",
        "/containers/bad/restart",
        "/v1.41/images/load",
        "/v1.41/images/create?fromSrc=-",
        "/build",
        "/session",
        "/v1.41/plugins/pull?remote=x",
        "/v1.41/swarm/join",
        "/v1.41/services/s/update?rollback=previous",
        "/v1.41/containers/web/stop",
        "/v1.41/images/evil/tag?repo=good",
    ] {
        post(uri.to_owned(), Value::Null);
    }
    all
}

const URI_PIECES: &[&str] = &[
    "/",
    "//",
    "%2F",
    "%2f",
    "..",
    "/../",
    ".",
    "%00",
    "%0a",
    ";",
    "\\",
    "@",
    ":",
    "?",
    "#",
    "&",
    "%25",
    "%",
    "=",
    "+",
    " ",
    "é",
    "v1.41",
    "/v1.41",
    "/v9",
    "containers",
    "/create",
    "/start",
    "/stop",
    "images",
    "/load",
    "/tag",
    "/push",
    "tag=",
    "&tag=v1",
    "fromImage=",
    "&fromImage=evil",
    "&fromSrc=-",
    "%66romImage=evil&",
    "rollback=previous",
    "http://d",
    "/exec",
    "services/",
    "update",
];
const BODY_PIECES: &[&str] = &[
    "\"Image\":\"evil:v1\",",
    "\"image\":\"evil:v1\",",
    "\"IMAGE\":\"evil:v1\",",
    "\"\\u0049mage\":\"evil:v1\",",
    "\"Image\":null,",
    "\"TaskTemplate\":{\"ContainerSpec\":{\"Image\":\"evil:v1\"}},",
    "\"tasktemplate\":{\"ContainerSpec\":{\"Image\":\"evil:v1\"}},",
    "\"ContainerSpec\":{\"Image\":\"evil:v1\"},",
    "\"containerSpec\":{\"Image\":\"evil:v1\"},",
    "\"Runtime\":\"plugin\",",
    "\"HostConfig\":{\"Mounts\":[{\"Type\":\"image\",\"Source\":\"evil:v1\"}]},",
    "\"Mount\u{17f}\":[{\"Type\":\"image\",\"Source\":\"evil:v1\"}],",
    "\"type\":\"image\",",
    "\"source\":\"evil:v1\",",
    "\"Type\":\"image\",",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "null",
    "\u{0}",
    "\u{feff}",
    " ",
    "{}",
    "{\"Image\":\"evil:v1\"}",
];

fn mutate(sent: &mut Sent, dice: &mut Dice) {
    for _ in 0..=dice.roll(3) {
        match dice.roll(12) {
            0 => sent.method = (*dice.pick(&["GET", "post", "PUT", "DELETE", "HEAD", "PATCH", "POST "])).to_owned(),
            1..=4 => change(&mut sent.uri, URI_PIECES, dice),
            5 => {
                // What another reader might take for the same.
                let at = dice.roll(sent.uri.len());
                let encoded = format!("%{:02X}", sent.uri.get(at).copied().unwrap_or(b'/'));
                sent.uri.splice(at..sent.uri.len().min(at + 1), encoded.into_bytes());
            }
            6..=9 => change(&mut sent.body, BODY_PIECES, dice),
            10 => {
                // A member more, at the begin or the end of an object.
                let places: Vec<usize> = (0..sent.body.len()).filter(|at| sent.body[*at] == b'{').collect();
                if !places.is_empty() {
                    let at = dice.pick(&places) + 1;
                    let piece = dice.pick(&BODY_PIECES[..12]).bytes();
                    sent.body.splice(at..at, piece);
                }
            }
            _ => {
                let at = dice.roll(sent.body.len());
                let flip = sent
                    .body
                    .get(at)
                    .map(|b| if b.is_ascii_lowercase() { b.to_ascii_uppercase() } else { b.to_ascii_lowercase() });
                if let Some(flip) = flip {
                    sent.body[at] = flip;
                }
            }
        }
    }
}

fn change(bytes: &mut Vec<u8>, pieces: &[&str], dice: &mut Dice) {
    let at = dice.roll(bytes.len() + 1);
    match dice.roll(6) {
        0 if at < bytes.len() => bytes[at] = dice.roll(256) as u8,
        1 if at < bytes.len() => drop(bytes.remove(at)),
        2 => bytes.truncate(at),
        3 => bytes.extend_from_slice(dice.pick(pieces).as_bytes()),
        _ => drop(bytes.splice(at..at, dice.pick(pieces).bytes()).collect::<Vec<_>>()),
    }
}

/// What the engine does.
#[derive(Debug, PartialEq)]
enum Act {
    Nothing,
    /// It runs, or shows, what it holds under these names.
    Uses(Vec<String>),
    /// It starts these somewhere: references.
    Serves(Vec<String>),
    /// It brings this reference.
    Brings(String),
    /// It takes what nobody sees.
    Unseen,
    /// Its body cannot be read as one document.
    Unreadable,
}

fn percent(text: &str, plus: bool) -> Option<String> {
    let mut out = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let hex = std::str::from_utf8(bytes.get(at + 1..at + 3)?).ok()?;
                if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return None;
                }
                out.push(u8::from_str_radix(hex, 16).ok()?);
                at += 2;
            }
            b'+' if plus => out.push(b' '),
            other => out.push(other),
        }
        at += 1;
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

fn act(sent: &Sent) -> Act {
    let uri = String::from_utf8_lossy(&sent.uri).into_owned();
    if sent.method != "POST" {
        return Act::Nothing;
    }
    let (mut path, query) = uri.split_once('?').unwrap_or((&uri, ""));
    if let Some(rest) = path.strip_prefix("http://") {
        path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
    }
    let Some(path) = percent(path, false) else { return Act::Nothing };
    if !path.starts_with('/') || path.contains("//") || path.split('/').any(|p| p == "." || p == "..") {
        return Act::Nothing;
    }
    let mut path = path.as_str();
    if let Some(rest) = path.strip_prefix("/v") {
        let (version, after) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            path = after;
        }
    }
    let mut first = std::collections::BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.contains(';')) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if let (Some(name), Some(value)) = (percent(name, true), percent(value, true)) {
            first.entry(name).or_insert(value);
        }
    }
    let value = |name: &str| first.get(name).cloned().unwrap_or_default();
    let between = |before: &str, after: &str| {
        path.len() > before.len() + after.len() && path.starts_with(before) && path.ends_with(after)
    };
    match path {
        "/images/create" if value("fromImage").is_empty() => Act::Unseen,
        "/images/create" => {
            let (image, tag) = (value("fromImage"), value("tag"));
            let joined = if tag.contains(':') { format!("{image}@{tag}") } else { format!("{image}:{tag}") };
            Act::Brings(if tag.is_empty() { image } else { joined })
        }
        "/images/load" | "/build" | "/session" | "/grpc" | "/plugins/pull" | "/plugins/create" | "/swarm/init"
        | "/swarm/join" => Act::Unseen,
        "/containers/create" => of_body(&sent.body, false),
        "/services/create" => of_body(&sent.body, true),
        _ if between("/containers/", "/start") || between("/containers/", "/restart") => {
            let name = path.trim_start_matches("/containers/").trim_end_matches("/start").trim_end_matches("/restart");
            Act::Uses(vec![match name {
                "web" => format!("{APP}:v1"),
                "bad" => "evil:v1".to_owned(),
                _ => "nobody's".to_owned(),
            }])
        }
        _ if between("/services/", "/update") && !value("rollback").is_empty() => Act::Unseen,
        _ if between("/services/", "/update") => of_body(&sent.body, true),
        _ if between("/plugins/", "/upgrade") => Act::Unseen,
        _ => Act::Nothing,
    }
}

fn of_body(body: &[u8], is_service: bool) -> Act {
    let text = String::from_utf8_lossy(body).into_owned();
    let Some(Ok(body)) = serde_json::Deserializer::from_str(&text).into_iter::<Go>().next() else {
        return Act::Unreadable;
    };
    let mut images = Vec::new();
    let mounts = |from: &Go, images: &mut Vec<String>| {
        for mount in from.member("Mounts").list() {
            if mount.member("Type").text().eq_ignore_ascii_case("image") {
                images.push(mount.member("Source").text().to_owned());
            }
        }
    };
    if is_service {
        let task = body.member("TaskTemplate");
        if !matches!(task.member("Runtime").text(), "" | "container") {
            return Act::Unseen;
        }
        images.push(task.member("ContainerSpec").member("Image").text().to_owned());
        mounts(task.member("ContainerSpec"), &mut images);
    } else {
        images.push(body.member("Image").text().to_owned());
        mounts(body.member("HostConfig"), &mut images);
        mounts(&body, &mut images);
    }
    if is_service { Act::Serves(images) } else { Act::Uses(images) }
}

/// JSON as Go reads it into its types: of members that fold to one name, the last counts.
#[derive(Debug, Clone)]
enum Go {
    Object(Vec<(String, Go)>),
    List(Vec<Go>),
    Text(String),
    Other,
}

impl Go {
    fn member(&self, name: &str) -> &Go {
        let fold = |text: &str| text.replace('\u{17f}', "s").replace('\u{212a}', "k").to_ascii_lowercase();
        let Go::Object(members) = self else { return &Go::Other };
        // A null leaves what was there before.
        let found = members.iter().rev().find(|(key, value)| fold(key) == fold(name) && !matches!(value, Go::Other));
        found.map_or(&Go::Other, |(_, value)| value)
    }

    fn list(&self) -> &[Go] {
        if let Go::List(list) = self { list } else { &[] }
    }

    fn text(&self) -> &str {
        if let Go::Text(text) = self { text } else { "" }
    }
}

impl<'de> Deserialize<'de> for Go {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Go;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Go, E> {
                Ok(Go::Other)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Go, E> {
                Ok(Go::Other)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Go, E> {
                Ok(Go::Other)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Go, E> {
                Ok(Go::Other)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Go, E> {
                Ok(Go::Other)
            }
            fn visit_str<E>(self, text: &str) -> Result<Go, E> {
                Ok(Go::Text(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Go, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = seq.next_element()? {
                    list.push(item);
                }
                Ok(Go::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Go, A::Error> {
                let mut members = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    members.push(pair);
                }
                Ok(Go::Object(members))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// Whether an engine that does this does no harm.
fn is_fine(act: &Act) -> bool {
    let signed = |text: &str| {
        // The case of a host means nothing.
        let (host, rest) = text.split_once('/').unwrap_or((text, ""));
        let text = format!("{}/{rest}", host.to_ascii_lowercase());
        ["one", "two"].iter().any(|of| text == format!("{APP}@{}", digest(of)))
    };
    match act {
        Act::Nothing => true,
        Act::Brings(image) => signed(image),
        Act::Unseen | Act::Unreadable => false,
        Act::Serves(images) => images.iter().all(|image| {
            let (name, digest) = image.split_once('@').unwrap_or((image, ""));
            signed(&format!("{}@{digest}", name.trim_end_matches(":v1")))
        }),
        // What it holds and is not signed; all others it does not hold, so that it does nothing.
        Act::Uses(images) => {
            let names = ["evil:v1".to_owned(), "built:v1".to_owned(), format!("{APP}:stolen"), String::new()];
            let ids = [digest("id-evil").to_string(), digest("id-built").to_string()];
            let by_digest = format!("registry.example.com/evil/app@{}", digest("evil"));
            let held: Vec<String> = names.into_iter().chain(ids).chain([by_digest]).collect();
            images.iter().all(|image| !held.contains(image))
        }
    }
}

fn count() -> usize {
    std::env::var("SOAK").ok().and_then(|n| n.parse().ok()).map_or(MUTATIONS, |n: usize| n.max(MUTATIONS))
}

fn call_of(sent: &Sent) -> Vec<u8> {
    let length = sent.body.len().to_string();
    let kind = if sent.body.is_empty() { "text/plain" } else { "application/json" };
    let mut call = json!({
        "RequestMethod": sent.method, "RequestUri": String::from_utf8_lossy(&sent.uri),
        "RequestHeaders": {"Content-Length": length, "Content-Type": kind},
    });
    if !sent.body.is_empty() {
        call["RequestBody"] = Base64::encode_string(&sent.body).into();
    }
    call.to_string().into_bytes()
}

#[tokio::test]
async fn soak_of_mutated_requests_never_brings_or_runs_what_is_not_signed() {
    let scene = Scene::new();
    let recorded = recorded();
    let (mut allowed, mut acted) = (0, 0);
    for n in 0..count() {
        let mut dice = Dice(0x5eed_2026 + n as u64);
        let mut sent = dice.pick(&recorded).clone();
        if n >= recorded.len() {
            mutate(&mut sent, &mut dice);
        } else {
            sent = recorded[n].clone();
        }
        let act = act(&sent);
        let said = scene.say(call_of(&sent)).await;
        acted += usize::from(act != Act::Nothing);
        if said.allow {
            allowed += 1;
            assert!(
                is_fine(&act),
                "{n}: {} {} {} would be {act:?}",
                sent.method,
                String::from_utf8_lossy(&sent.uri),
                String::from_utf8_lossy(&sent.body)
            );
        }
    }
    // The mutations are no mere noise: many still do something, and some pass.
    assert!(allowed > count() / 20 && acted > count() / 4, "{allowed} allowed, {acted} acted");
}

#[tokio::test]
async fn soak_of_mutated_calls_never_panics_and_never_allows_more() {
    let scene = Scene::new();
    let evil = Sent {
        method: "POST".to_owned(),
        uri: b"/v1.41/containers/create".to_vec(),
        body: json!({"Image": "evil:v1"}).to_string().into_bytes(),
    };
    let whole = call_of(&evil);
    for n in 0..count() {
        let mut dice = Dice(0x5eed_1121 + n as u64);
        let mut bytes = whole.clone();
        for _ in 0..=dice.roll(3) {
            change(&mut bytes, BODY_PIECES, &mut dice);
        }
        let said = scene.say(bytes.clone()).await;
        if said.allow {
            let call: Value = serde_json::from_slice(&bytes).unwrap();
            let is_other = call["RequestMethod"] != "POST" || call["RequestUri"] != "/v1.41/containers/create" || {
                let body = Base64::decode_vec(call["RequestBody"].as_str().unwrap()).unwrap();
                serde_json::from_slice::<Value>(&body).unwrap()["Image"] != "evil:v1"
            };
            assert!(is_other, "{n}: {}", String::from_utf8_lossy(&bytes));
        }
    }
}
