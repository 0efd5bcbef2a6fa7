//! A real stack on loopback: registry, signer and server as processes of their own, and people with folders of their
//! own. Everything ends, and its folder goes, when the value is dropped.

pub mod disk;
pub mod engine;
pub mod gate;
pub mod images;
pub mod proxy;
pub mod scene;

use std::fs;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a program may take until it listens.
const START: Duration = Duration::from_secs(20);
/// How long one command of a story may take.
const COMMAND: Duration = Duration::from_secs(60);

/// A program that was started here, and is stopped by its id.
pub struct Process {
    name: &'static str,
    child: Child,
}

impl Process {
    /// Starts a program with its output in `log`.
    pub fn start(name: &'static str, command: &mut Command, log: &Path) -> io::Result<Self> {
        let log = fs::File::create(log)?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        Ok(Self { name, child })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name (`STOP`, `CONT`, `KILL`, `TERM`).
    pub fn signal(&self, name: &str) {
        let _ = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status();
    }

    /// Ends it at once and waits for it.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it ends by itself; `None` after the deadline.
    pub fn wait(&mut self, limit: Duration) -> Option<std::process::ExitStatus> {
        let until = Instant::now() + limit;
        while Instant::now() < until {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that was waited for is gone, and its number may be another's.
        if self.is_running() {
            self.signal("CONT");
            self.kill();
        }
    }
}

/// What a stack is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Collections (or `PREFIX/*`) whose timestamps live this long, e.g. `("127.0.0.1:5000/frozen", "5s")`; the word
    /// REGISTRY stands for the registry's address.
    pub lifetimes: Vec<(String, String)>,
    /// Serve over TLS with a certificate of the stack's own authority.
    pub tls: bool,
    /// Start a registry.
    pub registry: bool,
    /// Environment of the signer and the server (fail points).
    pub environment: Vec<(String, String)>,
    /// Programs by another name than `trust-server` and `trust-signer`.
    pub programs: (String, String),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lifetimes: Vec::new(),
            tls: false,
            registry: true,
            environment: Vec::new(),
            programs: ("trust-server".to_owned(), "trust-signer".to_owned()),
        }
    }
}

/// The stack.
pub struct Stack {
    /// Where everything lies.
    pub dir: PathBuf,
    keep: bool,
    options: Options,
    /// `127.0.0.1:PORT` of the registry.
    pub registry: String,
    /// `http(s)://127.0.0.1:PORT` of the server.
    pub server_url: String,
    /// The registry's process.
    pub registry_process: Option<Process>,
    /// The signer's process.
    pub signer: Option<Process>,
    /// The server's process.
    pub server: Option<Process>,
    /// Fingerprint of the signer's identity key.
    pub identity: String,
}

impl Stack {
    /// Starts everything in a new folder below `parent`.
    pub fn start(parent: &Path, options: Options) -> io::Result<Self> {
        if options.registry {
            return Self::registry_only(parent)?.with_services(options);
        }
        Self::empty(parent)?.with_services(options)
    }

    /// Starts the registry alone.
    pub fn registry_only(parent: &Path) -> io::Result<Self> {
        let program = tool("docker-registry")
            .ok_or_else(|| io::Error::other("docker-registry is missing: run tests/tools/fetch.sh"))?;
        Self::registry_of(parent, &program)
    }

    /// The same with another program that is called as `docker-registry` is.
    pub fn registry_of(parent: &Path, program: &Path) -> io::Result<Self> {
        let mut stack = Self::empty(parent)?;
        stack.start_registry(program)?;
        Ok(stack)
    }

    /// Starts signer and server beside what runs already.
    pub fn with_services(mut self, options: Options) -> io::Result<Self> {
        self.options = options;
        self.init_signer()?;
        self.start_signer()?;
        self.start_server(None)?;
        Ok(self)
    }

