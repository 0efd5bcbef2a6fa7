#!/usr/bin/env bash
# Builds the real counterparts of the gates, once, from public Go modules at the versions below: kube-apiserver, kubectl,
# etcd, containerd with ctr and crictl, the distribution registry, a registry with the referrers API, helm, Gatekeeper. No
# cluster is needed and nothing is installed.
#
# Each program lands in FOLDER/bin/NAME-VERSION/NAME and stays; what the build needed (sources, Go's caches) is removed.
# Go checks every module against the public checksum database (GOSUMDB). GOPROXY and GOFLAGS are the machine's.
#
# usage: tests/tools/interop.sh [NAME…]
#        NAME: kube-apiserver kubectl etcd containerd ctr crictl registry referrers helm gatekeeper; default: all
#        FOLDER is ${XDG_CACHE_HOME:-~/.cache}/trust-interop, JOBS (default: all processors) limits the compiler
# out:   one line for each program: NAME VERSION PATH, or NAME VERSION - REASON where it could not be built
# exit:  0 always when it ran to its end: what is not there is a line of its own · 2 usage
set -euo pipefail
export LC_ALL=C

kubernetes=v1.36.3
etcd=v3.7.3
containerd=v2.4.2
critools=v1.36.0
distribution=v3.1.2
containerregistry=v0.22.1
helm=v3.22.0
gatekeeper=v3.23.1

cache=${XDG_CACHE_HOME:-$HOME/.cache}/trust-interop
mkdir -p "$cache/bin"

# NAME VERSION MODULE PACKAGE LINKER-FLAGS
programs() {
    local stamp="-X k8s.io/component-base/version.gitVersion=$kubernetes -X k8s.io/component-base/version.gitMajor=1"
    local minor=${kubernetes#v1.}
    stamp+=" -X k8s.io/component-base/version.gitMinor=${minor%%.*}"
    cat <<P
etcd $etcd go.etcd.io/etcd/server/v3 go.etcd.io/etcd/server/v3
registry $distribution github.com/distribution/distribution/v3 github.com/distribution/distribution/v3/cmd/registry
kube-apiserver $kubernetes k8s.io/kubernetes k8s.io/kubernetes/cmd/kube-apiserver $stamp
kubectl $kubernetes k8s.io/kubernetes k8s.io/kubernetes/cmd/kubectl $stamp
containerd $containerd github.com/containerd/containerd/v2 github.com/containerd/containerd/v2/cmd/containerd
ctr $containerd github.com/containerd/containerd/v2 github.com/containerd/containerd/v2/cmd/ctr
crictl $critools sigs.k8s.io/cri-tools sigs.k8s.io/cri-tools/cmd/crictl
referrers $containerregistry github.com/google/go-containerregistry .
helm $helm helm.sh/helm/v3 helm.sh/helm/v3/cmd/helm -X helm.sh/helm/v3/internal/version.version=$helm
gatekeeper $gatekeeper github.com/open-policy-agent/gatekeeper/v3 github.com/open-policy-agent/gatekeeper/v3
P
}

# A module of Kubernetes names its siblings by folders of the same checkout, which a module's archive does not hold.
# They are published beside it, v0.MINOR.PATCH for v1.MINOR.PATCH.
siblings() {
    local file=$1 version=v0.${kubernetes#v1.}
    awk -v version="$version" '$2 == "=>" && $3 ~ /^\.\/staging\/src\// { print "replace " $1 " => " $1 " " version }
        $1 == "replace" && $3 == "=>" && $4 ~ /^\.\/staging\/src\// { print "replace " $2 " => " $2 " " version }' "$file"
}

# The distribution registry has no referrers API. go-containerregistry's has one; its own program leaves it switched off.
referrers_main() {
    cat <<'G'
package main

import (
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	handler := registry.New(registry.WithReferrersSupport(true))
	if err := http.ListenAndServe(os.Args[1], handler); err != nil {
		panic(err)
	}
}
G
}

# compile NAME VERSION MODULE PACKAGE FLAGS…: into $cache/bin/NAME-VERSION/NAME
compile() {
    local name=$1 version=$2 module=$3 package=$4 work="$cache/build/work-$1" mod
    shift 4
    rm -rf "$work"
    mkdir -p "$work"
    cd "$work"
    printf 'module interop.invalid/build\n\ngo 1.24\n' >go.mod
    if [[ $module == k8s.io/kubernetes ]]; then
        mod=$(go mod download -json "$module@$version" | awk -F '"' '$2 == "GoMod" { print $4 }') || return
        siblings "$mod" >>go.mod
    fi
    if [[ $package == . ]]; then
        "${name}_main" >main.go
        go get "$module/pkg/registry@$version" || return
    else
        go get "$package@$version" || return
    fi
    go build -trimpath -p "${JOBS:-$(nproc)}" -ldflags "-s -w $*" -o "$work/$name" "$package" || return
    mkdir -p "$cache/bin/$name-$version"
    # How it is installed: its kinds and its own webhooks.
    [[ $name != gatekeeper ]] || install -m 644 "$(go list -m -f '{{.Dir}}' "$module")/deploy/gatekeeper.yaml" \
        "$cache/bin/$name-$version/gatekeeper.yaml" || return
    mv "$work/$name" "$cache/bin/$name-$version/$name"
    # What it was built from, every module with its version and hash.
    go version -m "$cache/bin/$name-$version/$name" >"$cache/bin/$name-$version/modules"
}

wanted() {
    ((${#only[@]} == 0)) || [[ " ${only[*]} " == *" $1 "* ]]
}

only=("$@")
for name in ${only[@]+"${only[@]}"}; do
    programs | grep -q "^$name " || { echo "usage: interop.sh [NAME…], and $name is none of them" >&2; exit 2; }
done

# Two runs at once: the second one waits, and then finds everything there.
exec 9>"$cache/lock"
flock 9
export CGO_ENABLED=0 GOWORK=off GOPATH="$cache/build/go" GOMODCACHE="$cache/build/modules" GOCACHE="$cache/build/objects"
export GOFLAGS="${GOFLAGS:-$(go env GOFLAGS 2>/dev/null || true)} -modcacherw -mod=mod"

while read -r name version module package flags; do
    wanted "$name" || continue
    program="$cache/bin/$name-$version/$name"
    if [[ ! -x $program ]]; then
        log="$cache/$name-$version.log"
        if ! type -P go >/dev/null; then
            echo "$name $version - there is no Go toolchain on this machine"
            continue
        fi
        echo "    building $name $version ($package)" >&2
        started=$SECONDS
        # shellcheck disable=SC2086 # flags are words
        if ! (compile "$name" "$version" "$module" "$package" $flags) >"$log" 2>&1; then
            echo "$name $version - not built: $(grep -v '^go: downloading' "$log" | tail -n 1 | tr -d '\t') (all of it: $log)"
            continue
        fi
        echo "    built in $((SECONDS - started)) s" >&2
    fi
    echo "$name $version $program"
done < <(programs)
[[ -n ${KEEP_BUILD:-} ]] || rm -rf "$cache/build"
