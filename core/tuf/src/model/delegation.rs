//! Delegations: to whom a role gives which target paths, and how patterns match (section 2 of the format, TAP 15).

use super::root::{KeyTable, RoleKeysDraft};
use super::{RoleKeys, parse_keys, sha256};
use crate::error::{MetadataError, Reason};
use crate::json::Cursor;
use crate::limits;
use crate::names::RoleType;

/// Which target paths a delegation is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Paths {
    /// Patterns of `*` and `?`, segment by segment.
    Patterns(Vec<String>),
    /// Prefixes of the SHA-256 of the path, in lower-case hex.
    HashPrefixes(Vec<String>),
}

impl Paths {
    /// Whether a path may be for both; never a no where one is. `None` once the work (one step for each comparison) is
    /// used up.
    pub fn may_meet(&self, other: &Self, work: &mut u64) -> Option<bool> {
        let (Self::Patterns(ours), Self::Patterns(theirs)) = (self, other) else { return Some(true) };
        for a in ours {
            for b in theirs {
                *work = work.checked_sub(u64::try_from(a.len().max(b.len())).unwrap_or(u64::MAX).saturating_add(8))?;
                if patterns_may_meet(a, b) {
                    return Some(true);
                }
            }
        }
        Some(false)
    }
}

/// One delegation: a role, its keys and the paths it may name.
#[derive(Debug, Clone)]
pub struct Delegation {
    name: String,
    keys: RoleKeys,
    terminating: bool,
    paths: Paths,
}

impl Delegation {
    /// The role's name; any string in a foreign repository.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who speaks for it.
    pub fn keys(&self) -> &RoleKeys {
        &self.keys
    }

    /// Whether a search that this delegation matches ends with it.
    pub fn terminating(&self) -> bool {
        self.terminating
    }

    /// What it is for.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Whether it is for this path. A pattern whose meaning is not defined is an error, never a silent no.
    pub fn matches(&self, path: &str) -> Result<bool, Reason> {
        match &self.paths {
            Paths::Patterns(patterns) => {
                let mut hit = false;
                for pattern in patterns {
                    if pattern.contains('[') {
                        return Err(Reason::Pattern(pattern.escape_debug().to_string()));
                    }
                    hit |= pattern_matches(pattern, path);
                }
                Ok(hit)
            }
            Paths::HashPrefixes(prefixes) => {
                let hash = hex::encode(sha256(path.as_bytes()));
                Ok(prefixes.iter().any(|prefix| hash.starts_with(prefix.as_str())))
            }
        }
    }
}

/// How 2^bits bins share the paths and what they are called (TAP 15): by the first bits of a path's SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bins {
    // INVARIANT: 1 to 32.
    bit_length: u32,
    name_prefix: String,
}

impl Bins {
    /// Bins called `PREFIX-` and a hexadecimal number; `None` unless there are 1 to 32 bits and a prefix.
    pub fn new(name_prefix: &str, bit_length: u32) -> Option<Self> {
        let fits = (1..=32).contains(&bit_length) && !name_prefix.is_empty();
        fits.then(|| Self { bit_length, name_prefix: name_prefix.to_owned() })
    }

    /// How many bits of the hash count: 1 to 32.
    pub fn bit_length(&self) -> u32 {
        self.bit_length
    }

    /// How many bins there are.
    pub fn count(&self) -> u64 {
        1 << self.bit_length
    }

    /// What all their names begin with, before the `-`.
    pub fn name_prefix(&self) -> &str {
        &self.name_prefix
    }

    /// The number of the bin for this path.
    pub fn number_for(&self, path: &str) -> u64 {
        let [a, b, c, d, ..] = sha256(path.as_bytes());
        u64::from(u32::from_be_bytes([a, b, c, d])) >> (32 - self.bit_length)
    }

    /// The name of the bin for this path.
    pub fn name_for(&self, path: &str) -> String {
        self.name(self.number_for(path))
    }

