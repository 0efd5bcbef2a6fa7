#!/usr/bin/env bash
# Notary v1 as a peer of the benchmarks: Debian's `notary` and `notary-server`, unpacked below target/tools, not installed.
#
# usage: tests/tools/notary.sh fetch              puts both programs into target/tools/bin
#        tests/tools/notary.sh serve DIR PORT     the server on 127.0.0.1:PORT with TLS, memory store and local signer, in the
#                                                 foreground until it is killed; when one target is published, DIR/lookup holds
#                                                 the command line of a look-up, one word a line. DIR must exist and be empty
# exit:  2 usage · 3 something is missing and cannot be fetched; one line on stderr says what
set -euo pipefail
export LC_ALL=C
umask 077

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${TRUST_TOOLS:-$here/../../target/tools}
mkdir -p "$tools/bin"
tools=$(cd "$tools" && pwd)
gun=registry.example.com/pay/api

fetch() {
    [[ ! -x $tools/bin/notary || ! -x $tools/bin/notary-server ]] || return 0
    # The lock of fetch.sh: both unpack by way of the same folder.
    exec 9>"$tools/lock"
    flock 9
    # shellcheck source=tests/tools/debian.sh
    source "$here/debian.sh"
    [[ -x $root/usr/bin/notary && -x $root/usr/bin/notary-server ]] || unpack notary alone notary
    local program
    for program in notary notary-server; do
        [[ -x $root/usr/bin/$program ]] || missing "$program (its package holds no /usr/bin/$program)"
        ln -sfn "$root/usr/bin/$program" "$tools/bin/$program"
    done
    exec 9>&-
}

# Waits for the server on $2 (below $1), publishes one target with a digest of any value, and says how to look it up.
publish() {
    local dir=$1 port=$2 try digest
    for try in {1..200}; do
        if (exec 8<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
        [[ $try != 200 ]] || { echo "notary-server did not start" >&2; return 1; }
        sleep 0.05
    done
    # Keys that live as long as the benchmark.
    export NOTARY_ROOT_PASSPHRASE=of-the-benchmark NOTARY_TARGETS_PASSPHRASE=of-the-benchmark
    export NOTARY_SNAPSHOT_PASSPHRASE=of-the-benchmark
    local client=("$tools/bin/notary" -s "https://127.0.0.1:$port" --tlscacert "$dir/server.crt" -d "$dir/trust")
    digest=$(echo manifest | sha256sum)
    "${client[@]}" init -p "$gun"
    "${client[@]}" addhash -p "$gun" v1 1234 --sha256 "${digest%% *}"
    "${client[@]}" lookup "$gun" v1
    printf '%s\n' "${client[@]}" lookup "$gun" v1 >"$dir/lookup.new"
    mv "$dir/lookup.new" "$dir/lookup"
}

serve() {
    local dir=$1 port=$2
    fetch
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$dir/server.key" -out "$dir/server.crt" 2>/dev/null
    cat >"$dir/server.json" <<J
{
  "server": {"http_addr": "127.0.0.1:$port", "tls_cert_file": "$dir/server.crt", "tls_key_file": "$dir/server.key"},
  "trust_service": {"type": "local"},
  "storage": {"backend": "memory"},
  "logging": {"level": "error"}
}
J
    publish "$dir" "$port" &
    # So that whoever stops this process stops the server.
    exec "$tools/bin/notary-server" -config "$dir/server.json"
}

case "${1:-} $#" in
"fetch 1") fetch ;;
"serve 3") serve "$(cd "$2" && pwd)" "$3" ;;
*)
    sed -n 's/^# \{0,1\}//; 4,8p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
