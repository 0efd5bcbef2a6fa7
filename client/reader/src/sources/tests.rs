use super::*;
use crate::testing::{Repo, Server};

fn fetch(error: FetchError) -> Failure {
    Failure::Fetch { file: "timestamp.json".to_owned(), error }
}

fn of(failures: &[Failure]) -> Failure {
    combined(failures.iter().enumerate().map(|(at, f)| (format!("https://{at}"), f.clone())).collect())
}

#[test]
fn a_mirror_cannot_choose_what_a_failure_of_the_server_is_called() {
    let (down, other) = (fetch(FetchError::Forbidden), fetch(FetchError::Status(500)));
    assert_eq!(of(&[down.clone(), other.clone()]).main(), &down);
    assert_eq!(of(&[down.clone(), Failure::NoCollection]).main(), &down);
    assert_eq!(of(&[Failure::NoCollection, down.clone()]).main(), &down, "an outage is no missing collection");
    assert_eq!(of(&[Failure::NoCollection, Failure::NoCollection]).main(), &Failure::NoCollection);
    assert_eq!(of(std::slice::from_ref(&other)), other, "one place is no list");
    let text = of(&[down, other]).to_string();
    assert!(text.contains("https://0: ") && text.contains("https://1: "), "{text}");
}

#[test]
fn mirrors_that_are_no_addresses_or_name_a_place_twice_are_refused() {
    let check = |server: Option<&str>, mirrors: &[&str]| {
        check_mirrors(server, &mirrors.iter().map(|&m| m.to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(check(Some("https://s"), &["https://m", "http://127.0.0.1:1/x"]), Ok(()));
    for mirrors in [&["m.example"][..], &["ftp://m"], &["https://m?x"], &["https://m", "https://m/"], &["https://s/"]] {
        assert!(check(Some("https://s"), mirrors).is_err(), "{mirrors:?}");
    }
    let shown = check(None, &["https://user:s3cret@m"]).unwrap_err();
    assert!(!shown.contains("s3cret"), "{shown}");
    let many: Vec<String> = (0..=limits::MIRRORS).map(|n| format!("https://m{n}")).collect();
    assert!(check_mirrors(None, &many).unwrap_err().contains(&limits::MIRRORS.to_string()));
    assert!(check_mirrors(None, many.get(1..).unwrap()).is_ok());
}

/// Never answers.
struct Silent;

impl Transport for Silent {
    async fn fetch(&self, _: &str, _: u64) -> Result<Bytes, FetchError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_place_that_never_answers_gets_its_share_once_and_the_last_one_all_that_is_left() {
    let (sources, layout) = (Sources::new(Silent, [Silent, Silent]), Layout::foreign("", ""));
    let mut remote = Remote::new(&sources, &layout, Duration::from_millis(600));
    let began = Instant::now();
    let file = remote.first(None, "timestamp.json", 10, Ok).await;
    assert!(matches!(file.unwrap_err().main(), Failure::Fetch { error: FetchError::Timeout(TimeLimit::Share(_)), .. }));
    assert!(began.elapsed() < Duration::from_secs(3));
    for (place, least, most) in [(0, 150, 400), (1, 150, 400)] {
        let spent = remote.places.get(place).unwrap().spent;
        assert!(Duration::from_millis(least) < spent && spent < Duration::from_millis(most), "{place}: {spent:?}");
    }
}

#[tokio::test]
async fn what_is_asked_of_all_is_not_held_up_by_a_mirror_once_the_server_has_answered() {
    enum Either {
        Good(Server),
        Silent,
    }
    impl Transport for Either {
        async fn fetch(&self, path: &str, limit: u64) -> Result<Bytes, FetchError> {
            match self {
                Self::Good(server) => server.fetch(path, limit).await,
                Self::Silent => std::future::pending().await,
            }
        }
    }
    let (repo, layout) = (Repo::new(), Layout::foreign("", ""));
    let sources = Sources::new(Either::Good(repo.server.clone()), [Either::Silent]);
    let mut remote = Remote::new(&sources, &layout, Duration::from_secs(60));
    let began = Instant::now();
    let mut heard = Vec::new();
    let hear = |place, answer: Result<Bytes, FetchError>| {
        heard.push((place, answer.is_ok()));
        Ok(Heard::MoreMayCome)
    };
    remote.all("timestamp.json", 16_384, Caches::Allowed, None, hear).await;
    assert_eq!(heard, [(0, true)]);
    assert!(began.elapsed() >= limits::LAG && began.elapsed() < limits::LAG * 4);
    assert_eq!(remote.usable(), [0, 1], "late is not failed: it is the last resort");
}