    /// The names of all bins, in order: up to 2^32, so that the caller takes as many as it can use.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.count()).map(|number| self.name(number))
    }

    /// The number of the bin with this name; `None` if no bin is called so.
    pub fn number_of(&self, role: &str) -> Option<u64> {
        let digits = role.strip_prefix(self.name_prefix.as_str())?.strip_prefix('-')?;
        let number = u64::from_str_radix(digits, 16).ok()?;
        (number < self.count() && self.name(number) == role).then_some(number)
    }

    fn name(&self, number: u64) -> String {
        let digits = format!("{:x}", self.count() - 1).len();
        format!("{}-{number:0digits$x}", self.name_prefix)
    }
}

/// A delegation to a family of roles, one for each range of path hashes.
#[derive(Debug, Clone)]
pub struct Succinct {
    keys: RoleKeys,
    layout: Bins,
}

impl Succinct {
    /// Who speaks for each of the bins.
    pub fn keys(&self) -> &RoleKeys {
        &self.keys
    }

    /// Which bins there are.
    pub fn layout(&self) -> &Bins {
        &self.layout
    }

    /// The name of the bin for this path.
    pub fn bin_for(&self, path: &str) -> String {
        self.layout.name_for(path)
    }

    /// The names of all bins, in order: up to 2^32, so that the caller takes as many as it can use.
    pub fn bins(&self) -> impl Iterator<Item = String> + '_ {
        self.layout.names()
    }

    /// Whether a role of this name is one of the bins.
    pub fn is_bin(&self, role: &str) -> bool {
        self.layout.number_of(role).is_some()
    }
}

/// The delegations of one role, in order of priority.
#[derive(Debug, Clone, Default)]
pub struct Delegations {
    roles: Vec<Delegation>,
    succinct: Option<Succinct>,
}

impl Delegations {
    /// Named roles, in order of priority; empty beside succinct roles.
    pub fn roles(&self) -> &[Delegation] {
        &self.roles
    }

    /// Succinct roles.
    pub fn succinct(&self) -> Option<&Succinct> {
        self.succinct.as_ref()
    }

    /// The delegation to this role.
    pub fn role(&self, name: &str) -> Option<&Delegation> {
        self.roles.iter().find(|d| d.name == name)
    }

    pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, MetadataError> {
        let mut table = None;
        let mut drafts = None;
        let mut succinct = None;
        cursor.object(|c, name| {
            match name {
                "keys" => table = Some(parse_keys(c)?),
                "roles" => {
                    let mut roles: Vec<DelegationDraft> = Vec::new();
                    let (mut patterns, mut keyids) = (0_usize, 0_usize);
                    c.array(|c| {
                        if roles.len() >= limits::DELEGATIONS_PER_ROLE {
                            return Err(MetadataError::TooMany {
                                what: "delegations",
                                limit: limits::DELEGATIONS_PER_ROLE,
                            });
                        }
                        let draft = DelegationDraft::parse(c, &mut patterns)?;
                        keyids = keyids.saturating_add(draft.keys.len());
                        if keyids > limits::DELEGATED_PER_ROLE {
                            let limit = limits::DELEGATED_PER_ROLE;
                            return Err(MetadataError::TooMany { what: "key ids in delegations", limit });
                        }
                        roles.push(draft);
                        Ok(())
                    })?;
                    drafts = Some(roles);
                }
                "succinct_roles" => succinct = Some(SuccinctDraft::parse(c)?),
                _ => {
                    c.skip()?;
                }
            }
            Ok::<(), MetadataError>(())
        })?;
        let table = table.ok_or(MetadataError::Missing("keys"))?;
        match (drafts, succinct) {
            (Some(drafts), None) => {
                let roles = drafts.into_iter().map(|d| d.resolve(&table)).collect::<Result<Vec<_>, _>>()?;
                let mut names: Vec<&str> = roles.iter().map(Delegation::name).collect();
                names.sort_unstable();
                for pair in names.windows(2) {
                    if let [a, b] = pair
                        && a == b
                    {
                        return Err(MetadataError::RoleName((*a).to_owned()));
                    }
                }
                Ok(Self { roles, succinct: None })
            }
            (None, Some(draft)) => Ok(Self { roles: Vec::new(), succinct: Some(draft.resolve(&table)?) }),
            (None, None) => Err(MetadataError::Missing("roles")),
            (Some(_), Some(_)) => Err(MetadataError::Exclusive("succinct_roles".to_owned())),
        }
    }
}

