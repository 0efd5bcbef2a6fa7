#!/usr/bin/env bash
# Puts the programs that the demo and the tests need into target/tools/bin: docker-registry, skopeo, podman, kubectl,
# faketime.
#
# A program on PATH is used as it is. What is missing is downloaded as a Debian package and unpacked below target/tools
# (debian.sh): nothing is installed, no service is started or enabled.
#
# usage: tests/tools/fetch.sh [FOLDER]     FOLDER: default target/tools
# exit:  0 all there · 3 something is missing and cannot be fetched; one line on stderr says what
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${1:-$here/../../target/tools}
mkdir -p "$tools/bin"
tools=$(cd "$tools" && pwd)

# The wrappers hold the folder's place: a checkout that was moved fetches again.
want="$(cat "$here/debian.sh" "$here/fetch.sh" | cksum) $tools"
complete() {
    [[ -f $tools/fetched && $(<"$tools/fetched") == "$want" ]] || return 1
    local program
    for program in docker-registry skopeo podman kubectl faketime; do
        [[ -x $tools/bin/$program ]] || return 1
    done
}

complete && exit 0
# Two runs at once (`make demo` beside `make test`): the second one waits, and then finds everything there.
exec 9>"$tools/lock"
flock 9
complete && exit 0
rm -f "$tools/fetched"
# shellcheck source=tests/tools/debian.sh
source "$here/debian.sh"

libfaketime() {
    local candidate
    for candidate in /usr/lib/*/faketime/libfaketimeMT.so.1 "$root"/usr/lib/*/faketime/libfaketimeMT.so.1; do
        [[ -f $candidate ]] && echo "$candidate" && return
    done
    return 1
}

# What has to be fetched?
packages=()
for program in docker-registry skopeo podman kubectl; do
    if path=$(type -P "$program") && [[ $path != "$tools"/* ]]; then
        ln -sfn "$path" "$tools/bin/$program"
    elif [[ $program == kubectl ]]; then
        packages+=(kubernetes-client)
    else
        packages+=("$program")
        # podman starts nothing without them, not even a pull.
        [[ $program != podman ]] || packages+=(conmon crun)
    fi
done
libfaketime >/dev/null || packages+=(libfaketime)
((${#packages[@]} == 0)) || unpack "${packages[*]}" with_libraries_of_clients "${packages[@]}"

# install_script NAME: standard input becomes the program NAME, in one step
install_script() {
    cat >"$tools/bin/$1.new"
    chmod 755 "$tools/bin/$1.new"
    mv "$tools/bin/$1.new" "$tools/bin/$1"
}

# wrap PROGRAM [LINE]: the unpacked program finds its own libraries; the machine's programs keep theirs
wrap() {
    local program="$root/usr/bin/$1" lost
    [[ -x $program ]] || missing "$1 (its package holds no /usr/bin/$1)"
    lost=$(lost_libraries "$program")
    [[ -z $lost ]] || missing "$1 needs shared libraries that are not here: $lost"
    install_script "$1" <<W
#!/bin/sh
LD_LIBRARY_PATH="$(library_path)\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
export LD_LIBRARY_PATH
${2:-}
exec "$program" "\$@"
W
}

for package in ${packages[@]+"${packages[@]}"}; do
    case $package in
    docker-registry) wrap docker-registry ;;
    kubernetes-client) wrap kubectl ;;
    skopeo)
        # skopeo does nothing without a policy.json. Where the machine has none it gets what Debian ships: accept
        # anything (whether an image may be trusted is what `trust` decides before skopeo is called).
        echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$tools/policy.json"
        wrap skopeo "if [ ! -f \"\${HOME:-/nonexistent}/.config/containers/policy.json\" ] && [ ! -f /etc/containers/policy.json ]; then
    set -- --policy \"$tools/policy.json\" \"\$@\"
fi"
        ;;
    podman)
        # It looks for conmon and crun on PATH.
        wrap podman "PATH=\"$root/usr/bin:\$PATH\"
export PATH"
        ;;
    esac
done

# Debian's `faketime` knows only the installed place of its library, and a preload that is not found is silently no
# preload. So our own: `faketime TIME PROGRAM …`, TIME as `date -d` reads it or, after -f, as libfaketime does (+3d).
library=$(libfaketime) || missing "faketime (its package holds no libfaketimeMT.so.1)"
install_script faketime <<W
#!/bin/sh
# Shifts the wall clock of PROGRAM; the monotonic clock, and with it every timer, stays true.
case "\$1" in
-f) shift; FAKETIME=\$1 ;;
*)
    seconds=\$(date -u -d "\$1" +%s) || exit 2
    FAKETIME=\$((seconds - \$(date +%s)))
    case \$FAKETIME in -*) ;; *) FAKETIME=+\$FAKETIME ;; esac
    ;;
esac
shift
export FAKETIME
export FAKETIME_DONT_FAKE_MONOTONIC=1
export LD_PRELOAD="$library\${LD_PRELOAD:+:\$LD_PRELOAD}"
exec "\$@"
W

# Each must really run here.
"$tools/bin/skopeo" --version >/dev/null 2>&1 || missing "skopeo ($tools/bin/skopeo does not run)"
"$tools/bin/podman" --version >/dev/null 2>&1 || missing "podman ($tools/bin/podman does not run)"
"$tools/bin/docker-registry" --version >/dev/null 2>&1 || missing "docker-registry ($tools/bin/docker-registry does not run)"
"$tools/bin/kubectl" version --client >/dev/null 2>&1 || missing "kubectl ($tools/bin/kubectl does not run)"
[[ $("$tools/bin/faketime" '2031-02-03 04:05:00Z' date -u +%Y-%m) == 2031-02 ]] || missing "faketime (the clock does not move)"
echo "$want" >"$tools/fetched"
