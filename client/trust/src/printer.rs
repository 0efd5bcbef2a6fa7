//! The only place that writes to stdout and stderr.
//!
//! INVARIANT: what is printed and the exit code are functions of one value, the [`Answer`] or the [`Problem`]. With `-o json`
//! exactly one document reaches stdout, also on failure. A closed pipe is no error; a full disk is.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use trust_reader::catalogue::exit;
use trust_reader::verdict::Problem;

use crate::cli::globals::{ColorWhen, Format};
use crate::fault;
use crate::style::Style;

/// The name and version of every document.
pub const SCHEMA: &str = "trust/v1";

/// What a command has to say. Text, JSON and exit code are functions of it.
pub trait Answer {
    /// The command, for the document.
    fn command(&self) -> &'static str;

    /// The members of the document beside `schema`, `command`, `ok` and `exit`.
    fn json(&self) -> Value;

    /// The answer as text: goes to stdout.
    fn text(&self, style: Style) -> String;

    /// The report for people: goes to stderr, unless `--quiet`.
    fn report(&self, _style: Style) -> String {
        String::new()
    }

    /// What went wrong with some of several subjects.
    fn problems(&self) -> Vec<&Problem> {
        Vec::new()
    }

    /// Whether the text tells the problems already, so that they are not told again on stderr.
    fn tells_problems(&self) -> bool {
        false
    }

    /// Whether the command itself wrote the file of `--out`, so that the rest of the answer goes to stdout.
    fn wrote_out(&self) -> bool {
        false
    }

    /// The documents of `-o jsonl`; `None` for commands that have no lines.
    fn lines(&self) -> Option<Vec<Value>> {
        None
    }
}

/// The exit code of an answer.
pub fn exit_of(answer: &dyn Answer) -> u8 {
    exit::worst(answer.problems().into_iter().map(|problem| problem.exit()))
}

/// Writes answers and problems.
pub struct Printer {
    format: Format,
    color: ColorWhen,
    quiet: bool,
    verbose: bool,
    out: Option<PathBuf>,
}

impl Printer {
    /// A printer in this format. `out` takes what else goes to stdout.
    pub fn new(format: Format, color: ColorWhen, quiet: bool, out: Option<PathBuf>) -> Self {
        Self { format, color, quiet, verbose: false, out }
    }

    /// The same printer, which also tells what a lower layer said of a problem.
    #[must_use]
    pub fn verbose(self, verbose: bool) -> Self {
        Self { verbose, ..self }
    }

    /// The document of an answer.
    pub fn document(answer: &dyn Answer) -> Value {
        let exit = exit_of(answer);
        let mut document =
            json!({"schema": SCHEMA, "command": answer.command(), "ok": exit == exit::DONE, "exit": exit});
        if let (Some(members), Value::Object(own)) = (document.as_object_mut(), answer.json()) {
            for (name, value) in own {
                members.entry(name).or_insert(value);
            }
        }
        document
    }

    /// Prints an answer, and says how the program ends.
    pub fn answer(&self, answer: &dyn Answer) -> u8 {
        let code = exit_of(answer);
        let out = self.out.as_deref().filter(|_| !answer.wrote_out());
        let written = match (self.format, answer.lines()) {
            (Format::Json, _) => write_answer(out, &line(&Self::document(answer))),
            (Format::Jsonl, Some(lines)) => write_answer(out, &lines.iter().map(line).collect::<String>()),
            (Format::Jsonl, None) => {
                return self
                    .problem(&fault::usage(&format!("`{}` has no `-o jsonl`; use `-o json`", answer.command())));
            }
            (Format::Text, _) => {
                let report = answer.report(Style::of_stderr(self.color));
                let style = if out.is_some() { Style::default() } else { Style::of_stdout(self.color) };
                let written = write_answer(out, &answer.text(style));
                if !self.quiet {
                    self.stderr(&report);
                }
                let untold = answer.problems().into_iter().filter(|_| !answer.tells_problems());
                for problem in untold {
                    self.stderr(&problem_text(problem, Style::of_stderr(self.color)));
                }
                written
            }
        };
        match written {
            Ok(()) => code,
            Err(problem) if code == exit::DONE => {
                self.stderr(&problem_text(&problem, Style::of_stderr(self.color)));
                problem.exit()
            }
            Err(_) => code,
        }
    }