#[derive(Default)]
struct DelegationDraft {
    name: Option<String>,
    keys: RoleKeysDraft,
    terminating: Option<bool>,
    patterns: Option<Vec<String>>,
    prefixes: Option<Vec<String>>,
}

fn strings(cursor: &mut Cursor<'_>, count: &mut usize) -> Result<Vec<String>, MetadataError> {
    let mut out = Vec::new();
    cursor.array(|c| {
        *count = count.saturating_add(1);
        if *count > limits::DELEGATED_PER_ROLE {
            let limit = limits::DELEGATED_PER_ROLE;
            return Err(MetadataError::TooMany { what: "patterns or hash prefixes", limit });
        }
        out.push(c.string()?.into_owned());
        Ok::<(), MetadataError>(())
    })?;
    Ok(out)
}

impl DelegationDraft {
    fn parse(cursor: &mut Cursor<'_>, patterns: &mut usize) -> Result<Self, MetadataError> {
        let mut draft = Self::default();
        cursor.object(|c, member| {
            match member {
                "name" => draft.name = Some(c.string()?.into_owned()),
                "terminating" => draft.terminating = Some(c.bool()?),
                "paths" => draft.patterns = Some(strings(c, patterns)?),
                "path_hash_prefixes" => draft.prefixes = Some(strings(c, patterns)?),
                other => {
                    if !draft.keys.member("of a delegation", c, other)? {
                        c.skip()?;
                    }
                }
            }
            Ok::<(), MetadataError>(())
        })?;
        Ok(draft)
    }

    fn resolve(self, table: &KeyTable) -> Result<Delegation, MetadataError> {
        let name = self.name.ok_or(MetadataError::Missing("name"))?;
        // Without consistent names a role called `7.root` would be asked for where the seventh root lies.
        let of_a_root = name.strip_suffix(".root").is_some_and(|v| v.bytes().all(|b| b.is_ascii_digit()));
        if name.is_empty() || RoleType::from_name(&name).is_some() || of_a_root {
            return Err(MetadataError::RoleName(name));
        }
        let keys = self.keys.resolve(&name, table)?;
        let terminating = self.terminating.ok_or(MetadataError::Missing("terminating"))?;
        let paths = match (self.patterns, self.prefixes) {
            (Some(patterns), None) => Paths::Patterns(patterns),
            (None, Some(prefixes)) => {
                let fits = |p: &String| {
                    (1..=64).contains(&p.len()) && p.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
                };
                if !prefixes.iter().all(fits) {
                    return Err(MetadataError::HashPrefix(name));
                }
                Paths::HashPrefixes(prefixes)
            }
            // Neither authorises nothing; it is refused so that it cannot be read as "everything" elsewhere.
            _ => return Err(MetadataError::Exclusive(name)),
        };
        Ok(Delegation { name, keys, terminating, paths })
    }
}

#[derive(Default)]
struct SuccinctDraft {
    keys: RoleKeysDraft,
    bit_length: Option<u64>,
    name_prefix: Option<String>,
}

impl SuccinctDraft {
    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, MetadataError> {
        let mut draft = Self::default();
        cursor.object(|c, member| {
            match member {
                "bit_length" => draft.bit_length = Some(c.u64()?),
                "name_prefix" => draft.name_prefix = Some(c.string()?.into_owned()),
                other => {
                    if !draft.keys.member("succinct_roles", c, other)? {
                        c.skip()?;
                    }
                }
            }
            Ok::<(), MetadataError>(())
        })?;
        Ok(draft)
    }

