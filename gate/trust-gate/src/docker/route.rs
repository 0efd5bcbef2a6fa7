//! From a request's method and raw URI to what it does, as far as images are concerned.
//!
//! The engine matches the decoded path, with or without a version before it, and takes the first of two equal query keys. Here
//! a path is decoded once, too, and whatever could be read in two ways is refused. Invariants: requests that only read or only
//! remove pass without a further look; of all others only those pass that stand in a list of what is known to bring in no
//! image and to start none. A request that an engine of tomorrow knows and this list does not is refused. Deliberately absent:
//! the bodies.

use std::collections::BTreeMap;

/// The longest URI that is read, in bytes.
const MAX_URI: usize = 8 * 1024;
/// Values of one query.
const MAX_VALUES: usize = 32;

/// What a request does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// Nothing by which an image comes or runs.
    Harmless,
    /// `POST /images/create`: a pull, or an import.
    Pull(Pull),
    /// `POST /containers/create`.
    Create,
    /// A container begins to run: its name or ID.
    Start(String),
    /// A service is made or changed.
    Service,
    /// A service goes back to what it was, whatever the body says.
    Rollback,
    /// `POST /images/load`, or an import: what comes is not shown.
    Unseen,
    /// What passes only if the configuration says so.
    Switched(Switch),
}

/// What the configuration may let pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Switch {
    Builds,
    Plugins,
    Swarm,
}

/// What is to be pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pull {
    /// `NAME@DIGEST` or `NAME:TAG`.
    One(String),
    /// All tags of the name.
    All(String),
}

/// Why a request is refused before anything is asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RouteError {
    /// Not in the list.
    #[error("this gate does not know {0}, and passes nothing that it does not know")]
    Unknown(String),
    /// Read by different programs as different things.
    #[error("the request's address cannot be read in one way alone: {0}")]
    Ambiguous(&'static str),
    /// The values of a pull.
    #[error("the pull does not name one image: {0}")]
    NoImage(&'static str),
}

/// POST requests by their whole path.
const PLAIN: &[&str] = &[
    "/auth",
    "/build/cancel",
    "/build/prune",
    "/commit",
    "/configs/create",
    "/containers/prune",
    "/images/prune",
    "/networks/create",
    "/networks/prune",
    "/secrets/create",
    "/swarm/leave",
    "/swarm/unlock",
    "/swarm/update",
    "/volumes/create",
    "/volumes/prune",
];

/// POST requests on one thing: what stands before its name, and after it.
const ON_ONE: &[(&str, &[&str])] = &[
    (
        "/containers/",
        &[
            "/attach",
            "/checkpoints",
            "/copy",
            "/exec",
            "/kill",
            "/pause",
            "/rename",
            "/resize",
            "/stop",
            "/unpause",
            "/update",
            "/wait",
        ],
    ),
    ("/exec/", &["/resize", "/start"]),
    ("/images/", &["/push", "/tag"]),
    ("/networks/", &["/connect", "/disconnect"]),
    ("/nodes/", &["/update"]),
    ("/secrets/", &["/update"]),
    ("/configs/", &["/update"]),
    ("/plugins/", &["/disable", "/enable", "/push", "/set"]),
];

/// Reads a request.
pub(super) fn read(method: &str, uri: &str) -> Result<Route, RouteError> {
    match method {
        // They read or remove. What they would read is not looked at, so that a question about what runs never waits.
        "GET" | "HEAD" | "DELETE" => return Ok(Route::Harmless),
        "POST" | "PUT" => {}
        _ => return Err(unknown(method, "requests")),
    }
    let (raw, query) = uri.split_once('?').unwrap_or((uri, ""));
    let path = path(raw, uri)?;
    let path = without_version(&path);
    if method == "PUT" {
        let is_known = on_one(path, "/containers/", "/archive").is_some() || path.strip_prefix("/volumes/").is_some();
        return if is_known { Ok(Route::Harmless) } else { Err(unknown(method, path)) };
    }
    match path {
        "/images/create" => return pull(&values(query)?),
        "/containers/create" => return Ok(Route::Create),
        "/images/load" => return Ok(Route::Unseen),
        "/services/create" => return Ok(Route::Service),
        "/build" | "/session" | "/grpc" => return Ok(Route::Switched(Switch::Builds)),
        "/plugins/pull" | "/plugins/create" => return Ok(Route::Switched(Switch::Plugins)),
        "/swarm/init" | "/swarm/join" => return Ok(Route::Switched(Switch::Swarm)),
        path if PLAIN.contains(&path) => return Ok(Route::Harmless),
        _ => {}
    }
    if let Some(name) = ["/start", "/restart"].iter().find_map(|verb| on_one(path, "/containers/", verb)) {
        return container(name).map(Route::Start);
    }
    if on_one(path, "/services/", "/update").is_some() {
        let is_back = values(query)?.get("rollback").is_some_and(|value| !value.is_empty());
        return Ok(if is_back { Route::Rollback } else { Route::Service });
    }
    if on_one(path, "/plugins/", "/upgrade").is_some() {
        return Ok(Route::Switched(Switch::Plugins));
    }
    let is_known = |(before, verbs): &(&str, &[&str])| verbs.iter().any(|verb| on_one(path, before, verb).is_some());
    if ON_ONE.iter().any(is_known) { Ok(Route::Harmless) } else { Err(unknown(method, path)) }
}

fn unknown(method: &str, path: &str) -> RouteError {
    RouteError::Unknown(format!("{method} {path}").chars().take(200).collect())
}

/// The name between two texts.
fn on_one<'p>(path: &'p str, before: &str, after: &str) -> Option<&'p str> {
    path.strip_prefix(before)?.strip_suffix(after).filter(|name| !name.is_empty())
}

