//! `GET /metrics` for Prometheus, on an address of its own: what was decided, how old the trust data is, what stands in the way.
//!
//! Invariant: what is told is bounded by the configuration and the catalogue of errors: no label comes from a request.
//! Deliberately absent: images, namespaces and users (they are in the audit log), and TLS: bind it where the scraper is.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use http::header::CONTENT_TYPE;
use trust_decide::Decider;
use trust_decide::stats::{ANSWERS, BUCKETS};
use trust_tuf::UtcTime;

/// The content type of the text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Readings of the configuration since the start.
#[derive(Debug, Default)]
pub(crate) struct Reloads {
    good: AtomicU64,
    bad: AtomicU64,
    /// Whether the last one was bad.
    last_bad: AtomicU64,
}

impl Reloads {
    pub(crate) fn count(&self, is_good: bool) {
        if is_good { &self.good } else { &self.bad }.fetch_add(1, Ordering::Relaxed);
        self.last_bad.store(u64::from(!is_good), Ordering::Relaxed);
    }
}

/// The routes; `decider` is the one that answers at that moment.
pub(crate) fn router(
    door: &'static str,
    decider: impl Fn() -> Arc<Decider> + Clone + Send + Sync + 'static,
    certificate_expires: impl Fn() -> Option<i64> + Clone + Send + Sync + 'static,
    reloads: Arc<Reloads>,
) -> Router {
    Router::new().route(
        "/metrics",
        get(move || {
            let text = Page::of(door, &decider(), certificate_expires(), &reloads).0;
            std::future::ready(([(CONTENT_TYPE, TEXT)], text).into_response())
        }),
    )
}

/// A page of metrics as it grows.
struct Page(String);

impl Page {
    fn of(door: &'static str, decider: &Decider, certificate_expires: Option<i64>, reloads: &Reloads) -> Self {
        let mut page = Self(String::new());
        let version = env!("CARGO_PKG_VERSION");
        page.head("trust_gate_build_info", "gauge", "The program, and the door that it is.");
        page.line("trust_gate_build_info", &[("version", version), ("door", door)], 1);
        page.decisions(decider);
        page.trust(decider);
        page.head("trust_gate_config_reloads_total", "counter", "Readings of the configuration after SIGHUP.");
        for (result, count) in [("good", &reloads.good), ("bad", &reloads.bad)] {
            page.line("trust_gate_config_reloads_total", &[("result", result)], count.load(Ordering::Relaxed));
        }
        page.head(
            "trust_gate_config_stale",
            "gauge",
            "1: the file was bad when it was read last, and the one before goes on.",
        );
        page.line("trust_gate_config_stale", &[], reloads.last_bad.load(Ordering::Relaxed));
        if let Some(expires) = certificate_expires {
            let name = "trust_gate_certificate_expires_timestamp_seconds";
            page.head(name, "gauge", "When the certificate of this door expires.");
            page.line(name, &[], expires);
        }
        page
    }

