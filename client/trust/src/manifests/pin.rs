//! Writing verified digests behind the tags in a manifest, and nothing else.
//!
//! Invariants: bytes are only added, and only at the end of an image's text; what comes out is read again and must be what was
//! there with exactly the images replaced, else nothing is written. A file is replaced as a whole and keeps its mode. If one
//! changed since it was read, none is replaced; if one cannot be replaced, those before it get back what was in them, or are
//! named. Deliberately absent: which digest is right.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use serde_json::Value;
use trust_reader::verdict::Problem;

use super::compose::counted;
use super::files::{Input, MARK};
use super::yaml::{At, Content, NodeId, Style};
use super::{Scan, refused, refused_at};

/// What to write behind the image of a node: `@sha256:…`, with `:latest` before it where no tag was written.
pub type Pins = BTreeMap<NodeId, String>;

/// Why an image cannot be pinned where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotHere {
    /// `|` or `>`.
    #[error("the image is written as a block of text (`|` or `>`); write it on one line, then pin it")]
    Block,
    /// Escapes, or over several lines.
    #[error("the image is written with escapes or over several lines; write it plainly on one line, then pin it")]
    Escapes,
    /// An anchor whose text means something else elsewhere.
    #[error(
        "the text of this image is also used for something else (by an alias or merge key); write it twice, then pin it"
    )]
    Shared,
}

/// The text with the pins. `scan` is of this text (without its mark).
pub fn pinned(input: &Input, scan: &Scan, pins: &Pins) -> Result<String, Problem> {
    let body = input.body();
    let mut insertions = Vec::new();
    let offsets = Offsets::of(body);
    for (node, addition) in pins {
        let Some(written) = scan.tree.node(*node) else { continue };
        let end = end_of(body, &offsets, written.index, &written.content);
        insertions.push((end.map_err(|why| refused_at(&input.name, written.at, &why))?, addition.as_str()));
    }
    insertions.sort_unstable();
    let mut out = String::with_capacity(input.text.len().saturating_add(insertions.len().saturating_mul(80)));
    if input.text.len() > body.len() {
        out.push_str(MARK);
    }
    let mut from = 0;
    for (at, addition) in insertions {
        out.push_str(body.get(from..at).unwrap_or_default());
        out.push_str(addition);
        from = at;
    }
    out.push_str(body.get(from..).unwrap_or_default());
    check(input, scan, pins, &out)?;
    Ok(out)
}

/// Reads the result again: the same values, with exactly the images replaced.
fn check(input: &Input, scan: &Scan, pins: &Pins, out: &str) -> Result<(), Problem> {
    let mut expected = scan.values.clone();
    for found in &scan.images {
        let place = expected.get_mut(found.document).and_then(|value| value.pointer_mut(&found.path.pointer()));
        if let (Some(place), Some(addition)) = (place, pins.get(&found.node)) {
            *place = Value::String(format!("{}{addition}", found.image));
        }
    }
    let again = super::scan(out.strip_prefix(MARK).unwrap_or(out));
    let same = |again: &[Value]| {
        again.len() == expected.len() && again.iter().zip(&expected).all(|(a, b)| counted(a) == counted(b))
    };
    match again {
        Ok(again) if same(&again.values) => Ok(()),
        _ => {
            let first = scan.images.iter().find(|found| pins.contains_key(&found.node));
            let at = first.map_or(At { line: 1, column: 1 }, |found| found.at);
            Err(refused_at(&input.name, at, &NotHere::Shared))
        }
    }
}

/// Where the text of a scalar ends, in bytes; before its quote.
fn end_of(body: &str, offsets: &Offsets, index: usize, content: &Content) -> Result<usize, NotHere> {
    let Content::Scalar { text, style, .. } = content else { return Err(NotHere::Escapes) };
    let quote = match style {
        Style::Plain => "",
        Style::Single => "'",
        Style::Double => "\"",
        Style::Block => return Err(NotHere::Block),
    };
    let begin = offsets.byte(index).ok_or(NotHere::Escapes)?;
    let start = behind_properties(body, begin);
    let raw = format!("{quote}{text}{quote}");
    match body.get(start..).is_some_and(|rest| rest.starts_with(&raw)) {
        true => Ok(start.saturating_add(raw.len()).saturating_sub(quote.len())),
        false => Err(NotHere::Escapes),
    }
}

/// Behind an anchor and a tag, which no scalar without quotes can begin with.
fn behind_properties(body: &str, begin: usize) -> usize {
    let mut rest = body.get(begin..).unwrap_or_default();
    while rest.starts_with(['&', '!']) {
        rest = rest.trim_start_matches(|c: char| !c.is_ascii_whitespace()).trim_ascii_start();
    }
    body.len().saturating_sub(rest.len())
}

