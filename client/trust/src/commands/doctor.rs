//! `trust doctor`: what is wrong on this machine.
//!
//! Invariant: nothing is changed, and nothing is called fine that was not looked at. The clock is judged only against what this
//! machine has seen: that it did not go back; how far it is from a server's is not known here. What container tools do is
//! judged by their files (`crate::node`), not by trying them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use trust_image::Reference;
use trust_reader::anchor;
use trust_reader::catalogue::Code;
use trust_reader::sources::{SourceReport, SourceState};
use trust_reader::verdict::Problem;
use trust_tuf::Version;
use trust_tuf::model::Role;

use crate::anchors;
use crate::app::App;
use crate::cli::operations::Doctor;
use crate::node::rooted::Root;
use crate::node::{self, Name, Question, State};
use crate::output::{DoctorCheck, DoctorReport};
use crate::policy::in_force::{InForce, pin_of_policy};
use crate::printer::Answer;
use crate::server;
use crate::session::Session;
use crate::settings::Pin;
use crate::style::{self, Style};

/// Key files that are looked at.
const MAX_KEY_FILES: usize = 1_000;

/// Runs the command.
pub fn run(app: &App, args: &Doctor) -> Result<Box<dyn Answer>, Problem> {
    if let Some(root) = &args.node_root {
        std::fs::read_dir(root).map_err(|e| crate::fault::file(root, &e))?;
    }
    let mut found = Findings(Vec::new());
    found.client(app);
    found.keys(&app.settings.paths.keys);
    if app.settings.pins.is_empty() {
        found.add(
            "pins",
            Err(("warning", "nothing is pinned: no image is accepted".to_owned())),
            "trust pin add --help",
        );
    }
    for pin in &app.settings.pins {
        found.collection(app, pin);
    }
    found.registries(app);
    found.policy(app);
    found.docker(app);
    found.pulls(app, args);
    for registry in &args.unreachable {
        found.reach(app, registry);
    }
    let problems = found.0.iter().filter(|check| check.state == "problem").count();
    let finding = (problems > 0).then(|| Problem::new(Code::Findings).fact("problems", problems));
    Ok(Box::new(Examined { report: DoctorReport { checks: found.0 }, finding }))
}

struct Findings(Vec<DoctorCheck>);

impl Findings {
    fn add(&mut self, name: &str, result: Result<String, (&str, String)>, fix: &str) {
        let (state, found) = match result {
            Ok(found) => ("ok", found),
            Err((state, found)) => (state, found),
        };
        self.0.push(DoctorCheck {
            name: name.to_owned(),
            state: state.to_owned(),
            found: style::plain(&found),
            fix: (state != "ok").then(|| style::plain(fix)),
        });
    }

    fn problem(&mut self, name: &str, about: &str, problem: &Problem) {
        let found = format!("{about}: {} ({})", problem.headline, problem.id());
        self.add(name, Err(("problem", found)), &format!("trust help {}", problem.id()));
    }

    fn client(&mut self, app: &App) {
        let config = &app.settings.paths.config;
        let place =
            if config.exists() { format!("configuration {}", config.display()) } else { "no configuration".into() };
        self.add("client", Ok(format!("{}, {place}", env!("CARGO_PKG_VERSION"))), "");
    }

    /// Folder and files of private keys must be their owner's alone.
    fn keys(&mut self, folder: &Path) {
        let Ok(entries) = std::fs::read_dir(folder) else {
            return self.add("keys", Ok("none on this machine".to_owned()), "");
        };
        let open =
            |path: &Path| std::fs::symlink_metadata(path).is_ok_and(|m| !m.is_symlink() && m.mode() & 0o077 != 0);
        let (mut files, mut wide) = (0_usize, Vec::new());
        if open(folder) {
            wide.push(folder.display().to_string());
        }
        for path in entries.flatten().map(|entry| entry.path()).take(MAX_KEY_FILES) {
            let is_public = path.extension().is_some_and(|ending| ending == "pub");
            files = files.saturating_add(usize::from(!is_public));
            if !is_public && open(&path) {
                wide.push(path.display().to_string());
            }
        }
        if wide.is_empty() {
            return self.add("keys", Ok(format!("{files} private files, only you can read them")), "");
        }
        let fix = format!("chmod go= {}", wide.join(" "));
        self.add("keys", Err(("problem", format!("others can read {}", wide.join(", ")))), &fix);
    }

