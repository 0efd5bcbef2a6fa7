use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tempfile::TempDir;
use trust_tuf::Hashes;
use trust_tuf::model::sha256;

use super::*;
use crate::reader::Options;
use crate::testing::{Repo, Server, now, open};
use crate::transport::Pieces;

const CONTENT: &[u8] = b"what was signed";

fn info(bytes: &[u8]) -> TargetInfo {
    TargetInfo { length: bytes.len() as u64, hashes: Hashes::of(bytes), custom: None }
}

fn served(path: &str, bytes: &[u8]) -> String {
    let hash = hex::encode(sha256(bytes));
    match path.rsplit_once('/') {
        Some((folder, name)) => format!("_targets/{folder}/{hash}.{name}"),
        None => format!("_targets/{hash}.{path}"),
    }
}

/// Everything below a folder, by path: contents of files, where links lead.
fn below(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(at) = waiting.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            match path.symlink_metadata().unwrap().file_type() {
                kind if kind.is_dir() => waiting.push(path),
                kind if kind.is_symlink() => found.push((name, b"a link".to_vec())),
                _ => found.push((name, std::fs::read(path).unwrap())),
            }
        }
    }
    found.sort();
    found
}

fn one(name: &str, bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    vec![(name.to_owned(), bytes.to_vec())]
}

struct Scene {
    _state: TempDir,
    dir: TempDir,
    folder: TargetFolder,
    server: Server,
    reader: Reader<Server>,
}

impl Scene {
    async fn new(targets: &[(&str, &[u8])]) -> Self {
        let mut repo = Repo::new();
        for (path, bytes) in targets {
            repo.targets.insert((*path).to_owned(), info(bytes));
            repo.server.put(&served(path, bytes), bytes.to_vec());
        }
        repo.bump();
        let (state, dir) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let reader = repo.refresh(state.path()).await.unwrap();
        let folder = TargetFolder::open(&dir.path().join("targets")).unwrap();
        repo.server.asked();
        Self { _state: state, dir, folder, server: repo.server.clone(), reader }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("targets")
    }

    async fn get(&mut self, path: &str) -> Result<Downloaded, Failure> {
        let target = self.reader.find(path).await.unwrap().expect("it is listed").target;
        self.reader.bring(path, &target, &self.folder).await
    }
}

