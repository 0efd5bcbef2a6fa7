//! `trust log`: the server's own record of publications. It is not signed, and says so.

use serde_json::Value;
use trust_reader::api::LOG_PAGE;
use trust_reader::verdict::Problem;
use trust_tuf::UtcTime;

use crate::app::App;
use crate::cli::images::Log;
use crate::output::LogReport;
use crate::printer::Answer;
use crate::server;
use crate::style::{self, Style};

/// Runs the command.
pub fn run(app: &App, args: &Log) -> Result<LogReport, Problem> {
    app.need_network("the log")?;
    let address = server::address(app, app.settings.pin(args.collection.as_str()))?;
    let api = server::api(app, &address)?;
    let mut entries = Vec::new();
    let mut before = None;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    while entries.len() < limit {
        let wanted = u32::try_from(limit.saturating_sub(entries.len())).unwrap_or(LOG_PAGE).min(LOG_PAGE);
        let page = app.wait(api.log(&args.collection, before, wanted))?.entries;
        let (got, last) = (page.len(), page.last().map(|entry| entry.sequence));
        let old = |time: &str| args.since.is_some_and(|since| UtcTime::parse(time).is_some_and(|t| t < since));
        let reached = page.iter().any(|entry| old(&entry.time));
        entries.extend(page.into_iter().filter(|entry| !old(&entry.time)));
        if reached || got == 0 || last.is_none_or(|last| last <= 1 || Some(last) == before) {
            break;
        }
        before = last;
    }
    entries.truncate(limit);
    Ok(LogReport { collection: args.collection.to_string(), server: address, entries })
}

impl Answer for LogReport {
    fn command(&self) -> &'static str {
        "log"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        let mut rows = vec![["#", "TIME", "TOKEN", "ROOT", "SNAPSHOT", "ROLES"].map(str::to_owned).to_vec()];
        for entry in &self.entries {
            let roles = style::role_versions(&entry.roles);
            let time = UtcTime::parse(&entry.time).map_or_else(|| style::plain(&entry.time), style::minute);
            let root = format!("v{}{}", entry.root, if entry.new_root { " new" } else { "" });
            rows.push(vec![
                entry.sequence.to_string(),
                time,
                style::plain(&entry.token),
                root,
                format!("v{}", entry.snapshot),
                roles.join(", "),
            ]);
        }
        style::table(&rows)
    }

    fn report(&self, _: Style) -> String {
        format!("the word of {}; what is trusted is the signed metadata\n", style::plain(&self.server))
    }

    fn lines(&self) -> Option<Vec<Value>> {
        Some(self.entries.iter().map(crate::output::value).collect())
    }
}
