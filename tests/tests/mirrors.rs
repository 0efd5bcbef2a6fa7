//! A server and its mirrors: a corrupt, slow or stale place does not stop a good one, in whatever order they stand, and a hostile
//! one cannot make the result worse than the good one alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use trust_reader::anchor::{self, Anchor};
use trust_reader::http::{HttpOptions, HttpTransport};
use trust_reader::layout::Layout;
use trust_reader::reader::{Options, Reader};
use trust_reader::sources::{SourceState, Sources};
use trust_reader::state::StateStore;
use trust_reader::transport::{FetchError, Transport};
use trust_reader::verdict::Problem;
use trust_tests::hostile::{self, Hostile, Step};
use trust_tests::simulator::reader::WireTransport;
use trust_tests::simulator::{Delegate, Fault, Repository, Wire, days, now};
use trust_tuf::CollectionName;
use trust_tuf::model::Role;

const SERVER: &str = "https://server.example";
const MIRROR: &str = "https://mirror.example";
/// The time of one update.
const PATIENCE: Duration = Duration::from_secs(3);

/// A wire with an address, that perhaps never answers for some files.
#[derive(Clone)]
struct Place {
    address: &'static str,
    wire: Arc<Wire>,
    silent: &'static str,
}

impl Place {
    fn at(address: &'static str, wire: &Arc<Wire>) -> Self {
        Self { address, wire: Arc::clone(wire), silent: "no file" }
    }
}

impl Transport for Place {
    async fn fetch(&self, path: &str, limit: u64) -> Result<tough::Bytes, FetchError> {
        if path.ends_with(self.silent) {
            std::future::pending::<()>().await;
        }
        WireTransport(Arc::clone(&self.wire)).fetch(path, limit).await
    }

    fn describe(&self) -> String {
        self.address.to_owned()
    }
}

/// A client with its state, which updates from any places.
struct Client {
    anchor: Anchor,
    folder: TempDir,
    runtime: tokio::runtime::Runtime,
}

fn collection() -> CollectionName {
    CollectionName::parse("registry.example.com/pay").unwrap()
}

impl Client {
    fn new(repo: &Repository) -> Self {
        Self {
            anchor: Anchor { collection: collection(), root: repo.pinned.clone() },
            folder: TempDir::new().unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
        }
    }

    fn updated<T: Transport>(&self, sources: Sources<T>, layout: Option<Layout>) -> Result<Reader<T>, Problem> {
        let store = StateStore::open_at(&self.folder.path().join("state"), "mirrors", Duration::from_secs(5)).unwrap();
        let options = Options { layout, patience: PATIENCE, ..Options::default() };
        self.runtime.block_on(Reader::refresh_from(self.anchor.clone(), store, sources, now(), options))
    }

    fn update(&self, places: &[Place]) -> Result<Reader<Place>, Problem> {
        let (server, mirrors) = places.split_first().unwrap();
        self.updated(Sources::new(server.clone(), mirrors.to_vec()), Some(Layout::foreign("", "targets/")))
    }

    /// The kept files, without the record of when they came.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(self.folder.path().join("state")).unwrap().flatten();
        let named = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
        named
            .filter(|(name, _)| name.ends_with(".json"))
            .map(|(name, path)| (name, std::fs::read(path).unwrap()))
            .collect()
    }

    /// The role that lists the image, by an update from these places and a look-up.
    fn who_signed(&self, places: &[Place]) -> Result<Option<String>, Problem> {
        let mut reader = self.update(places)?;
        let outcome = self.runtime.block_on(reader.lookup("api/v1"))?;
        Ok(outcome.hit().map(|statement| statement.role.clone()))
    }
}

/// Version 1 as it was, and version 2 of everything, with a root that was rotated.
struct Scene {
    repo: Repository,
    old: Arc<Wire>,
}