    fn resolve(self, table: &KeyTable) -> Result<Succinct, MetadataError> {
        let name_prefix = self.name_prefix.ok_or(MetadataError::Missing("name_prefix"))?;
        let bits = self.bit_length.ok_or(MetadataError::Missing("bit_length"))?;
        if name_prefix.is_empty() {
            return Err(MetadataError::RoleName(name_prefix));
        }
        let layout = u32::try_from(bits).ok().and_then(|bits| Bins::new(&name_prefix, bits));
        let layout = layout.ok_or_else(|| MetadataError::HashPrefix(name_prefix.clone()))?;
        Ok(Succinct { keys: self.keys.resolve(&name_prefix, table)?, layout })
    }
}

/// Whether a pattern matches a path: as many segments, each matched alone; `*` is any run within a segment, `?` one
/// character. Linear in pattern × path, anchored, case-sensitive.
pub(crate) fn pattern_matches(pattern: &str, path: &str) -> bool {
    let mut patterns = pattern.split('/');
    let mut parts = path.split('/');
    loop {
        match (patterns.next(), parts.next()) {
            (None, None) => return true,
            (Some(pattern), Some(part)) if segment_matches(pattern, part) => {}
            _ => return false,
        }
    }
}

/// Whether a path may match both patterns: as many segments, and what stands before the first and behind the last `*` or
/// `?` of each pair of segments does not exclude the other.
fn patterns_may_meet(a: &str, b: &str) -> bool {
    const WILD: [char; 2] = ['*', '?'];
    if a.contains('[') || b.contains('[') {
        return true;
    }
    let fits = |(a, b): (&str, &str)| {
        let is_wild = |text: &str| text.contains(WILD);
        if !is_wild(a) || !is_wild(b) {
            return segment_matches(a, b) || segment_matches(b, a);
        }
        let start = |text: &'_ str| text.split(WILD).next().unwrap_or_default().to_owned();
        let end = |text: &'_ str| text.rsplit(WILD).next().unwrap_or_default().to_owned();
        let ((a_start, b_start), (a_end, b_end)) = ((start(a), start(b)), (end(a), end(b)));
        (a_start.starts_with(&b_start) || b_start.starts_with(&a_start))
            && (a_end.ends_with(&b_end) || b_end.ends_with(&a_end))
    };
    a.split('/').count() == b.split('/').count() && a.split('/').zip(b.split('/')).all(fits)
}

