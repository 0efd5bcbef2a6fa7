//! Steps 6 to 12 of the story: labels and policy, the registry gate, the admission hook, a policy that is tightened, an
//! exception to it, a node, and the audit log.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};

use super::{DONE, Demo, Signed, refused, say};
use crate::stack::gate::{Gate, GateOptions};
use crate::stack::images::{self, Image};
use crate::stack::{Person, tool};

/// How often the gates of the story refresh.
const REFRESH: Duration = Duration::from_secs(1);

/// What steps 6 to 12 share.
pub(super) struct Policy {
    collection: String,
    folder: PathBuf,
    public: String,
    private: String,
    payroll: Image,
}

impl Demo {
    /// 6: what is marked PII stays out of the public cloud.
    pub(super) fn policy(&mut self, demo: &str) -> io::Result<Policy> {
        self.heading("6. A signed policy: what is marked PII does not run in a public cloud");
        let (alice, ops) = (self.cast.alice.clone(), self.cast.ops.clone());
        let collection = format!("{}/policy", self.cast.registry.address());
        let folder = self.images.join("policy");
        let shown = folder.display().to_string();

        self.init(&collection)?;
        self.trust("alice", &alice, &["policy", "init", &shown], &DONE)?;
        self.trust("alice", &alice, &["policy", "check", &shown], &refused(0, &["pii"]))?;
        self.trust("alice", &alice, &["policy", "publish", &shown, &collection], &DONE)?;
        let fingerprint = self.pinned(&alice, &collection)?;
        self.trust("ops", &ops, &["pin", "add", &collection, &fingerprint], &DONE)?;
        self.trust("ops", &ops, &["policy", "use", &collection], &DONE)?;
        self.trust("ops", &ops, &["policy", "show"], &refused(0, &["com.example.data"]))?;

        let environment = |name: &str| folder.join("environments").join(name).display().to_string();
        let (public, private) = (environment("public.toml"), environment("private.toml"));
        let label = "com.example.data";
        let payroll = self.publish("payroll", "payroll:7", &[(label, "PII")])?;
        let name = format!("{demo}/payroll:7");
        let why = ["E2001", label, "PII", "image config of linux/amd64"];
        self.trust("ops", &ops, &["verify", &name, "--env", &public], &refused(20, &why))?;
        self.trust("ops", &ops, &["verify", &name, "--env", &private], &DONE)?;
        self.trust("ops", &ops, &["policy", "explain", "--image", &name, "--env", &public], &refused(20, &["DENY"]))?;

        say("\n• fit for public, also by its label");
        let api = format!("{demo}/api:v1");
        self.trust("ops", &ops, &["verify", &api, "--env", &public], &DONE)?;

        say("\n• a tag called PII");
        self.publish("tagged", "api:PII", &[(label, "public")])?;
        let tagged = format!("{demo}/api:PII");
        self.trust("ops", &ops, &["verify", &tagged, "--env", &public], &refused(20, &["E2001"]))?;
        self.trust("ops", &ops, &["verify", &tagged, "--env", &private], &DONE)?;

        say("\n• no label, and a misspelt value: neither opens a door");
        let web = format!("{demo}/web:v1");
        self.trust("ops", &ops, &["verify", &web, "--env", &public], &refused(20, &["E2001"]))?;
        self.publish("misspelt", "api:misspelt", &[(label, "Public ")])?;
        let misspelt = format!("{demo}/api:misspelt");
        self.trust("ops", &ops, &["verify", &misspelt, "--env", &public], &refused(20, &["E2002"]))?;
        Ok(Policy { collection, folder, public, private, payroll })
    }