impl Scene {
    fn new() -> Self {
        let mut repo = Repository::new();
        let key = repo.new_key();
        repo.delegate("targets", &Delegate::new("alice", &key, &["api/*"]));
        repo.role("targets").bump();
        repo.publish();
        let old = Arc::new(repo.wire.copy());
        repo.add_target("alice", "api/v1", b"content");
        repo.role("alice").bump();
        let root_key = repo.new_key();
        repo.set_keys("root", &[root_key], 1);
        repo.publish_next_root();
        repo.publish();
        Self { repo, old }
    }

    fn good(&self) -> Arc<Wire> {
        Arc::new(self.repo.wire.copy())
    }

    fn newest(&self) -> u64 {
        self.repo.role_version("timestamp")
    }

    fn names(&self) -> Vec<String> {
        self.repo.wire.names()
    }

    /// Everything that one bad place can do, by name.
    fn bad(&self) -> Vec<(&'static str, Place)> {
        let place = |change: &dyn Fn(&Wire)| {
            let wire = self.good();
            change(&wire);
            Place::at(MIRROR, &wire)
        };
        let all = |fault: Fault| place(&|wire| self.names().iter().for_each(|name| wire.fault(name, fault.clone())));
        let one = |end: &str, fault: Fault| {
            place(&|wire| {
                for name in self.names().iter().filter(|name| name.ends_with(end)) {
                    wire.fault(name, fault.clone());
                }
            })
        };
        let next_root = "2.root.json";
        let timestamp = self.repo.wire.file("timestamp.json").unwrap();
        let flipped = String::from_utf8(timestamp).unwrap().replace("\"sig\":\"", "\"sig\":\"00");
        let stranger = Repository::new();
        let mut places = vec![
            ("garbage everywhere", all(Fault::Bytes(b"<html>".to_vec()))),
            ("500 for everything", all(Fault::Status(500))),
            ("403 for everything", all(Fault::Status(403))),
            ("nothing at all", Place::at(MIRROR, &Arc::default())),
            ("500 for the next root", one(next_root, Fault::Status(500))),
            ("403 for the next root", one(next_root, Fault::Status(403))),
            ("reset on the next root", one(next_root, Fault::Reset)),
            ("404 for the next root", one(next_root, Fault::Status(404))),
            ("500 after the last root", place(&|wire| wire.fault("3.root.json", Fault::Status(500)))),
            ("a root that nobody signed", one(next_root, Fault::Bytes(stranger.pinned.clone()))),
            ("a timestamp that nobody signed", one("timestamp.json", Fault::Bytes(flipped.into_bytes()))),
            ("no timestamp", one("timestamp.json", Fault::Status(404))),
            ("64 MiB of timestamp", one("timestamp.json", Fault::Bytes(vec![b'{'; 64 << 20]))),
            ("no snapshot", one("snapshot.json", Fault::Status(404))),
            ("another snapshot", one("snapshot.json", Fault::Bytes(b"{}".to_vec()))),
            ("reset on targets", one("targets.json", Fault::Reset)),
            (
                "targets of another publication",
                one("targets.json", Fault::Bytes(self.old.file("1.targets.json").unwrap())),
            ),
            ("no delegated role", one("alice.json", Fault::Status(404))),
            ("another delegated role", one("alice.json", Fault::Bytes(b"{\"signatures\":[]}".to_vec()))),
            ("another repository", Place::at(MIRROR, &stranger.wire)),
            ("an older state", Place::at(MIRROR, &self.old)),
        ];
        for (name, silent) in [
            ("silent", ""),
            ("silent at the next root", next_root),
            ("silent at the timestamp", "timestamp.json"),
            ("silent at the snapshot", "snapshot.json"),
            ("silent at the role", "alice.json"),
        ] {
            places.push((name, Place { silent, ..Place::at(MIRROR, &self.good()) }));
        }
        places
    }
}

trait Versions {
    fn role_version(&self, role: &str) -> u64;
}

impl Versions for Repository {
    fn role_version(&self, role: &str) -> u64 {
        let bytes = self.wire.file(&format!("{role}.json")).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        value["signed"]["version"].as_u64().unwrap()
    }
}

fn orders(a: &Place, b: &Place) -> [[Place; 2]; 2] {
    [[a.clone(), b.clone()], [b.clone(), a.clone()]]
}

