//! Memory for any hostile answer: the shipped `trust`, as a process of its own, holds at most what it may read of the answer and
//! 16 MB more than it does when it is idle.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use trust_tests::bench::process::ONCE;
use trust_tests::hostile::{self, Home, Hostile, Step};
use trust_tests::simulator::{Delegate, Repository};
use trust_tuf::limits;

/// What a process may hold beside the answer, over an idle one.
const ROOM: u64 = 16_000_000;
/// Done, no policy in the way.
const DONE: i32 = 0;

/// A repository with a signed image; lengths and hashes are stated or not.
fn repository(stated: bool) -> Repository {
    let mut repo = Repository::new();
    repo.hashes = stated;
    let key = repo.new_key();
    repo.delegate("targets", &Delegate::new("alice", &key, &["api/*"]));
    repo.add_target("alice", "api/v1", b"content");
    repo.role("targets").bump();
    repo.publish();
    repo.publish_next_root();
    repo
}

/// Peak memory in bytes and exit code of one run, as the kernel counted them: the run is the only child of a process of its own.
fn peak(command: &Command) -> (u64, i32) {
    let mut outer = Command::new(env!("CARGO_BIN_EXE_trust-bench"));
    outer.arg(ONCE).arg(command.get_program()).args(command.get_args()).env_clear();
    outer.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = outer.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let words: Vec<i64> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert_eq!(words.len(), 4, "{text}");
    (u64::try_from(words[2]).unwrap() * 1_024, i32::try_from(words[3]).unwrap())
}

fn idle(home: &Home) -> u64 {
    let (peak, exit) = peak(&home.trust(&["version"]));
    assert_eq!(exit, DONE);
    peak
}

const ARGUMENTS: [&str; 4] = ["resolve", "registry.example.com/pay/api:v1", "--timeout", "60s"];

/// Runs an update against a server that does this with one file, and says how much memory that took over an idle process.
fn over_idle(repo: &Repository, file: &str, steps: Vec<Step>) -> (u64, i32) {
    let wanted = file.to_owned();
    let server = Hostile::wire(Arc::new(repo.wire.copy()), move |name| (name == wanted).then(|| steps.clone()));
    let home = Home::new(&repo.pinned, &format!("server = \"{}\"", server.url()));
    let (peak, exit) = peak(&home.trust(&ARGUMENTS));
    (peak.saturating_sub(idle(&home)), exit)
}

fn file(repo: &Repository, wanted: &str) -> String {
    repo.wire.names().into_iter().rfind(|name| name.ends_with(wanted)).unwrap()
}

fn roles(repo: &Repository) -> Vec<(String, u64)> {
    vec![
        ("2.root.json".to_owned(), limits::ROOT_BYTES),
        ("timestamp.json".to_owned(), limits::TIMESTAMP_BYTES),
        (file(repo, ".snapshot.json"), limits::SNAPSHOT_BYTES),
        (file(repo, ".targets.json"), limits::TARGETS_BYTES),
        (file(repo, ".alice.json"), limits::TARGETS_BYTES),
    ]
}

fn chunked(bytes: &[u8], size: usize) -> Vec<Step> {
    let mut out = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in bytes.chunks(size) {
        out.extend(format!("{:x}\r\n", piece.len()).bytes());
        out.extend(piece);
        out.extend(b"\r\n");
    }
    out.extend(b"0\r\n\r\n");
    vec![Step::Say(out)]
}

/// Cuts or fills a text to exactly this length: the longest that is read.
fn up_to(limit: u64, mut text: String) -> String {
    let limit = usize::try_from(limit).unwrap();
    if text.len() > limit {
        text.truncate(limit);
    }
    text.extend(std::iter::repeat_n(' ', limit - text.len()));
    text
}

fn many(count: usize, item: impl Fn(usize) -> String) -> String {
    (0..count).map(item).collect::<Vec<_>>().join(",")
}

/// A targets file with this as its delegations, which nobody signed.
fn unsigned(delegations: &str) -> String {
    format!(
        "{{\"signatures\":[],\"signed\":{{\"_type\":\"targets\",\"delegations\":{delegations},\
         \"expires\":\"2040-01-01T00:00:00Z\",\"spec_version\":\"1.0.31\",\"targets\":{{}},\"version\":1}}}}"
    )
}

