//! The only place that asks a person.
//!
//! INVARIANT: a question appears only if stdin and stderr are terminals and nothing says that nobody is there. Else the answer
//! is an error at once (exit 40) that names the flag or variable that would have answered. What is typed is never echoed
//! for a passphrase, and never kept longer than the command.

use std::io::{BufRead, IsTerminal, Write};

use trust_keys::{Passphrase, PassphraseError, PromptInfo, PromptPurpose};
use trust_reader::verdict::Problem;
use zeroize::Zeroizing;

use crate::fault;
use crate::settings::{Origin, Sourced};
use crate::style;

/// Longest answer to a question, in bytes.
const MAX_ANSWER_BYTES: u64 = 4_096;
/// Groups of five characters (25 bits each) in a passphrase that we make.
const GENERATED_GROUPS: usize = 5;
const ALPHABET: &[u8; 32] = b"abcdefghijkmnopqrstuvwxyz2345678";

/// Why there is no new passphrase, after [`TRIES`].
pub const ENTRIES_DIFFER: &str = "the two entries differ";
/// How often a new passphrase may be mistyped.
const TRIES: usize = 3;

/// A person at a terminal, or nobody.
#[derive(Debug, Clone)]
pub struct Terminal {
    nobody: Option<String>,
}

impl Terminal {
    /// Looks whether somebody can be asked.
    pub fn find(non_interactive: &Sourced<bool>) -> Self {
        let nobody = match (non_interactive.value, &non_interactive.origin) {
            (true, Origin::Flag(name)) => Some(format!("{name} was given")),
            (true, Origin::Variable(name)) => Some(format!("{name} is set")),
            (true, other) => Some(other.to_string()),
            (false, _) if !std::io::stdin().is_terminal() => Some("stdin is not a terminal".to_owned()),
            (false, _) if !std::io::stderr().is_terminal() => Some("stderr is not a terminal".to_owned()),
            (false, _) => None,
        };
        Self { nobody }
    }

    /// Whether somebody can be asked.
    pub fn is_interactive(&self) -> bool {
        self.nobody.is_none()
    }

    /// An ordinary confirmation. `yes` is `--yes`.
    pub fn confirm(&self, question: &str, yes: bool) -> Result<(), Problem> {
        if yes {
            return Ok(());
        }
        if let Some(why) = &self.nobody {
            return Err(fault::confirmation_needed(question, "--yes", why));
        }
        let answer = self.ask(&format!("{question} [y/N] "))?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(fault::declined(question)),
        }
    }

    /// A confirmation for which no flag stands in: somebody has to look.
    pub fn confirm_seen(&self, question: &str, instead: &str) -> Result<(), Problem> {
        if let Some(why) = &self.nobody {
            return Err(fault::confirmation_needed(question, instead, why));
        }
        let answer = self.ask(&format!("{question} [y/N] "))?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(fault::declined(question)),
        }
    }

    /// A destructive confirmation: the name is typed back. `given` is `--confirm`.
    pub fn confirm_name(&self, what: &str, name: &str, given: Option<&str>) -> Result<(), Problem> {
        match (given, &self.nobody) {
            (Some(given), _) if given == name => Ok(()),
            (Some(given), _) => Err(fault::wrong_confirmation(given, name)),
            (None, Some(why)) => Err(fault::confirmation_needed(what, &format!("--confirm {name}"), why)),
            (None, None) => {
                let answer = self.ask(&format!("{what}\nType {name} to confirm: "))?;
                if answer.trim() == name { Ok(()) } else { Err(fault::declined(what)) }
            }
        }
    }

    fn ask(&self, question: &str) -> Result<String, Problem> {
        let mut stderr = std::io::stderr().lock();
        let mut answer = String::new();
        write!(stderr, "{question}")
            .and_then(|()| stderr.flush())
            .and_then(|()| std::io::Read::take(std::io::stdin().lock(), MAX_ANSWER_BYTES).read_line(&mut answer))
            .map_err(|e| fault::terminal(&e))?;
        Ok(answer)
    }

    /// Asks for a passphrase. `answer` names the flags and variables that would have answered.
    pub fn passphrase(&self, info: &PromptInfo, answer: &str) -> Result<Passphrase, PassphraseError> {
        if self.nobody.is_some() {
            return Err(PassphraseError::NotInteractive { answer: answer.to_owned() });
        }
        match info.purpose {
            PromptPurpose::Open => typed(&format!("Passphrase for {}: ", described(info))),
            PromptPurpose::Protect => self.new_passphrase(info),
        }
    }

    fn new_passphrase(&self, info: &PromptInfo) -> Result<Passphrase, PassphraseError> {
        let question = format!("New passphrase for {} (empty: make one): ", described(info));
        match twice(&mut || typed(&question), &mut || typed("The same again: "))? {
            Some(passphrase) => Ok(passphrase),
            None => Self::made_passphrase(),
        }
    }

    fn made_passphrase() -> Result<Passphrase, PassphraseError> {
        let made = generated()?;
        let shown = format!("Write this passphrase down, it is shown once: {}\n", made.as_str());
        write!(std::io::stderr().lock(), "{shown}").map_err(|e| aborted(&e.to_string()))?;
        let made = Passphrase::new(made.as_bytes())?;
        let typed_back = typed("Type it back: ")?;
        if typed_back.same_as(&made) { Ok(made) } else { Err(aborted("what was typed is not the passphrase shown")) }
    }
}

