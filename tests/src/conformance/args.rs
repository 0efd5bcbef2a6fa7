//! The command line: options in any order, then one command. Everything else is an error.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

pub(super) const USAGE: &str = "\
usage: tuf-conformance-client --metadata-dir DIR init TRUSTED_ROOT
       tuf-conformance-client --metadata-dir DIR --metadata-url URL refresh
       tuf-conformance-client --metadata-dir DIR --metadata-url URL --target-name PATH [--target-name PATH]...
                              --target-dir DIR --target-base-url URL download";

/// Where metadata come from and are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refresh {
    /// The state.
    pub metadata_dir: PathBuf,
    /// Where the repository's metadata lie.
    pub metadata_url: String,
}

/// What is to be downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// The update before it.
    pub refresh: Refresh,
    /// The targets, in order; at least one.
    pub names: Vec<String>,
    /// Where they go.
    pub target_dir: PathBuf,
    /// Where the repository's targets lie.
    pub target_url: String,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Pins a root.
    Init {
        /// The state.
        metadata_dir: PathBuf,
        /// The root file.
        trusted_root: PathBuf,
    },
    /// One update.
    Refresh(Refresh),
    /// One update, then targets.
    Download(Download),
}

/// Reads a command line, without the program's name.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut args = args.into_iter();
    let mut given = Given::default();
    let command = loop {
        let Some(arg) = args.next() else { return Err("no command".to_owned()) };
        if !arg.as_encoded_bytes().starts_with(b"-") {
            break arg;
        }
        let value = args.next().ok_or_else(|| format!("{} needs a value", arg.display()))?;
        given.option(&arg, value)?;
    };
    let command = match command.to_str() {
        Some("init") => {
            let trusted_root = args.next().ok_or("init needs the file of a root")?.into();
            Command::Init { metadata_dir: given.metadata_dir()?, trusted_root }
        }
        Some("refresh") => Command::Refresh(given.refresh()?),
        Some("download") => Command::Download(given.download()?),
        _ => return Err(format!("there is no command `{}`", command.display())),
    };
    match args.next() {
        Some(more) => Err(format!("`{}` is too much", more.display())),
        None => given.must_be_used_up().map(|()| command),
    }
}

#[derive(Default)]
struct Given {
    metadata_dir: Option<OsString>,
    metadata_url: Option<OsString>,
    target_dir: Option<OsString>,
    target_url: Option<OsString>,
    names: Vec<OsString>,
}

impl Given {
    fn option(&mut self, name: &OsStr, value: OsString) -> Result<(), String> {
        let place = match name.to_str() {
            Some("--metadata-dir") => &mut self.metadata_dir,
            Some("--metadata-url") => &mut self.metadata_url,
            Some("--target-dir") => &mut self.target_dir,
            Some("--target-base-url") => &mut self.target_url,
            Some("--target-name") => {
                self.names.push(value);
                return Ok(());
            }
            _ => return Err(format!("there is no option `{}`", name.display())),
        };
        match place.replace(value) {
            None => Ok(()),
            Some(_) => Err(format!("{} stands twice", name.display())),
        }
    }

    fn metadata_dir(&mut self) -> Result<PathBuf, String> {
        Ok(self.metadata_dir.take().ok_or("--metadata-dir is missing")?.into())
    }

    fn refresh(&mut self) -> Result<Refresh, String> {
        let metadata_url = text(self.metadata_url.take().ok_or("--metadata-url is missing")?)?;
        Ok(Refresh { metadata_dir: self.metadata_dir()?, metadata_url })
    }

    fn download(&mut self) -> Result<Download, String> {
        let names = std::mem::take(&mut self.names).into_iter().map(text).collect::<Result<Vec<_>, _>>()?;
        if names.is_empty() {
            return Err("--target-name is missing".to_owned());
        }
        let target_dir = self.target_dir.take().ok_or("--target-dir is missing")?.into();
        let target_url = text(self.target_url.take().ok_or("--target-base-url is missing")?)?;
        Ok(Download { refresh: self.refresh()?, names, target_dir, target_url })
    }

    /// An option that the command does not use is one that somebody expects to have an effect.
    fn must_be_used_up(&self) -> Result<(), String> {
        let left = [&self.metadata_dir, &self.metadata_url, &self.target_dir, &self.target_url];
        match left.iter().any(|option| option.is_some()) || !self.names.is_empty() {
            true => Err("there are options that this command does not take".to_owned()),
            false => Ok(()),
        }
    }
}

fn text(value: OsString) -> Result<String, String> {
    value.into_string().map_err(|value| format!("`{}` is not UTF-8", value.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_stand_in_any_order_before_the_command() {
        let refresh = Refresh { metadata_dir: "m".into(), metadata_url: "http://h/m/".to_owned() };
        assert_eq!(read("--metadata-url http://h/m/ --metadata-dir m refresh"), Ok(Command::Refresh(refresh.clone())));
        assert_eq!(read("--metadata-dir m --metadata-url http://h/m/ refresh"), Ok(Command::Refresh(refresh.clone())));
        let download = Download {
            refresh,
            names: vec!["b".to_owned(), "a".to_owned()],
            target_dir: "t".into(),
            target_url: "http://h/t/".to_owned(),
        };
        let line = "--target-name b --metadata-url http://h/m/ --target-base-url http://h/t/ --metadata-dir m \
                    --target-name a --target-dir t download";
        assert_eq!(read(line), Ok(Command::Download(download)));
        let init = Command::Init { metadata_dir: "m".into(), trusted_root: "r".into() };
        assert_eq!(read("--metadata-dir m init r"), Ok(init));
    }

    #[test]
    fn a_command_line_with_anything_missing_or_too_much_is_refused() {
        for line in [
            "",
            "init r",
            "--metadata-dir m init",
            "--metadata-dir m init r s",
            "--metadata-dir m --metadata-url u init r",
            "--metadata-dir m refresh",
            "--metadata-url u refresh",
            "--metadata-dir m --metadata-url u refresh --verbose",
            "--metadata-dir m --metadata-url u --target-name a refresh",
            "--metadata-dir m --metadata-dir n --metadata-url u refresh",
            "--metadata-dir m --metadata-url u --target-dir t --target-base-url u download",
            "--metadata-dir m --metadata-url u --target-name a --target-base-url u download",
            "--metadata-dir m --metadata-url u --target-name a --target-dir t download",
            "--metadata-dir m --metadata-url u update",
            "--verbose --metadata-dir m init r",
            "--help",
            "--metadata-dir",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
