use tempfile::tempdir;
use trust_tuf::model::Role;

use super::*;
use crate::catalogue::Code;
use crate::testing::*;

#[tokio::test]
async fn content_that_differs_from_what_is_signed_is_refused() {
    let (mut repo, dir) = (Repo::new(), tempdir().unwrap());
    let target = TargetInfo::of(b"permit");
    let file = format!("_targets/_policy/{}.main.cedar", hex::encode(target.hashes.sha256.unwrap()));
    repo.targets.insert("_policy/main.cedar".to_owned(), target.clone());
    repo.bump();
    let reader = repo.refresh(dir.path()).await.unwrap();
    for (bytes, code) in [
        (b"forbid".to_vec(), Code::MetadataDiffers),
        (b"perm".to_vec(), Code::MetadataDiffers),
        (b"permit and more".to_vec(), Code::AnswerRefused),
    ] {
        repo.server.put(&file, bytes);
        let problem = reader.content("_policy/main.cedar", &target, 100).await.unwrap_err();
        assert_eq!(problem.code, code);
    }
    assert_eq!(reader.content("_policy/main.cedar", &target, 5).await.unwrap_err().code, Code::AnswerRefused);
    repo.server.put(&file, b"permit".to_vec());
    assert_eq!(reader.content("_policy/main.cedar", &target, 100).await.unwrap(), "permit");
    assert!(reader.content("../../etc/passwd", &target, 100).await.is_err());
}

#[tokio::test]
async fn renewing_sees_the_next_publication_and_refuses_a_step_back() {
    let (mut repo, dir) = (Repo::new(), tempdir().unwrap());
    let old = repo.server.bytes("timestamp.json");
    let reader = repo.refresh(dir.path()).await.unwrap();
    repo.bump();
    let reader = reader.renew(now()).await.unwrap();
    assert_eq!(reader.trusted().timestamp().version().get(), 2);
    repo.server.put("timestamp.json", old);
    assert_eq!(reader.renew(now()).await.unwrap_err().code, Code::TimestampRollback);
}

#[tokio::test]
async fn a_local_fault_while_a_role_is_stored_is_an_error_and_not_a_missing_signer() {
    let (mut repo, dir) = (Repo::new(), tempdir().unwrap());
    repo.role("alice", 10, &["*"]).targets.insert("v1".to_owned(), TargetInfo::of(b"1"));
    repo.bump();
    let mut reader = repo.refresh(dir.path()).await.unwrap();
    reader.store().kill_after(0);
    let problem = reader.lookup("v1").await.unwrap_err();
    assert_eq!((problem.code, problem.exit()), (Code::StateIo, 35));
}

#[tokio::test]
async fn a_path_that_leaves_its_folder_is_not_looked_up() {
    let (repo, dir) = (Repo::new(), tempdir().unwrap());
    let mut reader = repo.refresh(dir.path()).await.unwrap();
    assert_eq!(reader.lookup("../x").await.unwrap_err().code, Code::BadReference);
    assert!(reader.lookup("x").await.unwrap().statements.is_empty());
}
