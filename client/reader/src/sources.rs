//! Where files are read from: a server and its mirrors, and how one piece of work is shared out among them.
//!
//! - A place that fails in any way (no answer, a refused file) is left aside for the rest of the work, and the next one is
//!   asked. What one place says never stands for another: an error is no answer, and "not found" is only its own.
//! - No place gets more than its share of the deadline while another one is left, so that a slow one cannot eat the rest.
//! - What can differ between good places (the next root, the timestamp) is asked of all of them at once. The server is then
//!   waited for as long as its share lasts, a mirror for [`limits::LAG`] after the first usable answer.
//!
//! With one place all of this is plain fetching, in the order of the specification. Deliberately absent: what the bytes mean.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use trust_tuf::trusted::Wanted;

use crate::http::{check_address, shown_address};
use crate::layout::Layout;
use crate::limits;
use crate::problems::Failure;
use crate::transport::{FetchError, TimeLimit, Transport};

/// A server and its mirrors, at least one place.
#[derive(Debug, Clone)]
pub struct Sources<T> {
    server: T,
    mirrors: Vec<T>,
}

impl<T> Sources<T> {
    /// A server without mirrors.
    pub fn one(server: T) -> Self {
        Self { server, mirrors: Vec::new() }
    }

    /// A server with mirrors, the best first. Those beyond [`limits::MIRRORS`] are not used: whoever reads them from a
    /// configuration refuses them there.
    pub fn new(server: T, mirrors: impl IntoIterator<Item = T>) -> Self {
        Self { server, mirrors: mirrors.into_iter().take(limits::MIRRORS).collect() }
    }

    /// The server.
    pub fn server(&self) -> &T {
        &self.server
    }

    /// The server, then the mirrors.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.server).chain(&self.mirrors)
    }
}

/// Whether these can be the mirrors of a server, as a configuration names them; else what is wrong with them.
pub fn check_mirrors(server: Option<&str>, mirrors: &[String]) -> Result<(), String> {
    if mirrors.len() > limits::MIRRORS {
        return Err(format!("there are more than {} mirrors", limits::MIRRORS));
    }
    let bare = |address: &str| address.trim_end_matches('/').to_owned();
    let mut seen: Vec<String> = server.map(bare).into_iter().collect();
    for mirror in mirrors {
        let shown = shown_address(mirror);
        check_address(mirror).map_err(|error| format!("mirror {shown}: {error}"))?;
        let bare = bare(mirror);
        if seen.contains(&bare) {
            return Err(format!("mirror {shown} is named twice, or is the server itself"));
        }
        seen.push(bare);
    }
    Ok(())
}

/// What a place gave in an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceReport {
    /// Its address.
    pub address: String,
    /// What it gave.
    pub state: SourceState,
}

/// What a place gave in an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceState {
    /// The timestamp of this version, validly signed; it may be older than what is known.
    Timestamp(trust_tuf::Version),
    /// It failed.
    Failed(Failure),
    /// It was not asked, or not waited for.
    Unheard,
}

impl SourceReport {
    /// What should be said of a place that did not help, although another one did.
    pub(crate) fn warning(&self) -> Option<String> {
        match &self.state {
            SourceState::Failed(failure) => Some(format!("{} gave nothing: {failure}", self.address)),
            SourceState::Timestamp(_) | SourceState::Unheard => None,
        }
    }
}

/// Whether caches on the way may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caches {
    Allowed,
    Passed,
}

/// What an answer that can be used means for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The others are of no use any more.
    Enough,
    /// The others may know better.
    MoreMayCome,
}

#[derive(Debug, Clone, Default)]
struct Place {
    spent: Duration,
    failure: Option<Failure>,
    late: bool,
}

/// From this length on, in bytes, a metadata file is laid down where it stays while it comes.
const LARGE: u64 = 1024 * 1024;

/// A metadata file as it came.
pub(crate) enum Received {
    /// In one piece, which becomes a file by being copied.
    Small(Bytes),
    /// A large one of a stated length: where it stays, so that memory does not hold it twice.
    Large(Arc<[u8]>),
}

impl AsRef<[u8]> for Received {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Large(bytes) => bytes,
        }
    }
}

