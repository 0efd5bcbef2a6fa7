//! An updated collection: its reader, and what a command wants to know of it.
//!
//! Invariant: a session is made only from a pinned root, and everything in it was verified by the reader.

use std::collections::BTreeSet;

use trust_image::Reference;
use trust_reader::anchor::Anchor;
use trust_reader::catalogue::{Code, exit};
use trust_reader::http::HttpTransport;
use trust_reader::problems::Failure;
use trust_reader::reader::{Options, Reader};
use trust_reader::sources::SourceState;
use trust_reader::state::StateStore;
use trust_reader::transport::FetchError;
use trust_reader::verdict::Problem;
use trust_tuf::lookup::LookupError;
use trust_tuf::{
    Bins, CollectionName, Reason, RoleKeys, RoleName, RoleType, Targets, UtcTime, Verified, example_keys, limits,
};

use crate::anchors;
use crate::app::App;
use crate::fault;
use crate::server;
use crate::settings::Pin;

/// The reader of this program.
pub type CollectionReader = Reader<HttpTransport>;

/// An updated collection.
pub struct Session {
    /// The collection.
    pub collection: CollectionName,
    /// The server; `None` offline.
    pub server: Option<String>,
    /// The reader.
    pub reader: CollectionReader,
}

/// The pin of the collection that an image belongs to.
pub fn pin_for<'a>(app: &'a App, image: &Reference) -> Result<&'a Pin, Problem> {
    let found = app.settings.pin_for_image(image.name()).map_err(|e| fault::target(&e))?;
    found.ok_or_else(|| {
        let pinned: Vec<&str> = app.settings.pins.iter().map(|pin| pin.collection.as_str()).collect();
        fault::image_not_pinned(image, &pinned)
    })
}

/// Says which image and collection a problem is about, and that a name without tag is that of a pinned collection, where it
/// was taken for an image and led nowhere.
pub fn with_collection_hint(app: &App, image: &Reference, problem: Problem) -> Problem {
    let problem = match pin_for(app, image) {
        Ok(pin) => problem.about(image).within(&pin.collection),
        Err(_) => problem.about(image),
    };
    let led_nowhere = matches!(
        problem.code,
        Code::NotSigned | Code::NoSuchTag | Code::NoSuchImage | Code::NeedConfirmation | Code::RegistryLogin
    );
    if !led_nowhere || !image.is_tag_defaulted() || app.settings.pin(image.name()).is_none() {
        return problem;
    }
    problem.fact("hint", format!("{} is a collection; name an image below it", image.name()))
}

impl Session {
    /// Updates the collection of a pin from its server, or takes the stored state with `--offline`.
    pub fn open(app: &App, pin: &Pin) -> Result<Self, Problem> {
        let anchor = anchors::load(app, pin)?;
        if app.settings.offline.value {
            let (collection, store) = (anchor.collection.clone(), store(app, &anchor)?);
            let reader = Reader::offline_with(anchor, store, app.now()?, options(app))?;
            refuse_example_keys(app, &reader)?;
            return Ok(Self { collection, server: None, reader });
        }
        let place = (server::address(app, Some(pin))?, server::mirrors(app, Some(pin)));
        Self::online_at(app, anchor, place, app.now()?, true)
    }

    /// Opens a collection in order to publish in it. What people signed may have expired: it is read as at its last valid
    /// second, so that they can sign its next version. Nothing is ever verified for use in such a session.
    ///
    /// Not so an expired root: whoever holds back the next one could show files of keys that it took back, and have their
    /// content signed anew.
    pub fn for_change(app: &App, pin: &Pin) -> Result<Self, Problem> {
        Self::before_expiry(app, pin, |role| role != "root")
    }

    /// Opens a collection in order to publish a new root. Only for this may the root itself have expired.
    pub fn for_new_root(app: &App, pin: &Pin) -> Result<Self, Problem> {
        Self::before_expiry(app, pin, |_| true)
    }