#[test]
fn no_bad_place_stops_a_good_one_wherever_it_stands() {
    let scene = Scene::new();
    let good = Place::at(SERVER, &scene.good());
    let alone = Client::new(&scene.repo);
    assert_eq!(alone.who_signed(std::slice::from_ref(&good)).unwrap().as_deref(), Some("alice"));
    for (name, bad) in scene.bad() {
        for (order, places) in orders(&good, &bad).into_iter().enumerate() {
            for warm in [false, true] {
                let client = Client::new(&scene.repo);
                if warm {
                    client.update(&[Place::at(SERVER, &scene.old)]).unwrap();
                }
                let began = Instant::now();
                let found =
                    client.who_signed(&places).unwrap_or_else(|p| panic!("{name}, {order}, {warm}: {}", p.text()));
                assert_eq!(found.as_deref(), Some("alice"), "{name}, {order}, {warm}");
                assert_eq!(client.files(), alone.files(), "{name}, {order}, {warm}: kept what the good one has");
                assert!(began.elapsed() < PATIENCE * 3, "{name}, {order}, {warm}: a place took more than its share");
            }
        }
    }
}

#[test]
fn where_all_places_fail_each_is_named_with_its_reason_and_nothing_is_kept_or_lost() {
    let scene = Scene::new();
    let client = Client::new(&scene.repo);
    let broken = scene.good();
    broken.fault("timestamp.json", Fault::Status(500));
    let resets = scene.good();
    resets.fault("timestamp.json", Fault::Reset);
    let places = [Place::at(SERVER, &broken), Place::at(MIRROR, &resets)];
    let problem = client.update(&places).unwrap_err();
    let text = problem.text();
    assert_eq!((problem.id(), problem.exit()), ("E3401", 34), "{text}");
    assert!(text.contains("https://server.example: timestamp.json: status 500"), "{text}");
    assert!(text.contains("https://mirror.example: timestamp.json: the answer was cut off"), "{text}");
    assert_eq!(client.files().keys().collect::<Vec<_>>(), ["root.json"], "the root that the server had was verified");
    broken.heal();
    assert_eq!(client.who_signed(&places).unwrap().as_deref(), Some("alice"));
}

#[test]
fn an_error_on_the_next_root_is_no_answer_whoever_gives_it() {
    let scene = Scene::new();
    for fault in [Fault::Status(500), Fault::Status(403), Fault::Reset, Fault::Bytes(b"{}".to_vec())] {
        let (server, mirror) = (scene.good(), scene.good());
        for wire in [&server, &mirror] {
            wire.fault("2.root.json", fault.clone());
        }
        let client = Client::new(&scene.repo);
        client.update(&[Place::at(SERVER, &server), Place::at(MIRROR, &mirror)]).unwrap_err();
        assert_eq!(client.files().keys().collect::<Vec<_>>(), ["root.json"], "{fault:?}");
    }
}

#[test]
fn a_mirror_without_the_collection_does_not_turn_an_outage_into_not_signed() {
    let scene = Scene::new();
    let (empty, down) = (Place::at(MIRROR, &Arc::default()), scene.good());
    for name in scene.names().iter().chain([&"3.root.json".to_owned()]) {
        down.fault(name, Fault::Reset);
    }
    for places in orders(&Place::at(SERVER, &down), &empty) {
        let problem = Client::new(&scene.repo).update(&places).unwrap_err();
        assert!(matches!(problem.exit(), 30 | 34), "{}", problem.text());
    }
    let nobody = Client::new(&scene.repo).update(&[Place::at(SERVER, &Arc::default()), empty.clone()]).unwrap_err();
    assert_eq!(nobody.id(), "E3604", "all of them say so: {}", nobody.text());
    // Nor does it hide what was verified before.
    let client = Client::new(&scene.repo);
    client.update(&[Place::at(SERVER, &scene.good())]).unwrap();
    let problem = client.update(&[Place::at(SERVER, &Arc::default()), empty]).unwrap_err();
    assert_eq!(problem.exit(), 34, "{}", problem.text());
}

