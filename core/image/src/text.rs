//! Which characters of a text from outside are not shown as they are. Deliberately absent: terminals and colour.

/// Letters that are named.
const MAX_NAMED: usize = 4;

/// Whether a character steers a terminal, is not seen or looks like a blank, or turns the direction of the text.
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{a0}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}'
            | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' | '\u{2800}' | '\u{3000}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e01ef}')
}

/// ` (with U+0420)`: the letters of a text that are not ASCII and may look like others; empty where there are none.
pub fn foreign(text: &str) -> String {
    let is_foreign = |c: &char| !c.is_ascii() && !is_unprintable(*c);
    let named: Vec<String> =
        text.chars().filter(is_foreign).take(MAX_NAMED).map(|c| format!("U+{:04X}", c as u32)).collect();
    if named.is_empty() { String::new() } else { format!(" (with {})", named.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_blank_or_like_nothing_is_not_printed_as_it_is() {
        for c in "\u{1b}\u{7f}\u{9b}\u{a0}\u{34f}\u{1160}\u{2003}\u{200b}\u{202e}\u{202f}\u{2800}\u{3000}\u{3164}\u{fe0f}\u{feff}\u{ffa0}\u{e0100}"
            .chars()
        {
            assert!(is_unprintable(c), "{}", c.escape_unicode());
        }
        assert!("aZ09 .-_é漢Р".chars().all(|c| !is_unprintable(c)));
    }

    #[test]
    fn letters_that_look_alike_are_named() {
        assert_eq!(foreign("PII\u{a0}"), "");
        assert_eq!(foreign("РII"), " (with U+0420)");
        assert_eq!(foreign("абвгд").matches("U+").count(), MAX_NAMED);
    }
}
