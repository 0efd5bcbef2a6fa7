#!/usr/bin/env bash
# Runs the public TUF conformance suite against our client, several times in a row. The suite is not part of this
# repository; its cases stand as our own tests in tests/tests/suite_conformance/ (docs/conformance.md).
#
# usage: TUF_CONFORMANCE=DIR tests/tools/conformance.sh [RUNS]
#        DIR   a checkout of github.com/theupdateframework/tuf-conformance (2.4.0 or later)
#        RUNS  default 10
# exit:  0 every case passed in every run · 1 a case failed, was skipped or expected to fail
#        3 the suite or a tool is missing; one line on stderr says what
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$here/../.." && pwd)
runs=${1:-10}
# Fewer means that the suite is another one, or was not collected whole.
cases=113

suite=${TUF_CONFORMANCE:-}
if [[ ! -d $suite/tuf_conformance ]]; then
    echo "missing: TUF_CONFORMANCE=DIR with a checkout of the suite:" \
        "git clone https://github.com/theupdateframework/tuf-conformance DIR" >&2
    exit 3
fi
suite=$(cd "$suite" && pwd)

tools=${TRUST_TOOLS:-$project/target/tools}
"$here/fetch.sh" "$tools"
"$here/python.sh" "$tools"
tools=$(cd "$tools" && pwd)
python=$tools/venv/bin/python
packages=$tools/conformance
if [[ ! -f $packages/fetched || $(<"$packages/fetched") != "$(cksum <"$here/conformance-requirements.txt")" ]]; then
    rm -rf "$packages"
    pip=$(find "$tools/root/usr/share/python-wheels" -name "pip-*.whl" -print -quit 2>/dev/null || true)
    [[ -f $pip ]] || pip=
    PYTHONPATH=$pip "$python" -m pip install --disable-pip-version-check --no-input --quiet --only-binary :all: \
        --require-hashes --target "$packages" -r "$here/conformance-requirements.txt" >"$tools/pip-conformance.log" 2>&1 || {
        echo "missing: pytest: pip install failed: $(tail -n 1 "$tools/pip-conformance.log")" >&2
        exit 3
    }
    cksum <"$here/conformance-requirements.txt" >"$packages/fetched"
fi

(cd "$project" && cargo build --quiet --locked -p trust-tests --bin tuf-conformance-client)
client=$project/target/debug/tuf-conformance-client
# The suite reads expected failures from there. We have none.
if [[ -e $client.xfails ]]; then
    echo "failed: $client.xfails: no failure is expected" >&2
    exit 1
fi

export PATH="$tools/bin:$PATH" PYTHONPATH="$packages" PYTHONDONTWRITEBYTECODE=1
log=$project/target/conformance.log
: >"$log"
for run in $(seq "$runs"); do
    summary=$(cd "$suite" && "$python" -m pytest tuf_conformance --entrypoint "$client" -q -p no:cacheprovider -p no:warnings 2>&1 |
        tee -a "$log" | tail -n 1) || true
    echo "run $run of $runs: $summary"
    # Nothing but passes: `113 passed in …`.
    if [[ ! $summary =~ ^=*\ *([0-9]+)\ passed\ in\  ]] || ((BASH_REMATCH[1] < cases)); then
        echo "failed: see $log" >&2
        exit 1
    fi
done
