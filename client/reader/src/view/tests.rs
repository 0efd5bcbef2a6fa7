use tempfile::tempdir;
use trust_image::Digest;
use trust_tuf::TargetInfo;

use super::*;
use crate::testing::*;
use crate::transport::FetchError;

fn image(rest: &str) -> Reference {
    Reference::parse(&format!("{COLLECTION}/api{rest}")).unwrap()
}

fn manifest(n: u8) -> TargetInfo {
    TargetInfo::of(&[n; 100])
}

/// `api:v1` is image 1, signed by alice; ci is a signer too, and a role below alice has `api:v3`.
fn repo() -> Repo {
    let mut repo = Repo::new();
    for (name, seed) in [("alice", 10), ("ci", 12)] {
        repo.role(name, seed, &["*/*"]);
    }
    repo.roles[0].targets = [
        ("api/v1".to_owned(), manifest(1)),
        (format!("api/@sha256-{}", Digest::of(&[1; 100]).hex()), manifest(1)),
        ("other/v9".to_owned(), manifest(9)),
    ]
    .into();
    repo.bump();
    repo
}

fn look(view: &View, rest: &str) -> Result<VerifiedImage, Problem> {
    view.verify(&image(rest), &Require::default(), Meaning::DigestDecides)
}

#[tokio::test]
async fn a_view_answers_without_network_store_or_lock() {
    let dir = tempdir().unwrap();
    let repo = repo();
    let view = repo.refresh(dir.path()).await.unwrap().view().await.unwrap();
    // The reader and its lock are gone, the folder is gone, and the server is not asked.
    std::fs::remove_dir_all(folder(dir.path())).unwrap();
    repo.server.asked();
    assert_eq!(look(&view, ":v1").unwrap().digest, Digest::of(&[1; 100]));
    assert_eq!(look(&view, ":v2").unwrap_err().code, Code::NotSigned);
    assert_eq!(repo.server.asked(), Vec::<String>::new());
    assert_eq!(view.refreshed(), now());
}

#[tokio::test]
async fn a_role_that_could_not_be_had_before_the_hit_refuses_with_its_reason_and_after_it_adds_nothing() {
    let dir = tempdir().unwrap();
    let mut repo = repo();
    repo.roles[1].targets = [("api/v2".to_owned(), manifest(2))].into();
    repo.bump();
    repo.server.fail("3.ci.json", FetchError::Timeout(crate::transport::TimeLimit::Unnamed));
    let view = repo.refresh(dir.path()).await.unwrap().view().await.unwrap();
    assert_eq!(look(&view, ":v2").unwrap_err().code, Code::Timeout, "never: not signed");
    let verified = look(&view, ":v1").unwrap();
    assert_eq!(verified.unusable.len(), 1);
    // Expired instead of away.
    repo.roles[1].expires = now();
    repo.bump();
    let view = repo.refresh(dir.path()).await.unwrap().view().await.unwrap();
    assert_eq!(look(&view, ":v2").unwrap_err().code, Code::RoleExpired);
}

#[tokio::test]
async fn what_an_answer_rests_on_is_expired_at_the_exact_second_and_named() {
    let dir = tempdir().unwrap();
    let mut repo = repo();
    repo.roles[0].expires = time("2030-01-01T06:00:00Z");
    repo.bump();
    let view = repo.refresh(dir.path()).await.unwrap().view().await.unwrap();
    let verified = look(&view, ":v1").unwrap();
    assert_eq!(verified.expires, "2030-01-01T06:00:00Z");
    assert_eq!(view.expired(Some(&verified), time("2030-01-01T05:59:59Z")), None);
    let problem = view.expired(Some(&verified), time("2030-01-01T06:00:00Z")).unwrap();
    assert_eq!(problem.code, Code::RoleExpired);
    assert!(problem.text().contains("alice") && problem.text().contains("2030-01-01T06:00:00Z"), "{}", problem.text());
    // The timestamp concerns everybody, a role only what rests on it.
    assert_eq!(view.expired(None, time("2030-01-01T06:00:00Z")), None);
    assert_eq!(view.expired(None, time("2030-01-02T00:00:00Z")).unwrap().code, Code::TimestampExpired);
}

#[tokio::test]
async fn unchanged_roles_are_taken_from_the_earlier_view_and_changed_or_expired_ones_are_not() {
    let dir = tempdir().unwrap();
    let mut repo = repo();
    repo.roles[1].expires = time("2030-01-01T06:00:00Z");
    repo.bump();
    let first = repo.refresh(dir.path()).await.unwrap().view().await.unwrap();
    // Without the files: only what was taken over can be used.
    for role in ["alice", "ci"] {
        repo.server.remove(&format!("3.{role}.json"));
        std::fs::remove_file(folder(dir.path()).join(format!("{role}.json"))).unwrap();
    }
    let mut reader = repo.refresh_at(dir.path(), time("2030-01-01T05:00:00Z")).await.unwrap();
    let second = reader.view_after(Some(&first)).await.unwrap();
    assert!(second.answers_like(&first));
    assert_eq!(look(&second, ":v1").unwrap().unusable, []);
    drop(reader);
    let mut reader = repo.refresh_at(dir.path(), time("2030-01-01T07:00:00Z")).await.unwrap();
    let third = reader.view_after(Some(&first)).await.unwrap();
    assert!(!third.answers_like(&first), "ci is expired by now");
    assert_eq!(look(&third, ":v1").unwrap().unusable.len(), 1);
    drop(reader);
    // A new publication: nothing of the old one remains.
    repo.roles[0].targets.clear();
    repo.bump();
    let mut reader = repo.refresh_at(dir.path(), time("2030-01-01T07:00:00Z")).await.unwrap();
    let fourth = reader.view_after(Some(&first)).await.unwrap();
    assert_eq!(look(&fourth, ":v1").unwrap_err().code, Code::RoleExpired, "alice signs it no more, ci is expired");
}

#[tokio::test]
async fn a_reader_without_network_says_when_it_was_last_refreshed() {
    let dir = tempdir().unwrap();
    let repo = repo();
    repo.refresh(dir.path()).await.unwrap().view().await.unwrap();
    let later = time("2030-01-01T09:00:00Z");
    let view = repo.offline_at(dir.path(), later).unwrap().view().await.unwrap();
    assert_eq!(view.refreshed(), now());
    assert!(look(&view, ":v1").is_ok());
}

#[tokio::test]
async fn entries_are_those_of_one_name_as_a_search_finds_them() {
    let dir = tempdir().unwrap();
    let mut repo = repo();
    // ci comes after alice: what it says of v1 does not count. What a role lists outside its patterns does not either.
    repo.roles[1].targets = [("api/v1".to_owned(), manifest(7)), ("api/v2".to_owned(), manifest(2))].into();
    repo.role("narrow", 14, &["web/*"]).targets = [("api/v5".to_owned(), manifest(5))].into();
    repo.bump();
    let view = repo.refresh(dir.path()).await.unwrap().view().await.unwrap();
    let found: Vec<_> = view.entries(&format!("{COLLECTION}/api")).into_iter().map(|e| (e.tag, e.digest)).collect();
    let digest = |n: u8| Digest::of(&[n; 100]);
    let tag = |tag: &str| Some(tag.to_owned());
    assert_eq!(found, [(None, digest(1)), (tag("v1"), digest(1)), (tag("v2"), digest(2))]);
    assert_eq!(view.entries(&format!("{COLLECTION}/other")).len(), 1);
    for name in [COLLECTION, "registry.example.com/payroll/api", "registry.example.com/pay/ap", ""] {
        assert_eq!(view.entries(name), [], "{name}");
    }
}
