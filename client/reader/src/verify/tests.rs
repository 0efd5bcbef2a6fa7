use tempfile::tempdir;
use trust_image::{ImageFacts, PlatformFacts};
use trust_tuf::json;

use super::*;
use crate::catalogue::exit;
use crate::testing::*;
use crate::transport::FetchError;

const IMAGE: &str = "registry.example.com/pay/api";

fn image(rest: &str) -> Reference {
    Reference::parse(&format!("{IMAGE}{rest}")).unwrap()
}

fn manifest(n: u8) -> TargetInfo {
    TargetInfo::of(&[n; 100])
}

fn digest(n: u8) -> Digest {
    Digest::of(&[n; 100])
}

fn digest_entry(n: u8) -> String {
    format!("api/@sha256-{}", digest(n).hex())
}

fn with_facts(n: u8, children: &[u8], label: &str) -> TargetInfo {
    let facts = ImageFacts {
        media_type: "application/vnd.oci.image.index.v1+json".to_owned(),
        signed: "2030-01-01T00:00:00Z".to_owned(),
        tags: vec!["v1".to_owned()],
        platforms: children
            .iter()
            .map(|c| PlatformFacts {
                platform: "linux/amd64".to_owned(),
                digest: digest(*c),
                labels: [("com.example.data".to_owned(), label.to_owned())].into(),
            })
            .collect(),
        annotations: BTreeMap::new(),
        stated: BTreeMap::new(),
    };
    TargetInfo { custom: Some(json::parse(&facts.to_custom().unwrap()).unwrap()), ..manifest(n) }
}

/// `targets` and the signers alice, qa and ci; `api:v1` is image 1, signed by alice.
fn repo() -> Repo {
    let mut repo = Repo::new();
    for (name, seed) in [("alice", 10), ("qa", 11), ("ci", 12)] {
        repo.role(name, seed, &["*/*"]);
    }
    repo.roles[0].targets = [("api/v1".to_owned(), manifest(1)), (digest_entry(1), manifest(1))].into();
    repo
}

async fn verify(repo: &mut Repo, rest: &str, require: &Require) -> Result<VerifiedImage, Problem> {
    let dir = tempdir().unwrap();
    repo.bump();
    let mut reader = repo.refresh(dir.path()).await?;
    let answer = reader.verify(&image(rest), require).await;
    // What a gate answers from says the same, in every case of this file.
    let viewed = reader.view().await.unwrap().verify(&image(rest), require, Meaning::Both);
    let code = |answer: &Result<VerifiedImage, Problem>| answer.clone().map_err(|problem| problem.code);
    assert_eq!(code(&viewed), code(&answer));
    answer
}

async fn refused(repo: &mut Repo, rest: &str, require: &Require) -> Code {
    let problem = verify(repo, rest, require).await.unwrap_err();
    assert_ne!(problem.exit(), exit::DONE);
    problem.code
}

fn signers(names: &[&str]) -> Require {
    Require { signers: names.iter().map(|&n| n.to_owned()).collect(), min_signers: 0 }
}

