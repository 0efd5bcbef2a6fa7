use clap::{CommandFactory, Parser};

use super::*;

fn walk(command: &clap::Command, path: &str, visit: &mut dyn FnMut(&str, &clap::Command)) {
    visit(path, command);
    for child in command.get_subcommands() {
        walk(child, &format!("{path} {}", child.get_name()), visit);
    }
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn no_argument_takes_a_secret_as_its_value() {
    let mut seen = 0;
    walk(&Cli::command(), "trust", &mut |path, command| {
        for argument in command.get_arguments() {
            seen += 1;
            let name = argument.get_id().as_str().to_lowercase();
            let takes_value = argument.get_action().takes_values();
            let suspicious =
                ["pass", "secret", "token", "pin_", "password", "credential"].iter().any(|w| name.contains(w));
            let by_reference = name.ends_with("_file") || name.ends_with("_fd");
            assert!(!(takes_value && suspicious && !by_reference), "{path}: --{name} could carry a secret");
            assert!(argument.get_env().is_none(), "{path}: --{name}: variables are read by the settings");
        }
    });
    assert!(seen > 100);
}

#[test]
fn every_example_is_understood_and_every_command_has_one() {
    let mut examples = 0;
    walk(&Cli::command(), "trust", &mut |path, command| {
        if command.has_subcommands() && path != "trust" {
            return;
        }
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let lines: Vec<&str> = help.lines().map(str::trim).filter(|line| line.starts_with("trust ")).collect();
        assert!(!lines.is_empty(), "{path} has no example");
        for line in lines {
            let words = shell_words(line);
            if let Err(error) = Cli::try_parse_from(&words) {
                panic!("{path}: `{line}`: {error}");
            }
            examples += 1;
        }
    });
    assert!(examples > 60, "{examples}");
}

/// Words of an example: split at blanks, quotes taken off.
fn shell_words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(q), c) if c == q => quote = None,
            (None, ' ') => words.push(String::new()),
            (_, c) => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_command_that_needs_a_key_has_the_same_flags() {
    for command in [
        "init",
        "sign",
        "unsign",
        "revoke",
        "rotate",
        "signer add",
        "signer accept",
        "signer remove",
        "key generate",
        "key export",
        "key import",
        "key show",
        "policy publish",
        "labels publish",
        "exception grant",
        "exception revoke",
        "exception prune",
    ] {
        let mut at = Cli::command();
        for name in command.split(' ') {
            at = at.find_subcommand(name).unwrap().clone();
        }
        for flag in ["key", "passphrase_file", "passphrase_fd", "no_passphrase"] {
            assert!(at.get_arguments().any(|a| a.get_id() == flag), "{command}: {flag}");
        }
    }
}

#[test]
fn the_global_flags_work_behind_every_command() {
    for line in [
        "trust key list -o json --quiet",
        "trust verify r.example/a:v1 --offline --timeout 5s",
        "trust -o json pin list",
        "trust exec --server https://t.example -- docker run -o r.example/a:v1",
    ] {
        assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
    }
}
