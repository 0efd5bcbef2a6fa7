//! What puts the door of Kubernetes into a cluster: the plain manifests and the Helm chart, held to the same facts.
//!
//! The chart is rendered by the tests' own renderer; its renderings are kept in `tests/golden/helm`, with which the real Helm is
//! compared in `make interop`. `UPDATE_CHARTS=1` writes them anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use trust_gate::config::{Config, Mode, Pin, Tags};
use trust_image::workload;
use trust_tests::helm::{Chart, Release, yaml};

const RELEASE: Release<'_> = Release { name: "trust", namespace: "trust-system" };
const ROOT: &[u8] = b"{}";

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn chart() -> Chart {
    Chart::read(&root().join("deploy/helm/trust-gate")).unwrap()
}

/// The values files that come with the chart, by their names.
fn values() -> Vec<(String, Value)> {
    let folder = root().join("deploy/helm/trust-gate/ci");
    let mut found: Vec<(String, Value)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().strip_suffix("-values.yaml").unwrap().to_owned();
            (name, yaml::documents(&fs::read_to_string(path).unwrap()).unwrap().remove(0))
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(found.len() >= 4);
    found
}

fn rendered(over: &Value) -> Vec<Value> {
    yaml::documents(&chart().render(RELEASE, over).unwrap()).unwrap()
}

fn manifests() -> Vec<Value> {
    let folder = root().join("deploy/kubernetes");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    assert!(files.len() >= 6, "{files:?}");
    files.iter().flat_map(|file| yaml::documents(&fs::read_to_string(file).unwrap()).unwrap()).collect()
}

/// What must hold.
struct Facts<'a> {
    namespace: &'a str,
    name: &'a str,
    excluded: Vec<&'a str>,
    failure: &'a str,
    timeout: u64,
    /// `GROUP/RESOURCE` beside Kubernetes' own.
    more: Vec<&'a str>,
    /// Whether `/mutate` is registered.
    mutates: bool,
    cert_manager: bool,
    network_policy: bool,
}

impl Facts<'_> {
    fn plain() -> Self {
        Facts {
            namespace: "trust-gate",
            name: "trust-gate",
            excluded: vec!["trust-gate", "kube-system"],
            failure: "Ignore",
            timeout: 5,
            more: Vec::new(),
            mutates: true,
            cert_manager: false,
            network_policy: true,
        }
    }

    fn of(name: &str) -> Self {
        let chart =
            Facts { namespace: "trust-system", excluded: vec!["trust-system", "kube-system"], ..Facts::plain() };
        match name {
            "warn" => chart,
            "enforce" => Facts {
                name: "gate",
                excluded: vec!["trust-system", "kube-system", "cert-manager"],
                failure: "Fail",
                timeout: 7,
                more: vec!["argoproj.io/rollouts", "tekton.dev/tasks"],
                ..chart
            },
            "certmanager" => Facts {
                excluded: vec!["trust-system"],
                mutates: false,
                cert_manager: true,
                network_policy: false,
                ..chart
            },
            "issuer" => Facts { failure: "Fail", mutates: false, cert_manager: true, ..chart },
            other => panic!("say what holds of {other}-values.yaml"),
        }
    }
}

fn of_kind<'o>(objects: &'o [Value], kind: &str) -> Vec<&'o Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

fn one<'o>(objects: &'o [Value], kind: &str) -> &'o Value {
    let found = of_kind(objects, kind);
    assert_eq!(found.len(), 1, "{kind}");
    found[0]
}

fn selects(selector: &Value, labels: &Value) -> bool {
    let selector = selector.as_object().unwrap();
    !selector.is_empty() && selector.iter().all(|(name, value)| labels.get(name) == Some(value))
}