#[test]
fn of_two_valid_states_the_newest_counts_wherever_it_is() {
    let scene = Scene::new();
    let (new, old) = (Place::at(SERVER, &scene.good()), Place::at(MIRROR, &scene.old));
    for (order, places) in orders(&new, &old).into_iter().enumerate() {
        let client = Client::new(&scene.repo);
        let reader = client.update(&places).unwrap();
        assert_eq!(reader.trusted().timestamp().version().get(), scene.newest(), "{order}");
        assert_eq!(reader.trusted().root().version().get(), 2, "a root that one of them hides is found at the other");
        let behind = reader.sources().iter().find(|source| source.address == MIRROR).unwrap();
        assert_eq!(behind.state, SourceState::Timestamp(trust_tests::simulator::World::version(scene.newest() - 1)));
        assert!(reader.warnings().is_empty(), "being behind is no fault: {:?}", reader.warnings());
        drop(reader);
        // What was seen cannot be taken back by all of them together.
        let problem = client.update(&[Place::at(SERVER, &scene.old), old.clone()]).unwrap_err();
        assert_eq!(problem.exit(), 15, "{}", problem.text());
    }
}

#[test]
fn a_mirror_that_shows_a_newer_timestamp_and_holds_back_its_files_stops_nobody_and_leaves_no_trace() {
    let mut scene = Scene::new();
    let server = Place::at(SERVER, &scene.good());
    let before = scene.newest();
    scene.repo.publish();
    for hidden in ["snapshot.json", "targets.json"] {
        let mirror = scene.good();
        for name in scene.names().iter().filter(|name| name.ends_with(hidden)) {
            mirror.fault(name, Fault::Status(404));
        }
        for places in orders(&server, &Place::at(MIRROR, &mirror)) {
            let client = Client::new(&scene.repo);
            if hidden == "snapshot.json" && places[0].address == MIRROR {
                // Where it is the server itself, its word stands.
                assert!(client.update(&places).is_err());
                continue;
            }
            let reader = client.update(&places).unwrap();
            let text = reader.warnings().join("\n");
            match hidden {
                // The targets did not change: whoever has the snapshot has all of it.
                "targets.json" => assert_eq!(reader.trusted().timestamp().version().get(), before + 1),
                _ => {
                    assert_eq!(reader.trusted().timestamp().version().get(), before);
                    assert!(text.contains("has a newer timestamp, but not its files"), "{text}");
                }
            }
            drop(reader);
            assert_eq!(client.who_signed(&places).unwrap().as_deref(), Some("alice"));
            let newer = [Place::at(SERVER, &scene.good())];
            let reader = client.update(&newer).unwrap();
            assert_eq!(reader.trusted().timestamp().version().get(), before + 1);
        }
    }
}

#[test]
fn an_older_mirror_does_not_stand_in_for_what_the_server_says_and_does_not_hand_over() {
    for fault in [Fault::Status(500), Fault::Status(404)] {
        let scene = Scene::new();
        let server = Arc::new(scene.repo.wire.copy());
        let file = scene.names().into_iter().rfind(|name| name.ends_with(".snapshot.json")).unwrap();
        server.fault(&file, fault);
        let (server, mirror) = (Place::at(SERVER, &server), Place::at(MIRROR, &scene.old));
        let client = Client::new(&scene.repo);
        let problem = client.who_signed(&[server, mirror.clone()]).expect_err("the older state of the mirror");
        assert!(problem.text().contains(&file), "{}", problem.text());
        // What the server said is kept: the mirror alone is a rollback now.
        assert_eq!(client.update(&[mirror]).unwrap_err().exit(), 15);
    }
}

#[test]
fn an_expired_place_is_passed_over_and_alone_it_is_expired() {
    let mut scene = Scene::new();
    let fresh = Place::at(SERVER, &scene.good());
    scene.repo.role("timestamp").set_expires(now().plus_secs(-1).unwrap());
    scene.repo.publish_timestamp();
    let expired = Place::at(MIRROR, &scene.good());
    for places in orders(&fresh, &expired) {
        let client = Client::new(&scene.repo);
        assert_eq!(client.who_signed(&places).unwrap().as_deref(), Some("alice"));
    }
    assert_eq!(Client::new(&scene.repo).update(&[expired.clone(), expired]).unwrap_err().exit(), 14);
    assert_eq!(days(1), 86_400);
}