    fn empty(parent: &Path) -> io::Result<Self> {
        let dir = parent.join("stack");
        fs::create_dir_all(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
        Ok(Self {
            dir,
            keep: false,
            options: Options::default(),
            registry: String::new(),
            server_url: String::new(),
            registry_process: None,
            signer: None,
            server: None,
            identity: String::new(),
        })
    }

    /// Programs that are started from now on get these variables (fail points).
    pub fn set_environment(&mut self, environment: &[(&str, &str)]) {
        self.options.environment = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    }

    /// Creates a collection as this person: `init`, the operator's admission, `init` again. Its root's fingerprint.
    pub fn create(&self, person: &Person, collection: &str) -> io::Result<String> {
        let mut dry = person.trust();
        dry.args(["init", collection, "--dry-run", "-o", "json"]);
        run(person.trust().args(["init", collection]))?;
        let text = run(&mut dry)?.stdout;
        let value: serde_json::Value = serde_json::from_slice(&text).map_err(io::Error::other)?;
        let fingerprint = value["fingerprint"].as_str().unwrap_or_default().to_owned();
        let output = run(&mut self.admit(collection, &fingerprint))?;
        let init = run(person.trust().args(["init", collection]))?;
        if init.status.success() {
            return Ok(fingerprint);
        }
        let said = [output.stderr, init.stderr].concat();
        Err(io::Error::other(String::from_utf8_lossy(&said).into_owned()))
    }

    /// Leaves processes and folder alone when the value is dropped.
    pub fn keep(mut self) {
        self.keep = true;
        std::mem::forget(self);
    }

    fn start_registry(&mut self, program: &Path) -> io::Result<()> {
        for _ in 0..5 {
            let port = free_port()?;
            let address = format!("127.0.0.1:{port}");
            let storage = self.dir.join("registry");
            fs::create_dir_all(&storage)?;
            let config = self.dir.join("registry.yml");
            let text = format!(
                "version: 0.1\nlog: {{level: warn}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\nhttp: {{addr: \"{address}\"}}\n",
                storage.display()
            );
            fs::write(&config, text)?;
            let mut command = Command::new(program);
            command.arg("serve").arg(&config).env("OTEL_TRACES_EXPORTER", "none");
            let mut process = Process::start("docker-registry", &mut command, &self.dir.join("registry.log"))?;
            if wait_for_port(&mut process, &address) {
                self.registry = address;
                self.registry_process = Some(process);
                return Ok(());
            }
        }
        Err(io::Error::other("the registry did not start"))
    }

    fn signer_passphrase(&self) -> PathBuf {
        self.dir.join("signer-passphrase")
    }

    /// The signer's data folder.
    pub fn signer_data(&self) -> PathBuf {
        self.dir.join("signer")
    }

    /// The server's data folder.
    pub fn server_data(&self) -> PathBuf {
        self.dir.join("server")
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("run").join("signer.sock")
    }

    fn init_signer(&mut self) -> io::Result<()> {
        write_private(&self.signer_passphrase(), b"a passphrase of the demo\n")?;
        private_dir(&self.dir.join("run"))?;
        let mut command = self.program(&self.options.programs.1);
        command.args(["init", "--data"]).arg(self.signer_data());
        command.arg("--passphrase-file").arg(self.signer_passphrase());
        let output = run(&mut command)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let fingerprint = text.split_whitespace().find(|w| w.len() == 64 && w.bytes().all(|b| b.is_ascii_hexdigit()));
        let complaint = || io::Error::other(format!("trust-signer init: {}", String::from_utf8_lossy(&output.stderr)));
        self.identity = fingerprint.ok_or_else(complaint)?.to_owned();
        let mut config = String::new();
        for (collection, life) in &self.options.lifetimes {
            let collection = collection.replace("REGISTRY", &self.registry);
            config.push_str(&format!("[[lifetime]]\ncollection = \"{collection}\"\ntimestamp = \"{life}\"\n"));
        }
        fs::write(self.dir.join("signer.toml"), config)
    }

    /// Starts (again) the signer.
    pub fn start_signer(&mut self) -> io::Result<()> {
        self.signer = None;
        let ready = self.dir.join("signer.ready");
        let _ = fs::remove_file(&ready);
        let mut command = self.program(&self.options.programs.1);
        command.args(["serve", "--data"]).arg(self.signer_data()).arg("--socket").arg(self.socket());
        command.arg("--passphrase-file").arg(self.signer_passphrase());
        command.arg("--config").arg(self.dir.join("signer.toml")).arg("--ready-file").arg(&ready);
        let mut process = Process::start("trust-signer", &mut command, &self.dir.join("signer.log"))?;
        wait_for_file(&mut process, &ready)?;
        self.signer = Some(process);
        Ok(())
    }

    /// Starts (again) the server; on the port it had, if `address` says so.
    pub fn start_server(&mut self, address: Option<String>) -> io::Result<()> {
        self.server = None;
        let ready = self.dir.join("server.ready");
        let _ = fs::remove_file(&ready);
        let mut command = self.program(&self.options.programs.0);
        command.args(["serve", "--data"]).arg(self.server_data());
        command.arg("--listen").arg(address.unwrap_or_else(|| "127.0.0.1:0".to_owned()));
        command.arg("--signer-socket").arg(self.socket()).arg("--ready-file").arg(&ready);
        if self.options.tls {
            let (cert, key) = self.certificate()?;
            command.arg("--tls-cert").arg(cert).arg("--tls-key").arg(key);
        }
        let mut process = Process::start("trust-server", &mut command, &self.dir.join("server.log"))?;
        let address = wait_for_file(&mut process, &ready)?;
        let scheme = if self.options.tls { "https" } else { "http" };
        let address = address.trim().trim_start_matches("http://").trim_start_matches("https://");
        self.server_url = format!("{scheme}://{address}");
        self.server = Some(process);
        Ok(())
    }

    /// The server's `127.0.0.1:PORT`.
    pub fn server_address(&self) -> String {
        self.server_url.split("://").nth(1).unwrap_or_default().to_owned()
    }

    /// The authority that signed the server's certificate.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    fn certificate(&self) -> io::Result<(PathBuf, PathBuf)> {
        let (cert, key) = (self.dir.join("server.pem"), self.dir.join("server.key"));
        if !cert.exists() {
            let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()])
                .map_err(io::Error::other)?;
            fs::write(&cert, made.cert.pem())?;
            fs::write(self.ca(), made.cert.pem())?;
            write_private(&key, made.signing_key.serialize_pem().as_bytes())?;
        }
        Ok((cert, key))
    }

    /// A token for the server, written to a file of mode 0600.
    pub fn token(&self, name: &str, scope: &str) -> io::Result<PathBuf> {
        let file = self.dir.join(format!("{name}.token"));
        let mut command = self.program(&self.options.programs.0);
        command.args(["token", "create", "--data"]).arg(self.server_data());
        command.args(["--name", name, "--scope", scope, "--out"]).arg(&file);
        let output = run(&mut command)?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        Ok(file)
    }

    /// The operator of the signer admits a collection by the fingerprint of its first root.
    pub fn admit(&self, collection: &str, fingerprint: &str) -> Command {
        let mut command = self.program(&self.options.programs.1);
        command.args(["admit", collection, fingerprint, "--data"]).arg(self.signer_data());
        command
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(built(name));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.options.environment.clone());
        command
    }

    /// A person (or machine) with a folder and a context of its own.
    pub fn person(&self, name: &str, token: Option<&Path>) -> io::Result<Person> {
        self.person_at(name, token, &self.server_url)
    }

    /// The same, with another server (a middle man) in the context.
    pub fn person_at(&self, name: &str, token: Option<&Path>, server: &str) -> io::Result<Person> {
        let person = Person { home: self.dir.join("people").join(name) };
        let config = person.home.join("config").join("trust");
        private_dir(&person.home)?;
        fs::create_dir_all(&config)?;
        let mut text = format!(
            "context = \"default\"\n\n[contexts.default]\nserver = \"{server}\"\nidentity = \"{}\"\n",
            self.identity
        );
        if self.options.tls {
            text.push_str(&format!("ca = \"{}\"\n", self.ca().display()));
        }
        if let Some(token) = token {
            text.push_str(&format!("token_file = \"{}\"\n", token.display()));
        }
        fs::write(config.join("config.toml"), text)?;
        write_private(&person.home.join("passphrase"), format!("the passphrase of {name}\n").as_bytes())?;
        Ok(person)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.server = None;
        self.signer = None;
        self.registry_process = None;
        if !self.keep {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Somebody who uses `trust`, with folders of their own.
#[derive(Debug, Clone)]
pub struct Person {
    /// Their folder.
    pub home: PathBuf,
}

impl Person {
    /// The `trust` command as this person runs it: no terminal, passphrases from a file.
    pub fn trust(&self) -> Command {
        let mut command = Command::new(built("trust"));
        self.environment(&mut command);
        command
    }

    /// Sets this person's environment on another command.
    pub fn environment(&self, command: &mut Command) {
        command.env_clear();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let tools = tools_dir().join("bin");
        let mut paths = vec![target_dir(), tools];
        paths.extend(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(paths).unwrap_or(path));
        command.env("HOME", &self.home);
        command.env("XDG_CONFIG_HOME", self.home.join("config"));
        command.env("XDG_DATA_HOME", self.home.join("data"));
        command.env("XDG_STATE_HOME", self.home.join("state"));
        command.env("XDG_CACHE_HOME", self.home.join("cache"));
        command.env("TRUST_PASSPHRASE_FILE", self.home.join("passphrase"));
        command.env("TRUST_ROOT_PASSPHRASE_FILE", self.home.join("passphrase"));
        command.env("TRUST_NON_INTERACTIVE", "1");
    }

    /// The folder of the trusted state.
    pub fn state(&self) -> PathBuf {
        self.home.join("state").join("trust").join("tuf")
    }
}

/// Runs a command to its end, at most a minute.
pub fn run(command: &mut Command) -> io::Result<Output> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let reader = |pipe: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut out = Vec::new();
            if let Some(mut pipe) = pipe {
                let _ = pipe.read_to_end(&mut out);
            }
            out
        })
    };
    let stdout = reader(child.stdout.take().map(|p| Box::new(p) as Box<dyn Read + Send>));
    let stderr = reader(child.stderr.take().map(|p| Box::new(p) as Box<dyn Read + Send>));
    let until = Instant::now() + COMMAND;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > until {
            let _ = child.kill();
            break child.wait()?;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    Ok(Output { status, stdout: stdout.join().unwrap_or_default(), stderr: stderr.join().unwrap_or_default() })
}

