//! Logs that somebody changed: every byte counts.

use super::*;

fn log(count: u32) -> Vec<String> {
    let mut head = Head::NOTHING;
    let mut lines = Vec::new();
    for n in 1..=count {
        let answer = if n % 3 == 0 { "deny" } else { "allow" };
        let object = format!("{{\"time\":\"2030-01-01T00:00:0{n}Z\",\"answer\":\"{answer}\",\"n\":{n}}}");
        let (line, after) = head.linked(object.as_bytes(), 0);
        lines.push(String::from_utf8(line).unwrap());
        head = after;
    }
    lines
}

fn checked(text: &str, wanted: &[Head]) -> Result<Whole, String> {
    verify([("log".to_owned(), text.as_bytes())], wanted).map_err(|e| e.to_string())
}

fn head_of(line: &str, seq: u64) -> Head {
    Head::after(line.trim_end().as_bytes(), seq)
}

#[test]
fn every_changed_byte_removed_or_moved_line_is_found() {
    let lines = log(6);
    let head = head_of(&lines[5], 6);
    let whole = checked(&lines.concat(), &[head]).unwrap();
    assert_eq!((whole.lines, whole.answers, whole.head), (6, [4, 2, 0, 0], head));
    assert_eq!(whole.times, ("2030-01-01T00:00:01Z".to_owned(), "2030-01-01T00:00:06Z".to_owned()));
    let text = lines.concat();
    for at in 0..text.len() {
        for bit in [1_u8, 4, 32] {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= bit;
            let result = verify([("log".to_owned(), changed.as_slice())], &[head]);
            assert!(result.is_err(), "byte {at} bit {bit} of {}", String::from_utf8_lossy(&changed));
        }
    }
    for at in 0..lines.len() {
        let mut without = lines.clone();
        without.remove(at);
        let result = checked(&without.concat(), &[head]);
        // Without its first line it is a part of a log, and says so.
        assert_eq!(result.as_ref().ok().map(|w| w.first), (at == 0).then_some(2), "{at}: {result:?}");
        let mut twice = lines.clone();
        twice.insert(at, lines[at].clone());
        assert!(checked(&twice.concat(), &[head]).is_err(), "{at} twice");
        if at > 0 {
            let mut moved = lines.clone();
            moved.swap(at - 1, at);
            assert!(checked(&moved.concat(), &[head]).is_err(), "{at} before {}", at - 1);
        }
    }
}

#[test]
fn a_cut_end_is_found_by_a_head_and_by_nothing_else() {
    let lines = log(4);
    let (second, last) = (head_of(&lines[1], 2), head_of(&lines[3], 4));
    let cut = lines[..2].concat();
    assert_eq!(checked(&cut, &[]).unwrap().head, second);
    assert!(checked(&cut, &[last]).unwrap_err().contains("the log ends with line 2:"));
    assert!(checked(&cut, &[second]).is_ok());
    let other = Head { seq: 2, ..last };
    assert!(checked(&lines.concat(), &[other]).unwrap_err().contains("another line 2"));
    // An unfinished line at the end is told by nobody yet, and hides nothing.
    let unfinished = format!("{}{}", lines.concat(), "{\"time\":");
    assert_eq!(checked(&unfinished, &[last]).unwrap().lines, 4);
}

#[test]
fn a_line_between_that_is_none_is_found() {
    let lines = log(3);
    for noise in ["\n", "noise\n", "{}\n", "{\"seq\":2}\n"] {
        let text = format!("{}{noise}{}", lines[0], lines[1..].concat());
        let error = checked(&text, &[]).unwrap_err();
        assert!(error.contains("line 3: the line before is no line") || error.contains("line 2:"), "{noise}: {error}");
    }
    assert!(checked("", &[]).unwrap_err().contains("no line"));
    let long = format!("{}{}\n", lines[0], "x".repeat(MAX_LINE_LEN));
    assert!(checked(&long, &[]).unwrap_err().contains("longer than"));
}

#[test]
fn a_first_line_that_is_bound_to_nothing_is_line_1_alone() {
    let lines = log(2);
    let forged = lines[1].replace(&head_of(&lines[0], 1).shown_digest(), "none");
    assert!(checked(&forged, &[]).unwrap_err().contains("contradict"));
    assert!(checked(&lines[0].replace("\"none\"", "\"sha256:00\""), &[]).unwrap_err().contains("contradict"));
}
