//! Time and bytes of one fetch, over real connections: each limit is reached, ends the update, and is named.

use std::sync::Arc;
use std::time::{Duration, Instant};

use trust_reader::anchor::Anchor;
use trust_reader::http::{HttpOptions, HttpTransport};
use trust_reader::reader::{Options, Reader};
use trust_reader::state::StateStore;
use trust_reader::transport::FetchError;
use trust_reader::verdict::Problem;
use trust_reader::{limits as transport, problems::Failure};
use trust_tests::hostile::{self, Hostile, Step};
use trust_tests::simulator::{Delegate, Repository, Wire, now};
use trust_tuf::{CollectionName, limits};

/// A repository that states no lengths, so that the limits of the roles hold, with a delegated role.
fn repository() -> Repository {
    let mut repo = Repository::new();
    repo.hashes = false;
    let key = repo.new_key();
    repo.delegate("targets", &Delegate::new("alice", &key, &["api/*"]));
    repo.add_target("alice", "api/v1", b"content");
    repo.role("targets").bump();
    repo.publish();
    repo.publish_next_root();
    repo
}

fn quick() -> HttpOptions {
    HttpOptions {
        connect: Duration::from_millis(700),
        idle: Duration::from_millis(800),
        whole: Duration::from_secs(4),
        grace: Duration::from_millis(900),
        ..HttpOptions::default()
    }
}

/// One update and a look-up against a server, with a state of its own.
fn update(repo: &Repository, address: &str, options: HttpOptions, patience: Duration) -> Result<(), Problem> {
    let folder = tempfile::tempdir().unwrap();
    let anchor =
        Anchor { collection: CollectionName::parse("registry.example.com/pay").unwrap(), root: repo.pinned.clone() };
    let store = StateStore::open(folder.path(), &anchor.collection).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let transport = HttpTransport::new(address, options).unwrap();
        let options = Options { patience, ..Options::default() };
        let mut reader = Reader::refresh_with(anchor, store, transport, now(), options).await?;
        reader.lookup("api/v1").await.map(|outcome| assert!(outcome.hit().is_some()))
    })
}

/// The error of an update in which this is done with one file.
fn refused(repo: &Repository, file: &'static str, steps: impl Fn() -> Vec<Step> + Send + Sync + 'static) -> Problem {
    let server = Hostile::wire(Arc::new(repo.wire.copy()), move |name| (name == file).then(&steps));
    let began = Instant::now();
    let problem = update(repo, &server.url(), quick(), Duration::from_secs(10)).unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(30), "{file}: it ends");
    problem
}

fn fetch_error(problem: &Problem) -> &FetchError {
    match problem.failure.as_deref() {
        Some(Failure::Fetch { error, .. }) => error,
        other => panic!("{other:?}: {}", problem.text()),
    }
}

/// File and limit of each role, none of whose lengths is stated.
fn roles(repo: &Repository) -> Vec<(&'static str, u64)> {
    let name = |wanted: &'static str| -> &'static str {
        let names = repo.wire.names();
        let found = names.into_iter().rfind(|name| name.ends_with(wanted)).unwrap();
        Box::leak(found.into_boxed_str())
    };
    vec![
        ("2.root.json", limits::ROOT_BYTES),
        ("timestamp.json", limits::TIMESTAMP_BYTES),
        (name(".snapshot.json"), limits::SNAPSHOT_BYTES),
        (name(".targets.json"), limits::TARGETS_BYTES),
        (name(".alice.json"), limits::TARGETS_BYTES),
    ]
}

#[test]
fn the_good_repository_is_read() {
    let repo = repository();
    let server = Hostile::wire(Arc::new(repo.wire.copy()), |_| None);
    update(&repo, &server.url(), quick(), Duration::from_secs(10)).unwrap();
}

/// How a body is sent.
type Way = fn(&[u8]) -> Vec<Step>;

