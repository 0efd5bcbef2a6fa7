//! Cases of the public conformance suite: searches through delegations, told by the requests that a download makes.
//!
//! What the client of the suite asks for is asserted exactly: roles in the order of the search, each once, and none after
//! the hit. Orders beyond the suite's, and what look-ups of our own collections do after a hit, are in
//! `attacks_delegations.rs`. Which function of the suite is which test here: docs/conformance.md.

use trust_tests::conformance::scene::Scene;
use trust_tests::conformance::{Failed, init};
use trust_tests::simulator::{Delegate, Repository};

/// A delegation: who, to whom, for which paths, and whether it ends the search.
struct Edge(&'static str, &'static str, &'static str, bool);

const fn to(from: &'static str, role: &'static str) -> Edge {
    Edge(from, role, "*", false)
}

const fn only(from: &'static str, role: &'static str, pattern: &'static str) -> Edge {
    Edge(from, role, pattern, false)
}

const fn last(from: &'static str, role: &'static str) -> Edge {
    Edge(from, role, "*", true)
}

fn graph(edges: &[Edge]) -> Repository {
    let mut repo = Repository::new();
    for Edge(from, role, patterns, terminating) in edges {
        let patterns: Vec<&str> = patterns.split(' ').collect();
        let key = match repo.roles.get(*role) {
            Some(known) => known.signers[0].clone(),
            None => repo.new_key(),
        };
        repo.delegate(from, &Delegate { terminating: *terminating, ..Delegate::new(role, &key, &patterns) });
    }
    repo
}

fn published(mut repo: Repository) -> Scene {
    repo.publish();
    Scene::new(repo)
}

fn not_found(result: Result<(), Failed>) {
    assert!(matches!(result, Err(Failed::NoSuchTarget(_))), "{result:?}");
}

/// Asserts in which order the delegated roles are asked for by a client that has none of them, and that one which has
/// them all asks for none.
#[track_caller]
fn visits(edges: &[Edge], expected: &[&str]) {
    let scene = published(graph(edges));
    let (result, visited) = scene.visited_by_download("nobody-lists-this");
    not_found(result);
    assert_eq!(visited, expected);
    assert_eq!(scene.trusted().len(), 4 + expected.len(), "each visited role is kept, and no other");
    not_found(scene.download(&["nobody-lists-this"]));
    assert_eq!(scene.requests(), ["2.root.json", "timestamp.json"]);
}

#[test]
fn one_delegation_is_followed() {
    visits(&[to("targets", "A")], &["A"]);
}

#[test]
fn two_delegations_are_followed_in_order_of_appearance() {
    visits(&[to("targets", "A"), to("targets", "B")], &["A", "B"]);
    visits(&[to("targets", "B"), to("targets", "A")], &["B", "A"]);
}

#[test]
fn a_delegation_below_the_second_role_comes_after_it() {
    visits(&[to("targets", "A"), to("targets", "B"), to("B", "C")], &["A", "B", "C"]);
}

#[test]
fn all_that_hangs_below_the_first_role_comes_before_the_second() {
    visits(&[to("targets", "A"), to("targets", "B"), to("A", "C"), to("A", "D")], &["A", "C", "D", "B"]);
}

#[test]
fn a_chain_below_the_first_role_is_followed_to_its_end_first() {
    visits(&[to("targets", "A"), to("targets", "B"), to("A", "C"), to("C", "D")], &["A", "C", "D", "B"]);
}

#[test]
fn after_a_terminating_role_neither_its_sibling_nor_what_waits_above_is_visited() {
    visits(&[to("targets", "A"), to("targets", "B"), last("A", "C"), to("A", "D")], &["A", "C"]);
}

#[test]
fn what_hangs_below_a_terminating_role_is_still_visited() {
    visits(&[to("targets", "A"), to("targets", "B"), last("A", "C"), to("C", "D")], &["A", "C", "D"]);
}

#[test]
fn a_branch_that_is_not_for_the_path_is_skipped_with_all_below_it() {
    visits(&[only("targets", "A", "*.py"), to("targets", "B"), to("A", "C")], &["B"]);
}

#[test]
fn a_branch_below_that_is_not_for_the_path_is_skipped_with_all_below_it() {
    visits(&[to("targets", "A"), to("targets", "B"), only("A", "C", "*.py"), to("C", "D")], &["A", "B"]);
}

#[test]
fn a_cycle_is_walked_once() {
    visits(&[to("targets", "A"), to("targets", "B"), to("B", "C"), to("C", "D"), to("D", "B")], &["A", "B", "C", "D"]);
}

#[test]
fn a_role_below_two_is_visited_once_where_it_comes_first() {
    visits(&[to("targets", "A"), to("targets", "B"), to("B", "C"), to("A", "C")], &["A", "C", "B"]);
}

#[test]
fn a_role_below_two_is_visited_below_the_one_that_delegates_the_path() {
    visits(&[to("targets", "A"), to("targets", "B"), to("B", "C"), only("A", "C", "*.py")], &["A", "B", "C"]);
}

/// `targets` → A (documents, single-digit archives) and B (releases) → C (of x), D (zips of y).
fn releases() -> Scene {
    let mut repo = graph(&[
        only("targets", "A", "*.doc *.md foo-?.tgz"),
        only("targets", "B", "releases/*/*"),
        only("B", "C", "releases/x/*"),
        only("B", "D", "releases/y/*.zip"),
    ]);
    for (role, path) in [
        ("targets", "plain"),
        ("A", "README.md"),
        ("A", "releases/README.md"),
        ("A", "foo-1.tgz"),
        ("A", "foo-alpha.tgz"),
        ("C", "releases/x/x_v1"),
        ("D", "releases/y/y_v1.zip"),
        ("D", "releases/z/z_v1.zip"),
    ] {
        repo.add_target(role, path, format!("{path} by {role}").as_bytes());
    }
    published(repo)
}

#[track_caller]
fn found(path: &str, role: &str, visited: &[&str]) {
    let scene = releases();
    let (result, asked) = scene.visited_by_download(path);
    result.unwrap();
    assert_eq!(asked, visited);
    let content = format!("{path} by {role}").into_bytes();
    assert_eq!(scene.targets().into_iter().collect::<Vec<_>>(), [(path.to_owned(), content)]);
}

#[track_caller]
fn missed(path: &str, visited: &[&str]) {
    let scene = releases();
    let (result, asked) = scene.visited_by_download(path);
    not_found(result);
    assert_eq!(asked, visited);
    assert!(scene.targets().is_empty());
}

#[test]
fn what_targets_lists_itself_asks_for_no_delegated_role() {
    found("plain", "targets", &[]);
}

#[test]
fn a_star_matches_within_a_name() {
    found("README.md", "A", &["A"]);
}

#[test]
fn a_path_with_folders_is_found_two_levels_down() {
    found("releases/x/x_v1", "C", &["B", "C"]);
    found("releases/y/y_v1.zip", "D", &["B", "D"]);
}

#[test]
fn a_role_that_lists_what_its_delegation_does_not_cover_is_not_even_asked_for() {
    missed("releases/z/z_v1.zip", &["B"]);
}

#[test]
fn a_star_never_matches_a_slash() {
    missed("releases/README.md", &[]);
}

#[test]
fn a_question_mark_is_exactly_one_character() {
    found("foo-1.tgz", "A", &["A"]);
    missed("foo-alpha.tgz", &[]);
}

#[test]
fn patterns_are_case_sensitive() {
    missed("README.MD", &[]);
}

#[test]
fn a_role_that_was_good_for_one_target_is_judged_again_for_the_next_one() {
    // Both delegate `release` for paths of their own, with different keys; only A's has signed it.
    let mut repo = Repository::new();
    let (a, b) = (repo.new_key(), repo.new_key());
    for (parent, key) in [("parent-a", &a), ("parent-b", &b)] {
        let pattern = parent.replace("parent", "team") + "/*";
        let own = repo.new_key();
        repo.delegate("targets", &Delegate::new(parent, &own, &[&pattern]));
        repo.delegate(parent, &Delegate::new("release", key, &[&pattern]));
    }
    repo.role("release").signers = vec![a];
    repo.add_target("release", "team-a/file", b"by a");
    repo.add_target("release", "team-b/file", b"not by b");
    let scene = published(repo);
    // One client instance, in order, up to the failure.
    assert!(matches!(scene.download(&["team-a/file", "team-b/file"]), Err(Failed::Problem(_))));
    let by_a = [("team-a/file".to_owned(), b"by a".to_vec())];
    assert_eq!(scene.targets().into_iter().collect::<Vec<_>>(), by_a);
    // The other way round nothing comes: the first failure ends it.
    let scene = published(scene.repo);
    assert!(scene.download(&["team-b/file", "team-a/file"]).is_err());
    assert!(scene.targets().is_empty());
    // And in a later run, with the role on disk.
    scene.download(&["team-a/file"]).unwrap();
    assert!(scene.download(&["team-b/file"]).is_err());
}

#[test]
fn a_role_that_the_snapshot_does_not_list_is_not_asked_for_and_fails_the_download_alone() {
    let mut repo = graph(&[only("targets", "delegated", "dir/*")]);
    repo.add_target("delegated", "dir/file", b"x");
    repo.publish();
    repo.role("snapshot").unset(&["meta", "delegated.json"]);
    repo.write_snapshot();
    repo.write("timestamp");
    let scene = Scene::new(repo);
    scene.refresh().unwrap();
    scene.requests();
    assert!(matches!(scene.download(&["dir/file"]), Err(Failed::Problem(_))));
    assert_eq!(scene.requests(), ["2.root.json", "timestamp.json"]);
    assert!(!scene.trusted().contains_key("delegated"));
}

#[test]
fn role_names_with_slashes_and_question_marks_are_encoded_in_requests_and_stay_in_the_folder() {
    for (role, encoded) in
        [("?", "%3F"), ("#", "%23"), ("/delegatedrole", "%2Fdelegatedrole"), ("../delegatedrole", "..%2Fdelegatedrole")]
    {
        let scene = published(graph(&[to("targets", role)]));
        let (result, visited) = scene.visited_by_download("nobody lists this");
        not_found(result);
        assert_eq!(visited, [encoded]);
        let kept = scene.trusted();
        assert_eq!(kept.len(), 5, "{kept:?}");
        assert_eq!(kept.get(encoded), Some(&1));
        let above = std::fs::read_dir(scene.metadata_dir().parent().unwrap()).unwrap();
        let above: Vec<_> = above.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(above, ["metadata"], "{role}");
    }
}

#[test]
fn the_first_hit_ends_the_search_also_where_a_later_role_lists_the_target_too() {
    let mut repo = graph(&[to("targets", "A"), to("targets", "B"), to("A", "C")]);
    for role in ["A", "B", "C"] {
        repo.add_target(role, "x", role.as_bytes());
    }
    let scene = published(repo);
    let (result, visited) = scene.visited_by_download("x");
    result.unwrap();
    assert_eq!(visited, ["A"]);
    assert_eq!(scene.targets()["x"], b"A");
}

#[test]
fn one_root_is_pinned_in_a_folder_and_no_other_one_replaces_it() {
    let (scene, other) = (published(Repository::new()), published(graph(&[to("targets", "A")])));
    scene.refresh().unwrap();
    init(&scene.metadata_dir(), &scene.repo.pinned, scene.now).unwrap();
    let mut another = Repository::unpublished();
    another.root().set(&["spec_version"], "1.0.30");
    another.publish_root();
    assert!(matches!(init(&scene.metadata_dir(), &another.pinned, scene.now), Err(Failed::PinnedAlready)));
    scene.refresh().unwrap();
    drop(other);
}
