//! Warm decisions of the admission door over TLS, beside a handler that does nothing behind the same loop.
//!
//! Both serve in this process and in one runtime; the clients are threads with kept connections, one request after the
//! other. The decider is the real one: collection and policy are signed here, each decision is in its log. Its transport
//! counts: once it is warm, nothing may be fetched.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use base64ct::{Base64, Encoding};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::{Value, json};
use trust_decide::{AnyTransport, Clock, Decider, Environments, Pinned, PolicyFrom, Settings};
use trust_gate::admission::Admission;
use trust_gate::admission::judge::Rules;
use trust_image::{Digest, ImageFacts, PlatformFacts};
use trust_policy::{Cloud, Environment};
use trust_reader::http::HttpOptions;
use trust_reader::verify::Require;
use trust_tuf::{CollectionName, UtcTime};

use super::kept::{Kept, round};
use super::report::Row;
use super::{median, ratio};
use crate::simulator::{Delegate, PERMITS, Repository, Served, TestKey, now};
use crate::stack::gate::certificate;

const PAY: &str = "registry.example.com/pay";
const POLICY: &str = "registry.example.com/policy";
const RULES: &str = r#"
    @id("fit") permit (principal, action, resource) when { resource.fit.contains("com.example.data") };
    @id("private") permit (principal, action, resource) when { principal.cloud == "private" };
"#;
const LABELS: &str = r#"{"schema":"trust/labels/v1","labels":{"com.example.data":{"description":"d","owner":"o",
    "values":{"public":{"fit":["public","private"]}}}}}"#;
pub(super) const TAGS: u8 = 10;
const ROUNDS: usize = 20;
const PER_ROUND: u32 = 250;
const GOAL: f64 = 0.6;

/// A time at which everything that is signed here is valid.
struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> UtcTime {
        now()
    }
}

pub(super) fn image(n: u8) -> String {
    format!("{PAY}/api:v{n}")
}

fn digest(n: u8) -> Digest {
    Digest::of(&[n; 100])
}

fn facts(n: u8) -> io::Result<trust_tuf::json::Value> {
    let facts = ImageFacts {
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        signed: "2031-05-01T00:00:00Z".to_owned(),
        tags: vec![format!("v{n}")],
        platforms: vec![PlatformFacts {
            platform: "linux/amd64".to_owned(),
            digest: digest(n),
            labels: [("com.example.data".to_owned(), "public".to_owned())].into(),
        }],
        annotations: Default::default(),
        stated: Default::default(),
    };
    trust_tuf::json::parse(&facts.to_custom().map_err(io::Error::other)?).map_err(io::Error::other)
}

/// Ten signed images, and the policy collection.
pub(super) fn repositories() -> io::Result<(Repository, Repository)> {
    let mut pay = Repository::new();
    let revoked = Delegate::new("_revoked", &TestKey::ed25519(101), &["_revoked/*", "_revoked/*/*"]).terminating();
    pay.delegate("targets", &revoked);
    pay.delegate("targets", &Delegate::new("alice", &TestKey::ed25519(100), &["*/*"]));
    for n in 1..=TAGS {
        for path in [format!("api/v{n}"), format!("api/@sha256-{}", digest(n).hex())] {
            pay.add_target("alice", &path, &[n; 100]);
            pay.role("alice").set(&["targets", &path, "custom"], facts(n)?);
        }
    }
    let mut policy = Repository::new();
    for (role, key) in [("_policy", 110), ("_labels", 111)] {
        let delegate = Delegate::new(role, &TestKey::ed25519(key), &[&format!("{role}/*")]).terminating();
        policy.delegate("targets", &delegate);
    }
    policy.add_target("_policy", "_policy/main.cedar", RULES.as_bytes());
    policy.add_target("_labels", "_labels/data.json", LABELS.as_bytes());
    for repository in [&mut pay, &mut policy] {
        repository.role("targets").bump();
        repository.publish();
    }
    Ok((pay, policy))
}

/// The decider over both collections, with its log in `dir` and everything signed still valid.
pub(super) async fn decider(dir: &Path, pay: &Repository, policy: &Repository) -> io::Result<Arc<Decider>> {
    decider_with(dir, pay, policy, Arc::new(Fixed), Some(dir.join("decisions.log"))).await
}

