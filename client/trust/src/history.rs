//! Older versions of a role's file. They are immutable on the server, and shown only where the keys that the role has today
//! signed them.

use trust_reader::catalogue::Code;
use trust_reader::layout::Layout;
use trust_reader::problems::Failure;
use trust_reader::transport::Transport;
use trust_reader::verdict::Problem;
use trust_tuf::envelope::Unverified;
use trust_tuf::model::Role;
use trust_tuf::names::percent_encode;
use trust_tuf::{RoleName, Targets, UpdateError, Verified, limits};

use crate::app::App;
use crate::fault;
use crate::server;
use crate::session::Session;

/// A version of `targets` or of a role that it delegates.
pub fn version(app: &App, session: &Session, role: &RoleName, number: u64) -> Result<Verified<Targets>, Problem> {
    let keys = session.keys_of(role).ok_or_else(|| fault::internal("a role without keys"))?;
    let address = session.server.clone().ok_or_else(|| fault::internal("no server"))?;
    let transport = server::anonymous(app, &address)?;
    let file = format!("{number}.{}.json", percent_encode(role.as_str()));
    let path = Layout::of(&session.collection).metadata(&file);
    let scene = session.reader.scene();
    let bytes = app.wait(async {
        let fetched = transport.fetch(&path, limits::STATED_BYTES).await;
        fetched.map_err(|error| scene.problem(Failure::Fetch { file: file.clone(), error }))
    })?;
    let refused = |reason: trust_tuf::Reason| {
        let role = role.as_str().to_owned();
        session
            .reader
            .scene()
            .problem(Failure::Update(UpdateError { role, reason }))
            .cause("an older version is shown only if the keys that the role has today signed it")
            .remedy(["compare versions since the keys of the role last changed"])
    };
    let read = Unverified::<Targets>::read(bytes.to_vec(), limits::STATED_BYTES).map_err(|e| refused(e.into()))?;
    let verified = read.verify(&keys).map_err(refused)?;
    if verified.version().get() != number {
        return Err(Problem::new(Code::WrongVersion).fact("file", &file).fact("found", verified.version()));
    }
    Ok(verified)
}