/// A container's name or ID, as engines take them.
fn container(name: &str) -> Result<String, RouteError> {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    let fits = name.len() <= 255 && name.bytes().all(is_word);
    if fits { Ok(name.to_owned()) } else { Err(RouteError::Ambiguous("the container's name")) }
}

/// The decoded path.
fn path(raw: &str, uri: &str) -> Result<String, RouteError> {
    if uri.len() > MAX_URI {
        return Err(RouteError::Ambiguous("it is too long"));
    }
    if !uri.bytes().all(|b| b.is_ascii_graphic()) || uri.contains(['#', '\\']) {
        return Err(RouteError::Ambiguous("a character that stands in no address"));
    }
    // An address with a host before the path works too; clients of the engine do not send one.
    if !raw.starts_with('/') {
        return Err(RouteError::Ambiguous("it does not begin with /"));
    }
    let path = decode(raw, false).ok_or(RouteError::Ambiguous("its percent signs"))?;
    if !path.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(RouteError::Ambiguous("a character that stands in no path"));
    }
    if path.contains("//") || path.split('/').any(|part| part == "." || part == "..") {
        return Err(RouteError::Ambiguous("an empty part, or one of dots"));
    }
    Ok(path)
}

/// Without `/v1.41`.
fn without_version(path: &str) -> &str {
    let Some(rest) = path.strip_prefix("/v") else { return path };
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    if rest.starts_with('/') && path.len() > rest.len() + 2 { rest } else { path }
}

/// The values of a query, each name once.
fn values(query: &str) -> Result<BTreeMap<String, String>, RouteError> {
    let mut values = BTreeMap::new();
    if query.contains(';') {
        return Err(RouteError::Ambiguous("a semicolon in its query"));
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(name), Some(value)) = (decode(name, true), decode(value, true)) else {
            return Err(RouteError::Ambiguous("the percent signs of its query"));
        };
        if values.insert(name, value).is_some() {
            return Err(RouteError::Ambiguous("a value of its query stands there twice"));
        }
        if values.len() > MAX_VALUES {
            return Err(RouteError::Ambiguous("its query is too long"));
        }
    }
    Ok(values)
}