fn check(objects: &[Value], facts: &Facts<'_>) {
    check_webhooks(objects, facts);
    check_gate(objects, facts);
    for object in objects {
        let kind = object["kind"].as_str().unwrap();
        let in_no_namespace = kind == "Namespace" || kind.ends_with("WebhookConfiguration");
        let wanted = if in_no_namespace { &Value::Null } else { &json!(facts.namespace) };
        assert_eq!(&object["metadata"]["namespace"], wanted, "{kind}");
    }
    let account = one(objects, "ServiceAccount");
    assert_eq!(account["automountServiceAccountToken"], false);
    assert!(objects.iter().all(|object| !object["kind"].as_str().unwrap().contains("Role")), "the gate has no rights");
}

fn check_webhooks(objects: &[Value], facts: &Facts<'_>) {
    let mut wanted = vec![("ValidatingWebhookConfiguration", "/validate")];
    match facts.mutates {
        true => wanted.push(("MutatingWebhookConfiguration", "/mutate")),
        false => assert!(of_kind(objects, "MutatingWebhookConfiguration").is_empty()),
    }
    for (kind, path) in wanted {
        let configuration = one(objects, kind);
        let [webhook] = configuration["webhooks"].as_array().unwrap().as_slice() else { panic!("one webhook") };
        // Every kind that the gate knows, and no other: a rule on pods is none on their subresources.
        let mut covered = BTreeSet::new();
        for rule in webhook["rules"].as_array().unwrap() {
            assert_eq!((&rule["operations"], &rule["scope"]), (&json!(["CREATE", "UPDATE"]), &json!("Namespaced")));
            assert!(!rule["apiVersions"].as_array().unwrap().is_empty());
            for group in rule["apiGroups"].as_array().unwrap() {
                for resource in rule["resources"].as_array().unwrap() {
                    let is_new = covered.insert(format!("{}/{}", group.as_str().unwrap(), resource.as_str().unwrap()));
                    assert!(is_new, "{resource} twice");
                }
            }
        }
        let known = workload::kinds().filter(|(group, _)| *group != "extensions");
        let known = known.map(|(group, kind)| format!("{group}/{}s", kind.to_ascii_lowercase()));
        let more = facts.more.iter().map(|more| (*more).to_owned()).chain(["/pods/ephemeralcontainers".to_owned()]);
        assert_eq!(covered, known.chain(more).collect::<BTreeSet<_>>(), "{kind}");

        assert_eq!(webhook["admissionReviewVersions"], json!(["v1"]));
        assert_eq!(webhook["sideEffects"], "None");
        assert_eq!(webhook["failurePolicy"], facts.failure);
        assert_eq!(webhook["timeoutSeconds"], facts.timeout);
        assert_eq!(webhook["matchPolicy"], "Equivalent");
        let reinvoked = if kind == "MutatingWebhookConfiguration" { json!("IfNeeded") } else { Value::Null };
        assert_eq!(webhook["reinvocationPolicy"], reinvoked);
        let by_name = json!({"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": facts.excluded}]});
        assert_eq!(webhook["namespaceSelector"], by_name, "the server sets this label alone");
        assert!(webhook.get("objectSelector").is_none(), "the submitter sets the labels of an object");
        assert!(webhook.get("matchConditions").is_none());

        let client = &webhook["clientConfig"];
        assert_eq!(
            client["service"],
            json!({"namespace": facts.namespace, "name": facts.name, "path": path, "port": 443})
        );
        let injected = &configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"];
        match facts.cert_manager {
            true => {
                assert_eq!(*injected, json!(format!("{}/{}", facts.namespace, facts.name)));
                assert!(client.get("caBundle").is_none());
            }
            false => assert!(injected.is_null() && client["caBundle"].is_string()),
        }
    }
    if facts.cert_manager {
        let certificates = of_kind(objects, "Certificate");
        let leaf = certificates.iter().find(|c| c["metadata"]["name"] == facts.name).unwrap();
        assert_eq!(leaf["spec"]["dnsNames"], json!([format!("{}.{}.svc", facts.name, facts.namespace)]));
        let secret = &one(objects, "StatefulSet")["spec"]["template"]["spec"]["volumes"];
        let mounted = secret.as_array().unwrap().iter().find_map(|volume| volume["secret"]["secretName"].as_str());
        assert_eq!(leaf["spec"]["secretName"].as_str(), mounted);
    }
}