fn reason(result: Result<Downloaded, Failure>) -> Reason {
    match result {
        Err(Failure::Update(error)) => error.reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_target_lands_under_its_own_path_and_is_asked_for_by_its_hash() {
    let mut scene = Scene::new(&[("dir/sub/a b.txt", CONTENT)]).await;
    let asked = served("dir/sub/a%20b.txt", CONTENT);
    scene.server.put(&asked, CONTENT.to_vec());
    assert_eq!(scene.get("dir/sub/a b.txt").await, Ok(Downloaded::Fetched));
    assert_eq!(below(&scene.path()), one("dir/sub/a b.txt", CONTENT));
    assert_eq!(scene.server.asked(), [asked]);
}

#[tokio::test]
async fn a_substituted_target_is_refused_and_nothing_of_it_stays() {
    let mut scene = Scene::new(&[("a.txt", CONTENT)]).await;
    let same_length = vec![b'x'; CONTENT.len()];
    scene.server.put(&served("a.txt", CONTENT), same_length);
    assert_eq!(reason(scene.get("a.txt").await), Reason::Hash);
    scene.server.put(&served("a.txt", CONTENT), CONTENT[1..].to_vec());
    assert!(matches!(reason(scene.get("a.txt").await), Reason::Length { expected: 15, got: 14 }));
    scene.server.put(&served("a.txt", CONTENT), [CONTENT, b"!"].concat());
    assert!(matches!(scene.get("a.txt").await, Err(Failure::Fetch { error: FetchError::TooLarge { limit: 15 }, .. })));
    assert_eq!(below(&scene.path()), []);
}

#[tokio::test]
async fn a_refused_new_version_leaves_the_old_one_and_a_good_one_takes_its_place() {
    let scene = Scene::new(&[]).await;
    let bring = async |bytes: &[u8], sent: &[u8]| {
        scene.server.put(&served("a.txt", bytes), sent.to_vec());
        scene.reader.bring("a.txt", &info(bytes), &scene.folder).await
    };
    bring(b"one", b"one").await.unwrap();
    assert!(bring(b"two", b"bad").await.is_err());
    assert_eq!(below(&scene.path()), one("a.txt", b"one"));
    bring(b"two", b"two").await.unwrap();
    assert_eq!(below(&scene.path()), one("a.txt", b"two"));
}

#[tokio::test]
async fn a_file_that_is_there_is_used_without_a_request_only_while_it_is_the_target() {
    let mut scene = Scene::new(&[("d/a.txt", CONTENT)]).await;
    assert_eq!(scene.get("d/a.txt").await, Ok(Downloaded::Fetched));
    scene.server.asked();
    assert_eq!(scene.get("d/a.txt").await, Ok(Downloaded::Kept));
    assert_eq!(scene.server.asked(), [""; 0]);
    for planted in [vec![b'x'; CONTENT.len()], Vec::new(), [CONTENT, CONTENT].concat()] {
        std::fs::write(scene.path().join("d/a.txt"), planted).unwrap();
        assert_eq!(scene.get("d/a.txt").await, Ok(Downloaded::Fetched));
        assert_eq!(below(&scene.path()), one("d/a.txt", CONTENT));
    }
}

#[tokio::test]
async fn every_known_hash_must_fit_also_of_a_file_that_is_there() {
    let scene = Scene::new(&[]).await;
    let mut target = info(CONTENT);
    let right: [u8; 64] = digest::digest(&digest::SHA512, CONTENT).as_ref().try_into().unwrap();
    target.hashes.sha512 = Some([7; 64]);
    scene.server.put(&served("a.txt", CONTENT), CONTENT.to_vec());
    std::fs::write(scene.path().join("a.txt"), CONTENT).unwrap();
    // By either name, this is not what was signed.
    let other = format!("_targets/{}.a.txt", hex::encode([7; 64]));
    scene.server.put(&other, CONTENT.to_vec());
    assert_eq!(reason(scene.reader.bring("a.txt", &target, &scene.folder).await), Reason::Hash);
    assert_eq!(scene.server.asked(), [served("a.txt", CONTENT), other]);

    std::fs::remove_file(scene.path().join("a.txt")).unwrap();
    target.hashes = Hashes { sha256: None, sha512: Some(right) };
    scene.server.put(&format!("_targets/{}.a.txt", hex::encode(right)), CONTENT.to_vec());
    assert_eq!(scene.reader.bring("a.txt", &target, &scene.folder).await, Ok(Downloaded::Fetched));
    assert_eq!(scene.reader.bring("a.txt", &target, &scene.folder).await, Ok(Downloaded::Kept));
}

#[tokio::test]
async fn a_target_without_a_known_hash_is_refused_and_not_even_asked_for() {
    let scene = Scene::new(&[]).await;
    let target = TargetInfo { length: CONTENT.len() as u64, hashes: Hashes::default(), custom: None };
    std::fs::write(scene.path().join("a.txt"), CONTENT).unwrap();
    assert_eq!(reason(scene.reader.bring("a.txt", &target, &scene.folder).await), Reason::Hash);
    assert_eq!(scene.server.asked(), [""; 0]);
}

#[tokio::test]
async fn a_path_that_could_leave_the_folder_is_refused_before_anything_is_asked_or_written() {
    let scene = Scene::new(&[]).await;
    for path in ["../x", "/x", "a/../../x", "a//b", "./a", "a/.", "", "a\\b", "a\0b", "a\nb"] {
        let result = scene.reader.bring(path, &info(CONTENT), &scene.folder).await;
        assert!(matches!(result, Err(Failure::Lookup(LookupError::Path { .. }))), "{path:?}: {result:?}");
    }
    let long = format!("d/{}", "n".repeat(300));
    scene.server.put(&served(&long, CONTENT), CONTENT.to_vec());
    let result = scene.reader.bring(&long, &info(CONTENT), &scene.folder).await;
    assert!(matches!(result, Err(Failure::Target(_))), "{result:?}");
    assert_eq!(scene.server.asked(), [""; 0]);
    assert_eq!(below(scene.dir.path()), []);
}

#[tokio::test]
async fn a_link_planted_on_the_way_is_not_followed() {
    let mut scene = Scene::new(&[("d/a.txt", CONTENT)]).await;
    let outside = scene.dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("a.txt"), CONTENT).unwrap();
    std::os::unix::fs::symlink(&outside, scene.path().join("d")).unwrap();
    // Not even what fits is believed behind a link.
    let result = scene.get("d/a.txt").await;
    assert!(matches!(&result, Err(Failure::Target(TargetError { why: Why::NoFolder, .. }))), "{result:?}");
    assert_eq!(below(&outside), one("a.txt", CONTENT));
    assert_eq!(below(&scene.path()), one("d", b"a link"));
}

#[tokio::test]
async fn a_link_planted_under_the_name_is_replaced_and_what_it_leads_to_untouched() {
    let mut scene = Scene::new(&[("a.txt", CONTENT), ("b.txt", CONTENT)]).await;
    let outside = scene.dir.path().join("outside");
    std::fs::write(&outside, b"mine").unwrap();
    std::os::unix::fs::symlink(&outside, scene.path().join("a.txt")).unwrap();
    std::os::unix::fs::symlink(scene.dir.path().join("nowhere"), scene.path().join("b.txt")).unwrap();
    assert_eq!(scene.get("a.txt").await, Ok(Downloaded::Fetched));
    assert_eq!(scene.get("b.txt").await, Ok(Downloaded::Fetched));
    assert_eq!(std::fs::read(&outside).unwrap(), b"mine");
    assert!(!scene.dir.path().join("nowhere").exists());
    let both = [one("a.txt", CONTENT), one("b.txt", CONTENT)].concat();
    assert_eq!(below(&scene.path()), both);
}

#[tokio::test]
async fn a_folder_under_the_name_is_an_error_and_stays() {
    let mut scene = Scene::new(&[("d", CONTENT), ("f/a.txt", CONTENT)]).await;
    std::fs::create_dir_all(scene.path().join("d/inside")).unwrap();
    std::fs::write(scene.path().join("f"), b"a file").unwrap();
    let why = |result: Result<Downloaded, Failure>| match result {
        Err(Failure::Target(error)) => error.why,
        other => panic!("{other:?}"),
    };
    assert_eq!(why(scene.get("d").await), Why::Folder);
    assert_eq!(why(scene.get("f/a.txt").await), Why::NoFolder);
    assert_eq!(below(&scene.path()), one("f", b"a file"));
}

#[tokio::test]
async fn offline_a_kept_target_is_used_and_another_one_is_no_network_error() {
    let mut repo = Repo::new();
    repo.targets.insert("a.txt".to_owned(), info(CONTENT));
    repo.bump();
    let (state, dir) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    drop(repo.refresh(state.path()).await.unwrap());
    let reader: Reader<Server> = Reader::offline(repo.anchor(), open(state.path()), now()).unwrap();
    let folder = TargetFolder::open(dir.path()).unwrap();
    assert_eq!(reader.bring("a.txt", &info(CONTENT), &folder).await, Err(Failure::NothingStored));
    std::fs::write(dir.path().join("a.txt"), CONTENT).unwrap();
    assert_eq!(reader.bring("a.txt", &info(CONTENT), &folder).await, Ok(Downloaded::Kept));
}

#[tokio::test]
async fn the_plain_search_reserves_no_path_and_follows_any_depth() {
    let mut repo = Repo::new();
    repo.targets.insert("_policy/rules".to_owned(), info(CONTENT));
    repo.role("_policy", 20, &["_policy/*"]).targets.insert("_policy/rules".to_owned(), info(b"other"));
    repo.bump();
    let state = TempDir::new().unwrap();
    let mut reader = repo.refresh(state.path()).await.unwrap();
    let hit = reader.find("_policy/rules").await.unwrap().unwrap();
    assert_eq!((hit.role.as_str(), hit.target.length), ("targets", 15), "as any client: the first in order");
    assert_eq!(reader.lookup("_policy/rules").await.unwrap().hit().unwrap().role, "_policy", "as a collection of ours");
    assert!(reader.find("nothing").await.unwrap().is_none());
}

/// A server whose bodies come in pieces, and may break off.
struct Broken {
    server: Server,
    pieces: Vec<Result<Bytes, FetchError>>,
}

struct BrokenBody(VecDeque<Result<Bytes, FetchError>>);

impl Pieces for BrokenBody {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Option<Bytes>, FetchError>> + Send + '_>> {
        Box::pin(std::future::ready(self.0.pop_front().transpose()))
    }
}