    /// Pin, server, certificate, chain of roots, freshness and clock: what every command goes through.
    fn collection(&mut self, app: &App, pin: &Pin) {
        if let Some(path) = anchors::root_file(app, pin) {
            match anchors::read_root(&path) {
                Ok(bytes) if anchor::fingerprint(&bytes) != pin.fingerprint => {
                    let why = format!("{}: the pinned root was changed: {}", pin.collection, path.display());
                    return self.add("collection", Err(("problem", why)), "trust help E1601");
                }
                Ok(_) => {}
                Err(problem) => return self.problem("collection", &pin.collection, &problem),
            }
        }
        match Session::open(app, pin) {
            Err(problem) => self.problem("collection", &pin.collection, &problem),
            Ok(session) => {
                let timestamp = session.reader.trusted().timestamp();
                let place = session.server.as_deref().map_or("offline".to_owned(), trust_reader::http::shown_address);
                let text = format!("{}: {place}, timestamp v{}", pin.collection, timestamp.version());
                self.add("collection", Ok(text), "");
                self.sources(session.reader.sources(), timestamp.version());
            }
        }
    }

    /// The server and its mirrors one by one, where there are mirrors: another one hides that one does not help.
    fn sources(&mut self, sources: &[SourceReport], newest: Version) {
        if sources.len() < 2 {
            return;
        }
        for (at, source) in sources.iter().enumerate() {
            let name = if at == 0 { "server" } else { "mirror" };
            let fix = "correct or remove the address where it is configured, or ask the people who run it";
            match &source.state {
                SourceState::Timestamp(version) if *version >= newest => {
                    self.add(name, Ok(format!("{}: timestamp v{version}", source.address)), "");
                }
                SourceState::Timestamp(version) => {
                    let found = format!("{}: timestamp v{version}, behind v{newest}", source.address);
                    self.add(
                        name,
                        Err(("warning", found)),
                        "nothing, if it catches up; else ask the people who run it",
                    );
                }
                SourceState::Unheard => {
                    let found = format!("{}: no answer in the time that the others left", source.address);
                    self.add(name, Err(("warning", found)), fix);
                }
                SourceState::Failed(failure) => {
                    self.add(name, Err(("problem", format!("{}: {failure}", source.address))), fix);
                }
            }
        }
    }

    fn registries(&mut self, app: &App) {
        if app.settings.offline.value {
            return self.add("registry", Err(("warning", "not asked: offline".to_owned())), "run it with network");
        }
        let mut asked: Vec<String> = Vec::new();
        for pin in &app.settings.pins {
            let Ok(image) = Reference::parse(&format!("{}:trust-doctor", pin.collection)) else { continue };
            let host = image.canonical_domain().to_owned();
            if asked.contains(&host) {
                continue;
            }
            asked.push(host.clone());
            let answer = server::registry(app).and_then(|registry| {
                app.wait(async { registry.head_manifest(&image).await.map_err(|error| Problem::from(&error)) })
            });
            match answer {
                // That there is no such tag is an answer.
                Ok(_) => self.add("registry", Ok(format!("{host} answers")), ""),
                Err(problem) if matches!(problem.code, Code::NoSuchTag | Code::NoSuchImage) => {
                    self.add("registry", Ok(format!("{host} answers")), "");
                }
                Err(problem) if matches!(problem.code, Code::RegistryLogin | Code::RegistryForbidden) => {
                    let why = format!("{host} answers, and wants a login");
                    self.add("registry", Err(("warning", why)), "log in with docker login or podman login");
                }
                Err(problem) => self.problem("registry", &host, &problem),
            }
        }
    }

    fn policy(&mut self, app: &App) {
        if app.settings.policy.is_none() {
            return;
        }
        let loaded = pin_of_policy(app, None).and_then(|pin| {
            let mut session = Session::open(app, pin)?;
            let found = InForce::read(app, &mut session)?;
            let rules = found.load()?.rules().count();
            Ok(format!("{} v{}, {rules} rules", found.identity.collection, found.identity.version))
        });
        match loaded {
            Ok(text) => self.add("policy", Ok(text), ""),
            Err(problem) => self.problem("policy", "the policy collection", &problem),
        }
    }