fn check_gate(objects: &[Value], facts: &Facts<'_>) {
    let gate = one(objects, "StatefulSet");
    let labels = &gate["spec"]["template"]["metadata"]["labels"];
    let pod = &gate["spec"]["template"]["spec"];
    assert!(gate["spec"]["replicas"].as_u64().unwrap() >= 2);
    assert!(selects(&gate["spec"]["selector"]["matchLabels"], labels));
    // Two processes never share a state folder: each member has a claim of its own.
    assert_eq!(gate["spec"]["volumeClaimTemplates"].as_array().unwrap().len(), 1);
    assert_eq!(gate["spec"]["volumeClaimTemplates"][0]["spec"]["accessModes"], json!(["ReadWriteOnce"]));

    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["serviceAccountName"], one(objects, "ServiceAccount")["metadata"]["name"]);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    for name in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod.get(name).is_none(), "{name}");
    }
    let [container] = pod["containers"].as_array().unwrap().as_slice() else { panic!("one container") };
    let context = &container["securityContext"];
    assert_eq!(
        (&context["readOnlyRootFilesystem"], &context["allowPrivilegeEscalation"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}));
    assert!(context.get("privileged").is_none());
    assert!(container["image"].as_str().unwrap().contains("@sha256:"));
    for (probe, path) in [("readinessProbe", "/readyz"), ("livenessProbe", "/livez")] {
        let get = json!({"scheme": "HTTPS", "path": path, "port": "webhook"});
        assert_eq!(container[probe]["httpGet"], get);
    }
    let spread = &pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"][0];
    assert!(selects(&spread["podAffinityTerm"]["labelSelector"]["matchLabels"], labels));

    let budget = one(objects, "PodDisruptionBudget");
    assert!(selects(&budget["spec"]["selector"]["matchLabels"], labels));
    let (least, most) = (&budget["spec"]["minAvailable"], &budget["spec"]["maxUnavailable"]);
    assert!(*least == json!(1) || *most == json!(1), "{budget}");

    let services = of_kind(objects, "Service");
    assert!(services.iter().all(|service| selects(&service["spec"]["selector"], labels)));
    let called = services.iter().find(|service| service["metadata"]["name"] == facts.name).unwrap();
    assert_eq!(called["spec"]["ports"][0], json!({"name": "webhook", "port": 443, "targetPort": "webhook"}));
    let members = services.iter().find(|service| service["metadata"]["name"] == gate["spec"]["serviceName"]).unwrap();
    assert_eq!(members["spec"]["clusterIP"], "None");

    match of_kind(objects, "NetworkPolicy").as_slice() {
        [] => assert!(!facts.network_policy),
        [policy] => {
            assert!(facts.network_policy && selects(&policy["spec"]["podSelector"]["matchLabels"], labels));
            assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
            assert_eq!(policy["spec"]["ingress"][0]["ports"], json!([{"protocol": "TCP", "port": 8443}]));
        }
        more => panic!("{} network policies", more.len()),
    }

    // The configuration is one that the gate takes, and everything that it names is mounted.
    let (config, text) = configuration(objects);
    if let Some(policy) = of_kind(objects, "NetworkPolicy").first() {
        let opened = policy["spec"]["ingress"].as_array().unwrap().iter().skip(1).map(|entry| entry["ports"].clone());
        let metrics = config.metrics.admission.map(|address| json!([{"protocol": "TCP", "port": address.port()}]));
        assert!(opened.eq(metrics), "the metrics, where there are any, and nothing else");
    }
    let admission = config.admission().unwrap();
    let mut ports = vec![json!({"name": "webhook", "containerPort": admission.listen.port()})];
    let metrics = config.metrics.admission;
    ports.extend(metrics.map(|address| json!({"name": "metrics", "containerPort": address.port()})));
    assert_eq!(container["ports"], json!(ports));
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(admission.drain + Duration::from_secs(30) < Duration::from_secs(grace));
    // What fails must not be allowed before what is found is denied.
    assert!(facts.failure == "Ignore" || admission.mode == Mode::Enforce);
    let mounts: Vec<&Value> = container["volumeMounts"].as_array().unwrap().iter().collect();
    let mount = |path: &Path| {
        let found = mounts.iter().find(|mount| path.starts_with(mount["mountPath"].as_str().unwrap()));
        found.unwrap_or_else(|| panic!("{} is on no volume", path.display()))
    };
    for path in [&config.state, &config.log] {
        assert!(mount(path).get("readOnly").is_none());
    }
    let args: Vec<&str> = container["args"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let ["admission", "--config", file] = args.as_slice() else { panic!("{args:?}") };
    let named = text.lines().filter_map(|line| line.strip_prefix("root = \"")).map(|rest| rest.trim_end_matches('"'));
    let roots: Vec<PathBuf> = named.map(PathBuf::from).collect();
    assert_eq!(roots.len(), config.collections.len());
    for path in [&admission.certificate, &admission.key, &PathBuf::from(file)].into_iter().chain(&roots) {
        assert_eq!(mount(path)["readOnly"], true, "{}", path.display());
        assert!(mount(path).get("subPath").is_none(), "a single file would never change");
    }
    let mounted: Vec<&Value> = pod["volumes"].as_array().unwrap().iter().map(|volume| &volume["name"]).collect();
    for mount in &mounts {
        assert!(mounted.contains(&&mount["name"]) || mount["name"] == "state");
    }
}

