//! A clock that was set back, stands still or is far ahead: named as such, and never a way around a rule (tuf.md 1.0).

use trust_reader::CLOCK_TOLERANCE;
use trust_reader::catalogue::Code;
use trust_reader::verdict::Problem;
use trust_tests::simulator::reader::ReaderClient;
use trust_tests::simulator::{Client, Delegate, Repository, TestKey, days, now};
use trust_tuf::UtcTime;

fn after(seconds: i64) -> UtcTime {
    now().plus_secs(seconds).unwrap()
}

fn scene() -> (Repository, ReaderClient) {
    let repo = Repository::new();
    let client = ReaderClient::new(repo.pinned.clone(), repo.wire.clone());
    (repo, client)
}

fn fact<'a>(problem: &'a Problem, label: &str) -> &'a str {
    problem.facts.iter().find(|(l, _)| *l == label).map_or("", |(_, text)| text)
}

#[test]
fn a_clock_stepped_back_between_runs_is_named_and_revives_nothing() {
    let (mut repo, mut client) = scene();
    let soon = after(days(1));
    repo.role("timestamp").set_expires(soon);
    repo.publish_timestamp();
    client.refresh(now()).unwrap();
    client.refresh(after(days(1) - 1)).unwrap();
    // Expired; and the clock is set back to a time at which it was fresh.
    assert_eq!(client.told(soon).unwrap_err().code, Code::TimestampExpired);
    let kept = client.files();
    for told in [client.told(now()).unwrap_err(), client.told_offline(now()).unwrap_err()] {
        assert_eq!((told.code, told.exit()), (Code::ClockBack, 14));
        assert_eq!(fact(&told, "clock"), now().to_string());
        assert_eq!(fact(&told, "last update"), after(days(1) - 1).to_string());
        assert!(told.text().contains("clock"), "{}", told.text());
    }
    assert!(client.files() == kept);
    // Set right again, everything goes on.
    repo.role("timestamp").set_expires(after(days(9)));
    repo.publish_timestamp();
    client.refresh(after(days(1))).unwrap();
}

#[test]
fn a_clock_far_ahead_is_named_where_the_server_says_what_time_it_is() {
    for role in ["root", "timestamp", "snapshot", "targets", "A"] {
        let (mut repo, mut client) = scene();
        repo.delegate("targets", &Delegate::new("A", &TestKey::ed25519(200), &["*"]));
        let expires = after(days(20));
        repo.role(role).set_expires(expires);
        if role == "root" {
            repo.publish_next_root();
        }
        repo.role("targets").bump();
        repo.publish();
        client.lookup(now(), "x").unwrap().unwrap_found_nothing();
        // A year ahead of everything, or of this one alone; the server goes on and says so.
        repo.wire.say_time(Some(after(60)));
        let kept = client.files();
        let told = client.told_of(expires, "x").unwrap_err();
        assert_eq!((told.code, told.id(), told.exit()), (Code::ClockAhead, "E1317", 14), "{role}");
        assert_eq!(fact(&told, "role"), role);
        assert_eq!(fact(&told, "expired"), expires.to_string());
        assert_eq!(fact(&told, "clock"), expires.to_string());
        assert_eq!(fact(&told, "clock there"), after(60).to_string());
        let text = told.text();
        assert!(text.contains("the clock of this machine"), "{text}");
        // It stays a refusal, with the same files as without the explanation.
        repo.wire.say_time(None);
        let plain = client.told_of(expires, "x").unwrap_err();
        let reason = if role == "timestamp" { Code::TimestampExpired } else { Code::RoleExpired };
        assert_eq!(plain.code, if role == "root" { Code::RootExpired } else { reason }, "{role}");
        assert!(client.files() == kept, "{role}");
        if role == "A" {
            // The update itself went through at the wrong time: until then the right one is a step back, and says so.
            assert_eq!(client.told(after(60)).unwrap_err().code, Code::ClockBack);
            continue;
        }
        // With the clock set right it works.
        client.lookup(after(60), "x").unwrap().unwrap_found_nothing();
    }
}

#[test]
fn a_server_that_is_really_frozen_does_not_blame_the_clock() {
    let (mut repo, client) = scene();
    let expires = after(days(1));
    repo.role("timestamp").set_expires(expires);
    repo.publish_timestamp();
    let late = after(days(2));
    // Its clock goes on, is a little behind, or is not told.
    for said in [Some(late), late.plus_secs(-CLOCK_TOLERANCE), Some(expires), None] {
        repo.wire.say_time(said);
        assert_eq!(client.told(late).unwrap_err().code, Code::TimestampExpired, "{said:?}");
    }
}

#[test]
fn a_lying_server_time_makes_nothing_fresh_that_has_expired() {
    // A thief of old files says the time at which they were fresh: the refusal stands, and the state is what it was.
    let (mut repo, mut client) = scene();
    repo.role("timestamp").set_expires(after(days(1)));
    repo.publish_timestamp();
    client.refresh(now()).unwrap();
    let kept = client.files();
    repo.wire.say_time(Some(now()));
    for _ in 0..3 {
        assert_eq!(client.told(after(days(400))).unwrap_err().code, Code::ClockAhead);
        assert!(client.files() == kept);
    }
}

#[test]
fn a_frozen_clock_is_named_as_soon_as_the_server_is_ahead_of_it() {
    let (mut repo, client) = scene();
    repo.wire.say_time(Some(now()));
    assert_eq!(client.told(now()).unwrap(), Vec::<String>::new());
    // Days pass, the repository moves on, and the clock still says the same.
    for day in 1..4 {
        repo.publish_timestamp();
        repo.wire.say_time(Some(after(days(day))));
        let warnings = client.told(now()).unwrap();
        let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
        for part in ["clock of this machine", "stands still", &now().to_string(), &after(days(day)).to_string()] {
            assert!(warning.contains(part), "{warning}");
        }
    }
    // A server that says nonsense in the other direction is no reason to doubt the clock of a fresh update.
    repo.wire.say_time(Some(after(-days(4_000))));
    assert_eq!(client.told(now()).unwrap(), Vec::<String>::new());
}

#[test]
fn offline_an_expired_state_says_that_the_clock_may_be_ahead() {
    let (_repo, mut client) = scene();
    client.refresh(now()).unwrap();
    let told = client.told_offline(after(days(3_650))).unwrap_err();
    assert!(matches!(told.code, Code::RootExpired | Code::StoredExpired), "{:?}", told.code);
    assert!(Code::StoredExpired.help().contains("a clock that is ahead"));
}

trait FoundNothing {
    fn unwrap_found_nothing(self);
}

impl FoundNothing for trust_tests::simulator::Answer {
    #[track_caller]
    fn unwrap_found_nothing(self) {
        assert_eq!(self.role(), None);
    }
}
