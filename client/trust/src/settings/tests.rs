use super::*;

struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("config/trust")).unwrap();
        std::fs::write(folder.path().join("config/trust/config.toml"), config).unwrap();
        Self { folder }
    }

    fn environment(&self, more: &[(&str, &str)]) -> Environment {
        let config = self.folder.path().join("config");
        let mut all =
            vec![("HOME", self.folder.path().to_str().unwrap()), ("XDG_CONFIG_HOME", config.to_str().unwrap())];
        all.extend(more);
        Environment::fixed(all)
    }

    fn resolve(&self, globals: &Globals, more: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        resolve(globals, &self.environment(more), None)
    }
}

const CONFIG: &str = "context = 'a'\noutput = 'json'\n\
    [contexts.a]\nserver = 'https://a.example'\ntoken_file = 'token'\n[contexts.b]\nserver = 'https://b.example'\n";

#[test]
fn a_flag_outranks_a_variable_outranks_a_file() {
    let home = Home::new(CONFIG);
    let file = home.resolve(&Globals::default(), &[]).unwrap();
    assert_eq!(file.server.as_ref().unwrap().value, "https://a.example");
    assert_eq!(file.output.value, Format::Json);
    let token = file.token.unwrap().value;
    assert_eq!(token, TokenPlace::File(home.folder.path().join("config/trust/token")));

    let variable = home.resolve(&Globals::default(), &[("TRUST_CONTEXT", "b"), ("TRUST_OUTPUT", "text")]).unwrap();
    assert_eq!(variable.server.unwrap().value, "https://b.example");
    assert_eq!(variable.output, Sourced::new(Format::Text, Origin::Variable("TRUST_OUTPUT")));

    let globals =
        Globals { server: Some("https://f.example".to_owned()), output: Some(Format::Jsonl), ..Globals::default() };
    let flag = home.resolve(&globals, &[("TRUST_SERVER", "https://v.example"), ("TRUST_OUTPUT", "text")]).unwrap();
    assert_eq!(flag.server.unwrap(), Sourced::new("https://f.example".to_owned(), Origin::Flag("--server")));
    assert_eq!(flag.output.value, Format::Jsonl);
}

#[test]
fn a_context_that_is_not_there_is_an_error_and_not_another_server() {
    let home = Home::new(CONFIG);
    let globals = Globals { context: Some("typo".to_owned()), ..Globals::default() };
    assert_eq!(home.resolve(&globals, &[]).unwrap_err(), SettingsError::NoContext { name: "typo".to_owned() });
}

#[test]
fn junk_in_a_variable_is_an_error() {
    let home = Home::new("");
    for name in ["TRUST_REQUIRE", "DOCKER_CONTENT_TRUST", "TRUST_OFFLINE", "TRUST_NON_INTERACTIVE", "TRUST_OUTPUT"] {
        assert!(home.resolve(&Globals::default(), &[(name, "junk")]).is_err(), "{name}");
        assert!(home.resolve(&Globals::default(), &[(name, "")]).is_ok(), "{name} empty");
    }
}

#[test]
fn a_token_in_two_places_is_an_error() {
    let home = Home::new("");
    let both = [("TRUST_TOKEN", "x"), ("TRUST_TOKEN_FILE", "/x")];
    assert_eq!(home.resolve(&Globals::default(), &both).unwrap_err(), SettingsError::Both { name: "TRUST_TOKEN" });
}

#[test]
fn the_old_name_of_the_server_counts_below_the_new_one() {
    let home = Home::new("");
    let old = ("DOCKER_CONTENT_TRUST_SERVER", "https://old.example");
    let settings = home.resolve(&Globals::default(), &[old]).unwrap();
    assert_eq!(settings.server.unwrap().value, "https://old.example");
    let both = [old, ("TRUST_SERVER", "https://new.example")];
    let settings = home.resolve(&Globals::default(), &both).unwrap();
    assert_eq!(settings.server.unwrap().value, "https://new.example");
}

#[test]
fn ci_means_nobody_is_there_only_if_it_is_true() {
    let home = Home::new("");
    for (value, expected) in [("true", true), ("1", false), ("", false), ("false", false)] {
        let settings = home.resolve(&Globals::default(), &[("CI", value)]).unwrap();
        assert_eq!(settings.non_interactive.value, expected, "{value}");
    }
}

#[test]
fn the_longest_pinned_name_by_whole_components_counts_and_there_is_no_fallback() {
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    let home = Home::new(&format!(
        "[[pins]]\ncollection = 'r.example/pay'\nfingerprint = '{a}'\n[[pins]]\ncollection = 'r.example/pay/api'\nfingerprint = '{b}'\n"
    ));
    let settings = home.resolve(&Globals::default(), &[]).unwrap();
    let found = |name| settings.pin_for_image(name).unwrap().map(|pin| pin.collection.clone());
    assert_eq!(found("r.example/pay/api").as_deref(), Some("r.example/pay/api"));
    assert_eq!(found("r.example/pay/api/x").as_deref(), Some("r.example/pay/api"));
    assert_eq!(found("r.example/pay/apix").as_deref(), Some("r.example/pay"));
    assert_eq!(found("r.example/payx/api"), None);
}

#[test]
fn a_config_file_that_was_named_and_cannot_be_is_an_error() {
    let home = Home::new("");
    let globals = Globals { config: Some("/nonexistent/trust/config.toml".into()), ..Globals::default() };
    assert!(matches!(home.resolve(&globals, &[]), Err(SettingsError::Unreadable { .. })));
}

#[test]
fn an_unreadable_tree_file_stops_the_command() {
    let home = Home::new("");
    std::fs::write(home.folder.path().join(".trust.toml"), "server = 'https://evil.example'").unwrap();
    let result = resolve(&Globals::default(), &home.environment(&[]), Some(home.folder.path()));
    assert!(matches!(result, Err(SettingsError::Project { .. })));
}