/// Bodies that are hard on a reader, by name; each is cut or filled to the limit.
fn bodies(limit: u64) -> Vec<(&'static str, String)> {
    let signature = |n: usize| format!("{{\"keyid\":\"{n}\",\"sig\":\"\"}}");
    let role =
        |n: usize| format!("{{\"keyids\":[],\"name\":\"{n}\",\"paths\":[],\"terminating\":false,\"threshold\":1}}");
    let key = |n: usize| format!("\"{n}\":{{\"keytype\":\"x\",\"keyval\":{{}},\"scheme\":\"x\"}}");
    let target = |n: usize| format!("\"{n:06}\":{{\"hashes\":{{\"sha256\":\"{}\"}},\"length\":1}}", "0".repeat(64));
    vec![
        ("100,000 signatures", format!("{{\"signatures\":[{}],\"signed\":{{}}}}", many(100_000, signature))),
        ("100,000 delegations", unsigned(&format!("{{\"keys\":{{}},\"roles\":[{}]}}", many(65_000, role)))),
        ("100,000 keys", unsigned(&format!("{{\"keys\":{{{}}},\"roles\":[]}}", many(100_000, key)))),
        (
            "100,000 patterns",
            unsigned(&format!(
                "{{\"keys\":{{}},\"roles\":[{{\"keyids\":[],\"name\":\"a\",\"paths\":[{}],\"terminating\":false,\"threshold\":1}}]}}",
                many(1_000_000, |_| "\"\"".to_owned())
            )),
        ),
        (
            "many targets",
            unsigned("{\"keys\":{},\"roles\":[]}").replace("\"targets\":{}", &format!("\"targets\":{{{}}}", many(45_000, target))),
        ),
        ("nesting 100,000", "[".repeat(100_000)),
        ("nesting 100,000 in a member", format!("{{\"x\":{}", "{\"x\":".repeat(100_000))),
        ("one long string", format!("{{\"x\":\"{}", "\\u00e9".repeat(900_000))),
        ("many small members", format!("{{\"signed\":{{{}}}}}", many(400_000, |n| format!("\"{n}\":0")))),
    ]
    .into_iter()
    .map(|(name, body)| (name, up_to(limit, body)))
    .collect()
}

#[test]
fn a_good_answer_is_read_in_little_memory() {
    let repo = repository(false);
    let server = Hostile::wire(Arc::new(repo.wire.copy()), |_| None);
    let home = Home::new(&repo.pinned, &format!("server = \"{}\"", server.url()));
    let (peak, exit) = peak(&home.trust(&ARGUMENTS));
    assert_eq!(exit, DONE, "{:?}", home.trust(&ARGUMENTS).output());
    let over = peak.saturating_sub(idle(&home));
    println!("good: {over} bytes over idle");
    assert!(over < ROOM, "{over}");
}

#[test]
fn endless_bodies_take_no_more_than_the_limit_of_their_role_and_a_little_room() {
    let repo = repository(false);
    for (file, limit) in roles(&repo) {
        for (name, steps) in [
            ("64 MiB with their length", hostile::mebibytes(64, true)),
            ("64 MiB without length", hostile::mebibytes(64, false)),
            ("64 MiB said, and cut", hostile::stated(64 << 20, b"{")),
            ("a gzip bomb", {
                let mut steps = vec![hostile::say("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f")];
                steps.push(Step::Repeat(vec![0; 1 << 16], 1_024, Duration::ZERO));
                steps
            }),
            (
                "a head of 64 MiB",
                vec![hostile::say("HTTP/1.1 200 OK\r\nX: "), Step::Repeat(vec![b'x'; 1 << 16], 1_024, Duration::ZERO)],
            ),
            (
                "100,000 heads",
                vec![hostile::say("HTTP/1.1 200 OK\r\n"), Step::Repeat(b"X: y\r\n".repeat(1_000), 100, Duration::ZERO)],
            ),
        ] {
            let (over, exit) = over_idle(&repo, &file, steps);
            println!("{file}: {name}: {over} bytes over idle, exit {exit}");
            assert_ne!(exit, DONE, "{file}: {name}");
            assert!(over <= limit + ROOM, "{file}: {name}: {over} over idle, {} are allowed", limit + ROOM);
        }
    }
}

#[test]
fn bodies_that_are_hard_to_parse_take_no_more_either() {
    let repo = repository(false);
    for (file, limit) in roles(&repo) {
        for (name, body) in bodies(limit) {
            let mut ways = vec![("whole", hostile::ok(body.as_bytes()))];
            if name == "100,000 signatures" {
                ways.push(("in tiny chunks", chunked(&body.as_bytes()[..body.len().min(100_000)], 1)));
            }
            for (way, steps) in ways {
                let (over, exit) = over_idle(&repo, &file, steps);
                println!("{file}: {name}, {way}: {over} bytes over idle, exit {exit}");
                assert_ne!(exit, DONE, "{file}: {name}");
                assert!(over <= limit + ROOM, "{file}: {name}, {way}: {over} over idle, {} are allowed", limit + ROOM);
            }
        }
    }
}

/// The longest file that is read at all: its length stands, signed, in the snapshot. What comes has another hash.
#[test]
fn a_stated_length_of_64_mb_that_is_really_sent_takes_no_more_than_that_and_a_little_room() {
    let mut repo = repository(true);
    let name = file(&repo, ".targets.json");
    let entry = ["meta", "targets.json", "length"];
    repo.role("snapshot").set(&entry, limits::STATED_BYTES);
    repo.role("snapshot").bump();
    repo.write_snapshot();
    repo.role("timestamp").bump();
    repo.write("timestamp");
    for with_length in [true, false] {
        let (over, exit) = over_idle(&repo, &name, hostile::mebibytes(64, with_length));
        println!("64 MiB, length {with_length}: {over} bytes over idle, exit {exit}");
        assert_eq!(exit, 12, "its hash is another one");
        assert!(over <= limits::STATED_BYTES + ROOM, "{over} over idle");
    }
}