/// The configuration in the objects, read by the gate, with a root that has the fingerprint that it says.
fn configuration(objects: &[Value]) -> (Config, String) {
    let maps = of_kind(objects, "ConfigMap");
    let text = maps.iter().find_map(|map| map["data"]["gate.toml"].as_str()).unwrap().to_owned();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("any.root.json"), ROOT).unwrap();
    let readable = text.lines().map(|line| match line.strip_prefix("root = ") {
        Some(_) => "root = \"any.root.json\"\n".to_owned(),
        None => format!("{line}\n"),
    });
    let readable = readable.collect::<String>().replace(&"0".repeat(64), &trust_reader::anchor::fingerprint(ROOT));
    fs::write(dir.path().join("gate.toml"), &readable).unwrap();
    let config = Config::read(&dir.path().join("gate.toml")).unwrap_or_else(|error| panic!("{error}\n{text}"));
    (config, text)
}

#[test]
fn the_manifests_ask_about_every_kind_have_no_rights_and_keep_their_state() {
    let objects = manifests();
    check(&objects, &Facts::plain());
    let (config, _) = configuration(&objects);
    assert_eq!(config.admission().unwrap().mode, Mode::Warn, "first they look");
    let metrics = config.metrics.admission.expect("the manifests tell metrics");
    let annotations = &one(&objects, "StatefulSet")["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["prometheus.io/port"], json!(metrics.port().to_string()));
}

/// What is below this heading of a page, up to the next one.
fn section(page: &str, heading: &str) -> String {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let (_, rest) = text.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("{page}: {heading}"));
    rest.split("\n## ").next().unwrap().to_owned()
}