impl Transport for Broken {
    async fn fetch(&self, path: &str, limit: u64) -> Result<Bytes, FetchError> {
        self.server.fetch(path, limit).await
    }

    async fn open(&self, _: &str, _: u64) -> Result<Body, FetchError> {
        Ok(Box::new(BrokenBody(self.pieces.clone().into())))
    }
}

async fn with_pieces(pieces: Vec<Result<Bytes, FetchError>>) -> (TempDir, Reader<Broken>) {
    let repo = Repo::new();
    let state = TempDir::new().unwrap();
    let transport = Broken { server: repo.server.clone(), pieces };
    let options = Options::default();
    let reader = Reader::refresh_with(repo.anchor(), open(state.path()), transport, now(), options).await.unwrap();
    (state, reader)
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_nothing() {
    let broken = vec![Ok(Bytes::from_static(b"what was")), Err(FetchError::Truncated)];
    let (_state, reader) = with_pieces(broken).await;
    let dir = TempDir::new().unwrap();
    let folder = TargetFolder::open(dir.path()).unwrap();
    let result = reader.bring("a.txt", &info(CONTENT), &folder).await;
    assert!(matches!(result, Err(Failure::Fetch { error: FetchError::Truncated, .. })), "{result:?}");
    assert_eq!(below(dir.path()), []);
}

#[tokio::test]
async fn more_than_the_stated_length_is_refused_whatever_the_transport_lets_through() {
    let endless = vec![Ok(Bytes::from_static(CONTENT)), Ok(Bytes::from_static(b"!"))];
    let (_state, reader) = with_pieces(endless).await;
    let dir = TempDir::new().unwrap();
    let folder = TargetFolder::open(dir.path()).unwrap();
    let result = reader.bring("a.txt", &info(CONTENT), &folder).await;
    assert_eq!(reason(result), Reason::Length { expected: 15, got: 16 });
    assert_eq!(below(dir.path()), []);
}

/// A piece that says how many of its kind are alive.
struct Counted(Arc<AtomicUsize>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &[b'a'; 4_096]
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Counting {
    alive: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    left: usize,
}

impl Pieces for Counting {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Option<Bytes>, FetchError>> + Send + '_>> {
        let piece = self.left.checked_sub(1).map(|left| {
            self.left = left;
            let alive = self.alive.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(alive, Ordering::SeqCst);
            Bytes::from_owner(Counted(Arc::clone(&self.alive)))
        });
        Box::pin(std::future::ready(Ok(piece)))
    }
}

#[tokio::test]
async fn no_piece_is_held_once_the_next_one_is_asked_for() {
    let (alive, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let body = Counting { alive, most: Arc::clone(&most), left: 1_000 };
    let bytes = vec![b'a'; 4_096 * 1_000];
    let dir = TempDir::new().unwrap();
    let folder = TargetFolder::open(dir.path()).unwrap();
    let received = receive(Box::new(body), "a", &info(&bytes), &folder).await.unwrap();
    assert!(received.is_ok());
    assert_eq!(below(dir.path()), one("a", &bytes));
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[test]
fn until_it_is_verified_a_part_has_no_name_or_one_that_goes_with_it() {
    let dir = TempDir::new().unwrap();
    let folder = TargetFolder::open(dir.path()).unwrap();
    let place = folder.place("a", true).unwrap().unwrap();
    let mut nameless = Part::begin(&place).unwrap();
    nameless.write(b"half").unwrap();
    assert!(below(dir.path()).iter().all(|(name, _)| name.ends_with(".part")));
    drop(nameless);
    assert_eq!(below(dir.path()), []);

    let mut named = Part::begin_named(&place).unwrap();
    named.write(b"half").unwrap();
    assert_eq!(below(dir.path()).len(), 1);
    assert_ne!(below(dir.path())[0].0, "a");
    drop(named);
    assert_eq!(below(dir.path()), []);

    let mut named = Part::begin_named(&place).unwrap();
    named.write(b"whole").unwrap();
    named.finish().unwrap();
    assert_eq!(below(dir.path()), one("a", b"whole"));
}