/// Percent signs decoded once. `None`: they are wrong, or what comes out is not UTF-8.
fn decode(text: &str, is_query: bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'%' => {
                let digit = |b: Option<u8>| char::from(b?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high << 4 | low).ok()?
            }
            b'+' if is_query => b' ',
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

/// What `POST /images/create` is to bring: as engines put `fromImage` and `tag` together.
fn pull(values: &BTreeMap<String, String>) -> Result<Route, RouteError> {
    let value = |name: &str| values.get(name).map_or("", String::as_str);
    let (image, tag) = (value("fromImage"), value("tag"));
    if !value("fromSrc").is_empty() {
        return Ok(Route::Unseen);
    }
    if image.is_empty() {
        return Err(RouteError::NoImage("fromImage is missing"));
    }
    let is_digest = tag.contains(':');
    let is_pinned = image.contains('@');
    let name = image.split('@').next().unwrap_or(image);
    let is_tagged = name.rsplit('/').next().unwrap_or(name).contains(':');
    let image = match (tag.is_empty(), is_pinned || is_tagged) {
        (true, true) if is_pinned && is_tagged => {
            return Err(RouteError::NoImage("it has a tag and a digest; give the digest alone"));
        }
        (true, true) => image.to_owned(),
        (true, false) => return Ok(Route::Pull(Pull::All(image.to_owned()))),
        (false, true) => return Err(RouteError::NoImage("it has two tags, or a tag and a digest; give one of them")),
        (false, false) => format!("{image}{}{tag}", if is_digest { '@' } else { ':' }),
    };
    Ok(Route::Pull(Pull::One(image)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn one(image: &str) -> Result<Route, RouteError> {
        Ok(Route::Pull(Pull::One(image.to_owned())))
    }

    #[test]
    fn each_request_of_the_table_is_what_it_does() {
        for (method, path, wanted) in [
            ("GET", "/images/x/json", Route::Harmless),
            ("HEAD", "/_ping", Route::Harmless),
            ("DELETE", "/images/x", Route::Harmless),
            ("PUT", "/containers/c/archive?path=/", Route::Harmless),
            ("PUT", "/volumes/v?version=3", Route::Harmless),
            ("POST", "/auth", Route::Harmless),
            ("POST", "/containers/create?name=web", Route::Create),
            ("POST", "/containers/web/start", Route::Start("web".into())),
            ("POST", "/containers/web/restart?t=1", Route::Start("web".into())),
            ("POST", "/containers/web/exec", Route::Harmless),
            ("POST", "/exec/e/start", Route::Harmless),
            ("POST", "/images/load?quiet=1", Route::Unseen),
            ("POST", "/images/create?fromSrc=-&repo=x&tag=y", Route::Unseen),
            ("POST", "/images/create?fromImage=&fromSrc=http%3A%2F%2Fevil", Route::Unseen),
            ("POST", "/images/r.io/team/app/tag?repo=x&tag=y", Route::Harmless),
            ("POST", "/images/r.io/team/app/push?tag=y", Route::Harmless),
            ("POST", "/commit?container=c&repo=x", Route::Harmless),
            ("POST", "/build?t=x", Route::Switched(Switch::Builds)),
            ("POST", "/session", Route::Switched(Switch::Builds)),
            ("POST", "/grpc", Route::Switched(Switch::Builds)),
            ("POST", "/services/create", Route::Service),
            ("POST", "/services/s/update?version=3", Route::Service),
            ("POST", "/services/s/update?version=3&rollback=", Route::Service),
            ("POST", "/services/s/update?version=3&rollback=previous", Route::Rollback),
            ("POST", "/plugins/pull?remote=x", Route::Switched(Switch::Plugins)),
            ("POST", "/plugins/create?name=x", Route::Switched(Switch::Plugins)),
            ("POST", "/plugins/a/b/upgrade?remote=x", Route::Switched(Switch::Plugins)),
            ("POST", "/plugins/a/enable", Route::Harmless),
            ("POST", "/swarm/init", Route::Switched(Switch::Swarm)),
            ("POST", "/swarm/join", Route::Switched(Switch::Swarm)),
            ("POST", "/swarm/leave", Route::Harmless),
        ] {
            for prefix in ["", "/v1.24", "/v1.51"] {
                let uri = format!("{prefix}{path}");
                assert_eq!(read(method, &uri), Ok(wanted.clone()), "{method} {uri}");
            }
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (method, uri) in [
            ("POST", "/v1.41/images/bring"),
            ("POST", "/v1.41/Containers/create"),
            ("POST", "/v1.41/containers/create/"),
            ("POST", "/v1.41/v1.41/auth"),
            ("POST", "/vx/auth"),
            ("POST", "/v/auth"),
            ("POST", "/v1.41auth"),
            ("POST", "/moby.buildkit.v1.Control/Solve"),
            ("POST", "/"),
            ("PUT", "/images/x"),
            ("post", "/auth"),
            ("PATCH", "/auth"),
            ("OPTIONS", "/auth"),
            ("CONNECT", "/auth"),
        ] {
            assert!(matches!(read(method, uri), Err(RouteError::Unknown(_))), "{method} {uri}");
        }
    }

    #[test]
    fn a_path_is_decoded_once_and_only_read_if_nobody_reads_it_otherwise() {
        assert_eq!(read("POST", "/v1.41/containers%2Fcr%65ate"), Ok(Route::Create));
        assert_eq!(read("POST", "/%76%31.41/images/l%6fad"), Ok(Route::Unseen));
        for uri in [
            "http://d/v1.41/auth",
            "*",
            "auth",
            "//auth",
            "/v1.41//auth",
            "/containers/../auth",
            "/containers/%2e%2E/auth",
            "/./auth",
            "/auth%",
            "/auth%0",
            "/auth%zz",
            "/auth%00",
            "/auth%0a",
            "/auth%20",
            "/auth#",
            "/auth\\",
            "/auth\u{e9}",
            "/auth x",
            "/containers/a%c3%a9/start",
            "/containers/a%2Fb/start",
            "/services/s/update?rollback=&rollback=previous",
            "/services/s/update?version=1;rollback=previous",
            "/services/s/update?rollback=%ff",
        ] {
            assert!(matches!(read("POST", uri), Err(RouteError::Ambiguous(_))), "{uri}: {:?}", read("POST", uri));
        }
        // Decoded once, not twice: this is another path.
        assert!(matches!(read("POST", "/v1.41/containers/%2563reate"), Err(RouteError::Unknown(_))));
    }

    #[test]
    fn a_pull_names_what_the_engine_will_pull() {
        let create = |query: &str| read("POST", &format!("/v1.41/images/create?{query}"));
        assert_eq!(create("fromImage=r.io%2Fteam%2Fapp&tag=v1"), one("r.io/team/app:v1"));
        assert_eq!(create("tag=v1&fromImage=r.io:5000/team/app"), one("r.io:5000/team/app:v1"));
        assert_eq!(create("fromImage=app:v1"), one("app:v1"));
        assert_eq!(create("fromImage=app:v1&tag="), one("app:v1"));
        assert_eq!(create(&format!("fromImage=app&tag={DIGEST}")), one(&format!("app@{DIGEST}")));
        assert_eq!(create(&format!("fromImage=app%40{DIGEST}")), one(&format!("app@{DIGEST}")));
        assert_eq!(create("%66romImage=app&tag=v%31&platform=linux%2Famd64"), one("app:v1"));
        assert_eq!(create("fromImage=app"), Ok(Route::Pull(Pull::All("app".into()))));
        assert_eq!(create("fromImage=r.io:5000/app&tag="), Ok(Route::Pull(Pull::All("r.io:5000/app".into()))));
        // A name in other case is another name to the engine.
        assert_eq!(create("FromImage=app&tag=v1"), Err(RouteError::NoImage("fromImage is missing")));
        for query in [
            "".to_owned(),
            "tag=v1".to_owned(),
            "fromImage=app:v1&tag=v2".to_owned(),
            format!("fromImage=app:v1&tag={DIGEST}"),
            format!("fromImage=app@{DIGEST}&tag=v1"),
            format!("fromImage=app:v1@{DIGEST}"),
            "fromImage=good&fromImage=evil&tag=v1".to_owned(),
            "fromImage=good&%66romImage=evil&tag=v1".to_owned(),
            "fromImage=good&tag=v1;fromImage=evil".to_owned(),
            "fromImage=good&tag=%".to_owned(),
        ] {
            assert!(create(&query).is_err(), "{query}: {:?}", create(&query));
        }
    }
}
