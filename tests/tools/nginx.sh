#!/usr/bin/env bash
# nginx as a peer of the benchmarks: the machine's, else Debian's package unpacked below target/tools, not installed.
#
# usage: tests/tools/nginx.sh     puts the program into target/tools/bin
# exit:  3 it is missing and cannot be fetched; one line on stderr says what
set -euo pipefail
export LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${TRUST_TOOLS:-$here/../../target/tools}
mkdir -p "$tools/bin"
tools=$(cd "$tools" && pwd)

[[ ! -x $tools/bin/nginx ]] || exit 0
# The lock of fetch.sh: both unpack by way of the same folder.
exec 9>"$tools/lock"
flock 9
if path=$(type -P nginx); then
    ln -sfn "$path" "$tools/bin/nginx"
    exit 0
fi
# shellcheck source=tests/tools/debian.sh
source "$here/debian.sh"
program=$root/usr/sbin/nginx
[[ -x $program ]] || unpack nginx alone nginx
[[ -x $program ]] || missing "nginx (its package holds no /usr/sbin/nginx)"
lost=$(lost_libraries "$program")
[[ -z $lost ]] || missing "nginx needs shared libraries that are not here: $lost"
ln -sfn "$program" "$tools/bin/nginx"
