//! What this door asks the decider, and what it hears.
//!
//! Invariant: a [`Ruling`] is made of one answer and adds nothing to it; what is not an allow with a digest is a denial.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::{Value, json};
use trust_decide::{Answer, Decider, Outcome, Question};
use trust_image::Digest;
use trust_policy::Action;

use crate::decides::Decides;

/// One question.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// `HOST/NAME:TAG` or `HOST/NAME@DIGEST`.
    pub(crate) image: &'a str,
    /// Who asks, for the log.
    pub(crate) whom: &'a str,
}

/// What is waited for until a ruling is in the log.
pub(crate) type Answering<'r> = Pin<Box<dyn Future<Output = Ruling> + Send + 'r>>;

/// What was decided.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ruling {
    /// It may pass, as exactly this.
    Allowed {
        /// The verified digest.
        digest: Digest,
        /// Its signed length in bytes.
        length: u64,
        /// The images in it that the policy judged: those that its signed facts list as runnable. `None` where signatures
        /// alone decide.
        judged: Option<Vec<Digest>>,
    },
    /// It may not.
    Denied(Box<Denial>),
}

/// A denial in the words of the decider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Denial {
    /// The exit code that a command would have: it tells the classes apart.
    pub(crate) exit: u8,
    /// One line with the reason.
    pub(crate) line: String,
    /// The signed digest, if it came that far.
    pub(crate) digest: Option<String>,
    /// The policy in force: collection, version, digest.
    pub(crate) policy: Option<String>,
    /// The rules that decided.
    pub(crate) rules: Vec<String>,
    /// What to do.
    pub(crate) hint: Option<String>,
}

impl Denial {
    /// Whether it says something of this image, and not that the trust data cannot be used at all.
    pub(crate) fn is_about_the_image(&self) -> bool {
        use trust_reader::catalogue::exit::{DIGEST_DIFFERS, NOT_SIGNED, NOT_THERE, POLICY_DENIED, REVOKED, THRESHOLD};
        [NOT_SIGNED, NOT_THERE, THRESHOLD, DIGEST_DIFFERS, REVOKED, POLICY_DENIED].contains(&self.exit)
    }

    /// The `detail` of the error in the registry's form.
    pub(crate) fn detail(&self, repository: &str, reference: &str) -> Value {
        json!({
            "repository": repository,
            "reference": reference,
            "digest": self.digest,
            "policy": self.policy,
            "rule": (!self.rules.is_empty()).then(|| self.rules.join(", ")),
            "hint": self.hint,
        })
    }
}

/// A signed image of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignedImage {
    /// The tag that it is signed under; none for an entry by digest.
    pub(crate) tag: Option<String>,
    pub(crate) digest: Digest,
    /// The images in it, as far as the signed facts list them.
    pub(crate) parts: Vec<Digest>,
}

/// The decider, as this door needs it.
pub(crate) trait Rules: Send + Sync {
    /// Whether an image may be pulled, and as what: a step on the way to an answer, which is not logged.
    fn rule(&self, asked: &Asked<'_>) -> Ruling;

    /// The same as the answer to a client. It is in the log when it comes.
    fn answer<'r>(&'r self, asked: Asked<'r>) -> Answering<'r>;

    /// What is signed of `HOST/NAME`. Not everything here may pass.
    fn signed(&self, name: &str) -> Vec<SignedImage>;

    /// The names below `HOST` that have signed tags, each with one of them. Not everything here may pass.
    fn names(&self, host: &str) -> Vec<(String, String)>;

    /// Why it cannot decide at all, if it cannot.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// How it is, in detail; null if it does not know.
    fn report(&self) -> Value {
        Value::Null
    }
}

/// The decider of this program.
pub(crate) struct Deciding(pub(crate) Arc<Decider>);

fn question<'a>(asked: &Asked<'a>) -> Question<'a> {
    Question {
        image: asked.image,
        namespace: None,
        action: Action::Pull,
        door: "registry",
        whom: asked.whom,
        dry_run: false,
        mode: trust_decide::Mode::Enforce,
        digest_only: false,
    }
}

