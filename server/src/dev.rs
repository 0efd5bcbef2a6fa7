//! `trust-server dev`: server and signer on one machine, for trying out. The signer is a process of its own here too.
//!
//! Loopback only; example keys are allowed; a token for everything is written into the data folder. Nothing of it is
//! meant for more than trying out.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use trust_wire::proof::key_from_json;
use trust_wire::signer::{Reply, Request};

use crate::app::Options;
use crate::app::auth::{AccessRules, Scope, token_sum};
use crate::cli::{self, Failure, Running};
use crate::config::Config;
use crate::signer_link::{SignerLink, SocketLink};
use crate::store::Store;

/// How long the signer may take to open its socket.
const START: Duration = Duration::from_secs(20);
/// How long it may take to end.
const END: Duration = Duration::from_secs(5);
/// The longest path that a socket address holds, in bytes.
const SOCKET_PATH: usize = 100;
const TOKEN_LIFE: i64 = 365 * 86_400;

/// Runs both until SIGTERM or SIGINT.
pub async fn run(data: &Path, listen: SocketAddr, ready_file: Option<&Path>) -> Result<(), Failure> {
    if !listen.ip().is_loopback() {
        return Err(Failure::Usage(format!("dev listens on loopback only, not on {}", listen.ip())));
    }
    let opened = cli::open(data)?;
    let data = data.canonicalize().map_err(Failure::local)?;
    // First the port: a second one that was started by mistake starts no signer and shows nothing.
    let listener = cli::bind(listen).await?;
    token(&*opened.store, &data.join("admin.token")).await?;

    let (socket, short) = socket_path(&data)?;
    let mut signer = start_signer(&data, &socket).await?;
    let link = Arc::new(SocketLink::new(&socket));
    if let Ok(Reply::Health { identity, .. }) = link.call(Request::Health {}).await
        && let Some(key) = key_from_json(&identity)
    {
        let identity = key.id();
        cli::write_whole(&data.join("signer.identity"), identity.as_str())?;
        let token = data.join("admin.token");
        tracing::info!(%identity, token = %token.display(), "for trying out only: nothing here is to be relied on");
    }
    let config = Config {
        data: data.clone(),
        listen,
        tls: None,
        signer_socket: socket,
        anonymous_read: true,
        patience: Duration::from_secs(10),
    };
    let options =
        Options { access: AccessRules { anonymous_read: true }, allow_example_keys: true, patience: config.patience };
    let running =
        Running { config, options, ready_file: ready_file.map(Path::to_owned), store: opened, listener, signer: link };
    let mut signer_ended = None;
    let stop = async {
        tokio::select! {
            () = cli::stopped() => {}
            status = signer.wait() => signer_ended = Some(status),
        }
    };
    let served = running.until(stop).await;
    end(&mut signer).await;
    drop(short);
    if signer_ended.is_some() {
        return Err(Failure::Other(format!("the signer has ended: does another one still use {}?", data.display())));
    }
    served
}

/// The token for everything: the one in the file if it is still good, else a new one.
async fn token(store: &dyn Store, path: &Path) -> Result<(), Failure> {
    const NAME: &str = "dev-admin";
    if let Ok(text) = std::fs::read_to_string(path)
        && let Some(sum) = token_sum(text.trim())
        && let Some(row) = store.token(sum).await?
        && row.revoked.is_none()
    {
        return Ok(());
    }
    if path.symlink_metadata().is_ok() {
        std::fs::remove_file(path).map_err(|e| Failure::Local(format!("{}: {e}", path.display())))?;
    }
    let scope = Scope::parse("*=read,publish,admin").map_err(Failure::other)?;
    for number in 1..100 {
        let name = if number == 1 { NAME.to_owned() } else { format!("{NAME}-{number}") };
        if let Some(text) = cli::create_token(store, &name, &scope, TOKEN_LIFE).await? {
            return cli::write_secret(path, &text);
        }
        // The old token's text is lost: nobody needs it any more.
        store.revoke_token(&name, cli::token_event("token revoked", &name)).await?;
    }
    Err(Failure::other("too many lost tokens: take a new data folder"))
}

/// A folder that is removed again.
struct Short(PathBuf);

impl Drop for Short {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// The socket in the data folder, or in a short folder of its own where that path is too long for a socket.
fn socket_path(data: &Path) -> Result<(PathBuf, Option<Short>), Failure> {
    let socket = data.join("signer.sock");
    if socket.as_os_str().len() <= SOCKET_PATH {
        return Ok((socket, None));
    }
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(Failure::other)?;
    let folder = std::env::temp_dir().join(format!("trust-{}", hex::encode(random)));
    std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
        .create(&folder)
        .map_err(|e| Failure::Local(format!("{}: {e}", folder.display())))?;
    Ok((folder.join("signer.sock"), Some(Short(folder))))
}

fn signer_program() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe().map_err(Failure::local)?;
    let program = own.with_file_name("trust-signer");
    if program.is_file() { Ok(program) } else { Err(Failure::Local(format!("{}: not found", program.display()))) }
}

async fn start_signer(data: &Path, socket: &Path) -> Result<Child, Failure> {
    let program = signer_program()?;
    // With --dev the signer makes its own store, passphrase and identity in its folder.
    let mut child = Command::new(program)
        .arg("serve")
        .arg("--dev")
        .arg("--data")
        .arg(data.join("signer"))
        .arg("--socket")
        .arg(socket)
        // The signal of the kernel comes when the thread that starts the child ends: this is the main thread.
        .arg("--end-with-parent")
        .arg(std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        // A Ctrl-C in the terminal is for the server, which ends the signer after its own last request.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(Failure::local)?;
    let waited = tokio::time::timeout(START, async {
        while UnixStream::connect(socket).is_err() {
            if let Ok(Some(_)) = child.try_wait() {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        true
    });
    match waited.await {
        Ok(true) => Ok(child),
        Ok(false) => {
            Err(Failure::Other(format!("the signer has ended at once: does another one still use {}?", data.display())))
        }
        Err(_) => {
            end(&mut child).await;
            Err(Failure::other("the signer does not open its socket"))
        }
    }
}

/// Asks the child to end, then ends it. Only ever the process that was started here.
async fn end(child: &mut Child) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let told = kill_process(pid, Signal::TERM).is_ok();
        if !told || tokio::time::timeout(END, child.wait()).await.is_err() {
            drop(child.kill().await);
        }
    }
}
