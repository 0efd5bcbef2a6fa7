//! One door, from its configuration until it is told to stop; SIGHUP reads the configuration again.
//!
//! A generation is what one reading of the file makes: decider, rules and routes. Invariants: a request is answered by one
//! generation from its begin to its end; a file that is bad in any way leaves the generation before in force, and says why;
//! what was trusted before is what the next generation starts from, since both read the same state folder. Deliberately
//! absent: another address, state folder or certificate path without a restart.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::Request;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tower::Service;
use trust_decide::{Decider, Hold, SystemClock};
use trust_listen::Certificate;
use trust_tuf::UtcTime;
use trust_tuf::trusted::RootStage;

use crate::cli::{Failure, LogFormat, Serve};
use crate::config::{Config, MetricsConfig};
use crate::local::LocalSocket;
use crate::metrics::{self, Reloads};
use crate::start;

/// How often the certificate's files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// How long the end of a process waits for the disk of its log.
const SETTLE: Duration = Duration::from_secs(5);

/// How long the reading of a configuration after SIGHUP may take, with the first questions to its servers.
const READING: Duration = Duration::from_secs(60);

/// A door: where it is, and what each configuration makes of it.
pub(crate) trait Door: Send + Sync + 'static {
    /// Its name, in lock files and metrics.
    const NAME: &'static str;

    /// Where it is. An error says what of its section cannot be used.
    fn place(config: &Config) -> Result<Place, Failure>;

    /// Where it tells its metrics, if it does.
    fn metrics(config: &MetricsConfig) -> Option<SocketAddr>;

    /// What serves there.
    fn make(config: &Config, decider: Arc<Decider>) -> Result<Made, Failure>;
}

/// Where a door is, for as long as the process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// An address, with certificate and key or by plain HTTP.
    Tcp {
        /// Address and port; port 0 takes a free one.
        listen: SocketAddr,
        /// Certificate chain and key, PEM.
        tls: Option<(PathBuf, PathBuf)>,
    },
    /// A Unix socket.
    Local(PathBuf),
}

/// What serves.
pub(crate) struct Made {
    /// Its routes.
    pub(crate) router: Router,
    /// Said when the process is about to end: it is not ready any more, and serves on for that long.
    pub(crate) leave: Option<(Box<dyn Fn() + Send + Sync>, Duration)>,
}

impl From<Router> for Made {
    fn from(router: Router) -> Self {
        Self { router, leave: None }
    }
}

/// What one reading of the configuration made.
struct Generation {
    config: Config,
    decider: Arc<Decider>,
    made: Made,
    refresh: AbortHandle,
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.refresh.abort();
    }
}

impl Generation {
    /// `ended` hears of a refresh that ends by itself: without it nothing would be followed any more.
    async fn make<D: Door>(
        config: Config,
        before: Option<&Decider>,
        ended: &mpsc::UnboundedSender<()>,
    ) -> Result<Self, Failure> {
        let (settings, clock) = (start::settings(&config), Arc::new(SystemClock::new()));
        let decider = match before {
            Some(before) => Decider::start_after(before, settings, clock).await?,
            None => Decider::start(settings, clock).await?,
        };
        let made = D::make(&config, Arc::clone(&decider))?;
        let (of, ended) = (Arc::clone(&decider), ended.clone());
        let refresh = tokio::spawn(async move { of.run(std::future::pending::<()>()).await });
        let abort = refresh.abort_handle();
        tokio::spawn(async move {
            if !refresh.await.is_err_and(|error| error.is_cancelled()) {
                let _ = ended.send(());
            }
        });
        Ok(Self { config, decider, made, refresh: abort })
    }
}

/// A door that has found everything that a start needs.
struct Found {
    config: Config,
    place: Place,
}

impl Found {
    /// Finds what a start would find, without asking anybody and without making anything.
    fn look<D: Door>(path: &Path) -> Result<Self, Failure> {
        let config = Config::read(path)?;
        let place = D::place(&config)?;
        if let Place::Tcp { tls: Some((certificate, key)), .. } = &place {
            Certificate::load(certificate, key)?;
        }
        for collection in &config.collections {
            // Its own signatures, whatever its expiry: a newer root may follow.
            RootStage::pinned(collection.root.clone(), UtcTime::EPOCH).map_err(|error| {
                let path = collection.root_file.display();
                Failure::Configuration(format!("{path} is no root file of {}: {error}", collection.name))
            })?;
        }
        Decider::check(&start::settings(&config))?;
        Ok(Self { config, place })
    }