#[test]
fn the_job_that_takes_the_log_out_meets_the_disk_the_node_the_user_and_the_file_of_a_gate() {
    let page = section("deploy/kubernetes/README.md", "The log");
    let example = page.split("```yaml\n").nth(1).unwrap().split("\n```").next().unwrap();
    let job = yaml::documents(example).unwrap().remove(0);
    let objects = manifests();
    let gate = one(&objects, "StatefulSet");
    let (gate_pod, pod) = (&gate["spec"]["template"]["spec"], &job["spec"]["jobTemplate"]["spec"]["template"]["spec"]);
    assert_eq!(job["metadata"]["namespace"], gate["metadata"]["namespace"]);
    assert_eq!(pod["securityContext"], gate_pod["securityContext"], "the files are of that user");
    assert_eq!(pod["automountServiceAccountToken"], false);
    let member = format!("{}-0", gate["metadata"]["name"].as_str().unwrap());
    let claim = &gate["spec"]["volumeClaimTemplates"][0]["metadata"]["name"];
    let [state, archive] = pod["volumes"].as_array().unwrap().as_slice() else { panic!("two volumes") };
    assert_eq!(
        state["persistentVolumeClaim"]["claimName"],
        json!(format!("{}-{member}", claim.as_str().unwrap())),
        "as a StatefulSet names the claims of its members"
    );
    let near = &pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0];
    assert_eq!(near["labelSelector"]["matchLabels"]["statefulset.kubernetes.io/pod-name"], json!(member));
    let container = &pod["containers"][0];
    assert_eq!(container["securityContext"], gate_pod["containers"][0]["securityContext"]);

    // Run on folders: nothing of the state is touched, and what was moved is taken out by the run after.
    let (config, _) = configuration(&objects);
    let mounts = container["volumeMounts"].as_array().unwrap();
    let at = |volume: &Value| {
        let found = mounts.iter().find(|mount| mount["name"] == volume["name"]);
        found.unwrap()["mountPath"].as_str().unwrap().to_owned()
    };
    assert_eq!(config.log, Path::new(&at(state)).join("decisions.log"));
    let dir = tempfile::tempdir().unwrap();
    let (disk, kept) = (dir.path().join("disk"), dir.path().join("kept"));
    for folder in [disk.join("state"), kept.clone()] {
        fs::create_dir_all(folder).unwrap();
    }
    let script = container["args"][0].as_str().unwrap();
    let script = script.replace(&at(state), disk.to_str().unwrap()).replace(&at(archive), kept.to_str().unwrap());
    let run = || assert!(std::process::Command::new("sh").args(["-euc", &script]).status().unwrap().success());
    let names = |folder: &Path| {
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    run();
    assert_eq!(names(&disk), ["state"], "a gate that has decided nothing");
    fs::write(disk.join("decisions.log"), "1\n").unwrap();
    run();
    assert!(!disk.join("decisions.log").exists() && names(&kept).is_empty(), "still written to for one refresh");
    let moved = names(&disk).into_iter().find(|name| name.starts_with("decisions-")).unwrap();
    fs::write(disk.join(&moved), "1\n2\n").unwrap();
    run();
    assert_eq!(names(&disk), ["state"]);
    assert_eq!(fs::read_to_string(kept.join(format!("{member}-{moved}"))).unwrap(), "1\n2\n");
}

#[test]
fn the_image_that_is_described_is_the_one_that_the_manifests_start() {
    let text = fs::read_to_string(root().join("deploy/kubernetes/Dockerfile")).unwrap();
    let instructions: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    let objects = manifests();
    let pod = &one(&objects, "StatefulSet")["spec"]["template"]["spec"];
    let (user, group) = (&pod["securityContext"]["runAsUser"], &pod["securityContext"]["runAsGroup"]);
    assert!(instructions.contains(&format!("USER {user}:{group}").as_str()), "{text}");
    assert!(pod["containers"][0].get("command").is_none(), "the program is the entry point");
    assert_eq!(instructions.first(), Some(&"ARG BASE"), "the base is whoever builds it names");
    let program = instructions.iter().find_map(|line| line.strip_prefix("COPY trust-gate ")).unwrap();
    assert_eq!(instructions.last(), Some(&format!("ENTRYPOINT [\"{program}\"]").as_str()));
    let folder = Path::new(program).parent().unwrap().to_str().unwrap();
    let path = instructions.iter().find_map(|line| line.strip_prefix("ENV PATH=")).unwrap();
    assert!(path.split(':').any(|entry| entry == folder), "`kubectl exec POD -- trust-gate` finds it");
}