#[test]
fn a_body_over_the_limit_of_its_role_names_the_limit_however_its_length_is_told() {
    let repo = repository();
    for (file, limit) in roles(&repo) {
        let over = vec![b' '; usize::try_from(limit).unwrap() + 1];
        let ways: [Way; 4] = [
            |body| hostile::ok(body),
            |body| hostile::without_length(body),
            // The stated end is before the real one: what comes after it is another answer, and this one no metadata.
            |body| hostile::stated(100, body),
            |body| {
                let mut steps = vec![hostile::say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")];
                steps.extend(body.chunks(7_919).flat_map(|piece| {
                    [hostile::say(&format!("{:x}\r\n", piece.len())), Step::Say(piece.to_vec()), hostile::say("\r\n")]
                }));
                steps.push(hostile::say("0\r\n\r\n"));
                steps
            },
        ];
        for (way, steps) in ways.into_iter().enumerate() {
            let body = over.clone();
            let problem = refused(&repo, file, move || steps(&body));
            if way == 2 {
                assert_eq!(problem.exit(), if file.contains("root") { 16 } else { 12 }, "{}", problem.text());
                continue;
            }
            assert_eq!(fetch_error(&problem), &FetchError::TooLarge { limit }, "{file} {way}");
            assert!(problem.text().contains(&format!("more than the limit of {limit} bytes")), "{}", problem.text());
            assert_eq!((problem.id(), problem.exit()), ("E3405", 34));
        }
    }
}

#[test]
fn a_length_that_promises_more_than_comes_is_a_cut_off_answer() {
    let repo = repository();
    for (file, _) in roles(&repo) {
        let bytes = repo.wire.file(file).unwrap();
        let problem = refused(&repo, file, move || hostile::stated(bytes.len() as u64 + 1, &bytes));
        assert_eq!(fetch_error(&problem), &FetchError::Truncated, "{file}");
    }
}

#[test]
fn a_stated_length_is_the_limit_where_it_is_smaller() {
    let mut repo = Repository::new();
    repo.publish();
    let wire: Arc<Wire> = Arc::new(repo.wire.copy());
    let snapshot = wire.names().into_iter().rfind(|name| name.ends_with("snapshot.json")).unwrap();
    let stated = wire.file(&snapshot).unwrap().len() as u64;
    let server = Hostile::wire(wire, move |name| (name == snapshot).then(|| hostile::mebibytes(64, false)));
    let problem = update(&repo, &server.url(), quick(), Duration::from_secs(10)).unwrap_err();
    assert_eq!(fetch_error(&problem), &FetchError::TooLarge { limit: stated });
}

#[test]
fn no_stated_length_goes_beyond_the_hard_cap() {
    let mut repo = Repository::new();
    repo.role("timestamp").set(&["meta", "snapshot.json", "length"], u64::MAX);
    repo.publish_timestamp();
    let server = Hostile::wire(Arc::new(repo.wire.copy()), |name| {
        name.ends_with("snapshot.json").then(|| hostile::mebibytes(65, false))
    });
    let problem = update(&repo, &server.url(), quick(), Duration::from_secs(60)).unwrap_err();
    assert_eq!(fetch_error(&problem), &FetchError::TooLarge { limit: limits::STATED_BYTES });
}

#[test]
fn one_byte_a_second_is_ended_by_the_least_rate_and_the_error_names_it() {
    let repo = repository();
    for (file, _) in roles(&repo) {
        let problem = refused(&repo, file, || hostile::drip(Duration::from_millis(300)));
        let text = problem.text();
        assert_eq!((problem.id(), problem.exit()), ("E3002", 30), "{text}");
        assert!(text.contains(&format!("slower than {} bytes a second", transport::LEAST_RATE)), "{file}: {text}");
    }
}

#[test]
fn a_server_that_accepts_and_never_answers_is_ended_by_the_idle_time() {
    let repo = repository();
    for (file, _) in roles(&repo) {
        let silent: fn() -> Vec<Step> = || vec![Step::Hold];
        let half: fn() -> Vec<Step> =
            || vec![hostile::say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), Step::Hold];
        for steps in [silent, half] {
            let problem = refused(&repo, file, steps);
            assert!(problem.text().contains("nothing came for 800ms"), "{file}: {}", problem.text());
        }
    }
}

#[test]
fn a_head_that_drips_is_ended_by_the_idle_time_which_holds_until_it_is_whole() {
    let repo = repository();
    let problem = refused(&repo, "timestamp.json", || {
        vec![
            hostile::say("HTTP/1.1 200 OK\r\nX-Long: "),
            Step::Repeat(b"x".to_vec(), 10_000, Duration::from_millis(100)),
        ]
    });
    assert!(problem.text().contains("nothing came for 800ms"), "{}", problem.text());
}

