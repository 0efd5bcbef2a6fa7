//! How the server and registries are reached, from the settings. Nothing is opened before it is needed.

use trust_reader::api::ApiClient;
use trust_reader::http::{HttpOptions, HttpTransport, Token};
use trust_reader::registry::{AuthSources, RegistryClient, RegistryOptions};
use trust_reader::sources::Sources;
use trust_reader::tls::TlsOptions;
use trust_reader::transport::Transport;
use trust_reader::verdict::Problem;

use crate::app::App;
use crate::fault;
use crate::settings::{Origin, Pin};

/// The server of a collection: what was typed, else what stands beside the pin, else the context's.
pub fn address(app: &App, pin: Option<&Pin>) -> Result<String, Problem> {
    let typed = app.settings.server.as_ref().filter(|s| matches!(s.origin, Origin::Flag(_) | Origin::Variable(_)));
    match (typed, pin.and_then(|pin| pin.server.clone())) {
        (Some(server), _) => Ok(server.value.clone()),
        (None, Some(server)) => Ok(server),
        (None, None) => app.server(),
    }
}

/// The mirrors of that server: what was typed, else what stands beside the server that is used.
pub fn mirrors(app: &App, pin: Option<&Pin>) -> Vec<String> {
    let is_typed = |origin: &Origin| matches!(origin, Origin::Flag(_) | Origin::Variable(_));
    let (typed, server) = (app.settings.mirrors.as_ref(), app.settings.server.as_ref());
    match (typed, pin.filter(|pin| pin.server.is_some())) {
        (Some(mirrors), _) if is_typed(&mirrors.origin) => mirrors.value.clone(),
        // A server that was typed is another one than that of the context or the pin: theirs may not even have the collection.
        _ if server.is_some_and(|server| is_typed(&server.origin)) => Vec::new(),
        (_, Some(pin)) => pin.mirrors.clone(),
        (of_context, None) => of_context.map(|mirrors| mirrors.value.clone()).unwrap_or_default(),
    }
}

/// A server with its mirrors. A mirror is only ever read from, and never gets the token.
pub fn with_mirrors(app: &App, server: HttpTransport, mirrors: &[String]) -> Result<Sources<HttpTransport>, Problem> {
    let mirrors = mirrors.iter().filter(|mirror| mirror.trim_end_matches('/') != server.describe());
    let mirrors: Vec<HttpTransport> = mirrors.map(|mirror| anonymous(app, mirror)).collect::<Result<_, _>>()?;
    Ok(Sources::new(server, mirrors))
}

/// Whether the token may be sent there. It is the token of the server that was typed or that the context names. A server
/// that only a pin names is other people's: it must not fetch our token by asking for one.
pub fn may_have_token(app: &App, address: &str) -> bool {
    let bare = |address: &str| address.trim_end_matches('/').to_owned();
    app.settings.server.as_ref().is_none_or(|own| bare(&own.value) == bare(address))
}

fn options(app: &App, address: &str, token: Option<Token>) -> HttpOptions {
    let host = address.split_once("://").map_or(address, |(_, rest)| rest).split('/').next().unwrap_or_default();
    HttpOptions {
        tls: TlsOptions { ca_files: app.settings.ca.iter().map(|ca| ca.value.clone()).collect() },
        token,
        allow_plain_http: app.settings.plain_http.contains(host),
        whole: app.settings.timeout.value,
        ..HttpOptions::default()
    }
}

/// For reading, without a token.
pub fn anonymous(app: &App, address: &str) -> Result<HttpTransport, Problem> {
    ApiClient::new(address, options(app, address, None)).map(|client| client.transport().clone())
}

/// For everything that needs a token. Without one that is for this server, the server says so.
pub fn api(app: &App, address: &str) -> Result<ApiClient, Problem> {
    let token = match app.token()?.filter(|_| may_have_token(app, address)) {
        Some(text) => Some(Token::new(&text).ok_or_else(|| fault::token("it cannot be sent"))?),
        None => None,
    };
    ApiClient::new(address, options(app, address, token))
}

/// A client of registries, with the logins of Docker and Podman.
pub fn registry(app: &App) -> Result<RegistryClient, Problem> {
    let options = RegistryOptions {
        tls: TlsOptions { ca_files: app.settings.registry_ca.iter().map(|ca| ca.value.clone()).collect() },
        plain_http_hosts: app.settings.plain_http.clone(),
        timeout: app.settings.timeout.value,
        auth: AuthSources::from_variables(|name| app.environment.raw(name)),
        ..RegistryOptions::default()
    };
    RegistryClient::new(options).map_err(|error| Problem::from(&error))
}