/// The folder of the built programs, where the running one lies as well.
pub fn target_dir() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    let dir = exe.parent().unwrap_or(Path::new("."));
    if dir.ends_with("deps") { dir.parent().unwrap_or(dir).to_path_buf() } else { dir.to_path_buf() }
}

/// A program of the workspace.
pub fn built(name: &str) -> PathBuf {
    target_dir().join(name)
}

/// The folder of the fetched tools: `TRUST_TOOLS`, else `tools` in the target folder.
pub fn tools_dir() -> PathBuf {
    match std::env::var_os("TRUST_TOOLS") {
        Some(dir) => PathBuf::from(dir),
        None => target_dir().parent().map(|p| p.join("tools")).unwrap_or_default(),
    }
}

/// A program from the fetched tools or from PATH.
pub fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(tools_dir().join("bin"))
        .chain(std::env::split_paths(&path))
        .map(|d| d.join(name))
        .find(|p| p.is_file())
}

/// A port that nobody listens on at this moment.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits until a program listens; `false` if it ends or does not come.
pub fn wait_for_port(process: &mut Process, address: &str) -> bool {
    let Ok(address) = address.parse::<SocketAddr>() else { return false };
    let until = Instant::now() + START;
    while Instant::now() < until && process.is_running() {
        if TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// Waits until a program has written its ready file.
pub fn wait_for_file(process: &mut Process, file: &Path) -> io::Result<String> {
    let until = Instant::now() + START;
    while Instant::now() < until {
        if let Ok(text) = fs::read_to_string(file)
            && !text.is_empty()
        {
            return Ok(text);
        }
        if !process.is_running() {
            return Err(io::Error::other(format!("{} ended before it was ready", process.name)));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(io::Error::other(format!("{} was not ready in time", process.name)))
}

/// Writes a file that only its owner reads.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::write(path, bytes)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

fn private_dir(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}
