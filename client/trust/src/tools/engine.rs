//! docker, podman and nerdctl: the images of `pull`, and the image of `run` and `create`.

use super::flags::{Table, Word, Words};
use super::{Place, ToolError, place};

const KNOWN: &str = "pull, run and create (also as `image pull`, `container run`, `container create`)";
const PREFIX: &str = "docker://";

/// What is known of one engine's command line.
pub(super) struct Engine {
    name: &'static str,
    global: Table,
    pull: Table,
    run: Table,
    /// Whether `docker://REF` is a reference for it.
    transports: bool,
}

pub(super) const DOCKER: Engine = Engine {
    name: "docker",
    global: Table {
        switches: "D debug tls tlsverify",
        values: "config c context H host l log-level tlscacert tlscert tlskey",
        unchecked: "",
    },
    pull: Table { switches: "disable-content-trust q quiet", values: "platform", unchecked: "a all-tags" },
    run: Table {
        switches: "d detach i interactive t tty rm init privileged read-only P publish-all no-healthcheck \
                   oom-kill-disable sig-proxy disable-content-trust q quiet use-api-socket",
        values: "a add-host annotation attach blkio-weight blkio-weight-device c cap-add cap-drop cgroup-parent cgroupns \
                 cidfile cpu-count cpu-percent cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares cpus \
                 cpuset-cpus cpuset-mems detach-keys device device-cgroup-rule device-read-bps device-read-iops \
                 device-write-bps device-write-iops dns dns-option dns-opt dns-search domainname e entrypoint env env-file \
                 expose gpus group-add h health-cmd health-interval health-retries health-start-interval \
                 health-start-period health-timeout hostname io-maxbandwidth io-maxiops ip ip6 ipc isolation kernel-memory \
                 l label label-file link link-local-ip log-driver log-opt m mac-address memory memory-reservation \
                 memory-swap memory-swappiness mount name net net-alias network network-alias oom-score-adj p pid \
                 pids-limit platform publish pull restart runtime security-opt shm-size stop-signal stop-timeout \
                 storage-opt sysctl tmpfs u ulimit user userns uts v volume volume-driver volumes-from w workdir",
        unchecked: "",
    },
    transports: false,
};

pub(super) const PODMAN: Engine = Engine {
    name: "podman",
    global: Table {
        switches: "r remote noout syslog transient-store",
        values: "cdi-spec-dir cgroup-manager c connection conmon config events-backend hooks-dir identity imagestore \
                 log-level module network-cmd-path network-config-dir out root runroot runtime runtime-flag ssh \
                 storage-driver storage-opt tmpdir url volumepath",
        unchecked: "",
    },
    pull: Table {
        switches: "disable-content-trust q quiet tls-verify",
        values: "arch authfile cert-dir creds decryption-key os platform policy retry retry-delay variant",
        unchecked: "a all-tags",
    },
    run: Table {
        switches: "d detach i interactive t tty rm rmi init privileged read-only read-only-tmpfs P publish-all \
                   no-healthcheck no-hosts no-hostname oom-kill-disable sig-proxy disable-content-trust q quiet replace \
                   http-proxy env-host passwd tls-verify",
        values: "a add-host annotation arch attach authfile blkio-weight blkio-weight-device c cap-add cap-drop \
                 cert-dir cgroup-conf cgroup-parent cgroupns cgroups chrootdirs cidfile conmon-pidfile cpu-period cpu-quota \
                 cpu-rt-period cpu-rt-runtime cpu-shares cpus cpuset-cpus cpuset-mems creds decryption-key detach-keys \
                 device device-cgroup-rule device-read-bps device-read-iops device-write-bps device-write-iops dns \
                 dns-option dns-opt dns-search e entrypoint env env-file env-merge expose gidmap gpus group-add \
                 group-entry h health-cmd health-interval health-log-destination health-max-log-count \
                 health-max-log-size health-on-failure health-retries health-start-period health-startup-cmd \
                 health-startup-interval health-startup-retries health-startup-success health-startup-timeout \
                 health-timeout hostname hostuser hosts-file image-volume init-path ip ip6 ipc l label label-file \
                 log-driver log-opt m mac-address memory memory-reservation memory-swap memory-swappiness mount name net \
                 network network-alias oom-score-adj os p passwd-entry personality pid pidfile pids-limit platform pod \
                 preserve-fd preserve-fds publish pull rdt-class requires restart retry retry-delay sdnotify \
                 seccomp-policy secret security-opt shm-size shm-size-systemd stop-signal stop-timeout subgidname \
                 subuidname sysctl systemd timeout tmpfs tz u uidmap ulimit umask unsetenv user userns uts v variant \
                 volume volumes-from w workdir",
        unchecked: "rootfs unsetenv-all pod-id-file",
    },
    transports: true,
};

