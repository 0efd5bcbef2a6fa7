//! Names: role types, delegated roles, versions, collections, target paths.

use std::fmt;
use std::num::NonZeroU64;

use crate::limits;

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Longer than its limit.
    #[error("{what} is longer than {limit} bytes")]
    TooLong {
        /// What kind of name it is.
        what: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// Does not follow the grammar.
    #[error("{what} `{name}` is not well formed: {rule}")]
    Grammar {
        /// What kind of name it is.
        what: &'static str,
        /// The name, escaped for printing.
        name: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// Reserved for a top-level role.
    #[error("a delegated role cannot be called `{0}`: the name belongs to a top-level role")]
    TopLevel(String),
}

fn grammar(what: &'static str, name: &str, rule: &'static str) -> NameError {
    NameError::Grammar { what, name: name.chars().take(200).flat_map(char::escape_default).collect(), rule }
}

/// The four top-level role types of TUF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleType {
    /// Says which keys speak for the four top-level roles.
    Root,
    /// Names the current snapshot; lives shortest.
    Timestamp,
    /// Names the current version of every targets file.
    Snapshot,
    /// Names targets, or delegates to roles that do.
    Targets,
}

impl RoleType {
    /// All four, in the order in which a client loads them.
    pub const ALL: [Self; 4] = [Self::Root, Self::Timestamp, Self::Snapshot, Self::Targets];

    /// The value of `_type`, and the file name without `.json`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Timestamp => "timestamp",
            Self::Snapshot => "snapshot",
            Self::Targets => "targets",
        }
    }

    /// The role type with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.as_str() == name)
    }
}

impl fmt::Display for RoleType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A metadata version, 1 to 2^63−1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(NonZeroU64);

impl Version {
    /// The first version.
    pub const ONE: Self = Self(NonZeroU64::MIN);