    fn before_expiry(app: &App, pin: &Pin, may_be_expired: impl Fn(&str) -> bool) -> Result<Self, Problem> {
        let offline_expiry =
            |problem: &Problem| offline_expiry(problem).filter(|(role, _)| may_be_expired(role)).map(|(_, at)| at);
        let mut at = app.now()?;
        let mut by_clock = true;
        // Each turn goes back to before one more expiry: every role that can be expired, and the root.
        for _ in 0..limits::ROLES_PER_LOOKUP {
            let place = (server::address(app, Some(pin))?, server::mirrors(app, Some(pin)));
            let opened = Self::online_at(app, anchors::load(app, pin)?, place, at, by_clock);
            let expired = match opened {
                Ok(mut session) => {
                    let unloaded = session.load_all(app)?;
                    match unloaded.iter().filter_map(|(_, problem)| offline_expiry(problem)).min() {
                        Some(expired) => expired,
                        None => return Ok(session),
                    }
                }
                Err(problem) => match offline_expiry(&problem) {
                    Some(expired) => expired,
                    None => return Err(problem),
                },
            };
            match expired.plus_secs(-1).filter(|before| *before < at) {
                Some(before) => (at, by_clock) = (before, false),
                None => break,
            }
        }
        Self::open(app, pin)
    }

    /// Updates from this server alone.
    pub fn online(app: &App, anchor: Anchor, address: String) -> Result<Self, Problem> {
        Self::online_at(app, anchor, (address, Vec::new()), app.now()?, true)
    }

    /// Updates from a server and its mirrors. Reading is anonymous; a server that wants a token gets it, a mirror never.
    ///
    /// `by_clock`: whether `at` is what the clock shows, so that a clock that went back is refused. Said and not compared: the
    /// clock goes on while another process is waited for.
    fn online_at(
        app: &App,
        anchor: Anchor,
        (address, mirrors): (String, Vec<String>),
        at: UtcTime,
        by_clock: bool,
    ) -> Result<Self, Problem> {
        let collection = anchor.collection.clone();
        let refresh = |transport: HttpTransport| {
            let store = store(app, &anchor)?;
            let options = Options { check_clock: by_clock, ..options(app) };
            let sources = server::with_mirrors(app, transport, &mirrors)?;
            app.wait(Reader::refresh_from(anchor.clone(), store, sources, at, options))
        };
        let may_have_token = || app.settings.token.is_some() && server::may_have_token(app, &address);
        let reader = match refresh(server::anonymous(app, &address)?) {
            Err(problem) if wants_token(&problem) && may_have_token() => {
                refresh(server::api(app, &address)?.transport().clone())?
            }
            // A mirror helped, but the server may know better: it only wants to know who asks.
            Ok(reader) if server_wants_token(&reader) && may_have_token() => {
                drop(reader);
                refresh(server::api(app, &address)?.transport().clone())?
            }
            other => other?,
        };
        refuse_example_keys(app, &reader)?;
        Ok(Self { collection, server: Some(address), reader })
    }

    /// Loads every role; those that cannot be used are given back with the reason.
    pub fn load_all(&mut self, app: &App) -> Result<Vec<(String, Problem)>, Problem> {
        app.wait(self.reader.load_all_roles())
    }

    /// Loads every role, hash bins too; those that cannot be used are given back with the reason.
    pub fn load_all_with_bins(&mut self, app: &App) -> Result<Vec<(String, Problem)>, Problem> {
        let mut unusable = self.load_all(app)?;
        for signer in self.signers() {
            for bin in self.bins_of(&signer).iter().flat_map(Bins::names) {
                if let Err(problem) = self.role_below(app, signer.as_str(), &bin) {
                    if problem.exit() == exit::LOCAL {
                        return Err(problem);
                    }
                    unusable.push((bin, problem));
                }
            }
        }
        Ok(unusable)
    }

    /// A role that `targets` delegates directly, or `targets`.
    pub fn role(&mut self, app: &App, role: &str) -> Result<Verified<Targets>, Problem> {
        app.wait(self.reader.role(role))
    }

    /// A role that a loaded role delegates.
    pub fn role_below(&mut self, app: &App, delegator: &str, role: &str) -> Result<Verified<Targets>, Problem> {
        app.wait(self.reader.role_below(delegator, role))
    }

    /// The hash bins of a signer whose file is loaded; `None` if there are none, or more than are published here.
    pub fn bins_of(&self, signer: &RoleName) -> Option<Bins> {
        let file = self.reader.trusted().delegated("targets", signer.as_str()).filter(|_| !signer.is_targets())?;
        let layout = file.delegations()?.succinct()?.layout();
        (layout.bit_length() <= limits::PUBLISH_BIN_BITS).then(|| layout.clone())
    }