#[test]
fn the_chart_asks_about_every_kind_has_no_rights_and_keeps_its_state_with_every_file_of_values() {
    for (name, over) in values() {
        println!("{name}");
        check(&rendered(&over), &Facts::of(&name));
    }
}

#[test]
fn the_checks_see_what_is_wrong() {
    for (kind, pointer, value) in [
        ("ValidatingWebhookConfiguration", "/webhooks/0/rules/0/resources", json!(["pods"])),
        ("ValidatingWebhookConfiguration", "/webhooks/0/namespaceSelector/matchExpressions/0/key", json!("team")),
        ("MutatingWebhookConfiguration", "/webhooks/0/reinvocationPolicy", json!("Never")),
        ("MutatingWebhookConfiguration", "/webhooks/0/clientConfig/service/path", json!("/validate")),
        ("StatefulSet", "/spec/template/spec/securityContext/runAsNonRoot", json!(false)),
        ("StatefulSet", "/spec/template/spec/terminationGracePeriodSeconds", json!(30)),
        ("StatefulSet", "/spec/volumeClaimTemplates", json!([])),
        ("StatefulSet", "/spec/replicas", json!(1)),
        ("PodDisruptionBudget", "/spec/selector/matchLabels", json!({"app": "x"})),
        ("Service", "/spec/selector", json!({"app": "x"})),
        ("ConfigMap", "/data/gate.toml", json!("moed = 'warn'")),
    ] {
        let mut objects = manifests();
        let at = objects.iter().position(|object| object["kind"] == kind).unwrap();
        *objects[at].pointer_mut(pointer).unwrap() = value;
        let refused = std::panic::catch_unwind(|| check(&objects, &Facts::plain()));
        assert!(refused.is_err(), "{kind} {pointer}");
    }
}

#[test]
fn the_renderings_of_the_chart_are_those_that_are_kept() {
    let folder = root().join("tests/golden/helm");
    let update = std::env::var_os("UPDATE_CHARTS").is_some();
    if update {
        fs::create_dir_all(&folder).unwrap();
    }
    let mut known = BTreeSet::new();
    for (name, over) in values() {
        let file = folder.join(format!("{name}.yaml"));
        let text = chart().render(RELEASE, &over).unwrap();
        if update {
            fs::write(&file, &text).unwrap();
        }
        let kept = fs::read_to_string(&file).unwrap_or_default();
        assert!(kept == text, "{} is another one: look at it, then UPDATE_CHARTS=1", file.display());
        known.insert(format!("{name}.yaml"));
    }
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(files.collect::<BTreeSet<_>>(), known);
}

#[test]
fn what_the_chart_is_told_arrives_in_the_configuration_and_the_roots_arrive_to_the_byte() {
    let all = values();
    let over = &all.iter().find(|(name, _)| name == "enforce").unwrap().1;
    let objects = rendered(over);
    let (config, text) = configuration(&objects);
    let admission = config.admission().unwrap();
    assert_eq!((admission.mode, admission.pin, admission.tags), (Mode::Enforce, Pin::Pods, Tags::Deny));
    assert!(admission.kinds.has("argoproj.io", "Rollout") && admission.kinds.has("tekton.dev", "Task"));
    assert_eq!(admission.gatekeeper.as_ref().unwrap().namespace.as_deref(), Some("shop"));
    assert_eq!((config.refresh.as_secs(), config.max_staleness.as_secs()), (30, 1_800));
    assert!(text.contains("ca = \"/etc/trust-gate/roots/pay.ca.pem\""));
    let roots =
        of_kind(&objects, "ConfigMap").into_iter().find(|map| map["data"]["pay.root.json"].is_string()).unwrap();
    assert_eq!(roots["data"]["pay.root.json"], over["gate"]["collections"]["pay"]["root"]);
    assert_eq!(roots["data"]["pay.ca.pem"], over["gate"]["collections"]["pay"]["ca"]);
    // Another configuration makes other Pods, and so does another authority of a server.
    let sums = |over: &Value| {
        let objects = rendered(over);
        one(&objects, "StatefulSet")["spec"]["template"]["metadata"]["annotations"].clone()
    };
    for (pointer, value) in [("/gate/mode", "warn"), ("/gate/collections/pay/ca", "PEM")] {
        let mut other = over.clone();
        *other.pointer_mut(pointer).unwrap() = json!(value);
        assert_ne!(sums(over), sums(&other), "{pointer}");
    }
    let off = &all.iter().find(|(name, _)| name == "certmanager").unwrap().1;
    let (config, _) = configuration(&rendered(off));
    let admission = config.admission().unwrap();
    assert_eq!((admission.mode, admission.pin, admission.tags), (Mode::Audit, Pin::Off, Tags::Allow));
    assert!(admission.gatekeeper.as_ref().is_some_and(|gatekeeper| gatekeeper.namespace.is_none()));
}

