#!/usr/bin/env bash
# Puts a Docker Engine for tests into target/tools/engine/bin: dockerd, containerd, runc, ctr, and the docker client.
#
# A machine that has dockerd on PATH uses it as it is. Elsewhere Debian's packages are downloaded and unpacked below
# target/tools (debian.sh): nothing is installed, no service is started or enabled.
#
# usage: tests/tools/engine.sh [FOLDER]    FOLDER: default target/tools
# exit:  0 all there · 3 something is missing and cannot be fetched; one line on stderr says what
set -euo pipefail
export LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${1:-$here/../../target/tools}
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)
engine="$tools/engine"

want="$(cat "$here/debian.sh" "$here/engine.sh" | cksum) $tools"
complete() {
    [[ -f $engine/fetched && $(<"$engine/fetched") == "$want" ]] || return 1
    local program
    for program in dockerd containerd containerd-shim-runc-v2 ctr runc docker ip; do
        [[ -x $engine/bin/$program ]] || return 1
    done
}

complete && exit 0
exec 9>"$tools/lock"
flock 9
complete && exit 0
rm -rf "$engine"
mkdir -p "$engine/bin"
# shellcheck source=tests/tools/debian.sh
source "$here/debian.sh"

packages=()
type -P dockerd >/dev/null && type -P containerd >/dev/null && type -P runc >/dev/null || packages+=(docker.io)
# It switches the loopback of a private network on.
type -P ip >/dev/null || packages+=(iproute2)
((${#packages[@]} == 0)) || unpack "${packages[*]}" with_dependencies "${packages[@]}"

for program in dockerd containerd containerd-shim-runc-v2 ctr runc docker ip; do
    # The client of the machine, where there is one: it is newer than Debian's.
    if path=$(type -P "$program") && { [[ ${packages[*]} != *docker.io* ]] || [[ $program == docker || $program == ip ]]; }; then
        ln -sfn "$path" "$engine/bin/$program"
        continue
    fi
    path=
    for folder in usr/bin usr/sbin bin sbin; do
        if [[ -x $root/$folder/$program ]]; then path=$root/$folder/$program; fi
    done
    [[ -n $path ]] || missing "$program (the packages ${packages[*]} do not hold it)"
    lost=$(lost_libraries "$path")
    [[ -z $lost ]] || missing "$program needs shared libraries that are not here: $lost"
    cat >"$engine/bin/$program" <<W
#!/bin/sh
LD_LIBRARY_PATH="$(library_path)\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
export LD_LIBRARY_PATH
exec "$path" "\$@"
W
    chmod 755 "$engine/bin/$program"
done

# Each must really run here.
for program in dockerd containerd ctr runc docker; do
    "$engine/bin/$program" --version >/dev/null 2>&1 || missing "$program ($engine/bin/$program does not run)"
done
echo "$want" >"$engine/fetched"