    /// 7: the registry gate.
    pub(super) fn registry_gate(&mut self, demo: &str, signed: &Signed, policy: &Policy) -> io::Result<Gate> {
        self.heading("7. A gate in front of the registry lets only signed and allowed images through");
        let options = self.gate_options("registry", demo, policy);
        let gate = self.launch("registry", &options)?;

        let pulled = self.pull(&gate, "api:v1", &DONE)?;
        self.check("what came is the signed image", pulled.as_deref() == Some(signed.api.digest.as_str()));
        say("\n• unsigned");
        let came = self.pull(&gate, "api:unsigned", &refused(1, &["denied", "not signed"]))?;
        self.check("nothing came", came.is_none());
        say("\n• the tag was moved in the registry: the signed image still comes, the other one does not");
        let other = images::single(&self.images.join("moved"), "api, moved", &[("com.example.data", "public")])?;
        self.push(&other, "demo/api:v1")?;
        let pulled = self.pull(&gate, "api:v1", &DONE)?;
        self.check("what came is the signed image", pulled.as_deref() == Some(signed.api.digest.as_str()));
        self.pull(&gate, &format!("api@{}", other.digest), &refused(1, &["denied"]))?;
        self.push(&signed.api, "demo/api:v1")?;
        say("\n• marked PII, and this gate stands in a public cloud");
        let came = self.pull(&gate, "payroll:7", &refused(1, &["denied", "com.example.data"]))?;
        self.check("nothing came", came.is_none());
        Ok(gate)
    }

    /// 8: the admission hook.
    pub(super) fn admission(&mut self, demo: &str, signed: &Signed, policy: &Policy) -> io::Result<Gate> {
        self.heading("8. Kubernetes asks the admission hook");
        let options = self.gate_options("admission", demo, policy);
        let gate = self.launch("admission", &options)?;

        let answer = self.review(&gate, "/mutate", &[&format!("{demo}/api:v1")])?;
        let patch = answer["response"]["patch"].as_str().unwrap_or_default();
        let patch = Base64::decode_vec(patch).unwrap_or_default();
        say(&format!("  patch {}", String::from_utf8_lossy(&patch)));
        let patch: Value = serde_json::from_slice(&patch).unwrap_or_default();
        let wanted = json!(format!("{demo}/api:v1@{}", signed.api.digest));
        let replaced = patch.as_array().into_iter().flatten().any(|step| {
            step["op"] == "replace"
                && step["path"] == "/spec/template/spec/containers/0/image"
                && step["value"] == wanted
        });
        self.check(
            "allowed, and the tag is replaced by the verified digest",
            answer["response"]["allowed"] == true && replaced,
        );

        let answer = self.review(&gate, "/validate", &[&format!("{demo}/api:v1"), &format!("{demo}/api:unsigned")])?;
        let message = answer["response"]["status"]["message"].as_str().unwrap_or_default().to_owned();
        self.check("one unsigned image denies the whole Deployment", answer["response"]["allowed"] == false);
        self.check(
            "the message names the place and the reason",
            message.contains("containers[1]") && message.contains("not signed"),
        );
        let answer = self.review(&gate, "/validate", &[&format!("{demo}/payroll@{}", policy.payroll.digest)])?;
        self.check("an image marked PII is denied", answer["response"]["allowed"] == false);
        Ok(gate)
    }