    /// What was decided.
    fn decisions(&mut self, decider: &Decider) {
        let stats = decider.stats();
        let name = "trust_gate_decisions_total";
        self.head(name, "counter", "Answers given, without dry runs.");
        for (answer, count) in ANSWERS.iter().zip(stats.answers) {
            self.line(name, &[("answer", answer)], count);
        }
        self.one("trust_gate_dry_runs_total", "counter", "Questions of which nothing could come.", stats.dry_runs);
        let name = "trust_gate_denials_total";
        self.head(name, "counter", "Denials by the id of their reason, in any mode.");
        for (code, count) in stats.reasons {
            self.line(name, &[("code", code)], count);
        }
        let name = "trust_gate_trials_total";
        self.head(name, "counter", "Decisions that rules in trial would change.");
        for ((mode, would), count) in stats.trials {
            self.line(name, &[("mode", mode), ("would", would)], count);
        }
        self.one("trust_gate_excepted_total", "counter", "Allows by an exception.", stats.excepted);
        let help = "Denials because the audit log could not be written.";
        self.one("trust_gate_unlogged_total", "counter", help, stats.unlogged);
        let counters = decider.counters();
        self.one("trust_gate_verifications_total", "counter", "Verifications of an image.", counters.verifications);
        self.one("trust_gate_evaluations_total", "counter", "Evaluations of the policy.", counters.evaluations);
        let name = "trust_gate_decision_seconds";
        self.head(name, "histogram", "What a decision takes, with its line of the audit log.");
        let mut count = 0_u64;
        let ends = BUCKETS.iter().map(|micros| seconds(*micros)).chain(["+Inf".to_owned()]);
        for (end, of) in ends.zip(stats.durations) {
            count = count.saturating_add(of);
            self.line("trust_gate_decision_seconds_bucket", &[("le", &end)], count);
        }
        self.line("trust_gate_decision_seconds_sum", &[], stats.time.as_secs_f64());
        self.line("trust_gate_decision_seconds_count", &[], count);
    }

    /// What it rests on.
    fn trust(&mut self, decider: &Decider) {
        let health = decider.health();
        let ready = u64::from(health.ready && health.problem.is_none());
        self.one(
            "trust_gate_ready",
            "gauge",
            "1: the door answers; whether what it rests on is fresh enough is told by collection.",
            ready,
        );
        let told = [
            ("refreshed", "When the last refresh that succeeded began."),
            ("expires", "When the first of the top-level files expires."),
        ];
        for (what, help) in told {
            let name = format!("trust_gate_collection_{what}_timestamp_seconds");
            self.head(&name, "gauge", help);
            for collection in &health.collections {
                let time = if what == "refreshed" { collection.refreshed } else { collection.expires };
                if let Some(time) = time {
                    self.line(&name, &[("collection", &collection.name)], time.unix());
                }
            }
        }
        let name = "trust_gate_collection_usable";
        self.head(
            name,
            "gauge",
            "1: its images can be decided on; 0: expired, or too long without a refresh, and all are denied.",
        );
        for collection in &health.collections {
            self.line(name, &[("collection", &collection.name)], u64::from(collection.usable));
        }
        let name = "trust_gate_collection_failing";
        self.head(name, "gauge", "1: the last refresh failed.");
        for collection in &health.collections {
            self.line(name, &[("collection", &collection.name)], u64::from(collection.problem.is_some()));
        }
        if let Some(policy) = &health.policy {
            let version = policy.identity.as_ref().map_or(0, |identity| identity.version);
            self.one("trust_gate_policy_version", "gauge", "Version of the policy in force; 0: none.", version);
            let failing = policy.failing_since.map_or(0, UtcTime::unix);
            let help = "Since when the newest policy does not load; 0: it does.";
            self.one("trust_gate_policy_failing_since_timestamp_seconds", "gauge", help, failing);
            self.one("trust_gate_exceptions", "gauge", "Exceptions that hold now.", policy.exceptions);
        }
        let seq = health.log.as_deref().and_then(trust_decide::audit::Head::parse).map_or(0, |head| head.seq);
        self.one("trust_gate_audit_lines", "gauge", "Number of the last line of the audit log; 0: none.", seq);
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.head(name, kind, help);
        self.line(name, &[], value);
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<String> = labels.iter().map(|(label, text)| format!("{label}=\"{}\"", escaped(text))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

/// Microseconds as seconds, without the noise of a float.
fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_buckets_are_seconds() {
        let mut page = Page(String::new());
        page.line("x", &[("a", "1\"\\\n"), ("b", "2")], 3);
        assert_eq!(page.0, "x{a=\"1\\\"\\\\\\n\",b=\"2\"} 3\n");
        assert_eq!(BUCKETS.map(seconds)[..3], ["0.000005", "0.00001", "0.000025"]);
        assert_eq!((seconds(1_000_000), seconds(250_000)), ("1".to_owned(), "0.25".to_owned()));
    }
}
