use super::*;
use crate::testing::Repo;

#[tokio::test]
async fn the_server_cannot_choose_the_root_behind_a_fingerprint() {
    let mut repo = Repo::new();
    repo.rotate(|_| {});
    let collection = repo.anchor().collection;
    let wrong = fingerprint(b"another root");
    let problem = fetch_pinned(&repo.server, &collection, &wrong).await.unwrap_err();
    assert_eq!((problem.code, problem.exit()), (Code::FingerprintDiffers, 16));
    repo.server.fail("1.root.json", FetchError::Status(500));
    assert_eq!(fetch_pinned(&repo.server, &collection, &wrong).await.unwrap_err().exit(), 34);
    repo.server.remove("1.root.json");
    assert_eq!(fetch_pinned(&repo.server, &collection, &wrong).await.unwrap_err().code, Code::NoSuchCollection);
}

#[tokio::test]
async fn a_fingerprint_finds_its_root_whatever_the_version() {
    let mut repo = Repo::new();
    repo.rotate(|_| {});
    for file in ["1.root.json", "2.root.json"] {
        let root = repo.server.bytes(file);
        let found = fetch_pinned(&repo.server, &repo.anchor().collection, &fingerprint(&root)).await.unwrap();
        assert_eq!(found.root, root);
    }
}
