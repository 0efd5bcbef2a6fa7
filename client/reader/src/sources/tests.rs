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

fn wanted(limit: u64, is_stated: bool) -> Wanted {
    Wanted { version: trust_tuf::Version::new(1).unwrap(), limit, is_stated }
}

/// Has no file in one piece, and these pieces of every one.
struct InPieces(Vec<Bytes>);

struct Rest(std::vec::IntoIter<Bytes>);

impl crate::transport::Pieces for Rest {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Option<Bytes>, FetchError>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(self.0.next())))
    }
}

impl Transport for InPieces {
    async fn fetch(&self, _: &str, _: u64) -> Result<Bytes, FetchError> {
        Err(FetchError::NotFound)
    }

    async fn open(&self, _: &str, _: u64) -> Result<crate::transport::Body, FetchError> {
        Ok(Box::new(Rest(self.0.clone().into_iter())))
    }
}

#[tokio::test]
async fn a_large_file_of_a_stated_length_is_laid_down_piece_by_piece_and_never_beyond_its_length() {
    let whole: Vec<u8> = (0..LARGE + 7).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let pieces: Vec<Bytes> = whole.chunks(70_000).map(Bytes::copy_from_slice).collect();
    let layout = Layout::foreign("", "");
    let ask = async |pieces: &[Bytes], limit: u64, is_stated: bool| {
        let sources = Sources::one(InPieces(pieces.to_vec()));
        let mut remote = Remote::new(&sources, &layout, Duration::from_secs(60));
        let file = remote.first(None, "targets.json", wanted(limit, is_stated), |file| Ok(Arc::<[u8]>::from(file)));
        file.await.map(|(_, file)| file).map_err(|failure| match failure {
            Failure::Fetch { error, .. } => error,
            other => panic!("{other:?}"),
        })
    };
    let length = LARGE + 7;
    assert_eq!(*ask(&pieces, length, true).await.unwrap(), *whole);
    // One that ends early is what came, and nothing that did not.
    let (early, ended) = (&pieces[..3], &whole[..210_000]);
    assert_eq!(*ask(early, length, true).await.unwrap(), *ended);
    assert!(ask(&[], length, true).await.unwrap().is_empty());
    // A transport that forgets its limit.
    let more = [&pieces[..], &[Bytes::from_static(b"x")]].concat();
    assert_eq!(ask(&more, length, true).await, Err(FetchError::TooLarge { limit: length }));
    assert_eq!(ask(&pieces, LARGE, true).await, Err(FetchError::TooLarge { limit: LARGE }));
    // Small ones, and those of which nobody says how long they are, are fetched in one piece.
    for (limit, is_stated) in [(LARGE - 1, true), (length, false)] {
        assert_eq!(ask(&pieces, limit, is_stated).await, Err(FetchError::NotFound));
    }
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
    let file = remote.first(None, "timestamp.json", wanted(10, false), |_| Ok(())).await;
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
