//! `trust help`: commands, topics, and errors by their id. Topics that are tables are made from those tables.

use clap::CommandFactory;
use serde_json::Value;
use trust_reader::catalogue::{Code, exit};
use trust_reader::verdict::Problem;

use crate::cli::Cli;
use crate::cli::setup::Help;
use crate::fault;
use crate::output::HelpText;
use crate::printer::Answer;
use crate::settings::environment::VARIABLES;
use crate::style::{self, Style};

/// The topics beside commands and error ids.
pub const TOPICS: [&str; 10] = [
    "config",
    "environment",
    "errors",
    "exceptions",
    "exit-codes",
    "key-uris",
    "labels",
    "manifests",
    "policy",
    "references",
];

/// A text to read.
pub struct Topic {
    name: String,
    text: String,
}

/// Finds the text.
pub fn run(args: &Help) -> Result<Topic, Problem> {
    let name = args.topic.join(" ");
    let text = match name.as_str() {
        "" => format!("{}\nTopics: trust help {}\n", Cli::command().render_help(), TOPICS.join(" | ")),
        "config" => include_str!("../topics/config.txt").to_owned(),
        "references" => include_str!("../topics/references.txt").to_owned(),
        "key-uris" => include_str!("../topics/key-uris.txt").to_owned(),
        "policy" => format!("{}\n{}", include_str!("../topics/policy.txt"), command(&args.topic).unwrap_or_default()),
        "manifests" => include_str!("../topics/manifests.txt").to_owned(),
        "exceptions" => include_str!("../topics/exceptions.txt").to_owned(),
        "labels" => format!("{}\n{}", include_str!("../topics/labels.txt"), command(&args.topic).unwrap_or_default()),
        "environment" => environment(),
        "exit-codes" => exit_codes(),
        "errors" => errors(),
        other => match Code::from_id(other) {
            Some(code) => code.help(),
            None => command(&args.topic).ok_or_else(|| unknown(other))?,
        },
    };
    Ok(Topic { name, text })
}

fn command(path: &[String]) -> Option<String> {
    let mut root = Cli::command();
    root.build();
    let mut at = &mut root;
    for name in path {
        at = at.find_subcommand_mut(name)?;
    }
    Some(at.render_long_help().to_string())
}

fn unknown(topic: &str) -> Problem {
    fault::usage(&format!("there is no help on `{}`", style::plain(topic)))
        .remedy([format!("a command, an error id such as E1403, or one of: {}", TOPICS.join(", "))])
}

fn exit_codes() -> String {
    let mut rows = vec![["CODE", "MEANING", "TRY AGAIN"].map(str::to_owned).to_vec()];
    rows.extend(
        exit::TABLE
            .iter()
            .map(|(code, meaning, retry)| vec![code.to_string(), (*meaning).to_owned(), (*retry).to_owned()]),
    );
    format!(
        "Exit codes of trust. With several images the code is the worst one.\n`trust exec` ends with the code of the tool \
         that it ran.\n\n{}",
        style::table(&rows)
    )
}

fn errors() -> String {
    let mut rows = vec![["ID", "EXIT", "MEANING"].map(str::to_owned).to_vec()];
    rows.extend(Code::ALL.iter().map(|code| {
        let entry = code.entry();
        vec![entry.id.to_owned(), entry.exit.to_string(), entry.headline.to_owned()]
    }));
    format!("Errors by their id; `trust help ID` tells more.\n\n{}", style::table(&rows))
}

fn environment() -> String {
    let mut rows = vec![["VARIABLE", "MEANING", "ALSO READ"].map(str::to_owned).to_vec()];
    for variable in VARIABLES {
        let name = if variable.file_twin { format!("{0}, {0}_FILE", variable.name) } else { variable.name.to_owned() };
        rows.push(vec![name, variable.meaning.to_owned(), variable.aliases.join(", ")]);
    }
    format!(
        "Variables that count. A flag outranks a variable, a variable outranks the configuration file.\n\
         Switches are 0, 1, true or false; anything else is an error. A passphrase that is set but empty is the\n\
         empty passphrase; one that is not set is asked for.\n\n{}\n\
         An environment file (--env) says where an image is to run. Members: name, cloud, region, labels; any other is an\n\
         error. An example, which `trust policy init` writes:\n\n{}",
        style::table(&rows),
        environment_file()
    )
}

/// The example of an environment file, indented.
fn environment_file() -> String {
    let example = trust_policy::shipped::FILES.iter().find(|(name, _)| *name == "environments/public.toml");
    let lines = example.map_or("", |(_, text)| text).lines();
    lines.map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") }).collect()
}

impl Answer for Topic {
    fn command(&self) -> &'static str {
        "help"
    }

    fn json(&self) -> Value {
        crate::output::value(&HelpText { topic: self.name.clone(), text: self.text.clone() })
    }

    fn text(&self, _: Style) -> String {
        self.text.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(topic: &[&str]) -> Result<Topic, Problem> {
        run(&Help { topic: topic.iter().map(|&t| t.to_owned()).collect() })
    }

    #[test]
    fn every_topic_error_and_command_has_a_text() {
        for topic in TOPICS {
            assert!(help(&[topic]).unwrap().text.len() > 200, "{topic}");
        }
        assert!(help(&["environment"]).unwrap().text.contains("\n  cloud = \"public\"\n"));
        assert!(help(&["policy"]).unwrap().text.contains("publish"));
        assert!(help(&["labels"]).unwrap().text.contains("check"));
        assert!(help(&["sign"]).unwrap().text.contains("--expect"));
        let manifests = help(&["manifests"]).unwrap().text;
        let examples: Vec<&str> = manifests.lines().filter_map(|line| line.strip_prefix("  trust ")).collect();
        assert_eq!(examples.len(), 3);
        for line in examples {
            let words = std::iter::once("trust").chain(line.split(' '));
            assert!(Cli::command().try_get_matches_from(words).is_ok(), "{line}");
        }
        assert!(help(&["key", "generate"]).unwrap().text.contains("--type"));
        assert_eq!(help(&["nothing"]).err().unwrap().code, Code::Usage);
    }

    #[test]
    fn the_help_on_an_error_says_all_that_its_row_says_and_its_examples_are_understood() {
        let mut examples = 0;
        for code in Code::ALL {
            let (text, entry) = (help(&[code.id()]).unwrap().text, code.entry());
            let exit = format!("Exit code: {} (", entry.exit);
            let parts = [entry.headline, entry.cause, entry.printed_by, &exit];
            for part in parts.into_iter().chain(entry.remedy.iter().chain(entry.example).copied()) {
                assert!(text.contains(part), "{}: {part}", entry.id);
            }
            for line in entry.example {
                match Cli::command().try_get_matches_from(line.split(' ')) {
                    Err(error) if error.kind() != clap::error::ErrorKind::DisplayHelp => {
                        panic!("{}: `{line}`: {error}", entry.id)
                    }
                    _ => examples += 1,
                }
            }
        }
        assert!(examples > 60, "{examples}");
    }

    #[test]
    fn the_table_of_exit_codes_is_the_catalogues() {
        let text = help(&["exit-codes"]).unwrap().text;
        for (code, meaning, _) in exit::TABLE {
            assert!(text.contains(&code.to_string()) && text.contains(meaning), "{code}");
        }
    }
}
