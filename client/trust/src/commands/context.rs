//! `trust context add | use | list | remove`

use std::path::{Path, PathBuf};

use serde_json::Value;
use trust_reader::http::shown_address;
use trust_reader::sources::check_mirrors;
use trust_reader::verdict::Problem;

use crate::app::App;
use crate::cli::setup::{ContextAdd, ContextCommand, ContextName};
use crate::fault;
use crate::output::{ContextChange, ContextEntry, Contexts};
use crate::printer::Answer;
use crate::settings::edit::{self, NewContext};
use crate::settings::file::check_context_name;
use crate::style::{self, Style};

/// Runs the command.
pub fn run(app: &App, command: &ContextCommand) -> Result<Box<dyn Answer>, Problem> {
    match command {
        ContextCommand::Add(args) => add(app, args),
        ContextCommand::Use(args) => select(app, args),
        ContextCommand::List(_) => Ok(Box::new(list(app))),
        ContextCommand::Remove(args) => remove(app, args),
    }
}

fn absolute(path: Option<&PathBuf>) -> Result<Option<PathBuf>, Problem> {
    let read = |path: &PathBuf| {
        let full = std::path::absolute(path).map_err(|e| fault::file(path, &e))?;
        if Path::exists(&full) { Ok(full) } else { Err(fault::bad_file(path, "there is no such file")) }
    };
    path.map(read).transpose()
}

fn add(app: &App, args: &ContextAdd) -> Result<Box<dyn Answer>, Problem> {
    check_context_name(&args.name).map_err(fault::usage)?;
    let Some(server) = &app.globals.server else {
        return Err(fault::usage("a context needs the server's address: --server URL"));
    };
    if !server.starts_with("https://") && !server.starts_with("http://") {
        return Err(fault::usage("a server's address begins with https:// (or http:// on this machine)"));
    }
    if *server != shown_address(server) {
        return Err(fault::usage("a server's address holds no user name or password: it would be shown in messages"));
    }
    let mirrors: Vec<String> = app.globals.mirror.iter().map(|m| m.trim_end_matches('/').to_owned()).collect();
    check_mirrors(Some(server), &mirrors).map_err(|what| fault::usage(&what))?;
    let config = &app.settings.paths.config;
    let exists = app.settings.contexts.get(&args.name).is_some_and(|(_, file)| file == config);
    if exists && !args.replace {
        return Err(fault::usage(&format!("there is a context `{}` already; give --replace to replace it", args.name)));
    }
    let new = NewContext {
        server: server.trim_end_matches('/').to_owned(),
        mirrors,
        ca: absolute(app.globals.ca.as_ref())?,
        registry_ca: absolute(app.globals.registry_ca.as_ref())?,
        token_file: absolute(args.token_file.as_ref())?,
        identity: args.identity.clone(),
        plain_http: app.globals.plain_http.clone(),
        require_digest: args.require_digest,
    };
    // The first context is the one in use: nobody wants to say so in a second command.
    let select = args.select || app.settings.contexts.is_empty();
    edit::edit(config, |document| {
        edit::set_context(document, &args.name, &new)?;
        if select {
            edit::use_context(document, &args.name);
        }
        Ok(())
    })?;
    Ok(Box::new(ContextChange { change: "added".to_owned(), name: args.name.clone(), in_use: select }))
}

fn select(app: &App, args: &ContextName) -> Result<Box<dyn Answer>, Problem> {
    if !app.settings.contexts.contains_key(&args.name) {
        return Err(crate::settings::SettingsError::NoContext { name: args.name.clone() }.into());
    }
    edit::edit(&app.settings.paths.config, |document| {
        edit::use_context(document, &args.name);
        Ok(())
    })?;
    Ok(Box::new(ContextChange { change: "selected".to_owned(), name: args.name.clone(), in_use: true }))
}

fn remove(app: &App, args: &ContextName) -> Result<Box<dyn Answer>, Problem> {
    let mut removed = false;
    edit::edit(&app.settings.paths.config, |document| {
        removed = edit::remove_context(document, &args.name);
        Ok(())
    })?;
    if !removed {
        return Err(crate::settings::SettingsError::NoContext { name: args.name.clone() }.into());
    }
    Ok(Box::new(ContextChange { change: "removed".to_owned(), name: args.name.clone(), in_use: false }))
}

fn list(app: &App) -> Contexts {
    let used = app.settings.context.as_ref().map(|context| context.value.as_str());
    let entry = |(name, (context, file)): (&String, &(crate::settings::file::ContextEntry, PathBuf))| ContextEntry {
        name: name.clone(),
        server: context.server.as_deref().map(shown_address),
        mirrors: context.mirrors.iter().map(|mirror| shown_address(mirror)).collect(),
        identity: context.identity.clone(),
        token_file: context.token_file.as_ref().map(|path| path.display().to_string()),
        in_use: used == Some(name),
        file: file.display().to_string(),
    };
    Contexts { contexts: app.settings.contexts.iter().map(entry).collect() }
}

impl Answer for Contexts {
    fn command(&self) -> &'static str {
        "context list"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        if self.contexts.is_empty() {
            return String::new();
        }
        let mut rows = vec![["", "CONTEXT", "SERVER", "SIGNER"].map(str::to_owned).to_vec()];
        for context in &self.contexts {
            let mark = if context.in_use { "*" } else { "" };
            let server = context.server.as_deref().map_or("-".to_owned(), style::plain);
            let signer = context.identity.as_deref().map_or("-".to_owned(), style::short);
            rows.push(vec![mark.to_owned(), context.name.clone(), server, signer]);
            for mirror in &context.mirrors {
                rows.push(vec![
                    String::new(),
                    String::new(),
                    format!("mirror {}", style::plain(mirror)),
                    String::new(),
                ]);
            }
        }
        style::table(&rows)
    }

    fn report(&self, _: Style) -> String {
        if self.contexts.is_empty() { "no contexts; see: trust context add --help\n".to_owned() } else { String::new() }
    }
}

impl Answer for ContextChange {
    fn command(&self) -> &'static str {
        match self.change.as_str() {
            "added" => "context add",
            "selected" => "context use",
            _ => "context remove",
        }
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        String::new()
    }

    fn report(&self, style: Style) -> String {
        let used = if self.in_use && self.change == "added" { ", in use" } else { "" };
        format!("{} context {}{used}\n", style.good(&self.change), self.name)
    }
}