#[test]
fn a_good_server_without_mirrors_is_asked_for_exactly_what_the_specification_says() {
    let scene = Scene::new();
    let (wire, client) = (scene.good(), Client::new(&scene.repo));
    client.update(&[Place::at(SERVER, &wire)]).unwrap();
    let newest = |role: &str| {
        let names = scene.names();
        names.into_iter().rfind(|name| name.ends_with(&format!(".{role}.json"))).unwrap()
    };
    let expected = ["2.root.json", "3.root.json", "timestamp.json", &newest("snapshot"), &newest("targets")];
    assert_eq!(wire.take_requests(), expected);
    client.update(&[Place::at(SERVER, &wire)]).unwrap();
    assert_eq!(wire.take_requests(), ["3.root.json", "timestamp.json"]);
}

#[test]
fn a_mirror_that_knows_nothing_new_costs_two_requests() {
    let scene = Scene::new();
    let (server, mirror, client) = (scene.good(), scene.good(), Client::new(&scene.repo));
    let places = [Place::at(SERVER, &server), Place::at(MIRROR, &mirror)];
    client.update(&places).unwrap();
    let _ = (server.take_requests(), mirror.take_requests());
    client.update(&places).unwrap();
    for wire in [server, mirror] {
        assert_eq!(wire.take_requests(), ["3.root.json", "timestamp.json"]);
    }
}

#[test]
fn a_target_comes_from_the_place_that_has_it() {
    let scene = Scene::new();
    let path = |wire: &Wire| wire.names().into_iter().find(|name| name.starts_with("targets/")).unwrap();
    for fault in [Fault::Status(404), Fault::Status(500), Fault::Reset, Fault::Bytes(b"conten7".to_vec())] {
        let broken = scene.good();
        broken.fault(&path(&broken), fault.clone());
        for places in orders(&Place::at(SERVER, &broken), &Place::at(MIRROR, &scene.good())) {
            let client = Client::new(&scene.repo);
            let mut reader = client.update(&places).unwrap();
            let outcome = client.runtime.block_on(reader.lookup("api/v1")).unwrap();
            let target = outcome.hit().unwrap().target.clone();
            let content = client.runtime.block_on(reader.content("api/v1", &target, 100)).unwrap();
            assert_eq!(content, "content", "{fault:?}");
        }
        let places = [Place::at(SERVER, &broken), Place::at(MIRROR, &broken)];
        let client = Client::new(&scene.repo);
        let mut reader = client.update(&places).unwrap();
        let outcome = client.runtime.block_on(reader.lookup("api/v1")).unwrap();
        let target = outcome.hit().unwrap().target.clone();
        let problem = client.runtime.block_on(reader.content("api/v1", &target, 100)).unwrap_err();
        assert!(problem.text().contains(SERVER) && problem.text().contains(MIRROR), "{}", problem.text());
    }
}

#[test]
fn a_delegated_role_that_no_place_has_names_all_of_them() {
    let scene = Scene::new();
    let broken = scene.good();
    for name in scene.names().iter().filter(|name| name.ends_with("alice.json")) {
        broken.fault(name, Fault::Status(404));
    }
    let client = Client::new(&scene.repo);
    let problem = client.who_signed(&[Place::at(SERVER, &broken), Place::at(MIRROR, &broken)]).unwrap_err();
    assert_eq!(problem.exit(), 34, "not `not signed`: {}", problem.text());
    assert!(problem.text().contains(SERVER) && problem.text().contains(MIRROR), "{}", problem.text());
}

