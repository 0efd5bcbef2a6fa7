//! From a decision to its line in the log, which comes before the answer.
//!
//! Three ways: decide and wait for the disk ([`Decider::decide`]), on threads that may wait; draft and enter ([`Decider::draft`],
//! [`Decider::enter`]), where many decisions go with one write and no worker of a runtime waits; consider, for a step on the
//! way to an answer, which has no line. Invariant: what was not entered is not said: whoever drafts denies if the entries cannot
//! be written.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use trust_reader::catalogue::Code;
use trust_reader::verdict::Problem;

use super::{Decider, DecisionKey};
use crate::answer::{Answer, Denied, Outcome, Question, problem_line};
use crate::log;
use crate::stats::Tally;

/// What is to be written and counted before an answer is given.
#[derive(Debug, Default)]
#[must_use = "an answer whose entry was not written may not be given"]
pub struct Entry {
    line: Vec<u8>,
    tally: Tally,
}

impl Entry {
    /// Bytes that it takes in the log, about.
    pub fn len(&self) -> usize {
        self.line.len()
    }

    /// Whether nothing is to be written: there is no log.
    pub fn is_empty(&self) -> bool {
        self.line.is_empty()
    }
}

/// Why something is not in the log.
#[derive(Debug)]
pub enum Unentered {
    /// The disk takes too long. It may come to be there.
    Late,
    /// It cannot be written.
    Failed(Box<Problem>),
}

/// An answer that is not in the log yet.
#[derive(Debug)]
pub struct Draft {
    /// What will be the answer.
    pub answer: Answer,
    /// What is to be entered before.
    pub entry: Entry,
}

impl Decider {
    /// Decides, and writes the decision to the log before it is given. Waits for the log's disk, and for nothing else.
    pub fn decide(&self, question: &Question<'_>) -> Answer {
        let Draft { mut answer, entry } = self.draft(question);
        let written = match &self.log {
            Some(log) => log.write(&[&entry.line]),
            None => Ok(()),
        };
        if let Err(problem) = self.entered(written, [entry]) {
            answer.outcome = Outcome::Denied(Arc::new(Denied::new(problem.about(question.image))));
        }
        answer
    }

    /// The same, without waiting on the thread of the caller.
    pub async fn decide_and_enter(&self, question: &Question<'_>) -> Answer {
        let Draft { mut answer, entry } = self.draft(question);
        if let Err(unentered) = self.enter(vec![entry], None).await {
            let problem = match unentered {
                Unentered::Failed(problem) => *problem,
                Unentered::Late => Problem::new(Code::LogFailed),
            };
            answer.outcome = Outcome::Denied(Arc::new(Denied::new(problem.about(question.image))));
        }
        answer
    }

    /// Decides, and waits for nothing.
    pub fn draft(&self, question: &Question<'_>) -> Draft {
        let begun = Instant::now();
        self.drafted(question, self.considered(question, None), begun)
    }

    /// The same for what was decided before and still holds; a look into a cache. `None`: it is to be decided anew.
    pub fn draft_known(&self, question: &Question<'_>) -> Option<Draft> {
        let begun = Instant::now();
        let environment = self.environments.of(question.namespace);
        let key = DecisionKey { image: question.image.into(), environment, action: question.action };
        let outcome = self.watch.now().map(|now| self.again(&key, now)).transpose()?;
        Some(self.drafted(question, self.answer(question, environment, outcome), begun))
    }

    fn drafted(&self, question: &Question<'_>, answer: Answer, begun: Instant) -> Draft {
        if let Some(used) = answer.decision().and_then(|decision| decision.exception.as_ref()) {
            tracing::warn!(image = answer.image, exception = used.id, until = used.expires, "allowed by an exception");
        }
        let line = match &self.log {
            Some(_) => log::line(question, &answer, self.watch.wall()),
            None => Vec::new(),
        };
        let tally = Tally::of(question, &answer, begun.elapsed());
        Draft { answer, entry: Entry { line, tally } }
    }

    /// Writes what was drafted, with one write, and without waiting on the thread of the caller: until soon after this moment,
    /// if one is given. After a failure nothing of it may be said.
    pub async fn enter(&self, mut entries: Vec<Entry>, until: Option<tokio::time::Instant>) -> Result<(), Unentered> {
        if entries.is_empty() {
            return Ok(());
        }
        let written = match &self.log {
            Some(log) => {
                let lines = entries.iter_mut().map(|entry| std::mem::take(&mut entry.line)).collect();
                match log.append(lines, until).await {
                    Some(written) => written,
                    None => {
                        let late = "the disk of the log takes too long";
                        let _ = self.entered(Err(Problem::new(Code::LogFailed).fact("found", late)), entries);
                        return Err(Unentered::Late);
                    }
                }
            }
            None => Ok(()),
        };
        self.entered(written, entries).map_err(|problem| Unentered::Failed(Box::new(problem)))
    }

    /// The same as a decision without the log, for a step on the way to an answer. What passes is asked for with
    /// [`Decider::decide`] or entered. While the log cannot be written it denies: what rests on a line that is not there does
    /// not pass either.
    pub fn consider(&self, question: &Question<'_>) -> Answer {
        self.considered(question, self.log_problem.load().as_deref())
    }

    /// Counts what was written, or that it could not be.
    fn entered(&self, written: Result<(), Problem>, entries: impl IntoIterator<Item = Entry>) -> Result<(), Problem> {
        match &written {
            Ok(()) if self.log_problem.load().is_none() => {}
            Ok(()) => self.log_problem.store(None),
            Err(problem) => {
                tracing::error!("{}", problem_line(problem));
                self.log_problem.store(Some(Arc::new(problem.clone())));
            }
        }
        for Entry { tally, .. } in entries {
            let tally = match &written {
                Ok(()) => tally,
                Err(problem) => {
                    self.counts.unlogged();
                    tally.refused(problem.id())
                }
            };
            let counter = if tally.reason.is_none() { &self.allowed } else { &self.denied };
            counter.fetch_add(1, Ordering::Relaxed);
            self.counts.add(&tally);
        }
        written
    }
}
