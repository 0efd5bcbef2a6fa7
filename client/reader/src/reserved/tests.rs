use std::path::PathBuf;

use tempfile::tempdir;
use trust_tuf::model::sha256;

use super::*;
use crate::testing::*;
use crate::transport::FetchError;

const RULE: &[u8] = b"permit (principal, action, resource);";

/// Lists a content and serves it. `seen`: the target as listed.
fn put(repo: &mut Repo, role: Option<usize>, path: &str, content: &[u8]) {
    let target = TargetInfo::of(content);
    let (dir, name) = path.rsplit_once('/').unwrap();
    let file = format!("_targets/{dir}/{}.{name}", hex::encode(sha256(content)));
    repo.server.put(&file, content.to_vec());
    match role {
        Some(role) => repo.roles[role].targets.insert(path.to_owned(), target),
        None => repo.targets.insert(path.to_owned(), target),
    };
}

fn repo() -> Repo {
    let mut repo = Repo::new();
    repo.role("_policy", 20, &["_policy/*"]);
    repo.role("alice", 21, &["*/*"]);
    put(&mut repo, Some(0), "_policy/main.cedar", RULE);
    repo.bump();
    repo
}

async fn policy(repo: &Repo) -> Result<ReservedSet, Problem> {
    repo.refresh(tempdir().unwrap().path()).await?.reserved("_policy").await
}

fn kept(dir: &std::path::Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder(dir).join("content/_policy")).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

#[tokio::test]
async fn only_the_one_role_counts_whatever_others_list() {
    let mut repo = repo();
    put(&mut repo, Some(1), "_policy/open.cedar", b"permit (principal, action, resource); // alice");
    put(&mut repo, None, "_policy/open2.cedar", b"permit (principal, action, resource); // targets");
    repo.bump();
    let set = policy(&repo).await.unwrap();
    assert_eq!(set.entries, [("_policy/main.cedar".to_owned(), Bytes::from_static(RULE))]);
    assert_eq!((set.role.as_str(), set.version), ("_policy", 3));
    assert_eq!(set.signed_by, [public(20).id().as_str()]);
    // Where `targets` does not delegate it, `targets` itself counts and nobody else.
    repo.roles.remove(0);
    let labels = "_labels/main.json";
    put(&mut repo, Some(0), labels, b"{}");
    repo.bump();
    let set = policy(&repo).await.unwrap();
    assert_eq!(
        (set.role.as_str(), set.entries.len(), set.entries[0].0.as_str()),
        ("targets", 1, "_policy/open2.cedar")
    );
    let labels = repo.refresh(tempdir().unwrap().path()).await.unwrap().reserved("_labels").await.unwrap();
    assert_eq!(labels.entries, []);
}

#[tokio::test]
async fn what_the_role_lists_outside_its_patterns_is_not_in_force() {
    let mut repo = repo();
    repo.roles[0].patterns = vec!["_policy/main.*".to_owned()];
    put(&mut repo, Some(0), "_policy/more.cedar", b"permit(principal, action, resource);");
    repo.bump();
    assert_eq!(policy(&repo).await.unwrap().entries.len(), 1);
}

#[tokio::test]
async fn a_content_that_is_changed_missing_or_away_is_an_error_and_never_left_out() {
    let repo = repo();
    let file = format!("_targets/_policy/{}.main.cedar", hex::encode(sha256(RULE)));
    repo.server.put(&file, b"permit (principal, action, resource)!".to_vec());
    assert_eq!(policy(&repo).await.unwrap_err().code, Code::MetadataDiffers);
    repo.server.put(&file, b"short".to_vec());
    assert_eq!(policy(&repo).await.unwrap_err().code, Code::MetadataDiffers);
    repo.server.fail(&file, FetchError::Timeout(crate::transport::TimeLimit::Unnamed));
    assert_eq!(policy(&repo).await.unwrap_err().code, Code::Timeout);
    repo.server.remove(&file);
    assert_eq!(policy(&repo).await.unwrap_err().code, Code::FileMissing);
}

#[tokio::test]
async fn each_limit_refuses_the_whole_set() {
    let mut many = repo();
    for n in 0..MAX_ENTRIES {
        put(&mut many, Some(0), &format!("_policy/{n}.cedar"), b"x");
    }
    let mut long = repo();
    put(&mut long, Some(0), "_policy/long.cedar", &vec![b'x'; 1024 * 1024 + 1]);
    let mut all = repo();
    for n in 0..5 {
        put(&mut all, Some(0), &format!("_policy/{n}.cedar"), &vec![b'0' + n; 900_000]);
    }
    for mut repo in [many, long, all] {
        repo.bump();
        assert_eq!(policy(&repo).await.unwrap_err().code, Code::PolicyRefused);
    }
}

#[tokio::test]
async fn a_restart_without_network_has_what_was_in_force_and_old_contents_are_removed() {
    let dir = tempdir().unwrap();
    let mut repo = repo();
    let first = repo.refresh(dir.path()).await.unwrap().reserved("_policy").await.unwrap();
    assert_eq!(repo.offline_at(dir.path(), now()).unwrap().reserved("_policy").await.unwrap(), first);
    let before = kept(dir.path());
    // What is kept is not asked for again.
    repo.server.asked();
    repo.refresh(dir.path()).await.unwrap().reserved("_policy").await.unwrap();
    assert!(!repo.server.asked().iter().any(|file| file.starts_with("_targets/")));
    repo.roles[0].targets.clear();
    put(&mut repo, Some(0), "_policy/main.cedar", b"forbid (principal, action, resource);");
    repo.bump();
    repo.refresh(dir.path()).await.unwrap().reserved("_policy").await.unwrap();
    let after = kept(dir.path());
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_ne!(before, after);
}

#[tokio::test]
async fn a_kept_content_that_was_changed_is_never_used() {
    let dir = tempdir().unwrap();
    let repo = repo();
    repo.refresh(dir.path()).await.unwrap().reserved("_policy").await.unwrap();
    std::fs::write(&kept(dir.path())[0], b"permit (principal, action, resource)!").unwrap();
    let offline = repo.offline_at(dir.path(), now()).unwrap().reserved("_policy").await;
    assert_eq!(offline.unwrap_err().code, Code::StoredIncomplete);
    let repaired = repo.refresh(dir.path()).await.unwrap().reserved("_policy").await.unwrap();
    assert_eq!(repaired.entries[0].1, Bytes::from_static(RULE));
    std::fs::remove_file(&kept(dir.path())[0]).unwrap();
    let offline = repo.offline_at(dir.path(), now()).unwrap().reserved("_policy").await;
    assert_eq!(offline.unwrap_err().code, Code::StoredIncomplete);
}

#[tokio::test]
async fn a_kind_that_is_none_never_becomes_a_path() {
    let mut reader = repo().refresh(tempdir().unwrap().path()).await.unwrap();
    for kind in ["..", "_other", "", "_policy/..", "targets"] {
        assert_eq!(reader.reserved(kind).await.unwrap_err().code, Code::Internal, "{kind}");
    }
}