fn segment_matches(pattern: &str, text: &str) -> bool {
    let (mut p, mut t) = (pattern.chars(), text.chars());
    // Where to go on if what follows the last `*` does not fit: that star takes one character more.
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let before_t = t.clone();
        match (p.next(), t.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                retry = Some((p.clone(), before_t.clone()));
                t = before_t;
            }
            (Some('?'), Some(_)) => {}
            (Some(a), Some(b)) if a == b => {}
            _ => {
                let Some((after_star, mut taken)) = retry.take() else { return false };
                if taken.next().is_none() {
                    return false;
                }
                p = after_star.clone();
                t = taken.clone();
                retry = Some((after_star, taken));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_the_specification_says() {
        let cases = [
            ("*.tgz", "foo.tgz", true),
            ("*.tgz", "targets/foo.tgz", false),
            ("*.tgz", "foo.TGZ", false),
            ("foo-version-?.tgz", "foo-version-2.tgz", true),
            ("foo-version-?.tgz", "foo-version-alpha.tgz", false),
            ("foo-version-?.tgz", "foo-version-.tgz", false),
            ("releases/*/*", "releases/x/x_v1", true),
            ("releases/*/*", "releases/x", false),
            ("releases/*/*", "releases/x/y/z", false),
            ("foo.tgz", "foo.tgz", true),
            ("*", "", true),
            ("*", "a/b", false),
            ("**", "a/b", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("?", "é", true),
            ("*a", "aaaa", true),
            ("", "", true),
            ("", "a", false),
        ];
        for (pattern, path, fits) in cases {
            assert_eq!(pattern_matches(pattern, path), fits, "{pattern} {path}");
        }
    }

    #[test]
    fn patterns_that_share_a_path_are_never_told_apart() {
        let meets = [
            ("*", "*"),
            ("api/*", "*/*"),
            ("api/*", "api/v1"),
            ("api/v?", "api/v1"),
            ("a*", "*b"),
            ("a*c", "ab*"),
            ("*/x*", "y/*z"),
            ("[a]", "b"),
        ];
        let apart = [("*", "*/*"), ("api/*", "web/*"), ("api/*", "web/v1"), ("*-a", "*-b"), ("v?", "w?"), ("a", "b")];
        for (cases, meet) in [(&meets[..], true), (&apart[..], false)] {
            for (a, b) in cases {
                assert_eq!((patterns_may_meet(a, b), patterns_may_meet(b, a)), (meet, meet), "{a} {b}");
            }
        }
        // Whatever matches two patterns, they meet.
        let patterns = ["*", "a*", "*a", "?", "a?", "ab", "a*b", "??", "b*a", "*b*"];
        let paths = ["a", "b", "ab", "ba", "aa", "aab", "bab"];
        for (a, b) in patterns.iter().flat_map(|a| patterns.iter().map(move |b| (a, b))) {
            let shared = paths.iter().any(|path| pattern_matches(a, path) && pattern_matches(b, path));
            assert!(!shared || patterns_may_meet(a, b), "{a} {b}");
        }
        let (ours, prefixes) = (Paths::Patterns(vec!["a".into()]), Paths::HashPrefixes(vec!["0".into()]));
        assert_eq!(ours.may_meet(&prefixes, &mut 100), Some(true));
        assert_eq!(ours.may_meet(&Paths::Patterns(vec!["b".into()]), &mut 100), Some(false));
        assert_eq!(ours.may_meet(&ours, &mut 8), None);
    }

    #[test]
    fn a_bomb_of_stars_ends_in_time() {
        let pattern = "*a".repeat(400);
        let path = "a".repeat(900) + "b";
        assert!(!pattern_matches(&pattern, &path));
    }

    #[test]
    fn bins_of_the_reference_vectors() {
        let bin = |bits, path| Bins::new("bin", bits).unwrap().name_for(path);
        for (bits, first, second) in [
            (1, "bin-1", "bin-0"),
            (3, "bin-7", "bin-0"),
            (5, "bin-1f", "bin-02"),
            (11, "bin-7fe", "bin-0a9"),
            (14, "bin-3ff0", "bin-054f"),
        ] {
            assert_eq!(bin(bits, "v1.json"), first);
            assert_eq!(bin(bits, "dir/a.txt"), second);
        }
        assert_eq!(bin(32, "v1.json").len(), "bin-".len() + 8);
    }

    #[test]
    fn every_bin_has_one_name_and_no_other_name_is_a_bin() {
        let bins = Bins::new("bin", 5).unwrap();
        let names: Vec<String> = bins.names().collect();
        assert_eq!((names.len(), names[0].as_str(), names[31].as_str()), (32, "bin-00", "bin-1f"));
        assert!((0..).zip(&names).all(|(number, name)| bins.number_of(name) == Some(number)));
        assert!(["a", "b", "c"].iter().all(|path| names.contains(&bins.name_for(path))));
        for name in ["bin-20", "bin-1", "bin-001", "bin-1F", "bin-+1", "bin-", "bin", "other-01", "bin--1"] {
            assert_eq!(bins.number_of(name), None, "{name}");
        }
        assert_eq!((Bins::new("bin", 0), Bins::new("bin", 33), Bins::new("", 5)), (None, None, None));
    }
}