impl Rules for Deciding {
    fn rule(&self, asked: &Asked<'_>) -> Ruling {
        ruling(&self.0.consider(&question(asked)))
    }

    fn answer<'r>(&'r self, asked: Asked<'r>) -> Answering<'r> {
        Box::pin(async move {
            let question = question(&asked);
            ruling(&self.0.decide_and_enter(&question).await)
        })
    }

    fn signed(&self, name: &str) -> Vec<SignedImage> {
        let entries = self.0.entries(name).into_iter();
        let image = entries.map(|entry| SignedImage {
            tag: entry.tag,
            digest: entry.digest,
            parts: entry.facts.iter().flat_map(|facts| facts.platforms.iter().map(|part| part.digest)).collect(),
        });
        image.collect()
    }

    fn names(&self, host: &str) -> Vec<(String, String)> {
        self.0.names(host)
    }

    fn trouble(&self) -> Option<String> {
        Decides::trouble(self.0.as_ref())
    }

    fn report(&self) -> Value {
        Decides::report(self.0.as_ref())
    }
}

fn ruling(answer: &Answer) -> Ruling {
    let denied = match &answer.outcome {
        Outcome::Allowed(allowed) => {
            let verified = &allowed.verified;
            let runnable = verified.facts.iter().flat_map(|facts| &facts.platforms).filter(|part| part.is_runnable());
            let judged = allowed.decision.as_ref().map(|_| runnable.map(|part| part.digest).collect());
            return Ruling::Allowed { digest: verified.digest, length: verified.length, judged };
        }
        Outcome::Denied(denied) => denied,
    };
    let decision = denied.decision.as_ref();
    let contact = decision.iter().flat_map(|d| &d.rules).find_map(|rule| rule.contact.as_ref());
    let hint = contact.map(|contact| format!("contact {contact}")).or_else(|| denied.problem.remedy.first().cloned());
    Ruling::Denied(Box::new(Denial {
        exit: answer.exit(),
        line: answer.line(),
        digest: denied.digest.map(|digest| digest.to_string()),
        policy: decision.map(|d| format!("{} v{} {}", d.policy.collection, d.policy.version, d.policy.digest)),
        rules: decision.iter().flat_map(|d| d.rules.iter().map(|rule| rule.id.clone())).collect(),
        hint,
    }))
}

#[cfg(test)]
mod tests {
    use trust_decide::Denied;
    use trust_reader::catalogue::Code;
    use trust_reader::verdict::Problem;

    use super::*;

    fn denied(code: Code) -> Denial {
        let problem =
            Problem::new(code).fact("image", "registry.example.com/pay/api:v1").remedy(["do this", "or that"]);
        let denied = Denied { problem, decision: None, digest: Some(Digest::of(b"x")), signers: Vec::new() };
        let answer = Answer {
            image: "registry.example.com/pay/api:v1".to_owned(),
            environment: "public-eu".to_owned(),
            outcome: Outcome::Denied(denied.into()),
            note: None,
        };
        match ruling(&answer) {
            Ruling::Denied(denial) => {
                assert_eq!((denial.line.as_str(), denial.exit), (answer.line().as_str(), answer.exit()));
                *denial
            }
            Ruling::Allowed { .. } => panic!("a denial became an allow"),
        }
    }

    #[test]
    fn every_denial_stays_one_with_its_line_digest_and_hint() {
        for &code in Code::ALL {
            let denial = denied(code);
            assert_eq!(denial.hint.as_deref(), Some("do this"));
            let detail = denial.detail("registry.example.com/pay/api", "v1");
            assert_eq!(detail["digest"], Digest::of(b"x").to_string());
            assert_eq!((detail["reference"].as_str(), detail["rule"].is_null()), (Some("v1"), true));
        }
    }

    #[test]
    fn trust_data_that_cannot_be_used_says_nothing_of_the_image() {
        for code in [Code::TimestampExpired, Code::RoleExpired, Code::PolicyFailed] {
            assert!(!denied(code).is_about_the_image(), "{code:?}");
        }
        for code in [Code::NotSigned, Code::DigestRevoked, Code::PolicyDenied] {
            assert!(denied(code).is_about_the_image(), "{code:?}");
        }
    }
}