/// The same, by another clock and perhaps without a log.
pub(super) async fn decider_with(
    dir: &Path,
    pay: &Repository,
    policy: &Repository,
    clock: Arc<dyn Clock>,
    log: Option<PathBuf>,
) -> io::Result<Arc<Decider>> {
    let pinned = |name: &str, repository: &Repository| -> io::Result<Pinned> {
        Ok(Pinned {
            mirrors: Vec::new(),
            collection: CollectionName::parse(name).map_err(io::Error::other)?,
            root: repository.pinned.clone(),
            server: "https://trust.example.com".to_owned(),
            http: HttpOptions::default(),
        })
    };
    let settings = Settings {
        collections: vec![pinned(PAY, pay)?, pinned(POLICY, policy)?],
        policy: PolicyFrom::Collection(CollectionName::parse(POLICY).map_err(io::Error::other)?),
        environments: Environments::Fixed(Environment::new("public-eu", Cloud::Public).map_err(io::Error::other)?),
        state: dir.join("state"),
        refresh: Duration::from_secs(60),
        max_staleness: Duration::from_secs(3_600),
        log,
        require: Require::default(),
    };
    let (pay, policy) = (Arc::clone(&pay.wire), Arc::clone(&policy.wire));
    let connect = move |pinned: &Pinned| {
        let wire = if pinned.collection.as_str() == PAY { &pay } else { &policy };
        let permits = Arc::new(tokio::sync::Semaphore::new(PERMITS as usize));
        Ok(AnyTransport::new(Served { wire: Arc::clone(wire), folder: format!("tuf/{}/", pinned.collection), permits }))
    };
    Decider::start_on(settings, clock, connect).await.map_err(io::Error::other)
}

/// The review of a Deployment of the usual size, with these images.
fn review(images: &[String]) -> Vec<u8> {
    let containers: Vec<Value> = images
        .iter()
        .enumerate()
        .map(|(i, image)| {
            json!({
                "name": format!("c{i}"), "image": image, "imagePullPolicy": "IfNotPresent",
                "env": [{"name": "REGION", "value": "eu"}, {"name": "LOG", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "log"}}}],
                "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                "resources": {"limits": {"memory": "256Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
                "readinessProbe": {"httpGet": {"path": "/ready", "port": "http", "scheme": "HTTP"}, "periodSeconds": 10},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            })
        })
        .collect();
    let spec = json!({
        "replicas": 3, "selector": {"matchLabels": {"app": "api"}}, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
        "template": {"metadata": {"labels": {"app": "api"}}, "spec": {
            "containers": containers, "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
            "serviceAccountName": "api", "securityContext": {"runAsNonRoot": true}, "terminationGracePeriodSeconds": 30,
        }},
    });
    let kind = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
    let resource = json!({"group": "apps", "version": "v1", "resource": "deployments"});
    json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "kind": kind, "resource": resource,
            "requestKind": kind, "requestResource": resource, "name": "api", "namespace": "shop", "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:ci:deployer", "groups": ["system:serviceaccounts", "system:authenticated"]},
            "object": {"kind": "Deployment", "apiVersion": "apps/v1", "spec": spec, "metadata": {
                "name": "api", "namespace": "shop", "labels": {"app": "api"}, "annotations": {"a": "b"},
                "managedFields": [{"manager": "kubectl", "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"c0\"}": {".": {}, "f:image": {}, "f:name": {}}}}}}}}],
            }},
            "oldObject": null, "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    })
    .to_string()
    .into_bytes()
}

/// One kept connection.
type Client = Kept<StreamOwned<ClientConnection, TcpStream>>;

