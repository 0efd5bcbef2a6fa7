//! The `trust` command: sign, verify, rotate.
//!
//! [`run`] is the whole program: read the arguments ([`cli`]), resolve the settings ([`settings`]), run one of
//! [`commands`], print its answer ([`printer`]), give the exit code. Rules of trust are not here: they are in `trust_reader`
//! and `trust_tuf`; this crate adds private keys and people. Deliberately absent: a second table of errors (all ids and
//! exit codes are `trust_reader::catalogue`), and any switch that turns a check off.

pub mod anchors;
pub mod app;
pub mod cli;
pub mod commands;
pub mod drafts;
pub mod entries;
pub mod fault;
pub mod history;
pub mod keyring;
pub mod manifests;
pub mod node;
pub mod online_keys;
pub mod output;
pub mod policy;
pub mod printer;
pub mod prompt;
pub mod publish;
pub mod server;
pub mod session;
pub mod settings;
pub mod signing;
pub mod style;
pub mod tools;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use trust_reader::verdict::Problem;

use app::App;
use cli::globals::{ColorWhen, Format};
use cli::{Cli, Command};
use printer::{Answer, Printer};
use settings::Environment;

/// Runs the program with these arguments (the program's name first); gives its exit code.
pub fn run(arguments: Vec<OsString>) -> u8 {
    let environment = Environment::Process;
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return not_parsed(&error, &arguments, &environment),
    };
    let Cli { globals, command } = cli;
    let early = settings::early_display(&globals, &environment);
    let (quiet, verbose, out) = (globals.quiet, globals.verbose > 0, globals.out.clone());
    let printer = Printer::new(early.format, early.color, quiet, out.clone());
    // Help must work where the configuration does not.
    if let Some(answer) = without_settings(&command) {
        return finish(&printer, answer);
    }
    let folder = std::env::current_dir().ok();
    let settings = match settings::resolve(&globals, &environment, folder.as_deref()) {
        Ok(settings) => settings,
        Err(error) => return printer.problem(&error.into()),
    };
    let printer = Printer::new(settings.output.value, settings.color.value, quiet, out).verbose(verbose);
    // Before anything is done: a command that publishes must not fail after it has.
    if settings.output.value == Format::Jsonl && !matches!(command, Command::List(_) | Command::Log(_)) {
        return printer.problem(&fault::usage("this command has no `-o jsonl`; use `-o json`"));
    }
    let app = App::new(globals, settings, environment);
    let answer = dispatch(&app, &printer, &command);
    finish(&printer, answer.map_err(|problem| fault::with_help_of(problem, &command_words(&arguments))))
}

/// The words that name the command: `trust pin add`.
fn command_words(arguments: &[OsString]) -> String {
    let mut words = vec!["trust".to_owned()];
    let matches = Cli::command().try_get_matches_from(arguments).ok();
    let mut at = matches.as_ref().and_then(clap::ArgMatches::subcommand);
    while let Some((name, below)) = at {
        words.push(name.to_owned());
        at = below.subcommand();
    }
    words.join(" ")
}

fn finish(printer: &Printer, answer: Result<Box<dyn Answer>, Problem>) -> u8 {
    match answer {
        Ok(answer) => printer.answer(&*answer),
        Err(problem) => printer.problem(&problem),
    }
}

/// The commands that need no settings.
fn without_settings(command: &Command) -> Option<Result<Box<dyn Answer>, Problem>> {
    Some(match command {
        Command::Version(_) => Ok(Box::new(commands::version::run())),
        Command::Completion(args) => Ok(Box::new(commands::completion::run(args))),
        Command::Man(args) => commands::man::run(args).map(|answer| -> Box<dyn Answer> { Box::new(answer) }),
        Command::Help(args) => commands::help::run(args).map(|answer| -> Box<dyn Answer> { Box::new(answer) }),
        _ => return None,
    })
}

fn dispatch(app: &App, printer: &Printer, command: &Command) -> Result<Box<dyn Answer>, Problem> {
    match command {
        Command::Init(args) => Ok(Box::new(commands::init::run(app, printer, args)?)),
        Command::Sign(args) => commands::sign::run(app, printer, args),
        Command::Verify(args) => commands::verify::run(app, args),
        Command::Resolve(args) => Ok(Box::new(commands::verify::resolve(app, args)?)),
        Command::Exec(args) => match commands::exec::run(app, args, |text| printer.note(text))? {},
        Command::Key(command) => commands::key::run(app, command),
        Command::Pin(command) => commands::pin::run(app, command),
        Command::Policy(command) => commands::policy::run(app, printer, command),
        Command::Labels(command) => commands::labels::run(app, printer, command),
        Command::Exception(command) => commands::exception::run(app, printer, command),
        Command::Context(command) => commands::context::run(app, command),
        Command::Config(command) => commands::config::run(app, command),
        Command::Status(args) => commands::status::run(app, args),
        Command::Doctor(args) => commands::doctor::run(app, args),
        Command::Env(_) => Ok(Box::new(commands::env::run(&app.environment)?)),
        Command::Inspect(args) => commands::inspect::run(app, args),
        Command::List(args) => commands::list::run(app, args),
        Command::Log(args) => Ok(Box::new(commands::log::run(app, args)?)),
        Command::Unsign(args) => Ok(Box::new(commands::unsign::run(app, printer, args)?)),
        Command::Revoke(args) => Ok(Box::new(commands::revoke::run(app, printer, args)?)),
        Command::Rotate(args) => Ok(Box::new(commands::rotate::run(app, printer, args)?)),
        Command::Signer(command) => commands::signer::run(app, printer, command),
        Command::Diff(args) => Ok(Box::new(commands::diff::run(app, args)?)),
        Command::Version(_) | Command::Completion(_) | Command::Man(_) | Command::Help(_) => {
            without_settings(command).unwrap_or_else(|| Err(fault::internal("a command without an answer")))
        }
    }
}

/// The arguments could not be read, or ask for help. Also this ends with one document if `-o json` is among them.
fn not_parsed(error: &clap::Error, arguments: &[OsString], environment: &Environment) -> u8 {
    let format = asked_format(arguments)
        .or_else(|| settings::early_display(&cli::Globals::default(), environment).format.into());
    let printer = Printer::new(format.unwrap_or_default(), ColorWhen::Auto, false, None);
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            printer.raw(&error.render().to_string(), false);
            trust_reader::catalogue::exit::DONE
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if format != Some(Format::Json) => {
            printer.raw(&error.render().to_string(), true);
            trust_reader::catalogue::exit::USAGE
        }
        _ => printer.problem(&fault::arguments(error)),
    }
}

/// The format in arguments that could not be read as a whole.
fn asked_format(arguments: &[OsString]) -> Option<Format> {
    let words: Vec<&str> = arguments.iter().skip(1).take_while(|a| *a != "--").filter_map(|a| a.to_str()).collect();
    let value = words.iter().enumerate().find_map(|(at, word)| match *word {
        "-o" | "--output" => words.get(at.saturating_add(1)).copied(),
        word => word.strip_prefix("--output=").or_else(|| word.strip_prefix("-o=")).or_else(|| word.strip_prefix("-o")),
    });
    match value {
        Some("json") => Some(Format::Json),
        Some("jsonl") => Some(Format::Jsonl),
        Some("text") => Some(Format::Text),
        _ => None,
    }
}