#[test]
fn a_pinned_root_is_fetched_from_whoever_has_exactly_it() {
    let scene = Scene::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let fingerprint = anchor::fingerprint(&scene.repo.pinned);
    // The layout of a server: the wire has the files at its top.
    let served = |wire: &Arc<Wire>, address| Below { place: Place::at(address, wire) };
    let stranger = Repository::new();
    for bad in [Arc::default(), Arc::clone(&stranger.wire)] {
        for sources in [
            Sources::new(served(&bad, SERVER), [served(&scene.good(), MIRROR)]),
            Sources::new(served(&scene.good(), SERVER), [served(&bad, MIRROR)]),
        ] {
            let found = runtime.block_on(anchor::fetch_pinned_from(&sources, &collection(), &fingerprint)).unwrap();
            assert_eq!(found.root, scene.repo.pinned);
        }
    }
    let down = scene.good();
    down.fault("1.root.json", Fault::Status(500));
    for (server, mirror) in [(&down, &Arc::default()), (&Arc::default(), &down)] {
        let sources = Sources::new(served(server, SERVER), [served(mirror, MIRROR)]);
        let problem = runtime.block_on(anchor::fetch_pinned_from(&sources, &collection(), &fingerprint)).unwrap_err();
        assert_eq!(problem.exit(), 34, "an outage is no missing collection: {}", problem.text());
        assert!(problem.text().contains(SERVER) && problem.text().contains(MIRROR), "{}", problem.text());
    }
}

/// A wire whose files lie where a server has those of the collection.
struct Below {
    place: Place,
}

impl Transport for Below {
    async fn fetch(&self, path: &str, limit: u64) -> Result<tough::Bytes, FetchError> {
        let file = path.rsplit('/').next().unwrap_or_default();
        self.place.fetch(file, limit).await
    }

    fn describe(&self) -> String {
        self.place.describe()
    }
}

fn http(address: &str) -> HttpTransport {
    let options = HttpOptions { whole: PATIENCE, grace: Duration::from_millis(500), ..HttpOptions::default() };
    HttpTransport::new(address, options).unwrap()
}

/// The same over real connections, where a place can do worse than answer wrongly.
#[test]
fn over_http_no_bad_place_stops_a_good_one() {
    let scene = Scene::new();
    type Bad = fn(&str) -> Option<Vec<Step>>;
    let is_metadata = |name: &str| name.ends_with(".json");
    let bad: [(&str, Bad); 9] = [
        ("drips everything", |_| Some(hostile::drip(Duration::from_millis(200)))),
        ("drips the timestamp", |name| (name == "timestamp.json").then(|| hostile::drip(Duration::from_millis(200)))),
        ("is silent", |_| Some(vec![Step::Hold])),
        ("stops in the middle", |_| {
            Some(vec![hostile::say("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"), Step::Hold])
        }),
        ("redirects elsewhere", |_| Some(hostile::redirect("http://localhost:1/x"))),
        ("redirects in a circle", |_| Some(hostile::redirect("/again"))),
        ("never ends", |_| Some(hostile::mebibytes(80, false))),
        ("is no HTTP", |_| Some(vec![hostile::say("220 mail.example ESMTP\r\n")])),
        ("resets at the next root", |name| (name == "2.root.json").then(|| vec![Step::Reset])),
    ];
    assert!(is_metadata("timestamp.json"));
    let good = Hostile::wire(scene.good(), |_| None);
    let nobody = "http://127.0.0.1:1".to_owned();
    let servers: Vec<(&str, Hostile)> =
        bad.into_iter().map(|(name, act)| (name, Hostile::wire(scene.good(), act))).collect();
    let mut addresses: Vec<(&str, String)> = servers.iter().map(|(name, server)| (*name, server.url())).collect();
    addresses.push(("is not there", nobody));
    for (name, bad) in addresses {
        for places in [[good.url(), bad.clone()], [bad.clone(), good.url()]] {
            let client = Client::new(&scene.repo);
            let sources = Sources::new(http(&places[0]), [http(&places[1])]);
            let reader = client.updated(sources, None);
            let reader = reader.unwrap_or_else(|problem| panic!("{name}, {places:?}: {}", problem.text()));
            assert_eq!(reader.trusted().timestamp().version().get(), scene.newest(), "{name}");
        }
    }
}