pub(super) const NERDCTL: Engine = Engine {
    name: "nerdctl",
    global: Table {
        switches: "debug debug-full experimental insecure-registry",
        values: "a address bridge-ip cdi-spec-dirs cgroup-manager cni-netconfpath cni-path data-root H host \
                 global-dns global-dns-opts global-dns-search host-gateway-ip hosts-dir kube-hide-dupe n namespace \
                 snapshotter storage-driver userns-remap",
        unchecked: "",
    },
    pull: Table {
        switches: "q quiet",
        values: "cosign-certificate-identity cosign-certificate-oidc-issuer cosign-key platform soci-index-digest \
                 unpack verify",
        unchecked: "all-platforms ipfs-address",
    },
    run: Table {
        switches: "d detach i interactive t tty rm init privileged read-only P publish-all no-healthcheck \
                   oom-kill-disable sig-proxy q quiet rootless",
        values: "a add-host annotation attach blkio-weight c cap-add cap-drop cgroup-conf cgroup-parent cgroupns cidfile \
                 cosign-certificate-identity cosign-key cpu-period cpu-quota cpu-shares cpus cpuset-cpus cpuset-mems \
                 detach-keys device dns dns-opt dns-option dns-search e entrypoint env env-file expose gpus group-add h \
                 hostname init-binary ip ip6 ipc isolation l label label-file log-driver log-opt m mac-address memory \
                 memory-reservation memory-swap memory-swappiness mount name net network network-alias oom-score-adj p \
                 pid pidfile pids-limit platform publish pull rdt-class restart runtime security-opt shm-size \
                 stop-signal stop-timeout sysctl tmpfs u ulimit umask user userns uts v verify volume volumes-from w \
                 workdir",
        unchecked: "rootfs ipfs-address systemd-image",
    },
    transports: false,
};

enum Verb {
    Pull,
    Run,
}

pub(super) fn images(engine: &Engine, arguments: &[String]) -> Result<Vec<Place>, ToolError> {
    let mut words = Words::new(engine.name, arguments);
    let refused = || ToolError::Subcommand { tool: engine.name, known: KNOWN };
    let mut group = "";
    let verb = loop {
        match words.next(&engine.global)? {
            Some(Word::Flag { .. }) => {}
            Some(Word::Positional { word: word @ ("image" | "container"), .. }) if group.is_empty() => group = word,
            Some(Word::Positional { word: "pull", .. }) if group != "container" => break Verb::Pull,
            Some(Word::Positional { word: "run" | "create", .. }) if group != "image" => break Verb::Run,
            _ => return Err(refused()),
        }
    };
    let found = match verb {
        Verb::Pull => pulled(engine, &mut words)?,
        Verb::Run => started(engine, &mut words)?,
    };
    if found.is_empty() { Err(ToolError::NoImage { tool: engine.name }) } else { Ok(found) }
}

fn pulled(engine: &Engine, words: &mut Words<'_>) -> Result<Vec<Place>, ToolError> {
    let mut found = Vec::new();
    while let Some(word) = words.next(&engine.pull)? {
        if let Word::Positional { index, word } = word {
            found.push(image(engine, index, word)?);
        }
    }
    Ok(found)
}

/// The first positional word is the image; what follows belongs to the container.
fn started(engine: &Engine, words: &mut Words<'_>) -> Result<Vec<Place>, ToolError> {
    while let Some(word) = words.next(&engine.run)? {
        match word {
            Word::Flag { name, value } => {
                let mounts_an_image = name == "mount" && value.is_some_and(mounts_image);
                if mounts_an_image {
                    return Err(ToolError::Unchecked { tool: engine.name, flag: "--mount type=image".to_owned() });
                }
            }
            Word::Positional { index, word } => return image(engine, index, word).map(|place| vec![place]),
        }
    }
    Ok(Vec::new())
}

fn mounts_image(value: &str) -> bool {
    // Fields are CSV and may be quoted; a volume could have this text in its name and is refused too.
    value.to_ascii_lowercase().replace(['"', ' '], "").contains("type=image")
}

fn image(engine: &Engine, index: usize, word: &str) -> Result<Place, ToolError> {
    if engine.transports && word.starts_with(PREFIX) {
        return place(index, word, PREFIX);
    }
    place(index, word, "")
}
