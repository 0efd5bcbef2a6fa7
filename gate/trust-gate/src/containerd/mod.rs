//! The door of containerd: what the image verifier asks before a pulled image is taken in.
//!
//! One question is one POST with the name and the digest, a line each; the answer is one line for the verifier and one for people.
//! Invariants: an allow names the digest that was asked for, so that no other answer can be taken for it; a name with a tag is
//! allowed only for the digest that is signed for that tag, so that a registry cannot hand out an earlier signed one. Deliberately
//! absent: images that are on the node already, or are imported: containerd does not ask about them.

pub mod doctor;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use trust_decide::Decider;
use trust_image::{Digest, Reference};
use trust_policy::Action;

use crate::config::{ContainerdConfig, Mode};
use crate::health;
use crate::local::{Asked, Deciding, Rules, sentence};

/// The door's name in the log.
const DOOR: &str = "containerd";
/// Who asks, for the log: containerd tells nothing of who wanted the image.
const WHOM: &str = "the image verifier";
/// The largest question, in bytes.
const MAX_QUESTION: usize = 4 * 1024;
/// How long a question may take. The verifier waits a little longer.
const MAX_TIME: Duration = Duration::from_secs(2);

/// The service of this door.
pub fn router(config: &ContainerdConfig, decider: Arc<Decider>) -> Router {
    service(config, Arc::new(Deciding(decider)))
}

fn service(config: &ContainerdConfig, rules: Arc<dyn Rules>) -> Router {
    let mode = config.mode;
    Router::new().fallback(move |request: Request| {
        let rules = Arc::clone(&rules);
        async move { serve(request, rules, mode).await }
    })
}

async fn serve(request: Request, rules: Arc<dyn Rules>, mode: Mode) -> Response {
    let (parts, body) = request.into_parts();
    match (&parts.method, parts.uri.path()) {
        (&Method::POST, "/containerd/verify") => {
            let verified = tokio::time::timeout(MAX_TIME, verify(body, rules, mode)).await;
            verified.unwrap_or_else(|_| deny(&format!("no decision within {} s", MAX_TIME.as_secs())))
        }
        (&Method::GET, "/livez") => health::ALIVE.into_response(),
        (&Method::GET, "/readyz") => health::ready(rules.trouble(), &parts.uri, || rules.report()),
        _ => (StatusCode::NOT_FOUND, "this door answers the image verifier of containerd\n").into_response(),
    }
}

async fn verify(body: Body, rules: Arc<dyn Rules>, mode: Mode) -> Response {
    let Ok(body) = Limited::new(body, MAX_QUESTION).collect().await else {
        return deny("the question is too long, or was cut off");
    };
    let question = match Question::parse(&body.to_bytes()) {
        Ok(question) => question,
        Err(why) => return deny(&why),
    };
    let digest = question.digest;
    let judged = tokio::task::spawn_blocking(move || question.judge(rules.as_ref(), mode)).await;
    let judged = judged.unwrap_or_else(|_| Err("the decision broke off".to_owned()));
    if let Err(why) = &judged {
        tracing::info!("denied: {}", sentence(why));
    }
    match judged {
        Ok(why) => allow(&digest, &why),
        Err(why) => match mode {
            Mode::Enforce => deny(&why),
            Mode::Warn => allow(&digest, &format!("would be denied: {why}")),
            Mode::Audit => allow(&digest, ""),
        },
    }
}

/// A name as it was asked for, and what the registry made of it.
struct Question {
    name: Reference,
    digest: Digest,
}

impl Question {
    fn parse(body: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(body).map_err(|_| "the question is not UTF-8".to_owned())?;
        let mut lines = text.lines();
        let (Some(name), Some(digest), None) = (lines.next(), lines.next(), lines.next()) else {
            return Err("the question is not a name and a digest".to_owned());
        };
        let name = Reference::parse(name).map_err(|error| format!("the name of the image: {error}"))?;
        let digest = Digest::parse(digest).map_err(|error| format!("the digest of the image: {error}"))?;
        if name.digest().is_some_and(|asked| *asked != digest) {
            return Err(format!("{name} was asked for, and the registry gave {digest}"));
        }
        Ok(Self { name, digest })
    }