#[tokio::test]
async fn an_unsigned_tag_is_refused_and_the_message_names_tags_and_signers() {
    let problem = verify(&mut repo(), ":v2", &Require::default()).await.unwrap_err();
    assert_eq!((problem.id(), problem.exit()), ("E1001", 10));
    let text = problem.text();
    for part in ["registry.example.com/pay/api:v2 is not signed", "v1", "alice, qa, ci", "https://trust.example.com"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn an_unsigned_digest_and_an_image_elsewhere_are_refused() {
    assert_eq!(refused(&mut repo(), &format!("@{}", digest(9)), &Require::default()).await, Code::NotSigned);
    let dir = tempdir().unwrap();
    let other = Reference::parse("registry.example.com/payroll/api:v1").unwrap();
    let problem = repo().refresh(dir.path()).await.unwrap().verify(&other, &Require::default()).await.unwrap_err();
    assert_eq!(problem.code, Code::NoPin, "a name that only begins alike is not covered");
}

#[tokio::test]
async fn what_is_signed_is_verified_with_all_that_it_rests_on() {
    let mut repo = repo();
    repo.roles[0].expires = time("2030-01-01T12:00:00Z");
    let got = verify(&mut repo, ":v1", &signers(&["alice"])).await.unwrap();
    assert_eq!(got.digest, digest(1));
    assert_eq!(got.length, 100);
    assert_eq!(got.pinned, format!("{IMAGE}@{}", digest(1)));
    assert_eq!(got.signers, [SignedBy { name: "alice".to_owned(), role: "alice".to_owned(), counts_with: None }]);
    assert_eq!(got.expires, "2030-01-01T12:00:00Z", "the first of all expiries");
    assert_eq!(got.versions.roles["alice"], 2);
    assert!(verify(&mut repo, &format!("@{}", digest(1)), &Require::default()).await.is_ok());
    assert!(verify(&mut repo, &format!(":v1@{}", digest(1)), &Require::default()).await.is_ok());
}

#[tokio::test]
async fn a_tag_that_is_signed_for_another_digest_than_the_given_one_is_refused() {
    let mut repo = repo();
    repo.roles[0].targets.insert(digest_entry(2), manifest(2));
    let both = format!(":v1@{}", digest(2));
    assert_eq!(refused(&mut repo, &both, &Require::default()).await, Code::TagIsOther);
    // At a gate the digest decides, and the moved tag is a fact.
    let dir = tempdir().unwrap();
    let mut reader = repo.refresh(dir.path()).await.unwrap();
    let got = reader.verify_as(&image(&both), &Require::default(), Meaning::DigestDecides).await.unwrap();
    assert_eq!((got.digest, got.tag_moved), (digest(2), Some(true)));
    let same = image(&format!(":v1@{}", digest(1)));
    let got = reader.verify_as(&same, &Require::default(), Meaning::DigestDecides).await.unwrap();
    assert_eq!(got.tag_moved, Some(false));
    // Nothing is claimed of a tag that was not looked at beside a digest.
    let got = reader.verify(&image(":v1"), &Require::default()).await.unwrap();
    assert_eq!(got.tag_moved, None);
    assert_eq!(serde_json::to_value(&got).unwrap()["tag_moved"], serde_json::Value::Null);
}

#[tokio::test]
async fn an_entry_of_a_digest_that_names_another_image_is_refused() {
    let mut repo = repo();
    repo.roles[0].targets.insert(digest_entry(2), manifest(1));
    assert_eq!(refused(&mut repo, &format!("@{}", digest(2)), &Require::default()).await, Code::EntryIsOther);
}

#[tokio::test]
async fn another_digest_in_the_registry_is_the_fixed_problem() {
    let got = verify(&mut repo(), ":v1", &Require::default()).await.unwrap();
    assert!(got.check_served(&image(":v1"), &digest(1)).is_ok());
    let problem = got.check_served(&image(":v1"), &digest(7)).unwrap_err();
    assert_eq!((problem.id(), problem.exit()), ("E1403", 13));
    assert!(problem.text().contains(&digest(7).to_string()) && problem.text().contains("by alice"));
}

#[tokio::test]
async fn what_was_revoked_is_refused_by_digest_by_tag_and_by_part() {
    let by_digest = |n: u8| format!("_revoked/@sha256-{}.json", digest(n).hex());
    for (path, code) in [
        (by_digest(1), Code::DigestRevoked),
        ("_revoked/api/v1.json".to_owned(), Code::TagRevoked),
        (by_digest(5), Code::PlatformRevoked),
    ] {
        let mut repo = repo();
        repo.roles[0].targets.insert("api/v1".to_owned(), with_facts(1, &[4, 5], "public"));
        repo.targets.insert(path.clone(), TargetInfo::of(b"{}"));
        let problem = verify(&mut repo, ":v1", &Require::default()).await.unwrap_err();
        assert_eq!((problem.code, problem.exit()), (code, 17));
        // In the role of that name as well, and then in no other.
        repo.targets.clear();
        repo.roles[1].targets.insert(path.clone(), TargetInfo::of(b"{}"));
        assert!(verify(&mut repo, ":v1", &Require::default()).await.is_ok(), "{path}: it counts in one role only");
        repo.role("_revoked", 40, &["_revoked/*", "_revoked/*/*"]).targets.insert(path, TargetInfo::of(b"{}"));
        assert_eq!(refused(&mut repo, ":v1", &Require::default()).await, code);
    }
}

#[tokio::test]
async fn a_revocation_is_told_with_its_role_reason_and_scope() {
    let mut repo = repo();
    let statement = json::parse(br#"{"revocation":{"reason":"leaks a password"}}"#).unwrap();
    let info = TargetInfo { custom: Some(statement), ..TargetInfo::of(b"{}") };
    repo.targets.insert(format!("_revoked/@sha256-{}.json", digest(5).hex()), info);
    repo.bump();
    let dir = tempdir().unwrap();
    let mut reader = repo.refresh(dir.path()).await.unwrap();
    let parts = revocable(&with_facts(1, &[4, 5], "public"));
    assert_eq!(parts.len(), 3, "the image itself and its two parts");
    let found = reader.revocation(&image(":v1"), Some(&digest(1)), &parts).await.unwrap().unwrap();
    assert_eq!((found.by.as_str(), found.reason.as_deref()), ("targets", Some("leaks a password")));
    assert_eq!((found.scope, found.revoked.as_str()), (RevokedScope::Platform, digest(5).to_string().as_str()));
    assert_eq!(found.problem(&image(":v1")).exit(), exit::REVOKED);
    assert_eq!(reader.revocation(&image(":v1"), Some(&digest(1)), &BTreeSet::new()).await.unwrap(), None);
}

#[tokio::test]
async fn a_revocation_is_found_although_the_facts_beside_it_cannot_be_read() {
    let mut repo = repo();
    let mut target = with_facts(1, &[4, 5], "public");
    let custom = target.custom.as_mut().unwrap().as_object_mut().unwrap();
    custom.get_mut("image").unwrap().as_object_mut().unwrap().insert("tags".to_owned(), json::Value::Null);
    repo.roles[0].targets.insert("api/v1".to_owned(), target);
    assert!(verify(&mut repo, ":v1", &Require::default()).await.unwrap().facts.is_none());
    repo.targets.insert(format!("_revoked/@sha256-{}.json", digest(5).hex()), TargetInfo::of(b"{}"));
    assert_eq!(refused(&mut repo, ":v1", &Require::default()).await, Code::PlatformRevoked);
}

/// What a signer can write to keep the parts of an index out of sight.
fn without_parts() -> [(&'static str, TargetInfo); 4] {
    let custom = |text: &[u8]| TargetInfo { custom: Some(json::parse(text).unwrap()), ..manifest(1) };
    let mut shapeless = with_facts(1, &[4, 5], "public");
    let image = shapeless.custom.as_mut().unwrap().as_object_mut().unwrap().get_mut("image").unwrap();
    image.as_object_mut().unwrap().remove("platforms");
    [
        ("no facts", manifest(1)),
        ("facts of something else", custom(br#"{"other":{"platforms":[]}}"#)),
        ("an index without parts", with_facts(1, &[], "public")),
        ("no platforms at all", shapeless),
    ]
}

#[tokio::test]
async fn a_signer_who_leaves_the_parts_of_an_index_out_of_the_facts_does_not_get_past_the_revocation_of_one() {
    let revocation = format!("_revoked/@sha256-{}.json", digest(5).hex());
    for (what, target) in without_parts() {
        for rest in [":v1".to_owned(), format!("@{}", digest(1))] {
            let mut repo = repo();
            repo.roles[0].targets = [("api/v1".to_owned(), target.clone()), (digest_entry(1), target.clone())].into();
            repo.targets.insert(revocation.clone(), TargetInfo::of(b"{}"));
            let problem = verify(&mut repo, &rest, &Require::default()).await.unwrap_err();
            assert_eq!((problem.id(), problem.exit()), ("E1024", 17), "{what}");
            let signs_again = format!("{}", digest(1));
            assert!(problem.remedy[0].contains("trust sign") && problem.remedy[0].contains(&signs_again), "{problem}");
            // The same in the role of that name.
            repo.targets.clear();
            repo.role("_revoked", 40, &["_revoked/*"]).targets.insert(revocation.clone(), TargetInfo::of(b"{}"));
            assert_eq!(refused(&mut repo, &rest, &Require::default()).await, Code::PartsUnknown, "{what}");
        }
    }
}

#[tokio::test]
async fn facts_of_another_signer_of_the_digest_name_its_parts_and_a_second_signer_cannot_take_them_away() {
    let mut repo = repo();
    repo.targets.insert(format!("_revoked/@sha256-{}.json", digest(9).hex()), TargetInfo::of(b"{}"));
    assert_eq!(refused(&mut repo, ":v1", &Require::default()).await, Code::PartsUnknown);
    repo.roles[1].targets.insert("api/v1".to_owned(), with_facts(1, &[4, 5], "public"));
    assert!(verify(&mut repo, ":v1", &Require::default()).await.is_ok());
    repo.roles[2].targets.insert("api/v1".to_owned(), with_facts(1, &[], "public"));
    assert_eq!(refused(&mut repo, ":v1", &Require::default()).await, Code::FactsDiffer);
}

#[tokio::test]
async fn parts_need_to_be_named_only_where_a_digest_is_revoked_that_counts() {
    let digest_entry = format!("_revoked/@sha256-{}.json", digest(9).hex());
    for (what, path, in_role, refuses) in [
        ("a digest", digest_entry.clone(), None, true),
        ("a sha512 digest", format!("_revoked/@sha512-{}.json", "a".repeat(128)), None, true),
        ("only a tag", "_revoked/api/v7.json".to_owned(), None, false),
        ("of no form", "_revoked/@sha256-12.json".to_owned(), None, false),
        ("by a signer who may not", digest_entry.clone(), Some("qa"), false),
        ("outside the patterns of its role", digest_entry.clone(), Some("_revoked"), false),
    ] {
        let mut repo = repo();
        match in_role {
            None => _ = repo.targets.insert(path, TargetInfo::of(b"{}")),
            Some("qa") => _ = repo.roles[1].targets.insert(path, TargetInfo::of(b"{}")),
            Some(role) => _ = repo.role(role, 40, &["_revoked/*/*"]).targets.insert(path, TargetInfo::of(b"{}")),
        }
        let result = verify(&mut repo, ":v1", &Require::default()).await;
        assert_eq!(result.err().map(|p| p.code), refuses.then_some(Code::PartsUnknown), "{what}");
    }
}

#[tokio::test]
async fn every_refusal_names_its_image_collection_and_digests_for_programs() {
    let mut repo = repo();
    repo.roles[0].targets.insert(digest_entry(2), manifest(2));
    let both = format!(":v1@{}", digest(2));
    let subject = verify(&mut repo, &both, &Require::default()).await.unwrap_err().subject;
    assert_eq!(subject.reference, Some(format!("{IMAGE}{both}")));
    assert_eq!(subject.collection.as_deref(), Some(COLLECTION));
    assert_eq!(
        (subject.expected_digest, subject.actual_digest),
        (Some(digest(1).to_string()), Some(digest(2).to_string()))
    );
    let got = verify(&mut repo, ":v1", &Require::default()).await.unwrap();
    let subject = got.check_served(&image(":v1"), &digest(7)).unwrap_err().subject;
    assert_eq!(
        (subject.expected_digest, subject.actual_digest),
        (Some(digest(1).to_string()), Some(digest(7).to_string()))
    );
    assert_eq!(subject.collection.as_deref(), Some(COLLECTION));
    // Also where a role stands in the way, and nothing speaks of images.
    repo.roles[0].signing = 99;
    let subject = verify(&mut repo, ":v1", &Require::default()).await.unwrap_err().subject;
    assert_eq!(subject.reference, Some(format!("{IMAGE}:v1")));
    assert_eq!((subject.collection.as_deref(), subject.actual_digest), (Some(COLLECTION), None));
}

#[tokio::test]
async fn revocations_that_cannot_be_read_refuse() {
    let mut repo = repo();
    repo.role("_revoked", 40, &["_revoked/*", "_revoked/*/*"]);
    repo.bump();
    let dir = tempdir().unwrap();
    repo.server.fail("2._revoked.json", FetchError::Status(503));
    let problem = repo.refresh(dir.path()).await.unwrap().verify(&image(":v1"), &Require::default()).await.unwrap_err();
    assert_eq!(problem.code, Code::ServerFault);
    repo.roles[3].expires = now();
    assert_eq!(refused(&mut repo, ":v1", &Require::default()).await, Code::RoleExpired);
    repo.roles[3].expires = time("2031-01-01T00:00:00Z");
    repo.roles[3].signing = 99;
    assert_eq!(refused(&mut repo, ":v1", &Require::default()).await, Code::RoleSignatures);
}

#[tokio::test]
async fn a_role_file_signed_by_a_stranger_decides_nothing_before_the_hit_and_adds_nothing_after_it() {
    let mut repo = repo();
    repo.roles[1].targets.insert("api/v1".to_owned(), manifest(1));
    repo.roles[1].signing = 99;
    let got = verify(&mut repo, ":v1", &Require::default()).await.unwrap();
    assert_eq!(got.signers.len(), 1);
    assert_eq!(got.unusable.len(), 1);
    assert!(got.warnings.iter().any(|w| w.contains("qa")), "{:?}", got.warnings);
    assert_eq!(refused(&mut repo, ":v1", &signers(&["alice", "qa"])).await, Code::SignerUnusable);
    repo.roles[0].signing = 99;
    let problem = verify(&mut repo, ":v1", &Require::default()).await.unwrap_err();
    assert_eq!((problem.code, problem.exit()), (Code::RoleSignatures, 12));
    assert!(problem.text().contains("alice"));
}

#[tokio::test]
async fn a_blocked_role_before_the_hit_does_not_promote_a_later_one() {
    let mut repo = repo();
    repo.roles[1].targets.insert("api/v1".to_owned(), manifest(6));
    repo.bump();
    let dir = tempdir().unwrap();
    repo.server.fail("2.alice.json", FetchError::Timeout(crate::transport::TimeLimit::Unnamed));
    let problem = repo.refresh(dir.path()).await.unwrap().verify(&image(":v1"), &Require::default()).await.unwrap_err();
    assert_eq!((problem.code, problem.exit()), (Code::Timeout, 30));
}

#[tokio::test]
async fn a_required_signer_must_have_signed_this_digest() {
    let mut repo = repo();
    assert_eq!(refused(&mut repo, ":v1", &signers(&["alice", "qa"])).await, Code::SignerMissing);
    assert_eq!(refused(&mut repo, ":v1", &signers(&["nobody"])).await, Code::SignerMissing);
    repo.roles[1].targets.insert("api/v1".to_owned(), manifest(2));
    assert_eq!(refused(&mut repo, ":v1", &signers(&["alice", "qa"])).await, Code::SignerConflict);
    let got = verify(&mut repo, ":v1", &signers(&["alice"])).await.unwrap();
    assert_eq!(
        got.conflicts,
        [Conflict { name: "qa".to_owned(), role: "qa".to_owned(), digest: digest(2).to_string() }]
    );
    repo.roles[1].targets.insert("api/v1".to_owned(), manifest(1));
    assert!(verify(&mut repo, ":v1", &signers(&["alice", "qa"])).await.is_ok());
}

#[tokio::test]
async fn the_same_digest_with_another_length_is_no_signature_of_this_image() {
    let mut repo = repo();
    repo.roles[1].targets.insert("api/v1".to_owned(), TargetInfo { length: 101, ..manifest(1) });
    assert_eq!(refused(&mut repo, ":v1", &signers(&["alice", "qa"])).await, Code::SignerConflict);
    let got = verify(&mut repo, ":v1", &Require::default()).await.unwrap();
    assert!(got.conflicts[0].digest.contains("101 bytes"), "{:?}", got.conflicts);
}

#[tokio::test]
async fn two_signers_with_one_key_count_once() {
    let mut repo = repo();
    for role in &mut repo.roles {
        role.targets.insert("api/v1".to_owned(), manifest(1));
    }
    let three = Require { signers: Vec::new(), min_signers: 3 };
    assert!(verify(&mut repo, ":v1", &three).await.is_ok());
    (repo.roles[2].seed, repo.roles[2].signing) = (10, 10);
    assert_eq!(refused(&mut repo, ":v1", &three).await, Code::TooFewSigners);
    assert!(verify(&mut repo, ":v1", &Require { signers: Vec::new(), min_signers: 2 }).await.is_ok());
    assert_eq!(refused(&mut repo, ":v1", &signers(&["alice", "ci"])).await, Code::SignersShareKey);
    let got = verify(&mut repo, ":v1", &Require::default()).await.unwrap();
    assert_eq!(got.counted_signers(), ["alice", "qa"], "what a policy sees");
    assert!(got.warnings.iter().any(|w| w == "ci and alice share a key: they count as one signer"), "{got:?}");
    // The key of `targets` behind a delegation is no second signer either.
    repo.targets.insert("api/v1".to_owned(), manifest(1));
    (repo.roles[2].seed, repo.roles[2].signing) = (4, 4);
    assert_eq!(refused(&mut repo, ":v1", &signers(&["targets", "ci"])).await, Code::SignersShareKey);
}

#[tokio::test]
async fn facts_that_differ_refuse_and_facts_that_agree_do_not() {
    let mut repo = repo();
    repo.roles[0].targets.insert("api/v1".to_owned(), with_facts(1, &[4], "public"));
    repo.roles[1].targets.insert("api/v1".to_owned(), with_facts(1, &[4], "pii"));
    assert_eq!(refused(&mut repo, ":v1", &Require::default()).await, Code::FactsDiffer);
    repo.roles[1].targets.insert("api/v1".to_owned(), with_facts(1, &[4], "public"));
    let got = verify(&mut repo, ":v1", &Require::default()).await.unwrap();
    assert_eq!(got.facts.unwrap().platforms[0].labels["com.example.data"], "public");
}

#[tokio::test]
async fn a_tag_of_ones_own_is_no_way_past_what_others_said_of_the_same_digest() {
    let mut repo = repo();
    let entry = target::digest_path("registry.example.com/pay", &image(":v1"), &digest(1)).unwrap();
    for path in ["api/v1", entry.as_str()] {
        repo.roles[0].targets.insert(path.to_owned(), with_facts(1, &[4], "pii"));
    }
    for path in ["api/mine", entry.as_str()] {
        repo.roles[1].targets.insert(path.to_owned(), with_facts(1, &[4], "public"));
    }
    for reference in [":v1", ":mine"] {
        assert_eq!(refused(&mut repo, reference, &Require::default()).await, Code::FactsDiffer, "{reference}");
    }
    // Only under the tag, and not in the entry of the digest.
    repo.roles[1].targets.remove(&entry);
    assert_eq!(refused(&mut repo, ":mine", &Require::default()).await, Code::FactsDiffer);
    // What a signer itself said before is no contradiction.
    repo.roles[1].targets.remove("api/mine");
    repo.roles[0].targets.insert("api/v1".to_owned(), with_facts(1, &[4], "internal"));
    let got = verify(&mut repo, ":v1", &Require::default()).await.unwrap();
    assert_eq!(got.facts.unwrap().platforms[0].labels["com.example.data"], "internal");
}

/// Image 1 with one statement, or none.
fn stated(statement: Option<(&str, &str)>) -> TargetInfo {
    let mut facts = facts_in(&with_facts(1, &[4], "public")).unwrap();
    facts.stated = statement.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect();
    TargetInfo { custom: Some(json::parse(&facts.to_custom().unwrap()).unwrap()), ..manifest(1) }
}

#[tokio::test]
async fn facts_that_differ_are_named_with_both_values_and_who_says_what() {
    let differing = async |targets: [TargetInfo; 3]| {
        let mut repo = repo();
        for (role, target) in repo.roles.iter_mut().zip(targets) {
            role.targets.insert("api/v1".to_owned(), target);
        }
        let problem = verify(&mut repo, ":v1", &Require::default()).await.unwrap_err();
        assert_eq!((problem.id(), problem.exit()), ("E1008", 12));
        problem
    };
    let one = || stated(Some(("com.example.data", "public")));
    let problem = differing([one(), one(), stated(Some(("com.example.data", "PII")))]).await;
    let text = problem.text();
    for part in
        ["statement com.example.data", "\"public\"  by alice, qa", "\"PII\"  by ci", "-a com.example.data=VALUE"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("current program"), "no program is to blame: {text}");
    let text = differing([one(), stated(None), one()]).await.text();
    assert!(text.contains("\"public\"  by alice\n") && text.contains("nothing  by qa"), "{text}");
    // What the digest covers is a matter of programs, and not of what people state.
    let text = differing([stated(None), with_facts(1, &[4], "pii"), stated(None)]).await.text();
    for part in ["label com.example.data of linux/amd64", "\"public\"  by alice", "\"pii\"  by qa", "current program"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let hostile = stated(Some(("k\u{202e}\n", "\u{1b}[2J")));
    let text = differing([stated(None), hostile, stated(None)]).await.text();
    assert!(text.contains("statement k\\u{202e}\\u{a}") && text.contains("\"\\u{1b}[2J\"  by qa"), "{text}");
}

#[tokio::test]
async fn what_others_contradict_is_refused_before_it_is_signed_and_the_way_out_is_named() {
    let mut repo = repo();
    let say = Some(("com.example.data", "public"));
    repo.roles[0].targets.insert("api/v1".to_owned(), stated(say));
    repo.roles[1].targets.insert("api/v1".to_owned(), manifest(1));
    repo.bump();
    let dirs = [(); 4].map(|()| tempdir().unwrap());
    let mut reader = repo.refresh(dirs[0].path()).await.unwrap();
    let mut check = async |statement, n: u8, signer: &str| {
        let facts = facts_in(&stated(statement)).unwrap();
        reader.check_facts(&image(":v1"), "api/v1", (&digest(n), 100), &facts, signer).await
    };
    for statement in [None, Some(("com.example.data", "PII"))] {
        let problem = check(statement, 1, "qa").await.unwrap_err();
        assert_eq!((problem.id(), problem.exit()), ("E1008", 12));
        let text = problem.text();
        for part in [
            "is not signed",
            "statement com.example.data",
            "\"public\"  by alice",
            "to be signed now",
            "-a com.example.data=public",
            "trust unsign",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    assert!(check(say, 1, "qa").await.is_ok(), "who says the same may sign");
    assert!(check(None, 1, "alice").await.is_ok(), "an entry of one's own is replaced");
    assert!(check(None, 2, "qa").await.is_ok(), "what is said of another image does not count");
    repo.roles[0].targets.insert("api/v1".to_owned(), stated(None));
    repo.bump();
    let mut reader = repo.refresh(dirs[1].path()).await.unwrap();
    let facts = facts_in(&stated(Some(("k v", "a; rm")))).unwrap();
    let problem = reader.check_facts(&image(":v1"), "api/v1", (&digest(1), 100), &facts, "qa").await.unwrap_err();
    assert!(problem.remedy[0].contains("sign without -a k v"), "{}", problem.text());
    repo.roles[0].targets.insert("api/v1".to_owned(), stated(Some(("k", "a; rm"))));
    repo.bump();
    let mut reader = repo.refresh(dirs[2].path()).await.unwrap();
    let problem = reader.check_facts(&image(":v1"), "api/v1", (&digest(1), 100), &facts, "qa").await.unwrap_err();
    assert!(!problem.remedy.concat().contains("rm"), "no shell reads what others stated: {}", problem.text());
    // Whoever has to sign anew because a file has expired is not kept from it.
    repo.roles[0].expires = now();
    repo.bump();
    let mut reader = repo.refresh(dirs[3].path()).await.unwrap();
    assert!(reader.check_facts(&image(":v1"), "api/v1", (&digest(1), 100), &facts, "qa").await.is_ok());
}

#[tokio::test]
async fn a_role_that_is_stored_is_not_fetched_again_and_serves_offline() {
    let mut repo = repo();
    repo.bump();
    let dir = tempdir().unwrap();
    let require = Require::default();
    repo.refresh(dir.path()).await.unwrap().verify(&image(":v1"), &require).await.unwrap();
    repo.server.asked();
    repo.refresh(dir.path()).await.unwrap().verify(&image(":v1"), &require).await.unwrap();
    assert_eq!(repo.server.asked(), ["2.root.json", "timestamp.json"]);
    let mut reader = repo.offline_at(dir.path(), now()).unwrap();
    reader.verify(&image(":v1"), &require).await.unwrap();
    drop(reader);
    std::fs::write(folder(dir.path()).join("alice.json"), b"{").unwrap();
    let mut reader = repo.offline_at(dir.path(), now()).unwrap();
    assert_eq!(reader.verify(&image(":v1"), &require).await.unwrap_err().code, Code::NothingStored);
    drop(reader);
    repo.refresh(dir.path()).await.unwrap().verify(&image(":v1"), &require).await.unwrap();
    assert_eq!(repo.server.asked(), ["2.root.json", "timestamp.json", "2.alice.json"]);
}

#[tokio::test]
async fn all_roles_are_loaded_and_a_bad_one_is_named() {
    let mut repo = repo();
    repo.roles[1].signing = 99;
    repo.bump();
    let dir = tempdir().unwrap();
    let mut reader = repo.refresh(dir.path()).await.unwrap();
    let unloaded = reader.load_all_roles().await.unwrap();
    assert_eq!(unloaded.len(), 1);
    assert_eq!((unloaded[0].0.as_str(), unloaded[0].1.code), ("qa", Code::RoleSignatures));
    assert!(reader.trusted().delegated("targets", "ci").is_some());
    assert_eq!(reader.role("alice").await.unwrap().len(), 2);
}

/// Image `n` with facts that state these tags.
fn tagged(n: u8, tags: &[&str]) -> TargetInfo {
    let mut facts = facts_in(&with_facts(n, &[4], "public")).unwrap();
    facts.tags = tags.iter().map(|&tag| tag.to_owned()).collect();
    TargetInfo { custom: Some(json::parse(&facts.to_custom().unwrap()).unwrap()), ..manifest(n) }
}

#[tokio::test]
async fn an_image_that_was_signed_under_another_tag_later_does_not_hide_that_behind_its_old_tag() {
    let mut repo = repo();
    let tags =
        async |repo: &mut Repo, rest: &str| verify(repo, rest, &Require::default()).await.unwrap().facts.unwrap().tags;
    // As `trust sign` leaves it: the old tag's entry stays, and the entry of the digest has both.
    repo.roles[0].targets = [
        ("api/v1".to_owned(), tagged(1, &["v1"])),
        ("api/PII".to_owned(), tagged(1, &["PII", "v1"])),
        (digest_entry(1), tagged(1, &["PII", "v1"])),
    ]
    .into();
    let digest_alone = format!("@{}", digest(1));
    for rest in [":v1", ":PII", &digest_alone] {
        assert_eq!(tags(&mut repo, rest).await, ["PII", "v1"], "{rest}");
    }
    // By another signer, who comes after the hit or before it.
    repo.roles[0].targets.insert(digest_entry(1), tagged(1, &["v1"]));
    repo.roles[2].targets.insert(digest_entry(1), tagged(1, &["secret"]));
    assert_eq!(tags(&mut repo, ":v1").await, ["secret", "v1"]);
    assert_eq!(tags(&mut repo, &digest_alone).await, ["secret", "v1"]);
    repo.roles[0].targets.insert(digest_entry(1), TargetInfo { length: 101, ..tagged(1, &["longer"]) });
    assert_eq!(tags(&mut repo, ":v1").await, ["longer", "secret", "v1"], "with another length as well");
    // A second signer of the tag itself.
    repo.roles[1].targets.insert("api/v1".to_owned(), tagged(1, &["qa", "v1"]));
    assert_eq!(tags(&mut repo, ":v1").await, ["longer", "qa", "secret", "v1"]);
    // What is said of another digest does not count, nor does it under the path of this one.
    repo.roles[2].targets.insert(digest_entry(1), tagged(2, &["other"]));
    repo.roles[2].targets.insert(digest_entry(2), tagged(2, &["other"]));
    assert_eq!(tags(&mut repo, ":v1").await, ["longer", "qa", "v1"]);
    // Without an entry by digest the tag's own is all there is.
    for role in &mut repo.roles {
        role.targets.remove(&digest_entry(1));
    }
    assert_eq!(tags(&mut repo, ":v1").await, ["qa", "v1"]);
}

#[tokio::test]
async fn at_a_gate_the_tag_beside_a_digest_adds_what_it_was_signed_under() {
    let mut repo = repo();
    repo.roles[0].targets = [("api/PII".to_owned(), tagged(1, &["PII"])), (digest_entry(1), tagged(1, &["v1"]))].into();
    repo.bump();
    let dir = tempdir().unwrap();
    let mut reader = repo.refresh(dir.path()).await.unwrap();
    let both = image(&format!(":PII@{}", digest(1)));
    let got = reader.verify_as(&both, &Require::default(), Meaning::DigestDecides).await.unwrap();
    assert_eq!(got.facts.unwrap().tags, ["PII", "v1"]);
}

#[tokio::test]
async fn an_entry_by_digest_that_cannot_be_read_refuses_and_its_expiry_counts() {
    let mut repo = repo();
    repo.roles[0].targets = [("api/v1".to_owned(), tagged(1, &["v1"]))].into();
    repo.role("digests", 41, &["api/@sha256-*"]).targets.insert(digest_entry(1), tagged(1, &["PII"]));
    repo.roles[3].expires = time("2030-01-01T12:00:00Z");
    let got = verify(&mut repo, ":v1", &Require::default()).await.unwrap();
    assert_eq!(got.facts.unwrap().tags, ["PII", "v1"]);
    assert_eq!(got.expires, "2030-01-01T12:00:00Z");
    assert_eq!(got.versions.roles["digests"], 2);
    repo.roles[3].expires = now();
    assert_eq!(refused(&mut repo, ":v1", &Require::default()).await, Code::RoleExpired);
    // Of a digest that nobody states facts of, nothing is decided by tags.
    repo.roles[0].targets = [("api/v1".to_owned(), manifest(1))].into();
    assert!(verify(&mut repo, ":v1", &Require::default()).await.is_ok());
}
