//! What the run says: each step with `ok` or `FAILED`, each counterpart that is not there with its reason.
//!
//! Nothing is left out in silence: a part that cannot be run is counted, and the program does not end well then.

use std::io;
use std::process::Command;
use std::time::Instant;

use crate::stack::run;

/// How a step ended: what was seen, or what is wrong.
pub type Outcome = Result<String, String>;

/// The steps so far.
pub struct Report {
    started: Instant,
    part: String,
    held: usize,
    failed: Vec<String>,
    absent: Vec<String>,
}

#[allow(clippy::print_stdout)]
fn say(text: &str) {
    println!("{text}");
}

impl Default for Report {
    fn default() -> Self {
        Self { started: Instant::now(), part: String::new(), held: 0, failed: Vec::new(), absent: Vec::new() }
    }
}

impl Report {
    /// Begins a part.
    pub fn part(&mut self, title: &str) {
        self.part = title.to_owned();
        say(&format!("\n── {title} ──"));
    }

    /// Something to know that is no step.
    pub fn note(&self, text: &str) {
        say(&format!("        {text}"));
    }

    /// One step; whether it held.
    pub fn step(&mut self, what: &str, outcome: Outcome) -> bool {
        match outcome {
            Ok(seen) => {
                self.held += 1;
                say(&format!("ok      {what}"));
                self.lines(&seen);
                true
            }
            Err(wrong) => {
                say(&format!("FAILED  {what}"));
                self.lines(&wrong);
                self.failed.push(format!("{}: {what}", self.part));
                false
            }
        }
    }

    /// A yes or no.
    pub fn check(&mut self, what: &str, holds: bool) -> bool {
        self.step(what, if holds { Ok(String::new()) } else { Err("it does not hold".to_owned()) })
    }

    /// A counterpart or a part of ours that is not there, and why.
    pub fn absent(&mut self, what: &str, why: &str) {
        say(&format!("ABSENT  {what}"));
        self.lines(why);
        self.absent.push(format!("{what}: {why}"));
    }

    /// A part that could not go on.
    pub fn end_of_part(&mut self, outcome: io::Result<()>) {
        if let Err(error) = outcome {
            self.step("the part was run to its end", Err(error.to_string()));
        }
    }

    fn lines(&self, text: &str) {
        for line in text.lines().filter(|l| !l.trim().is_empty()).take(12) {
            say(&format!("        {}", line.trim_end()));
        }
    }

    /// Says how it was; whether everything was run and held.
    pub fn close(&self) -> bool {
        let seconds = self.started.elapsed().as_secs_f64();
        say(&format!(
            "\n{} steps ok, {} failed, {} parts absent, in {seconds:.0} s",
            self.held,
            self.failed.len(),
            self.absent.len()
        ));
        for (word, list) in [("FAILED", &self.failed), ("ABSENT", &self.absent)] {
            for line in list {
                say(&format!("{word}  {line}"));
            }
        }
        self.failed.is_empty() && self.absent.is_empty()
    }
}

/// What a command said.
#[derive(Debug, Clone)]
pub struct Said {
    /// Whether it ended with 0.
    pub passed: bool,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// Runs a command, at most a minute.
    pub fn by(command: &mut Command) -> Self {
        match run(command) {
            Ok(output) => Self {
                passed: output.status.success(),
                out: String::from_utf8_lossy(&output.stdout).into_owned(),
                err: String::from_utf8_lossy(&output.stderr).into_owned(),
            },
            Err(error) => {
                let program = command.get_program().to_string_lossy().into_owned();
                Self { passed: false, out: String::new(), err: format!("{program} does not run: {error}") }
            }
        }
    }

    /// It must have ended well, and said each of these.
    pub fn done(&self, says: &[&str]) -> Outcome {
        self.all(self.passed, "it did not end well", says)
    }

    /// It must not have ended well, and said each of these.
    pub fn refused(&self, says: &[&str]) -> Outcome {
        self.all(!self.passed, "it was not refused", says)
    }

    fn all(&self, right: bool, wrong: &str, says: &[&str]) -> Outcome {
        let all = format!("{}\n{}", self.out.trim(), self.err.trim());
        if !right {
            return Err(format!("{wrong}:\n{all}"));
        }
        match says.iter().find(|word| !all.contains(**word)) {
            Some(word) => Err(format!("it does not say `{word}`:\n{all}")),
            None => Ok(all),
        }
    }

    /// Standard output, or what went wrong.
    pub fn text(&self) -> Outcome {
        if self.passed { Ok(self.out.trim().to_owned()) } else { Err(self.err.clone()) }
    }
}

/// Two texts that must be equal.
pub fn equal(found: &str, wanted: &str) -> Outcome {
    if found == wanted { Ok(found.to_owned()) } else { Err(format!("found  {found}\nwanted {wanted}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(passed: bool, text: &str) -> Said {
        Said { passed, out: text.to_owned(), err: String::new() }
    }

    #[test]
    fn a_step_holds_only_if_the_command_ended_as_it_must_and_said_what_it_must() {
        assert!(said(true, "created").done(&["created"]).is_ok());
        assert!(said(true, "created").done(&["denied"]).is_err());
        assert!(said(false, "created").done(&["created"]).is_err());
        assert!(said(false, "denied").refused(&["denied"]).is_ok());
        assert!(said(true, "denied").refused(&["denied"]).is_err(), "what passed was not refused");
        assert!(said(false, "no such host").refused(&["denied"]).is_err(), "refused for another reason");
        assert!(!Said::by(&mut Command::new("/nonexistent/program")).passed);
    }

    #[test]
    fn a_run_ends_well_only_if_every_step_held_and_nothing_was_absent() {
        let mut report = Report::default();
        assert!(report.step("one", Ok(String::new())) && report.close());
        report.absent("helm", "not built");
        assert!(!report.close());
        let mut report = Report::default();
        assert!(!report.check("one", false) && !report.close());
        let mut report = Report::default();
        report.end_of_part(Err(io::Error::other("it broke off")));
        assert!(!report.close());
    }
}