#[test]
fn a_head_without_end_is_refused() {
    let repo = repository();
    let problem = refused(&repo, "timestamp.json", || {
        vec![hostile::say("HTTP/1.1 200 OK\r\nX-Long: "), Step::Repeat(vec![b'x'; 65_536], 4_096, Duration::ZERO)]
    });
    assert_eq!(problem.exit(), 30, "{}", problem.text());
}

#[test]
fn a_handshake_that_never_comes_is_ended_by_the_time_to_connect() {
    let repo = repository();
    // Connections wait in its queue: nobody accepts them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://{}", silent.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let tls = trust_reader::tls::TlsOptions { ca_files: vec![ca] };
    let problem = update(&repo, &address, HttpOptions { tls, ..quick() }, Duration::from_secs(10)).unwrap_err();
    assert!(problem.text().contains("not connected within 700ms"), "{}", problem.text());
}

#[test]
fn the_whole_update_ends_in_its_time_though_each_file_comes_in_its_own() {
    let repo = repository();
    // Just fast enough for each limit of a single file.
    let server = Hostile::wire(Arc::new(repo.wire.copy()), |_| {
        Some(vec![
            hostile::say("HTTP/1.1 200 OK\r\n\r\n"),
            Step::Repeat(vec![b' '; 400], 10_000, Duration::from_millis(100)),
        ])
    });
    let options = HttpOptions { whole: Duration::from_secs(60), ..quick() };
    let began = Instant::now();
    let problem = update(&repo, &server.url(), options, Duration::from_secs(2)).unwrap_err();
    assert!(problem.text().contains("not complete within the "), "{}", problem.text());
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn redirects_are_followed_three_times_on_the_same_host_and_never_elsewhere() {
    let repo = repository();
    let hops = |count: usize| {
        let wire = repo.wire.copy();
        Hostile::serve(move |path, _| {
            let (name, hop) = path.split_once("?hop=").unwrap_or((path, "0"));
            let hop: usize = hop.parse().unwrap();
            let file = name.rsplit('/').next().unwrap_or_default();
            match wire.file(file) {
                Some(bytes) if hop >= count => hostile::ok(&bytes),
                Some(_) => hostile::redirect(&format!("{name}?hop={}", hop + 1)),
                None => hostile::status(404),
            }
        })
    };
    assert_eq!(transport::REDIRECTS, 3);
    update(&repo, &hops(transport::REDIRECTS).url(), quick(), Duration::from_secs(10)).unwrap();
    let server = hops(transport::REDIRECTS + 1);
    let problem = update(&repo, &server.url(), quick(), Duration::from_secs(10)).unwrap_err();
    assert_eq!(fetch_error(&problem), &FetchError::Redirects { limit: 3 });
    assert!(problem.text().contains("more than 3 redirects"), "{}", problem.text());
    for elsewhere in
        ["http://localhost:1/x", "http://127.0.0.2/x", "//other.example/x", "file:///etc/passwd", "ftp://127.0.0.1/x"]
    {
        let problem = refused(&repo, "timestamp.json", move || hostile::redirect(elsewhere));
        assert_eq!(fetch_error(&problem), &FetchError::Redirect, "{elsewhere}");
    }
}

#[test]
fn redirects_count_in_the_time_of_the_whole() {
    let repo = repository();
    let server = Hostile::serve(|_, _| {
        let mut steps = vec![Step::Repeat(b"".to_vec(), 1, Duration::from_millis(700))];
        steps.extend(hostile::redirect("/again"));
        steps
    });
    let options = HttpOptions { whole: Duration::from_millis(1_500), ..quick() };
    let problem = update(&repo, &server.url(), options, Duration::from_secs(10)).unwrap_err();
    assert!(problem.text().contains("not complete within 1.5s"), "{}", problem.text());
}

#[test]
fn a_compressed_answer_that_nobody_asked_for_is_refused_unread() {
    let repo = repository();
    for encoding in ["gzip", "zstd", "br", "deflate", "identity, gzip"] {
        let problem = refused(&repo, "timestamp.json", move || {
            vec![hostile::say(&format!(
                "HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: 9\r\n\r\n\x1f"
            ))]
        });
        assert_eq!(fetch_error(&problem), &FetchError::Encoding, "{encoding}");
    }
    let server = Hostile::wire(Arc::new(repo.wire.copy()), |_| None);
    update(&repo, &server.url(), quick(), Duration::from_secs(10)).unwrap();
    assert!(server.heads().iter().all(|head| !head.to_lowercase().contains("accept-encoding")), "none is asked for");
}