impl From<Received> for Arc<[u8]> {
    fn from(received: Received) -> Self {
        match received {
            Received::Small(bytes) => Arc::from(&*bytes),
            Received::Large(bytes) => bytes,
        }
    }
}

/// Lays a file of this stated length down as it comes. One that ends early is given as it is, for whoever judges it.
async fn laid_down<T: Transport>(transport: &T, path: &str, length: u64) -> Result<Arc<[u8]>, FetchError> {
    let too_large = || FetchError::TooLarge { limit: length };
    let mut body = transport.open(path, length).await?;
    let room = usize::try_from(length).map_err(|_| too_large())?;
    let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, room).collect();
    let mut filled: usize = 0;
    while let Some(piece) = body.next().await? {
        let end = filled.saturating_add(piece.len());
        // Nobody else has it yet.
        let place = Arc::get_mut(&mut bytes).and_then(|bytes| bytes.get_mut(filled..end)).ok_or_else(too_large)?;
        place.copy_from_slice(&piece);
        filled = end;
    }
    Ok(if filled == room { bytes } else { bytes.get(..filled).unwrap_or_default().into() })
}

type Fetching<'a, B = Bytes> = Pin<Box<dyn Future<Output = Result<B, FetchError>> + Send + 'a>>;
type Running<'a> = (usize, Fetching<'a>);

/// One piece of work: places, a deadline, and what each place has done so far.
pub(crate) struct Remote<'a, T> {
    transports: Vec<&'a T>,
    layout: &'a Layout,
    patience: Duration,
    deadline: Instant,
    places: Vec<Place>,
}

impl<'a, T: Transport> Remote<'a, T> {
    pub(crate) fn new(sources: &'a Sources<T>, layout: &'a Layout, patience: Duration) -> Self {
        let now = Instant::now();
        // A patience beyond what the clock can hold is a day.
        let deadline = now.checked_add(patience).unwrap_or(now + Duration::from_secs(86_400));
        let transports: Vec<&'a T> = sources.iter().collect();
        let places = vec![Place::default(); transports.len()];
        Self { transports, layout, patience, deadline, places }
    }

    pub(crate) fn address(&self, place: usize) -> String {
        self.transports.get(place).map(|t| t.describe()).unwrap_or_default()
    }

    /// How many places there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The places that have not failed, those that came late last.
    pub(crate) fn usable(&self) -> Vec<usize> {
        let mut usable: Vec<usize> = (0..self.places.len()).filter(|&at| self.failure_of(at).is_none()).collect();
        usable.sort_by_key(|&at| self.places.get(at).is_some_and(|place| place.late));
        usable
    }

    pub(crate) fn failure_of(&self, place: usize) -> Option<&Failure> {
        self.places.get(place).and_then(|place| place.failure.as_ref())
    }

    pub(crate) fn fail(&mut self, place: usize, failure: Failure) {
        if let Some(place) = self.places.get_mut(place) {
            place.failure = Some(failure);
        }
    }

    /// Takes back a failure that turned out to be none.
    pub(crate) fn pardon(&mut self, place: usize) {
        if let Some(place) = self.places.get_mut(place) {
            place.failure = None;
        }
    }

    /// What every place failed with, to go back to by [`Self::restore`]. Time that was spent stays spent.
    pub(crate) fn failures(&self) -> Vec<Option<Failure>> {
        self.places.iter().map(|place| place.failure.clone()).collect()
    }

    pub(crate) fn restore(&mut self, failures: Vec<Option<Failure>>) {
        for (place, failure) in self.places.iter_mut().zip(failures) {
            place.failure = failure;
        }
    }

    /// How long the next request to a place may take: what is left, and no more than is left of its share while others could
    /// be asked.
    fn time_for(&self, place: usize) -> Duration {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let is_out = |at: usize| self.places.get(at).is_none_or(|place| place.failure.is_some() || place.late);
        let is_last = (0..self.places.len()).all(|at| at == place || is_out(at));
        if is_last {
            return left;
        }
        let share = self.patience / u32::try_from(self.places.len()).unwrap_or(u32::MAX).max(1);
        let spent = self.places.get(place).map_or(Duration::ZERO, |place| place.spent);
        left.min(share.saturating_sub(spent))
    }