    /// One line for people, whatever comes of it.
    fn judge(&self, rules: &dyn Rules, mode: Mode) -> Result<String, String> {
        let asked = |image: String| Asked {
            image,
            action: Action::Pull,
            door: DOOR,
            whom: WHOM.to_owned(),
            mode,
            digest_only: false,
            quiet: false,
        };
        if let (Some(tag), None) = (self.name.tag(), self.name.digest()) {
            let by_tag = asked(self.name.to_string());
            match rules.rule(&Asked { quiet: true, ..by_tag.clone() }).digest {
                Some(signed) if signed == self.digest => {}
                Some(signed) => {
                    // In the log it is a denial, as it is here: what comes is not what is signed for this tag.
                    let _ = rules.rule(&Asked { digest_only: true, ..by_tag });
                    let (name, digest) = (self.name.name(), self.digest);
                    return Err(format!("{name}: {signed} is signed for {tag}, and the registry gives {digest}"));
                }
                // Denied, or allowed only now: then by digest alone it will be, too.
                None => {
                    let ruling = rules.rule(&by_tag);
                    if ruling.digest != Some(self.digest) {
                        return Err(ruling.line);
                    }
                }
            }
        }
        let ruling = rules.rule(&asked(self.name.pinned(self.digest).to_string()));
        if ruling.digest == Some(self.digest) { Ok(ruling.line) } else { Err(ruling.line) }
    }
}

fn allow(digest: &Digest, why: &str) -> Response {
    reply(StatusCode::OK, format!("allow {digest}\n{}\n", sentence(why)))
}

fn deny(why: &str) -> Response {
    reply(StatusCode::FORBIDDEN, format!("deny\n{}\n", sentence(why)))
}

fn reply(status: StatusCode, text: String) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8"), (CONNECTION, "close")], text).into_response()
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt;

    use super::*;
    use crate::local::testing::Signed;

    const APP: &str = "registry.example.com/team/app";

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn signed() -> Arc<Signed> {
        Arc::new(Signed::default().with(&format!("{APP}:v1"), digest("one")).with(&format!("{APP}:v2"), digest("two")))
    }

    async fn ask(rules: &Arc<Signed>, mode: Mode, body: String) -> (u16, String) {
        let config = ContainerdConfig { mode, ..ContainerdConfig::default() };
        let request = http::Request::post("/containerd/verify").body(Body::from(body)).unwrap();
        let answer = service(&config, Arc::clone(rules) as Arc<dyn Rules>).oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(answer.into_body(), 10_000).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn ask_for(name: &str, of: &str) -> (u16, String) {
        ask(&signed(), Mode::Enforce, format!("{name}\n{}\n", digest(of))).await
    }

    #[tokio::test]
    async fn the_signed_digest_of_a_name_passes_with_its_tag_or_by_itself() {
        let by_digest = format!("{APP}@{}", digest("one"));
        let by_both = format!("{APP}:v1@{}", digest("one"));
        for name in [format!("{APP}:v1"), by_digest, by_both] {
            let (status, text) = ask_for(&name, "one").await;
            assert_eq!(status, 200, "{name}: {text}");
            assert!(text.starts_with(&format!("allow {}\n", digest("one"))), "{text}");
        }
    }

    #[tokio::test]
    async fn another_signed_digest_than_that_of_the_tag_is_denied() {
        let rules = signed();
        let (status, text) = ask(&rules, Mode::Enforce, format!("{APP}:v2\n{}\n", digest("one"))).await;
        assert_eq!(status, 403);
        assert!(text.contains("is signed for v2, and the registry gives"), "{text}");
        assert_eq!(rules.logged(), [format!("{APP}:v2")]);
    }

    #[tokio::test]
    async fn what_is_not_signed_or_not_a_question_is_denied() {
        let other = format!("{APP}@{}", digest("one"));
        for (name, of) in [
            (format!("{APP}:v1"), "evil"),
            (format!("{APP}:v3"), "one"),
            (format!("{APP}@{}", digest("evil")), "evil"),
            ("registry.example.com/team/other:v1".to_owned(), "one"),
            (other, "two"),
            (String::new(), "one"),
            ("REG/App UPPER".to_owned(), "one"),
        ] {
            let (status, text) = ask_for(&name, of).await;
            assert!(status == 403 && text.starts_with("deny\n"), "{name}: {status} {text}");
        }
        let good = format!("{APP}:v1\n{}\n", digest("one"));
        for body in [
            String::new(),
            format!("{APP}:v1\n"),
            format!("{good}more\n"),
            format!("{APP}:v1\nsha256:short\n"),
            format!("{APP}:v1\n{}\n", digest("one").to_string().to_uppercase()),
            good.repeat(100),
        ] {
            let (status, text) = ask(&signed(), Mode::Enforce, body).await;
            assert!(status == 403 && text.starts_with("deny\n"), "{status} {text}");
        }
    }

    #[tokio::test]
    async fn a_door_that_only_warns_says_what_it_would_deny_and_one_that_audits_says_nothing() {
        for (mode, reason) in [(Mode::Warn, "would be denied: "), (Mode::Audit, "\n")] {
            let (status, text) = ask(&signed(), mode, format!("{APP}:v3\n{}\n", digest("one"))).await;
            assert_eq!(status, 200);
            assert!(text.starts_with(&format!("allow {}\n{reason}", digest("one"))), "{text}");
        }
    }
}
