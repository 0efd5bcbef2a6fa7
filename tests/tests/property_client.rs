//! Random stories of a repository, its attackers and its clients: the clients trust what they must, and nothing else.
//!
//! Told again: `SEED=42 cargo test -p trust-tests --test property_client a_given_seed`. A seed that ever broke a promise
//! is kept in `tests/corpus/seeds/property_client.txt`.

use trust_tests::property::check;

/// Stories in `make test`.
const STORIES: u64 = 200;

fn kept() -> Vec<u64> {
    let text = include_str!("../corpus/seeds/property_client.txt");
    let line = |line: &str| line.split('#').next().map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned);
    text.lines().filter_map(line).map(|seed| seed.parse().expect("a seed in decimal")).collect()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn kept_seeds_break_no_promise() {
    let seeds = kept();
    assert_eq!(check(seeds.iter().copied()), seeds.len());
}

#[test]
fn no_story_lets_a_client_trust_too_much_or_lock_itself_out() {
    check(0..STORIES);
}

#[test]
fn a_given_seed() {
    check(number("SEED"));
}

#[test]
fn soak_of_stories() {
    // Other seeds than those of every day.
    let stories = number("SOAK").unwrap_or(10);
    check((1_000_000..).take(usize::try_from(stories).unwrap_or(usize::MAX)));
    println!("{stories} stories");
}