#[test]
fn values_that_would_install_something_else_than_meant_are_refused_by_the_schema_of_the_chart() {
    let text = fs::read_to_string(root().join("deploy/helm/trust-gate/values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let chart = chart();
    for (name, over) in values() {
        let errors: Vec<String> = validator.iter_errors(&chart.with(&over)).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
    assert!(!validator.is_valid(chart.values()), "image, policy and collections have to be said");
    let good = chart.with(&values().into_iter().find(|(name, _)| name == "warn").unwrap().1);
    for (pointer, value) in [
        ("/replicas", json!(1)),
        ("/gate/mode", json!("Enforce")),
        ("/gate/pin", json!(false)),
        ("/gate/policy", json!("")),
        ("/gate/collections", json!({})),
        ("/gate/collections", json!({"Pay": good["gate"]["collections"]["pay"]})),
        ("/gate/collections/pay/fingerprint", json!("00")),
        ("/gate/collections/pay/server", json!("http://trust.example.com")),
        ("/gate/environment", json!({"name": "x", "cloud": "hybrid"})),
        ("/gate/environment", json!({"name": "x"})),
        ("/gate/environment", json!({})),
        ("/gate/namespaces", json!({"shop": "x"})),
        ("/gate/tags", json!("allow")),
        ("/gate/kinds", json!([{"group": "a.io", "versions": ["v1"], "resource": "things", "kind": "Thing"}])),
        (
            "/gate/kinds",
            json!([{"group": "a.io", "versions": [], "resource": "things", "kind": "Thing", "images": ["x"]}]),
        ),
        ("/image/reference", json!("registry.example.com/trust/trust-gate:latest")),
        ("/webhook/failurePolicy", json!("fail")),
        ("/webhook/timeoutSeconds", json!(60)),
        ("/certificate/caBundle", json!("-----BEGIN CERTIFICATE-----")),
        ("/name", json!("Trust Gate")),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value.clone();
        assert!(!validator.is_valid(&bad), "{pointer} {value}");
    }
    let mut bad = good.clone();
    bad["gate"].as_object_mut().unwrap().remove("environment");
    assert!(!validator.is_valid(&bad), "nothing says where the cluster is");
    for pointer in ["", "/gate", "/webhook", "/certificate", "/image", "/networkPolicy"] {
        let mut bad = good.clone();
        bad.pointer_mut(pointer).unwrap().as_object_mut().unwrap().insert("moed".to_owned(), json!("x"));
        assert!(!validator.is_valid(&bad), "{pointer}/moed");
    }
}

#[test]
fn a_chart_without_image_or_authority_says_what_is_missing() {
    let mut over = values().into_iter().find(|(name, _)| name == "warn").unwrap().1;
    for (pointer, says) in [
        ("/certificate/caBundle", "certificate.caBundle is missing"),
        ("/image/reference", "image.reference is missing"),
    ] {
        let before = over.clone();
        *over.pointer_mut(pointer).unwrap() = json!("");
        let refused = chart().render(RELEASE, &over).unwrap_err();
        assert!(refused.contains(says), "{refused}");
        over = before;
    }
}