fn connect_client(address: SocketAddr, config: &Arc<ClientConfig>, body: &[u8]) -> io::Result<Client> {
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    let head = format!(
        "POST /mutate?timeout=5s HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    Ok(Kept::new(StreamOwned::new(connection, socket), [head.as_bytes(), body].concat()))
}

/// The rows: one image by one connection and by four at once, and three images.
pub fn rows(dir: &Path) -> io::Result<Vec<Row>> {
    fs::create_dir_all(dir)?;
    certificate(dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (pay, policy) = repositories()?;
    let decider = runtime.block_on(decider(dir, &pay, &policy))?;
    let door = Admission::new(Arc::clone(&decider) as Arc<dyn trust_gate::decides::Decides>, Rules::default());
    let ours = serve(&runtime, dir, door.router())?;
    let config = client_config(dir)?;
    let mut rows = Vec::new();
    for (count, connections) in [(1, 1), (1, 4), (3, 4)] {
        let images: Vec<String> = (1..=count).map(image).collect();
        let body = review(&images);
        let answer = connect_client(ours, &config, &body)?.ask()?.to_vec();
        checked(&answer, &images)?;
        // Nothing: the body is read, as every handler must, and a constant of the same length is answered.
        let constant = axum::body::Bytes::from(answer);
        let nothing = move |_: axum::body::Bytes| async move { ([(CONTENT_TYPE, "application/json")], constant) };
        let floor = serve(&runtime, dir, Router::new().route("/mutate", post(nothing)))?;
        for repository in [&pay, &policy] {
            repository.wire.take_requests();
        }
        let connect = |address| (0..connections).map(|_| connect_client(address, &config, &body)).collect();
        let (mut a, mut b): (io::Result<Vec<Client>>, io::Result<Vec<Client>>) = (connect(ours), connect(floor));
        let (Ok(a), Ok(b)) = (&mut a, &mut b) else { return Err(io::Error::other("no connection")) };
        let (mut times, mut floors) = (Vec::new(), Vec::new());
        for warm in [true, false] {
            for _ in 0..if warm { 2 } else { ROUNDS } {
                let (one, other) = (round(a, PER_ROUND)?, round(b, PER_ROUND)?);
                if !warm {
                    times.push(one);
                    floors.push(other);
                }
            }
        }
        let fetched: usize = [&pay, &policy].iter().map(|repository| repository.wire.take_requests().len()).sum();
        if fetched != 0 {
            return Err(io::Error::other(format!("{fetched} network calls in warm decisions")));
        }
        let (wall, beside) = (median(&times), median(&floors));
        let reached = ratio(beside, wall);
        let plural = |n: u8| if n == 1 { "" } else { "s" };
        rows.push(Row {
            what: format!(
                "admission: warm decision over TLS, Deployment with {count} image{} ({} bytes), log on, {connections} connection{}: {:.0}/s, no network call",
                plural(count), body.len(), plural(connections), 1.0 / wall.as_secs_f64()
            ),
            wall,
            worst: times.iter().max().copied().unwrap_or_default(),
            cpu: None,
            peak: None,
            beside: format!("a handler that does nothing behind the same TLS loop: {}", super::report::time(beside)),
            ratio: Some(reached),
            goal: (count == 1).then(|| (format!("≥ {GOAL}"), reached >= GOAL)),
        });
    }
    runtime.shutdown_background();
    Ok(rows)
}

/// The answer is the one of a gate: allowed, each image with its digest.
fn checked(answer: &[u8], images: &[String]) -> io::Result<()> {
    let value: Value = serde_json::from_slice(answer)?;
    let patch =
        value["response"]["patch"].as_str().and_then(|patch| Base64::decode_vec(patch).ok()).unwrap_or_default();
    let patch = String::from_utf8_lossy(&patch);
    let pinned = (1..).zip(images).all(|(n, image)| patch.contains(&format!("{image}@{}", digest(n))));
    match value["response"]["allowed"] == true && pinned {
        true => Ok(()),
        false => Err(io::Error::other(format!("not the answer that is measured: {value}"))),
    }
}

fn serve(runtime: &tokio::runtime::Runtime, dir: &Path, router: Router) -> io::Result<SocketAddr> {
    let acceptor = trust_listen::tls(&dir.join("tls.crt"), &dir.join("tls.key")).map_err(io::Error::other)?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    runtime.spawn(trust_listen::serve(listener, Some(acceptor), router, std::future::pending()));
    Ok(address)
}

fn client_config(dir: &Path) -> io::Result<Arc<ClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(dir.join("tls.crt")).map_err(io::Error::other)?;
    roots.add(ca).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_decisions_ask_nobody_and_the_answer_is_that_of_a_gate() {
        let dir = tempfile::tempdir().unwrap();
        let (pay, policy) = repositories().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let decider = runtime.block_on(decider(dir.path(), &pay, &policy)).unwrap();
        certificate(dir.path()).unwrap();
        let door = Admission::new(decider, Rules::default());
        let address = serve(&runtime, dir.path(), door.router()).unwrap();
        for repository in [&pay, &policy] {
            assert!(!repository.wire.take_requests().is_empty(), "the counter counts");
        }
        let images: Vec<String> = [1, 2, 3].map(image).to_vec();
        let mut client = connect_client(address, &client_config(dir.path()).unwrap(), &review(&images)).unwrap();
        for _ in 0..50 {
            checked(client.ask().unwrap(), &images).unwrap();
        }
        for repository in [&pay, &policy] {
            assert_eq!(repository.wire.take_requests(), Vec::<String>::new());
        }
        let log = fs::read_to_string(dir.path().join("decisions.log")).unwrap();
        assert_eq!(log.lines().count(), 150, "each decision is in the log");
        drop(client);
        runtime.shutdown_background();
    }
}