    /// Whether a running process can go on with it.
    fn follows(&self, before: &Config, place: &Place) -> Result<(), Failure> {
        let fixed = |what: &str| {
            Err(Failure::Configuration(format!(
                "{what} is another one: that takes a restart, and nothing is changed now"
            )))
        };
        match (&self.place, place) {
            (Place::Tcp { listen, .. }, Place::Tcp { listen: before, .. }) if listen != before => {
                return fixed("`listen` of the door");
            }
            (new, before) if new == before => {}
            (Place::Tcp { .. }, Place::Tcp { .. }) => return fixed("the path of `certificate` or `key`"),
            _ => return fixed("`socket` of the door"),
        }
        if self.config.state != before.state {
            return fixed("`state`");
        }
        if self.config.metrics != before.metrics {
            return fixed("[metrics]");
        }
        Ok(())
    }
}

/// Runs a door, or only looks whether it could run.
pub(crate) async fn run<D: Door>(serve: Serve, log: LogFormat) -> Result<(), Failure> {
    let hangups = signal(SignalKind::hangup()).map_err(Failure::local)?;
    let found = Found::look::<D>(&serve.config)?;
    if serve.check_config {
        return match io::stdout().write_all(b"the configuration is good\n") {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Failure::local(e)),
            _ => Ok(()),
        };
    }
    let _hold = Hold::take(&found.config.state, D::NAME)?;
    let bound = Bound::at(&found.place).await?;
    let page = match D::metrics(&found.config.metrics) {
        Some(address) => Some(tcp(address).await?),
        None => None,
    };
    let (ended, mut has_ended) = mpsc::unbounded_channel();
    let current = Generation::make::<D>(found.config, None, &ended).await?;
    let current = Arc::new(ArcSwap::from_pointee(current));
    bound.tell(log, serve.ready_file.as_deref())?;
    let (tell, told) = watch::channel(false);
    tokio::spawn(async move {
        stopped().await;
        let _ = tell.send(true);
    });
    let reloads = Arc::new(Reloads::default());
    let page = page.map(|listener| {
        let (of, end) = (Arc::clone(&current), told_to_stop(told.clone()));
        let expires = bound.certificate.clone();
        let expires = move || expires.as_ref().and_then(|certificate| seconds(certificate.expires()?));
        let router = metrics::router(D::NAME, move || Arc::clone(&of.load().decider), expires, Arc::clone(&reloads));
        tokio::spawn(trust_listen::serve(listener, None, router, end))
    });
    let reload = reload::<D>(hangups, serve.config, found.place, Arc::clone(&current), ended, Arc::clone(&reloads));
    // A task of its own: nothing that the reading of files waits for holds up the door.
    let reload = tokio::spawn(reload);
    let served = tokio::select! {
        served = bound.serve(&current, told_to_stop(told)) => served,
        _ = reload => Err(Failure::Other("signals cannot be heard any more")),
        // It never ends by itself.
        _ = has_ended.recv() => Err(Failure::Other("the background refresh has ended")),
    };
    page.iter().for_each(tokio::task::JoinHandle::abort);
    let decider = Arc::clone(&current.load().decider);
    decider.settle(SETTLE).await;
    served
}

/// Reads the configuration again at each SIGHUP.
async fn reload<D: Door>(
    mut hangups: Signal,
    path: PathBuf,
    place: Place,
    current: Arc<ArcSwap<Generation>>,
    ended: mpsc::UnboundedSender<()>,
    reloads: Arc<Reloads>,
) {
    while hangups.recv().await.is_some() {
        let (from, at, before, ended) = (path.clone(), place.clone(), current.load_full(), ended.clone());
        let runtime = tokio::runtime::Handle::current();
        // Files may hang (a mount, a FIFO that a certificate's path names): on a thread that may wait, and not for ever.
        let next = tokio::task::spawn_blocking(move || {
            let found = Found::look::<D>(&from)?;
            found.follows(&before.config, &at)?;
            runtime.block_on(Generation::make::<D>(found.config, Some(&before.decider), &ended))
        });
        let next = match tokio::time::timeout(READING, next).await {
            Ok(Ok(next)) => next,
            Ok(Err(_)) => Err(Failure::Other("the reading broke off")),
            Err(_) => Err(Failure::Other("a file that it names does not answer")),
        };
        match next {
            Ok(generation) => {
                current.store(Arc::new(generation));
                reloads.count(true);
                tracing::info!(path = %path.display(), "the configuration was read again and is in force");
            }
            Err(failure) => {
                reloads.count(false);
                tracing::error!(path = %path.display(), "the configuration is bad, the one before goes on: {failure}");
            }
        }
    }
}