    fn request(&self, place: usize, path: &str, limit: u64, caches: Caches) -> Option<Fetching<'a>> {
        let transport = *self.transports.get(place)?;
        let (time, path) = (self.time_for(place), path.to_owned());
        Some(Box::pin(async move {
            let fetch = async {
                match caches {
                    Caches::Allowed => transport.fetch(&path, limit).await,
                    Caches::Passed => transport.fetch_past_caches(&path, limit).await,
                }
            };
            let late = Err(FetchError::Timeout(TimeLimit::Share(time)));
            tokio::time::timeout(time, fetch).await.unwrap_or(late)
        }))
    }

    /// The same for a metadata file that another one names.
    fn request_named(&self, place: usize, path: &str, wanted: Wanted) -> Option<Fetching<'a, Received>> {
        let transport = *self.transports.get(place)?;
        let (time, path) = (self.time_for(place), path.to_owned());
        Some(Box::pin(async move {
            let fetch = async {
                if wanted.is_stated && wanted.limit >= LARGE {
                    Ok(Received::Large(laid_down(transport, &path, wanted.limit).await?))
                } else {
                    Ok(Received::Small(transport.fetch(&path, wanted.limit).await?))
                }
            };
            let late = Err(FetchError::Timeout(TimeLimit::Share(time)));
            tokio::time::timeout(time, fetch).await.unwrap_or(late)
        }))
    }

    fn charge(&mut self, place: usize, began: Instant) {
        if let Some(place) = self.places.get_mut(place) {
            place.spent = place.spent.saturating_add(began.elapsed());
        }
    }

    /// A metadata file from one place. What that means for the place is the caller's to say.
    pub(crate) async fn from(
        &mut self,
        place: usize,
        file: &str,
        limit: u64,
        caches: Caches,
    ) -> Result<Bytes, FetchError> {
        let began = Instant::now();
        let Some(request) = self.request(place, &self.layout.metadata(file), limit, caches) else {
            return Err(FetchError::NotFound);
        };
        let answer = request.await;
        self.charge(place, began);
        answer
    }

    /// A metadata file that another one names, from the first place whose file is accepted, `preferred` before all others; gives
    /// also which place had it. A failure to store what was accepted is the caller's own ([`Failure::State`]) and ends it.
    pub(crate) async fn first<R>(
        &mut self,
        preferred: Option<usize>,
        file: &str,
        wanted: Wanted,
        accept: impl FnMut(Received) -> Result<R, Failure>,
    ) -> Result<(usize, R), Failure> {
        let request = |remote: &Self, place: usize, path: &str| remote.request_named(place, path, wanted);
        self.first_of(preferred, file, &[self.layout.metadata(file)], request, accept).await
    }

    /// The same for any file, under one of several paths. `name` is what messages call it.
    pub(crate) async fn first_at<R>(
        &mut self,
        preferred: Option<usize>,
        name: &str,
        paths: &[String],
        limit: u64,
        accept: impl FnMut(Bytes) -> Result<R, Failure>,
    ) -> Result<(usize, R), Failure> {
        let request = |remote: &Self, place: usize, path: &str| remote.request(place, path, limit, Caches::Allowed);
        self.first_of(preferred, name, paths, request, accept).await
    }

    async fn first_of<B, R>(
        &mut self,
        preferred: Option<usize>,
        name: &str,
        paths: &[String],
        request: impl Fn(&Self, usize, &str) -> Option<Fetching<'a, B>>,
        mut accept: impl FnMut(B) -> Result<R, Failure>,
    ) -> Result<(usize, R), Failure> {
        let mut order = self.usable();
        order.sort_by_key(|&at| Some(at) != preferred);
        for place in order {
            for path in paths {
                let began = Instant::now();
                let Some(request) = request(self, place, path) else { continue };
                let answer = request.await;
                self.charge(place, began);
                let answer = answer.map_err(|error| Failure::Fetch { file: name.to_owned(), error });
                match answer.and_then(&mut accept) {
                    Ok(accepted) => return Ok((place, accepted)),
                    Err(failure @ Failure::State(_)) => return Err(failure),
                    Err(failure) => self.fail(place, failure),
                }
            }
        }
        Err(self.failure())
    }

    /// A metadata file from all usable places but `without`, at once. `hear` judges each answer as it comes: what it refuses is
    /// the place's failure. Places that came late before are asked only if no other gives anything usable.
    pub(crate) async fn all(
        &mut self,
        file: &str,
        limit: u64,
        caches: Caches,
        without: Option<usize>,
        mut hear: impl FnMut(usize, Result<Bytes, FetchError>) -> Result<Heard, Failure>,
    ) {
        let path = self.layout.metadata(file);
        let is_late = |remote: &Self, at: usize| remote.places.get(at).is_some_and(|place| place.late);
        for late in [false, true] {
            let asked: Vec<usize> = self.usable().into_iter().filter(|&at| is_late(self, at) == late).collect();
            let mut running: Vec<Running<'a>> = Vec::with_capacity(asked.len());
            for place in asked.into_iter().filter(|&at| Some(at) != without) {
                running.extend(self.request(place, &path, limit, caches).map(|request| (place, request)));
            }
            if self.listen(running, &mut hear).await {
                return;
            }
        }
    }

    /// Whether anything usable came.
    async fn listen(
        &mut self,
        mut running: Vec<Running<'a>>,
        hear: &mut impl FnMut(usize, Result<Bytes, FetchError>) -> Result<Heard, Failure>,
    ) -> bool {
        let began = Instant::now();
        // Of a short time no more than an eighth is spent on waiting for more.
        let lag = limits::LAG.min(self.patience / 8);
        let mut until: Option<Instant> = None;
        while !running.is_empty() {
            let server_answers = running.iter().any(|(place, _)| *place == 0);
            let next = next_of(&mut running);
            let answered = match until.filter(|_| !server_answers) {
                Some(until) => tokio::time::timeout_at(until, next).await.ok(),
                None => Some(next.await),
            };
            let Some((place, answer)) = answered else { break };
            self.charge(place, began);
            match hear(place, answer) {
                Ok(Heard::Enough) => return true,
                Ok(Heard::MoreMayCome) => until = until.or_else(|| Instant::now().checked_add(lag)),
                Err(failure) => self.fail(place, failure),
            }
        }
        for (place, _) in running {
            self.charge(place, began);
            if let Some(place) = self.places.get_mut(place) {
                place.late = true;
            }
        }
        until.is_some()
    }

    /// Why nothing came of it: what every place failed with, in one failure.
    pub(crate) fn failure(&self) -> Failure {
        let failures = (0..self.len()).filter_map(|at| Some((self.address(at), self.failure_of(at)?.clone())));
        combined(failures.collect())
    }

    /// A failure of the work as a whole, with the places that did not help.
    pub(crate) fn explain(&self, main: Failure) -> Failure {
        let failed = self.places.iter().any(|place| place.failure.is_some());
        if self.len() < 2 || !failed || matches!(main, Failure::EverySource { .. } | Failure::State(_)) {
            return main;
        }
        let shown = |at: usize| Some((self.address(at), self.failure_of(at)?.to_string()));
        Failure::EverySource { main: Box::new(main), sources: (0..self.len()).filter_map(shown).collect() }
    }
}