/// A passphrase that was typed twice alike; `None` if the first entry is empty.
fn twice(
    first: &mut dyn FnMut() -> Result<Passphrase, PassphraseError>,
    again: &mut dyn FnMut() -> Result<Passphrase, PassphraseError>,
) -> Result<Option<Passphrase>, PassphraseError> {
    for left in (0..TRIES).rev() {
        let entry = first()?;
        if entry.is_empty() {
            return Ok(None);
        }
        if again()?.same_as(&entry) {
            return Ok(Some(entry));
        }
        if left > 0 {
            let _ = writeln!(std::io::stderr().lock(), "{ENTRIES_DIFFER}; once more, please");
        }
    }
    Err(aborted(ENTRIES_DIFFER))
}

fn described(info: &PromptInfo) -> String {
    let kind = info.algorithm.map(|a| format!(" ({a}")).unwrap_or_default();
    let id = info.key_id.as_deref().map(|id| id.chars().take(12).collect::<String>());
    let close = match (kind.is_empty(), id) {
        (false, Some(id)) => format!(", {id})"),
        (false, None) => ")".to_owned(),
        (true, Some(id)) => format!(" ({id})"),
        (true, None) => String::new(),
    };
    format!("key {}{kind}{close}", style::plain(&info.key))
}

fn typed(question: &str) -> Result<Passphrase, PassphraseError> {
    let text = Zeroizing::new(rpassword::prompt_password(question).map_err(|e| aborted(&e.to_string()))?);
    Passphrase::new(text.as_bytes())
}

fn generated() -> Result<Zeroizing<String>, PassphraseError> {
    let mut bytes = Zeroizing::new([0_u8; GENERATED_GROUPS * 5]);
    getrandom::fill(&mut *bytes).map_err(|_| aborted("the system gives no random bytes"))?;
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() + GENERATED_GROUPS));
    for (at, byte) in bytes.iter().enumerate() {
        if at > 0 && at % 5 == 0 {
            text.push('-');
        }
        // 32 letters divide 256 evenly: every letter is equally likely.
        let letter = ALPHABET.get(usize::from(byte & 31)).copied().unwrap_or(b'a');
        text.push(char::from(letter));
    }
    Ok(text)
}

fn aborted(reason: &str) -> PassphraseError {
    PassphraseError::Aborted { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_passphrase_has_its_length_and_no_letters_that_look_alike() {
        let one = generated().unwrap();
        assert_eq!(one.len(), GENERATED_GROUPS * 5 + GENERATED_GROUPS - 1);
        assert!(one.bytes().all(|b| b == b'-' || ALPHABET.contains(&b)));
        assert!(!ALPHABET.iter().any(|b| matches!(b, b'0' | b'1' | b'l' | b'9')));
        assert_ne!(one.as_str(), generated().unwrap().as_str());
    }

    #[test]
    fn entries_that_differ_are_asked_for_again_three_times_and_then_refused_with_41() {
        let entry = |text: String| Passphrase::new(text.as_bytes());
        let (mut asked, mut again) = (0, 0);
        let result = twice(
            &mut || {
                asked += 1;
                entry("one".to_owned())
            },
            &mut || {
                again += 1;
                entry(format!("other{again}"))
            },
        );
        let problem = fault::passphrase(&result.map(|_| ()).unwrap_err());
        assert_eq!((asked, problem.exit()), (TRIES, 41));
        let mut typed = ["mistyped", "right"].into_iter();
        let found = twice(&mut || entry("right".to_owned()), &mut || entry(typed.next().unwrap().to_owned())).unwrap();
        assert!(found.unwrap().same_as(&entry("right".to_owned()).unwrap()));
        assert!(twice(&mut || entry(String::new()), &mut || panic!("nothing to repeat")).unwrap().is_none());
    }

    #[test]
    fn nobody_is_asked_where_something_says_so() {
        let flag = Sourced { value: true, origin: Origin::Flag("--non-interactive") };
        let terminal = Terminal::find(&flag);
        assert!(!terminal.is_interactive());
        assert!(terminal.confirm("sure?", false).is_err());
        assert!(terminal.confirm("sure?", true).is_ok());
        assert!(terminal.confirm_name("all is lost", "r.example/a", Some("r.example/b")).is_err());
        assert!(terminal.confirm_name("all is lost", "r.example/a", Some("r.example/a")).is_ok());
        assert!(terminal.confirm_name("all is lost", "r.example/a", None).is_err());
    }
}
