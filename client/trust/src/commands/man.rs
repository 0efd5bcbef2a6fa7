//! `trust man --dir DIR`: one page for each command.

use std::path::Path;

use clap::CommandFactory;
use serde_json::Value;
use trust_reader::verdict::Problem;

use crate::cli::Cli;
use crate::cli::setup::Man;
use crate::fault;
use crate::output::ManPages;
use crate::printer::Answer;
use crate::style::Style;

/// Writes the pages.
pub fn run(args: &Man) -> Result<ManPages, Problem> {
    std::fs::create_dir_all(&args.dir).map_err(|e| fault::file(&args.dir, &e))?;
    let mut pages = Vec::new();
    let mut command = Cli::command();
    command.build();
    write(&command, "trust", &args.dir, &mut pages)?;
    Ok(ManPages { pages })
}

fn write(command: &clap::Command, name: &str, folder: &Path, pages: &mut Vec<String>) -> Result<(), Problem> {
    let page = clap_mangen::Man::new(command.clone().name(leaked(name)).disable_help_flag(false));
    let mut text = Vec::new();
    let path = folder.join(format!("{name}.1"));
    page.render(&mut text).and_then(|()| std::fs::write(&path, text)).map_err(|e| fault::file(&path, &e))?;
    pages.push(path.display().to_string());
    for child in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        write(child, &format!("{name}-{}", child.get_name()), folder, pages)?;
    }
    Ok(())
}

/// clap wants names that live as long as the program; there are some forty of them, made once.
fn leaked(name: &str) -> &'static str {
    Box::leak(name.to_owned().into_boxed_str())
}

impl Answer for ManPages {
    fn command(&self) -> &'static str {
        "man"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        self.pages.iter().map(|page| format!("{page}\n")).collect()
    }
}
