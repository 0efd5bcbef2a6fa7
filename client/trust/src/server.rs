//! How the server and registries are reached, from the settings. Nothing is opened before it is needed.

use trust_reader::api::ApiClient;
use trust_reader::http::{HttpOptions, HttpTransport, Token};
use trust_reader::registry::{AuthSources, RegistryClient, RegistryOptions};
use trust_reader::tls::TlsOptions;
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