    /// 9: a new version of the policy, and an attempt to go back to the old one.
    pub(super) fn tightened(
        &mut self,
        demo: &str,
        policy: &Policy,
        registry: &Gate,
        admission: &Gate,
    ) -> io::Result<()> {
        self.heading("9. The policy is tightened, and both gates follow");
        let (alice, ops) = (self.cast.alice.clone(), self.cast.ops.clone());
        let api = format!("{demo}/api:v1");
        let before = self.cast.mitm.recording();
        let rule = "@id(\"freeze-api\")\n@title(\"api is frozen\")\n@reason(\"under investigation\")\n@contact(\"security@example.com\")\nforbid (principal, action, resource)\nwhen { resource.repository == \"demo/api\" && principal.cloud == \"public\" };\n";
        fs::write(policy.folder.join("policy").join("freeze.cedar"), rule)?;
        let folder = policy.folder.display().to_string();
        self.trust("alice", &alice, &["policy", "publish", &folder, &policy.collection], &refused(0, &["freeze-api"]))?;

        let denied = |answer: &Value| answer["response"]["allowed"] == false;
        let answer = self.until(admission, &api, false)?;
        self.check("the admission hook follows", denied(&answer));
        std::thread::sleep(REFRESH * 2);
        self.pull(registry, "api:v1", &refused(1, &["denied", "freeze-api"]))?;
        self.trust(
            "ops",
            &ops,
            &["verify", &api, "--env", &policy.public],
            &refused(20, &["freeze-api", "under investigation"]),
        )?;
        self.trust("ops", &ops, &["verify", &api, "--env", &policy.private], &DONE)?;

        say("\n• somebody between server and gates plays the older policy back");
        self.cast.mitm.replay(before);
        std::thread::sleep(REFRESH * 3);
        self.pull(registry, "api:v1", &refused(1, &["denied", "freeze-api"]))?;
        let answer = self.review(admission, "/validate", &[&api])?;
        self.check("the older policy is refused: the answer stays the same", denied(&answer));
        self.cast.mitm.honest();
        Ok(())
    }

    /// 10: an exception, signed by a key that can do nothing else.
    pub(super) fn exception(&mut self, demo: &str, policy: &Policy, admission: &Gate) -> io::Result<()> {
        self.heading("10. Break glass: one image, one place, some hours, signed by who is on call");
        let (alice, ops) = (self.cast.alice.clone(), self.cast.ops.clone());
        let payroll = format!("{demo}/payroll@{}", policy.payroll.digest);
        let collection = policy.collection.as_str();
        let role = ["signer", "add", "_exceptions", collection, "--signer-key", "oncall"];
        self.trust("alice", &alice, &role, &DONE)?;
        let grant = |key: &'static str| {
            let mut grant = vec!["exception", "grant", collection, "--image", payroll.as_str(), "--env", "public-test"];
            grant.extend(["--rule", "pii-not-in-public", "--reason", "Incident 4711", "--for", "4h", "--key", key]);
            grant
        };
        say("\n• another key cannot grant one");
        self.trust("alice", &alice, &grant("alice"), &refused(42, &["_exceptions"]))?;
        let granted = self.trust("alice", &alice, &grant("oncall"), &DONE)?;
        let id = granted.lines().last().unwrap_or_default().trim().to_owned();
        self.trust("ops", &ops, &["exception", "list"], &refused(0, &[&id, "Incident 4711", "public-test"]))?;

        let answer = self.until(admission, &payroll, true)?;
        let warned = answer["response"]["warnings"].to_string();
        self.check("the admission hook lets it pass", answer["response"]["allowed"] == true);
        self.check("whoever deploys it is told", warned.contains(&id));
        let log = fs::read_to_string(admission.dir.join("decisions.log"))?;
        let used = log.lines().any(|line| line.contains(&format!("\"exception\":{{\"id\":\"{id}\"")));
        self.check("its use is in the gate's log, with who signed it", used);
        say("\n• in another environment, and for another image, the rule still denies");
        let elsewhere = ["verify", payroll.as_str(), "--env", &policy.public];
        self.trust("ops", &ops, &elsewhere, &refused(20, &["pii-not-in-public"]))?;
        let other = self.review(admission, "/validate", &[&format!("{demo}/web:v1")])?;
        self.check("another image stays denied", other["response"]["allowed"] == false);