    /// The signer that has this role as a hash bin.
    pub fn signer_of_bin(&self, role: &RoleName) -> Option<RoleName> {
        let has = |signer: &RoleName| self.bins_of(signer).is_some_and(|bins| bins.number_of(role.as_str()).is_some());
        self.signers().into_iter().find(has)
    }

    /// Every file that is loaded and says something for this signer: the own one, and hash bins and roles below it.
    pub fn files_of(&self, signer: &RoleName) -> Vec<Verified<Targets>> {
        let set = self.reader.trusted();
        let mut files = Vec::new();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut waiting: Vec<(&str, &str)> = vec![("targets", signer.as_str())];
        while let Some((delegator, role)) = waiting.pop() {
            let Some(file) = set.delegated(delegator, role).filter(|_| seen.insert(role)) else { continue };
            files.push(file.clone());
            if role != "targets" {
                waiting
                    .extend(set.loaded().filter(|(above, ..)| *above == role).map(|(above, below, _)| (above, below)));
            }
        }
        files
    }

    /// Who speaks for `targets` or a role that it delegates directly.
    pub fn keys_of(&self, role: &RoleName) -> Option<RoleKeys> {
        let set = self.reader.trusted();
        if role.is_targets() {
            return Some(set.root().role(RoleType::Targets).clone());
        }
        set.targets().delegations()?.role(role.as_str()).map(|d| d.keys().clone())
    }

    /// The names of `targets` and of the roles that it delegates directly, in order of priority.
    pub fn signers(&self) -> Vec<RoleName> {
        let targets = self.reader.trusted().targets();
        let direct = targets.delegations().into_iter().flat_map(|d| d.roles());
        let named = direct.filter_map(|d| RoleName::parse(d.name()).ok());
        std::iter::once(RoleName::targets()).chain(named).collect()
    }

    /// Whether a role may list this path: `targets` every one, a delegated role what its patterns match.
    pub fn may_list(&self, role: &RoleName, path: &str) -> bool {
        if role.is_targets() {
            return true;
        }
        let targets = self.reader.trusted().targets();
        let delegation = targets.delegations().and_then(|d| d.role(role.as_str()));
        delegation.is_some_and(|d| d.matches(path).unwrap_or(false))
    }
}

/// A collection whose roles name a published key is everybody's: refused, except while trying things out.
fn refuse_example_keys(app: &App, reader: &CollectionReader) -> Result<(), Problem> {
    if app.globals.dev {
        return Ok(());
    }
    let set = reader.trusted();
    let top = RoleType::ALL.into_iter().map(|role| (role.as_str(), set.root().role(role)));
    let direct = set.targets().delegations().into_iter().flat_map(|d| d.roles()).map(|d| (d.name(), d.keys()));
    for (role, keys) in top.chain(direct) {
        if let Some((_, key)) = keys.keys().find(|(_, key)| example_keys::is_example(key)) {
            return Err(Problem::new(Code::ExampleKey)
                .fact("collection", &reader.anchor().collection)
                .fact("role", role)
                .fact("key", key.id()));
        }
    }
    Ok(())
}

/// When a file that people sign expired, if that is the problem. The online roles are not theirs to renew.
fn offline_expiry(problem: &Problem) -> Option<(&str, UtcTime)> {
    let error = match problem.failure.as_deref()? {
        Failure::Update(error) | Failure::Lookup(LookupError::Role(error)) => error,
        _ => return None,
    };
    match error.reason {
        Reason::Expired { expires, .. } if error.role != "timestamp" && error.role != "snapshot" => {
            Some((&error.role, expires))
        }
        _ => None,
    }
}

fn wants_token(problem: &Problem) -> bool {
    matches!(problem.code, Code::LoginNeeded | Code::Forbidden)
}

fn server_wants_token(reader: &CollectionReader) -> bool {
    let failure = reader.sources().first().map(|server| &server.state);
    matches!(
        failure,
        Some(SourceState::Failed(Failure::Fetch { error: FetchError::Unauthorized | FetchError::Forbidden, .. }))
    )
}

fn options(app: &App) -> Options {
    Options { patience: app.settings.timeout.value, ..Options::default() }
}

fn store(app: &App, anchor: &Anchor) -> Result<StateStore, Problem> {
    let scene = trust_reader::problems::Scene::offline(anchor.collection.as_str());
    StateStore::open(&app.settings.paths.state, &anchor.collection).map_err(|error| scene.problem(error.into()))
}