/// The failures of several places as one. The server's counts, and those of mirrors are told beside it: a mirror must not choose
/// what an outage is called. Least of all may one that has nothing turn an outage into "no such collection".
pub(crate) fn combined(mut failures: Vec<(String, Failure)>) -> Failure {
    let sources = failures.iter().map(|(address, failure)| (address.clone(), failure.to_string())).collect();
    let main = failures.iter().position(|(_, failure)| !matches!(failure, Failure::NoCollection)).unwrap_or(0);
    if failures.len() > main {
        let count = failures.len();
        let (_, main) = failures.swap_remove(main);
        return if count == 1 { main } else { Failure::EverySource { main: Box::new(main), sources } };
    }
    Failure::NothingStored
}

async fn next_of(running: &mut Vec<Running<'_>>) -> (usize, Result<Bytes, FetchError>) {
    let (at, answer) = poll_fn(|context| {
        for (at, (_, request)) in running.iter_mut().enumerate() {
            if let Poll::Ready(answer) = request.as_mut().poll(context) {
                return Poll::Ready((at, answer));
            }
        }
        Poll::Pending
    })
    .await;
    // In order, so that of answers that came together the better place's is heard first.
    let (place, _) = running.remove(at);
    (place, answer)
}

#[cfg(test)]
mod tests;