        self.trust("alice", &alice, &["exception", "revoke", &id, collection, "--key", "oncall"], &DONE)?;
        let answer = self.until(admission, &payroll, false)?;
        self.check("with the exception gone it is denied again", answer["response"]["allowed"] == false);
        Ok(())
    }

    /// 11: a node, whose containerd asks about every image that it pulls.
    pub(super) fn node(&mut self, demo: &str, signed: &Signed, policy: &Policy) -> io::Result<()> {
        self.heading("11. A node: containerd asks about every image that it has pulled");
        let options = GateOptions { cloud: "private".to_owned(), ..self.gate_options("node", demo, policy) };
        let dir = Gate::prepare(&self.stack, &self.cast.ops, &options)?;
        let socket = dir.join("run").join("containerd.sock");
        let config = dir.join("gate.toml");
        let text = format!("{}\n[containerd]\nsocket = \"{}\"\n", fs::read_to_string(&config)?, socket.display());
        fs::write(&config, text)?;
        let gate = Gate::start(&dir, "containerd")?;
        say(&format!("\noperator$ trust-gate containerd --config gate.toml &        (listens on {})", gate.address));

        // As an installation has it: the program in containerd's folder, where the gate listens in a file beside.
        let (bin, etc) = (dir.join("bin"), dir.join("etc"));
        fs::create_dir_all(&bin)?;
        fs::create_dir_all(&etc)?;
        let verifier = bin.join("trust-containerd-verifier");
        fs::copy(crate::stack::built("trust-containerd-verifier"), &verifier)?;
        fs::write(etc.join("trust-containerd-verifier.conf"), format!("socket = {}\n", socket.display()))?;
        let ask = |name: &str, digest: &str| {
            let mut command = Command::new(&verifier);
            command.args(["-name", &format!("{demo}/{name}"), "-digest", digest]);
            command.args(["-stdin-media-type", "application/vnd.oci.descriptor.v1+json"]);
            command
        };
        self.step("containerd", ask("api:v1", &signed.api.digest), &DONE)?;
        say("\n• the registry gave another image for the tag; one that nobody signed; one that is no longer the tag's");
        let other = images::single(&self.images.join("moved"), "api, moved", &[("com.example.data", "public")])?;
        self.step("containerd", ask("api:v1", &other.digest), &refused(1, &[&signed.api.digest]))?;
        self.step("containerd", ask("api:unsigned", &other.digest), &refused(1, &["not signed"]))?;
        self.step("containerd", ask("api:v1", &policy.payroll.digest), &refused(1, &[]))?;
        say("\n• the gate is gone: no answer is no");
        drop(gate);
        self.step("containerd", ask("api:v1", &signed.api.digest), &refused(1, &[]))?;
        Ok(())
    }

    /// 12: the log of a gate, and somebody who wants a line to be away.
    pub(super) fn audit(&mut self, registry: &Gate) -> io::Result<()> {
        self.heading("12. Every decision is in a log that nobody changes unseen");
        let log = registry.dir.join("decisions.log");
        let verify = |log: &Path| {
            let mut command = Command::new(crate::stack::built("trust-gate"));
            command.args(["audit", "verify"]).arg(log);
            command
        };
        self.step("operator", verify(&log), &refused(0, &["the log is whole"]))?;
        let text = fs::read_to_string(&log)?;
        let kept: Vec<&str> = text.lines().enumerate().filter(|(n, _)| *n != 1).map(|(_, line)| line).collect();
        let forged = registry.dir.join("forged.log");
        fs::write(&forged, kept.join("\n") + "\n")?;
        say("\n• without its second line");
        self.step("operator", verify(&forged), &refused(60, &["line 2", "lines are missing"]))?;
        Ok(())
    }

    /// Asks the admission hook until it answers so, for some refreshes; its last answer.
    fn until(&mut self, admission: &Gate, image: &str, allowed: bool) -> io::Result<Value> {
        let until = Instant::now() + REFRESH * 5;
        while self.ask(admission, "/validate", &[image])?["response"]["allowed"] != allowed && Instant::now() < until {
            std::thread::sleep(REFRESH / 5);
        }
        self.review(admission, "/validate", &[image])
    }

    fn gate_options(&self, name: &str, demo: &str, policy: &Policy) -> GateOptions {
        GateOptions {
            policy: Some(policy.collection.clone()),
            refresh: format!("{}s", REFRESH.as_secs()),
            server: Some(self.cast.mitm.url()),
            host: self.cast.registry.address().to_owned(),
            ..GateOptions::new(name, &self.stack, &[demo, &policy.collection])
        }
    }

    fn launch(&mut self, door: &str, options: &GateOptions) -> io::Result<Gate> {
        let dir = Gate::prepare(&self.stack, &self.cast.ops, options)?;
        let config = dir.join("gate.toml");
        for line in fs::read_to_string(&config)?.lines().filter(|line| !line.is_empty()) {
            say(&format!("  | {line}"));
        }
        let mut check = Command::new(crate::stack::built("trust-gate"));
        check.arg(door).arg("--config").arg(&config).arg("--check-config");
        self.step("operator", check, &DONE)?;
        let gate = Gate::start(&dir, door)?;
        say(&format!("\noperator$ trust-gate {door} --config gate.toml &        (listens on {})", gate.address));
        Ok(gate)
    }

    /// Pulls through the gate; the digest of what came.
    fn pull(&mut self, gate: &Gate, image: &str, expect: &super::Expect<'_>) -> io::Result<Option<String>> {
        let out = self.images.join("through-the-gate");
        let _ = fs::remove_dir_all(&out);
        let mut command = Command::new(tool("skopeo").unwrap_or_else(|| PathBuf::from("skopeo")));
        command.args(["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"]);
        command.arg(format!("docker://{}/demo/{image}", gate.address)).arg(format!("dir:{}", out.display()));
        self.step("ops", command, expect)?;
        let manifest = fs::read(out.join("manifest.json")).ok();
        Ok(manifest.map(|bytes| trust_image::Digest::of(&bytes).to_string()))
    }

    /// Sends a review of a Deployment with these images, and shows the answer.
    fn review(&mut self, gate: &Gate, path: &str, images: &[&str]) -> io::Result<Value> {
        say(&format!(
            "\nkube-apiserver: POST https://{}{path}   (AdmissionReview, Deployment of {})",
            gate.address,
            images.join(", ")
        ));
        let answer = self.ask(gate, path, images)?;
        self.commands += 1;
        say(&format!("  {answer}"));
        Ok(answer)
    }

    fn ask(&self, gate: &Gate, path: &str, images: &[&str]) -> io::Result<Value> {
        let containers: Vec<Value> =
            images.iter().enumerate().map(|(n, image)| json!({ "name": format!("c{n}"), "image": image })).collect();
        let review = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
                "kind": { "group": "apps", "version": "v1", "kind": "Deployment" },
                "resource": { "group": "apps", "version": "v1", "resource": "deployments" },
                "name": "web", "namespace": "shop", "operation": "CREATE",
                "userInfo": { "username": "developer" },
                "object": {
                    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
                    "spec": { "template": { "spec": { "containers": containers } } },
                },
                "oldObject": null, "dryRun": false,
            },
        });
        Ok(gate.post(&format!("{path}?timeout=5s"), &serde_json::to_vec(&review)?)?.json())
    }

    /// Makes an image with these labels, pushes it below `demo` and signs it.
    fn publish(&mut self, layout: &str, image: &str, labels: &[(&str, &str)]) -> io::Result<Image> {
        let made = images::single(&self.images.join(layout), layout, labels)?;
        self.push(&made, &format!("demo/{image}"))?;
        let alice = self.cast.alice.clone();
        let name = format!("{}/demo/{image}@{}", self.cast.registry.address(), made.digest);
        self.trust("alice", &alice, &["sign", &name, "--as", "targets"], &DONE)?;
        Ok(made)
    }

    pub(super) fn pinned(&mut self, person: &Person, collection: &str) -> io::Result<String> {
        let pinned = self.trust("alice", person, &["pin", "show", collection, "-o", "json"], &DONE)?;
        let pinned: Value = serde_json::from_str(&pinned).map_err(io::Error::other)?;
        Ok(pinned["fingerprint"].as_str().unwrap_or_default().to_owned())
    }
}

/// What a log of decisions holds, for whoever looks after the story (`KEEP=1`).
pub(super) fn decisions(dir: &Path) -> usize {
    fs::read_to_string(dir.join("decisions.log")).map_or(0, |log| log.lines().count())
}
