//! `trust config show` and `trust config path`.

use serde_json::Value;
use trust_reader::http::shown_address;
use trust_reader::verdict::Problem;

use crate::app::App;
use crate::cli::globals::{ColorWhen, Format};
use crate::cli::setup::ConfigCommand;
use crate::output::{ConfigPath, ConfigReport, Setting};
use crate::printer::Answer;
use crate::settings::{Origin, Settings, Sourced, TokenPlace};
use crate::style::{self, Style};

/// Runs the command.
pub fn run(app: &App, command: &ConfigCommand) -> Result<Box<dyn Answer>, Problem> {
    Ok(match command {
        ConfigCommand::Show(args) => Box::new(Shown { report: report(&app.settings), origin: args.origin }),
        ConfigCommand::Path(_) => Box::new(ConfigPath { path: app.settings.paths.config.display().to_string() }),
    })
}

struct Shown {
    report: ConfigReport,
    origin: bool,
}

fn setting<T>(name: &str, value: Option<&Sourced<T>>, shown: impl Fn(&T) -> String) -> Setting {
    Setting {
        name: name.to_owned(),
        value: value.map(|v| shown(&v.value)),
        origin: value.map_or(Origin::BuiltIn, |v| v.origin.clone()).to_string(),
    }
}

fn report(settings: &Settings) -> ConfigReport {
    let path = |p: &std::path::PathBuf| p.display().to_string();
    let format = |f: &Format| match f {
        Format::Text => "text".to_owned(),
        Format::Json => "json".to_owned(),
        Format::Jsonl => "jsonl".to_owned(),
    };
    let color = |c: &ColorWhen| match c {
        ColorWhen::Auto => "auto".to_owned(),
        ColorWhen::Always => "always".to_owned(),
        ColorWhen::Never => "never".to_owned(),
    };
    let token = |t: &TokenPlace| match t {
        TokenPlace::Variable => "(hidden)".to_owned(),
        TokenPlace::File(path) => format!("in {}", path.display()),
    };
    let mut all = vec![
        setting("context", settings.context.as_ref(), String::clone),
        setting("server", settings.server.as_ref(), |server| shown_address(server)),
        setting("mirrors", settings.mirrors.as_ref(), |mirrors| {
            mirrors.iter().map(|mirror| shown_address(mirror)).collect::<Vec<_>>().join(" ")
        }),
        setting("ca", settings.ca.as_ref(), path),
        setting("registry_ca", settings.registry_ca.as_ref(), path),
        setting("token", settings.token.as_ref(), token),
        setting("identity", settings.identity.as_ref(), String::clone),
        setting("policy", settings.policy.as_ref(), String::clone),
        setting("key", settings.key.as_ref(), |_| "(set)".to_owned()),
        setting("offline", Some(&settings.offline), bool::to_string),
        setting("non_interactive", Some(&settings.non_interactive), bool::to_string),
        setting("timeout", Some(&settings.timeout), |t| format!("{}s", t.as_secs())),
        setting("output", Some(&settings.output), format),
        setting("color", Some(&settings.color), color),
        setting("collection", settings.collection.as_ref(), String::clone),
    ];
    for host in &settings.plain_http {
        all.push(Setting { name: "plain_http".to_owned(), value: Some(host.clone()), origin: "-".to_owned() });
    }
    for pin in &settings.pins {
        all.push(Setting {
            name: format!("pin {}", pin.collection),
            value: Some(pin.fingerprint.clone()),
            origin: pin.file.display().to_string(),
        });
    }
    ConfigReport { settings: all }
}

impl Answer for Shown {
    fn command(&self) -> &'static str {
        "config show"
    }

    fn json(&self) -> Value {
        crate::output::value(&self.report)
    }

    fn text(&self, _: Style) -> String {
        let row = |s: &Setting| {
            let mut row = vec![style::plain(&s.name), s.value.as_deref().map_or("-".to_owned(), style::plain)];
            if self.origin {
                row.push(style::plain(&s.origin));
            }
            row
        };
        style::table(&self.report.settings.iter().map(row).collect::<Vec<_>>())
    }
}

impl Answer for ConfigPath {
    fn command(&self) -> &'static str {
        "config path"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        format!("{}\n", self.path)
    }
}
