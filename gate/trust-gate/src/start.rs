//! From the configuration to a decider, and from its answers to what the door of Kubernetes needs.
//!
//! Deliberately absent: settings that are not in the file.

use tokio::time::Instant;
use trust_decide::{
    Answer, Decider, Entry, Environments as DeciderEnvironments, Outcome, Pinned, PolicyFrom, Question, Settings,
};
use trust_policy::{Action, RuleMode, Trial};
use trust_reader::http::HttpOptions;
use trust_reader::tls::TlsOptions;
use trust_reader::verify::Require;

use crate::config::{Collection, Config, Environments, Mode};
use crate::decides::{Asked, Decides, Entering, Judges, Verdict};

/// What a decider is started with.
pub fn settings(config: &Config) -> Settings {
    Settings {
        collections: config.collections.iter().map(pinned).collect(),
        policy: match &config.policy {
            Some(name) => PolicyFrom::Collection(name.clone()),
            None => PolicyFrom::SignaturesAlone,
        },
        environments: match &config.environments {
            Environments::Fixed(environment) => DeciderEnvironments::Fixed(environment.clone()),
            Environments::Namespaces(map) => DeciderEnvironments::Namespaces(map.clone()),
        },
        state: config.state.clone(),
        refresh: config.refresh,
        max_staleness: config.max_staleness,
        log: Some(config.log.clone()),
        require: Require { signers: config.signers.clone(), min_signers: config.min_signers },
    }
}

fn pinned(collection: &Collection) -> Pinned {
    Pinned {
        collection: collection.name.clone(),
        root: collection.root.clone(),
        server: collection.server.clone(),
        mirrors: collection.mirrors.clone(),
        http: HttpOptions {
            tls: TlsOptions { ca_files: collection.ca.iter().cloned().collect() },
            allow_plain_http: collection.plain_http,
            ..HttpOptions::default()
        },
    }
}

impl Judges for Decider {
    fn decide(&self, asked: &Asked<'_>) -> Verdict {
        verdict(&Decider::decide(self, &question(asked)))
    }
}

impl Decides for Decider {
    fn draft(&self, asked: &Asked<'_>) -> (Verdict, Entry) {
        let draft = Decider::draft(self, &question(asked));
        (verdict(&draft.answer), draft.entry)
    }

    fn draft_known(&self, asked: &Asked<'_>) -> Option<(Verdict, Entry)> {
        let draft = Decider::draft_known(self, &question(asked))?;
        Some((verdict(&draft.answer), draft.entry))
    }

    fn enter(&self, entries: Vec<Entry>, until: Instant) -> Entering<'_> {
        Box::pin(Decider::enter(self, entries, Some(until)))
    }

    fn report(&self) -> serde_json::Value {
        self.health().json()
    }

    fn trouble(&self) -> Option<String> {
        let health = self.health();
        if health.ready && health.problem.is_none() {
            return None;
        }
        let of_collection = health.collections.iter().find_map(|c| c.problem.as_ref());
        let of_policy = health.policy.as_ref().and_then(|p| p.problem.as_ref());
        let problem = health.problem.as_ref().or(of_policy).or(of_collection);
        Some(problem.map_or_else(|| "not every collection is verified yet".to_owned(), |p| p.headline.clone()))
    }
}

impl From<Mode> for trust_decide::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Enforce => Self::Enforce,
            Mode::Warn => Self::Warn,
            Mode::Audit => Self::Audit,
        }
    }
}

fn question<'a>(asked: &Asked<'a>) -> Question<'a> {
    Question {
        image: asked.image,
        namespace: asked.namespace,
        action: Action::Deploy,
        door: asked.door,
        whom: asked.whom,
        dry_run: asked.dry_run,
        mode: asked.mode.into(),
        digest_only: asked.digest_only,
    }
}

fn verdict(answer: &Answer) -> Verdict {
    let (digest, pinned) = match &answer.outcome {
        Outcome::Allowed(allowed) => (Some(allowed.verified.digest), allowed.given.clone()),
        Outcome::Denied(_) => (None, None),
    };
    let policy = answer.decision().map(|d| format!("{}@{}", d.policy.collection, d.policy.version));
    // Nobody reads why something may pass by the rules; making the text costs more than looking up the decision.
    let used = answer.decision().and_then(|decision| Some((decision, decision.exception.as_ref()?)));
    let line = match (digest, used) {
        (None, _) => answer.line(),
        (Some(_), None) => String::new(),
        (Some(_), Some((decision, used))) => {
            let rules: Vec<&str> = decision.rules.iter().map(|rule| rule.id.as_str()).collect();
            let (id, until) = (&used.id, &used.expires);
            format!("exception {id} lifts rule {} until {until}: {}", rules.join(", "), used.reason)
        }
    };
    let exception = used.map(|(_, used)| used.id.clone());
    let trials = answer.decision().into_iter().flat_map(|decision| &decision.trials);
    let trials = trials.filter(|trial| trial.mode == RuleMode::Warn).map(Trial::line).collect();
    Verdict { digest, pinned, exception, line, trials, environment: answer.environment.clone(), policy }
}