    /// `None` for 0 and beyond 2^63−1.
    pub fn new(value: u64) -> Option<Self> {
        NonZeroU64::new(value).filter(|v| v.get() <= limits::VERSION).map(Self)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// The next version, if there is one.
    pub fn next(self) -> Option<Self> {
        self.get().checked_add(1).and_then(Self::new)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

/// The name of a targets role in a repository of ours: `targets`, or a delegated role.
///
/// Grammar: `[a-z0-9_][a-z0-9._-]{0,127}`, and none of the other top-level names. Roles of foreign repositories may have
/// any name; they are read as plain strings.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleName(String);

impl RoleName {
    /// The top-level targets role.
    pub fn targets() -> Self {
        Self("targets".to_owned())
    }

    /// Reads a name of a repository of ours.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        const WHAT: &str = "role name";
        if name.len() > limits::ROLE_NAME_BYTES {
            return Err(NameError::TooLong { what: WHAT, limit: limits::ROLE_NAME_BYTES });
        }
        let first_fits = name.bytes().next().is_some_and(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        let rest_fits = name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'));
        if !first_fits || !rest_fits {
            return Err(grammar(WHAT, name, "lower-case letters, digits, `.`, `_`, `-`; first a letter, digit or `_`"));
        }
        if matches!(name, "root" | "timestamp" | "snapshot") {
            return Err(NameError::TopLevel(name.to_owned()));
        }
        // `7.root` would collide with a versioned root file on disk and in URLs.
        if name.rsplit('.').next().is_some_and(|last| RoleType::from_name(last).is_some()) && name.contains('.') {
            return Err(NameError::TopLevel(name.to_owned()));
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the top-level targets role.
    pub fn is_targets(&self) -> bool {
        self.0 == "targets"
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a collection: a prefix of image names, `HOST[:PORT]/PATH`, or a host alone is refused.
///
/// Lower case; path components are those of image names (`[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`), so that no component
/// begins with `_` and none is `.` or `..`. At most 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CollectionName(String);

impl CollectionName {
    /// Reads a name.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        const WHAT: &str = "collection name";
        if name.len() > limits::COLLECTION_NAME_BYTES {
            return Err(NameError::TooLong { what: WHAT, limit: limits::COLLECTION_NAME_BYTES });
        }
        let Some((host, path)) = name.split_once('/') else {
            return Err(grammar(WHAT, name, "HOST[:PORT]/PATH"));
        };
        if !is_host(host) {
            return Err(grammar(
                WHAT,
                name,
                "the part before the first `/` is a host in lower case, with an optional port",
            ));
        }
        if !path.split('/').all(is_path_component) {
            return Err(grammar(
                WHAT,
                name,
                "path components are lower-case letters and digits, joined by `.`, `_`, `__` or `-`",
            ));
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether one of the two names is a whole-component prefix of the other (or they are equal).
    pub fn overlaps(&self, other: &Self) -> bool {
        fn below(upper: &str, lower: &str) -> bool {
            lower.strip_prefix(upper).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        below(&self.0, &other.0) || below(&other.0, &self.0)
    }
}

impl fmt::Display for CollectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, after)) => {
                let address_fits =
                    address.contains(':') && address.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b':'));
                if !address_fits {
                    return false;
                }
                match after.strip_prefix(':') {
                    Some(port) => return is_port(port),
                    None => return after.is_empty(),
                }
            }
            None => return false,
        },
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    let label_fits = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.split('.').all(label_fits) && port.is_none_or(is_port)
}

fn is_port(port: &str) -> bool {
    (1..=5).contains(&port.len())
        && port.bytes().all(|b| b.is_ascii_digit())
        && !port.starts_with('0')
        && port.parse::<u16>().is_ok()
}

fn is_path_component(component: &str) -> bool {
    let mut run_start = None; // where the separators since the last letter or digit begin
    let mut seen_any = false;
    for (i, b) in component.bytes().enumerate() {
        match b {
            b'a'..=b'z' | b'0'..=b'9' => {
                if let Some(start) = run_start.take() {
                    let run = component.get(start..i).unwrap_or("");
                    let run_fits = matches!(run, "." | "_" | "__") || run.bytes().all(|c| c == b'-');
                    if !run_fits {
                        return false;
                    }
                }
                seen_any = true;
            }
            b'.' | b'_' | b'-' if seen_any => {
                run_start.get_or_insert(i);
            }
            _ => return false,
        }
    }
    seen_any && run_start.is_none()
}

/// Whether a target path is one that clients and servers of ours accept: at most 1,024 bytes, no empty, `.` or `..`
/// component, no leading `/`, no backslash, no control character.
pub fn is_target_path(path: &str) -> bool {
    !path.is_empty()
        && path.len() <= limits::TARGET_PATH_BYTES
        && !path.chars().any(|c| c == '\\' || c.is_control())
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// Percent-encodes a role name byte-wise outside `A–Z a–z 0–9 - _ . ~`, for URLs and file names.
pub fn percent_encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for b in name.bytes() {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(b)),
            _ => {
                out.push('%');
                out.push_str(&hex::encode_upper([b]));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_names_follow_the_grammar() {
        for name in ["targets", "alice", "_policy", "ci-2", "a.b", "0"] {
            assert!(RoleName::parse(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "root",
            "timestamp",
            "snapshot",
            "../root",
            "1.root",
            "a/b",
            "A",
            "a b",
            ".a",
            "-a",
            "a\0",
            "é",
            "x.targets",
        ] {
            assert!(RoleName::parse(name).is_err(), "{name}");
        }
        assert!(RoleName::parse(&"a".repeat(129)).is_err());
    }

    #[test]
    fn collection_names_follow_the_image_grammar() {
        for name in [
            "registry.example.com/pay",
            "registry.example.com/pay/api",
            "127.0.0.1:5000/demo",
            "localhost/a__b",
            "[::1]:5000/a",
            "r/a---b",
        ] {
            assert!(CollectionName::parse(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "pay",
            "registry.example.com",
            "registry.example.com/",
            "Registry.example.com/pay",
            "r/../a",
            "r/a//b",
            "r/_a",
            "r/a_",
            "r/a___b",
            "r/a..b",
            "r/A",
            "r:0/a",
            "r:99999/a",
            "r:/a",
            "-r/a",
            "r/a%2fb",
            "r/a\n",
            "user@r/a",
            "http://r/a",
            "r/.a",
        ] {
            assert!(CollectionName::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn overlap_is_by_whole_components() {
        let name = |s| CollectionName::parse(s).unwrap();
        assert!(name("r/pay").overlaps(&name("r/pay/api")));
        assert!(name("r/pay/api").overlaps(&name("r/pay")));
        assert!(!name("r/pay").overlaps(&name("r/payroll")));
    }

    #[test]
    fn target_paths_cannot_leave_their_folder() {
        for path in ["v1", "api/v1", "_policy/main.cedar", "api/@sha256-00", "a b", "é"] {
            assert!(is_target_path(path), "{path}");
        }
        for path in ["", "/a", "a//b", "../a", "a/../../b", "a/.", "a\\b", "a\0", "a\n", "a/"] {
            assert!(!is_target_path(path), "{path}");
        }
        assert!(!is_target_path(&"a".repeat(1_025)));
    }

    #[test]
    fn role_names_are_encoded_as_the_conformance_suite_wants() {
        for (name, encoded) in
            [("?", "%3F"), ("#", "%23"), ("/x", "%2Fx"), ("../x", "..%2Fx"), ("a b", "a%20b"), ("é", "%C3%A9")]
        {
            assert_eq!(percent_encode(name), encoded);
        }
    }
}
