//! The benchmarks of the gates work: small sizes, real processes, no figure judged. Each part fails by itself if an answer is
//! not the one that is measured, or if anything was asked over the network that must be known.

use trust_tests::bench::report::Row;
use trust_tests::bench::rig::Sizes;
use trust_tests::bench::{admission, blobs, cold, registry_gate};

fn judged(rows: &[Row]) -> usize {
    let shown: Vec<String> = rows.iter().map(ToString::to_string).collect();
    assert!(rows.iter().all(|row| row.wall.as_nanos() > 0), "{shown:#?}");
    rows.iter().filter(|row| row.goal.is_some()).count()
}

#[test]
fn warm_decisions_ask_nobody_and_fifty_containers_of_one_image_are_verified_once() {
    let folder = tempfile::tempdir().unwrap();
    let rows = admission::rows(folder.path(), Sizes::SMALL).unwrap();
    assert_eq!((rows.len(), judged(&rows)), (8, 5));
    let many = rows.last().unwrap();
    assert!(many.what.contains("50 containers") && many.goal.as_ref().unwrap().1, "{many}");
    let log = std::fs::read_to_string(folder.path().join("gate/decisions.log")).unwrap();
    // At least the closed loops of one image: each decision is in the log.
    let least = Sizes::SMALL.rounds * Sizes::SMALL.operations as usize * 5;
    assert!(log.lines().filter(|line| line.contains("\"answer\":\"allow\"")).count() > least);
}

#[test]
fn a_changed_image_and_an_empty_folder_are_decided_on_as_they_are_signed() {
    let folder = tempfile::tempdir().unwrap();
    let rows = cold::rows(folder.path(), Sizes::SMALL).unwrap();
    assert_eq!((rows.len(), judged(&rows)), (2, 2));
}

#[test]
fn a_manifest_that_the_gate_holds_is_asked_for_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let rows = registry_gate::rows(folder.path(), Sizes::SMALL).unwrap();
    assert_eq!((rows.len(), judged(&rows)), (4, 4));
}

#[test]
fn blobs_arrive_whole_beside_a_proxy_that_only_copies_and_hashes() {
    let folder = tempfile::tempdir().unwrap();
    let rows = blobs::rows(folder.path(), Sizes::SMALL).unwrap();
    assert_eq!((rows.len(), judged(&rows)), (4, 4));
    assert!(rows.iter().all(|row| row.beside.contains("a proxy") || row.beside.contains("the proxy")));
}