/// A socket that is bound, with what is fixed on it.
struct Bound {
    socket: Socket,
    certificate: Option<Arc<Certificate>>,
}

enum Socket {
    Tcp(TcpListener),
    Local(LocalSocket),
}

impl Bound {
    async fn at(place: &Place) -> Result<Self, Failure> {
        match place {
            Place::Tcp { listen, tls } => {
                let load = |(certificate, key): &(PathBuf, PathBuf)| Certificate::load(certificate, key);
                let certificate = tls.as_ref().map(load).transpose()?;
                Ok(Self { socket: Socket::Tcp(tcp(*listen).await?), certificate })
            }
            Place::Local(path) => {
                let socket = LocalSocket::bind(path).map_err(Failure::local)?;
                Ok(Self { socket: Socket::Local(socket), certificate: None })
            }
        }
    }

    /// People and scripts wait for exactly this line; it is no log line. Who connects before it is served waits.
    fn tell(&self, log: LogFormat, ready_file: Option<&Path>) -> Result<(), Failure> {
        let (shown, address) = match &self.socket {
            Socket::Tcp(listener) => {
                let address = listener.local_addr().map_err(Failure::local)?;
                let scheme = if self.certificate.is_some() { "https" } else { "http" };
                (format!("{scheme}://{address}"), address.to_string())
            }
            Socket::Local(socket) => {
                (format!("unix://{}", socket.path().display()), socket.path().display().to_string())
            }
        };
        match log {
            LogFormat::Text => writeln!(io::stderr(), "listening on {shown}").map_err(Failure::local)?,
            LogFormat::Json => tracing::info!(address = shown, "listening"),
        }
        ready_file.map_or(Ok(()), |path| write_whole(path, &address))
    }

    /// Serves until `stop`; then the door is not ready for as long as it wants, and running requests end.
    async fn serve(self, current: &Arc<ArcSwap<Generation>>, stop: impl Future<Output = ()>) -> Result<(), Failure> {
        let of = Arc::clone(current);
        let router = Router::new().fallback(move |request: Request| {
            // Cheap: the routes are shared.
            let mut router = of.load().made.router.clone();
            async move { router.call(request).await }
        });
        let end = async {
            stop.await;
            let generation = current.load_full();
            if let Some((leave, drain)) = &generation.made.leave {
                leave();
                tokio::time::sleep(*drain).await;
            }
        };
        match self.socket {
            Socket::Tcp(listener) => {
                let acceptor = self.certificate.as_ref().map(Certificate::acceptor).transpose()?;
                let follower = self.certificate.map(|certificate| tokio::spawn(certificate.follow(LOOK)));
                trust_listen::serve(listener, acceptor, router, end).await;
                follower.iter().for_each(tokio::task::JoinHandle::abort);
                Ok(())
            }
            Socket::Local(socket) => socket.serve(router, end).await.map_err(Failure::local),
        }
    }
}

fn seconds(time: std::time::SystemTime) -> Option<i64> {
    i64::try_from(time.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs()).ok()
}

async fn tcp(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|e| Failure::Local(format!("{address}: {e}")))
}

async fn told_to_stop(mut told: watch::Receiver<bool>) {
    // An error means that nobody can tell any more, and then it is as if told.
    let _ = told.wait_for(|stop| *stop).await;
}

/// Ends with SIGTERM or SIGINT; a second one ends the process at once.
async fn stopped() {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
    tokio::spawn(async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        std::process::exit(1);
    });
}

/// Writes a small file that a reader sees whole or not at all.
fn write_whole(path: &Path, text: &str) -> Result<(), Failure> {
    let problem = |e: io::Error| Failure::Local(format!("{}: {e}", path.display()));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, path)).map_err(problem)
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