/// From the index of a character to that of its byte.
struct Offsets(Option<Vec<usize>>);

impl Offsets {
    fn of(text: &str) -> Self {
        Self((!text.is_ascii()).then(|| text.char_indices().map(|(at, _)| at).collect()))
    }

    fn byte(&self, index: usize) -> Option<usize> {
        match &self.0 {
            None => Some(index),
            Some(offsets) => offsets.get(index).copied(),
        }
    }
}

/// A new text that lies beside its file, ready to take its place.
struct Ready<'a> {
    input: &'a Input,
    path: &'a Path,
    new: PathBuf,
    text: &'a str,
}

/// Replaces the files: all are written beside their places, and compared with what was read, before the first is replaced.
pub fn replace(changed: &[(&Input, String)]) -> Result<(), Problem> {
    let mut ready = Vec::new();
    let written = changed.iter().try_for_each(|(input, text)| {
        let Some(path) = &input.path else { return Ok(()) };
        remove_stale(path);
        let new = beside(path);
        ready.push(Ready { input, path, new: new.clone(), text });
        write_beside(path, &new, text).map_err(|e| crate::fault::file(path, &e))
    });
    let done = written.and_then(|()| ready.iter().try_for_each(unchanged)).and_then(|()| take_places(&ready));
    if done.is_err() {
        // What has taken its place is no longer there to remove.
        for one in &ready {
            let _ = std::fs::remove_file(&one.new);
        }
    }
    done
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!(".{name}.{}.new", std::process::id()))
}

/// Removes what runs that were killed left beside this file. Whether it works does not matter to this run.
fn remove_stale(path: &Path) {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let prefix = format!(".{name}.");
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let other = entry.file_name();
        let process = other.to_str().and_then(|n| n.strip_prefix(&prefix)?.strip_suffix(".new")?.parse::<u32>().ok());
        let Some(process) = process else { continue };
        let is_own = process == std::process::id();
        // Without /proc nobody is known to be gone.
        let is_gone = Path::new("/proc/self").exists() && !Path::new("/proc").join(process.to_string()).exists();
        if (is_own || is_gone) && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn write_beside(path: &Path, new: &Path, text: &str) -> std::io::Result<()> {
    let old = std::fs::metadata(path)?;
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(new)?;
    file.write_all(text.as_bytes())?;
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
        fchown(&file, Some(old.uid()), Some(old.gid()))?;
    }
    file.set_permissions(old.permissions())?;
    file.sync_all()
}

/// Whether the file still holds what was read.
fn unchanged(ready: &Ready<'_>) -> Result<(), Problem> {
    let now = std::fs::read(ready.path).map_err(|e| crate::fault::file(ready.path, &e))?;
    match now == ready.input.text.as_bytes() {
        true => Ok(()),
        false => Err(refused(&ready.input.name, "it was changed by somebody else in the meantime")),
    }
}

/// Replaces one after the other; if one fails, those before it get back their text.
fn take_places(ready: &[Ready<'_>]) -> Result<(), Problem> {
    for (count, one) in ready.iter().enumerate() {
        let failed = |e: std::io::Error| crate::fault::file(one.path, &e);
        let (replaced, error) = match unchanged(one).and_then(|()| std::fs::rename(&one.new, one.path).map_err(failed))
        {
            Err(problem) => (count, problem),
            Ok(()) => match sync_folder(one.path) {
                Err(error) => (count.saturating_add(1), failed(error)),
                Ok(()) => continue,
            },
        };
        return Err(not_replaced(error, ready.get(..replaced).unwrap_or_default()));
    }
    Ok(())
}

/// Puts back what was replaced before the error, and names what stays replaced.
fn not_replaced(error: Problem, replaced: &[Ready<'_>]) -> Problem {
    let left: Vec<&str> =
        replaced.iter().filter(|one| put_back(one).is_err()).map(|one| one.input.name.as_str()).collect();
    match left.is_empty() {
        true => error.fact("files changed", 0),
        false => left
            .into_iter()
            .fold(error, |error, name| error.fact("replaced all the same", name))
            .remedy(["the files named above are pinned already, the others are not: run it again"]),
    }
}

fn put_back(one: &Ready<'_>) -> std::io::Result<()> {
    // What somebody else wrote since stays theirs.
    if std::fs::read(one.path)? != one.text.as_bytes() {
        return Err(std::io::Error::other("changed"));
    }
    write_beside(one.path, &one.new, &one.input.text)?;
    std::fs::rename(&one.new, one.path)?;
    sync_folder(one.path)
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "pin_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "pin_property.rs"]
mod property;