    /// Prints why a command failed, and says how the program ends.
    pub fn problem(&self, problem: &Problem) -> u8 {
        match self.format {
            Format::Json | Format::Jsonl => {
                // A failure goes to stdout even with --out: whoever reads the document must see it.
                let _ = emit(&mut io::stdout().lock(), line(&problem.json()).as_bytes());
            }
            Format::Text => {
                self.stderr(&problem_text(problem, Style::of_stderr(self.color)));
                if let Some(failure) = problem.failure.as_ref().filter(|_| self.verbose) {
                    self.stderr(&format!("  detail  {}\n", crate::style::plain(&failure.to_string())));
                }
            }
        }
        problem.exit()
    }

    /// A line of progress or a warning before the answer.
    pub fn note(&self, text: &str) {
        if !self.quiet && self.format == Format::Text {
            self.stderr(&format!("{text}\n"));
        }
    }

    /// Text as it is, for help.
    pub fn raw(&self, text: &str, to_stderr: bool) {
        if to_stderr {
            self.stderr(text);
        } else {
            let _ = emit(&mut io::stdout().lock(), text.as_bytes());
        }
    }

    fn stderr(&self, text: &str) {
        // Nobody is left to tell if this fails.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

fn write_answer(out: Option<&Path>, text: &str) -> Result<(), Problem> {
    match out {
        Some(path) => std::fs::write(path, text).map_err(|e| fault::file(path, &e)),
        None => emit(&mut io::stdout().lock(), text.as_bytes()).map_err(|e| fault::stdout(&e)),
    }
}

fn emit(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    match to.write_all(bytes).and_then(|()| to.flush()) {
        // `trust list | head` ends by closing the pipe.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// A document on one line. What could steer a terminal or turn the text is written as an escape: it stands in strings only,
/// so that the document says the same.
fn line(document: &Value) -> String {
    let mut text = String::new();
    for c in document.to_string().chars() {
        if c.is_ascii_graphic() || c == ' ' || !trust_reader::verdict::is_unprintable(c) {
            text.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    text.push('\n');
    text
}

/// A problem as text.
pub fn problem_text(problem: &Problem, style: Style) -> String {
    let text = problem.text();
    match text.split_once(':') {
        Some((head, rest)) if style.color => format!("{}:{rest}", style.error(head)),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use trust_reader::catalogue::Code;

    use super::*;

    struct Several(Vec<Problem>);

    impl Answer for Several {
        fn command(&self) -> &'static str {
            "verify"
        }
        fn json(&self) -> Value {
            json!({"ok": true, "exit": 0, "images": []})
        }
        fn text(&self, _: Style) -> String {
            String::new()
        }
        fn problems(&self) -> Vec<&Problem> {
            self.0.iter().collect()
        }
    }

    #[test]
    fn every_problem_ends_with_its_own_code_and_never_looks_like_success() {
        for code in Code::ALL {
            let answer = Several(vec![Problem::new(*code)]);
            assert_eq!(exit_of(&answer), code.exit());
            let document = Printer::document(&answer);
            assert_eq!((&document["ok"], &document["exit"]), (&json!(false), &json!(code.exit())), "{}", code.id());
            let alone = Problem::new(*code).json();
            assert_eq!((&alone["ok"], &alone["code"]), (&json!(false), &json!(code.id())));
            assert_eq!(alone["schema"], SCHEMA);
            let text = problem_text(&Problem::new(*code), Style { color: true });
            assert!(!text.contains('✓') && text.contains(code.id()), "{text}");
        }
    }

    #[test]
    fn several_problems_end_with_the_worst() {
        let answer = Several(vec![Problem::new(Code::Unreachable), Problem::new(Code::DigestDiffers)]);
        assert_eq!(exit_of(&answer), Code::DigestDiffers.exit());
    }

    #[test]
    fn a_command_cannot_say_ok_for_itself() {
        let answer = Several(vec![Problem::new(Code::NotSigned)]);
        assert_eq!(Printer::document(&answer)["ok"], json!(false));
    }

    #[test]
    fn a_document_cannot_steer_a_terminal_and_says_the_same() {
        let hostile = "a\u{1b}[2J\u{9b}31m\u{202e}x\u{7f}\u{e0001}\\ \"é界\"";
        let document = json!({ "token": hostile, hostile: 1 });
        let text = line(&document);
        let shown = text.strip_suffix('\n').unwrap();
        assert!(!shown.chars().any(trust_reader::verdict::is_unprintable), "{shown}");
        assert!(shown.contains("é界"));
        assert_eq!(serde_json::from_str::<Value>(shown).unwrap(), document);
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(emit(&mut Closed, b"x").is_ok());
    }
}