    fn docker(&mut self, app: &App) {
        if matches!(app.environment.switch("DOCKER_CONTENT_TRUST"), Ok(Some(true))) {
            let why = "DOCKER_CONTENT_TRUST is set, but docker 29 and later ignore it";
            self.add(
                "docker",
                Err(("problem", why.to_owned())),
                &format!("trust help {}", Code::ContentTrustIgnored.id()),
            );
        }
    }
}

/// How long a registry that must not answer is waited for.
const REACH: Duration = Duration::from_secs(5);

impl Findings {
    /// How container tools pull what is pinned. Asked for nothing, only what is wrong is told: many machines have none.
    fn pulls(&mut self, app: &App, args: &Doctor) {
        let is_asked = args.node_root.is_some() || args.gate.is_some();
        let own = |name: &str| app.environment.raw(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let (homes, registries_conf) = match &args.node_root {
            // What the users of another machine have set is not known here.
            Some(root) if root != Path::new("/") => (vec![PathBuf::from("/root")], None),
            _ => (own("HOME").into_iter().collect(), own("CONTAINERS_REGISTRIES_CONF")),
        };
        let question = Question {
            root: Root::at(args.node_root.as_deref().unwrap_or(Path::new("/"))),
            homes,
            registries_conf: registries_conf.and_then(|path| std::path::absolute(path).ok()),
            names: app.settings.pins.iter().filter_map(|pin| Name::of(&pin.collection)).collect(),
            gate: args.gate.clone(),
        };
        for finding in node::look(&question) {
            let result = match finding.state {
                State::Fine => Ok(finding.found),
                State::Note => Err(("warning", finding.found)),
                State::Unknown if !is_asked => Err(("warning", finding.found)),
                State::Unknown | State::Around => Err(("problem", finding.found)),
            };
            if is_asked || !matches!(finding.state, State::Fine | State::Note) {
                self.add(finding.tool, result, &finding.fix);
            }
        }
    }

    /// A registry behind a gate must not answer here: else whoever pulls can go straight to it.
    fn reach(&mut self, app: &App, registry: &str) {
        if app.settings.offline.value {
            return self.add("reach", Err(("warning", "not tried: offline".to_owned())), "run it with network");
        }
        let place = registry.split_once("://").map_or(registry, |(_, rest)| rest).trim_end_matches('/');
        let has_port = place.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let place = if has_port { place.to_owned() } else { format!("{place}:443") };
        let connected = app.wait(async {
            let tried = tokio::time::timeout(REACH, tokio::net::TcpStream::connect(place.as_str())).await;
            Ok(matches!(tried, Ok(Ok(_))))
        });
        match connected {
            Ok(true) => {
                let found = format!("{place} answers: images can be pulled straight from it, around the gate");
                let fix = "let the network allow only the gate and those who push to reach the registry";
                self.add("reach", Err(("problem", found)), fix);
            }
            Ok(false) => self.add("reach", Ok(format!("{place} cannot be reached from here")), ""),
            Err(problem) => self.problem("reach", &place, &problem),
        }
    }
}

struct Examined {
    report: DoctorReport,
    finding: Option<Problem>,
}

impl Answer for Examined {
    fn command(&self) -> &'static str {
        "doctor"
    }

    fn json(&self) -> Value {
        crate::output::value(&self.report)
    }

    fn text(&self, style: Style) -> String {
        let mut text = String::new();
        for check in &self.report.checks {
            let name = format!("{:<10}", check.name);
            // No mark of success where the whole may be a refusal: the words say it.
            let head = match check.state.as_str() {
                "ok" => format!("  {name}"),
                "warning" => style.warn(&name),
                _ => style.bad(&name),
            };
            text.push_str(&format!("{head} {}\n", check.found));
            if let Some(fix) = &check.fix {
                text.push_str(&format!("  {:<10} fix: {fix}\n", ""));
            }
        }
        text
    }

    fn report(&self, style: Style) -> String {
        let count = |state: &str| self.report.checks.iter().filter(|check| check.state == state).count();
        let (problems, warnings) = (count("problem"), count("warning"));
        let counts = format!("problems: {problems}, warnings: {warnings}");
        if problems == 0 { format!("{} {counts}\n", style.good("healthy")) } else { format!("{counts}\n") }
    }

    fn problems(&self) -> Vec<&Problem> {
        self.finding.iter().collect()
    }

    fn tells_problems(&self) -> bool {
        true
    }
}
