#!/usr/bin/env bash
# Runs every test of the workspace and closes with one line of totals: `N passed, N failed, N skipped`.
#
# A test whose part is missing on this machine prints `SKIPPED: name: reason` and passes; it is counted as skipped, like
# a test that cargo reports as ignored. With CI=true a skipped test is a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

export TRUST_TOOLS=${TRUST_TOOLS:-$PWD/target/tools}
export CARGO_TERM_COLOR=never
ci=${CI:-}
locked=()
[[ $ci != true ]] || locked=(--locked)

echo "==> tools"
tests/tools/fetch.sh "$TRUST_TOOLS"
tests/tools/engine.sh "$TRUST_TOOLS"
tests/tools/python.sh "$TRUST_TOOLS"

echo "==> build"
# All targets at once, so that programs and tests are compiled with one set of features, once.
cargo build "${locked[@]}" --workspace --all-targets

echo "==> test"
log=target/test.log
status=0
# --show-output brings what passing tests print, and with it their SKIPPED lines, into the log; the screen is spared the rest.
cargo test "${locked[@]}" --workspace --no-fail-fast -- --show-output 2>&1 |
    tee "$log" |
    sed -u -e '/^successes:$/,/^\(failures:$\|test result: \)/{/^\(failures:$\|test result: \)\|SKIPPED: /!d}' || status=$?

read -r passed failed ignored < <(awk '
    /^test result: / { for (i = 2; i <= NF; i++) {
        if ($i == "passed;") p += $(i-1); else if ($i == "failed;") f += $(i-1); else if ($i == "ignored;") g += $(i-1) } }
    END { print p+0, f+0, g+0 }' "$log")
skipped=$({ grep -oE 'SKIPPED: [^:]+: .*' "$log" || true; } | sort -u)
parts=$(grep -c . <<<"$skipped" || true)
if [[ -n $skipped ]]; then
    echo "==> skipped"
    echo "$skipped"
fi

verdict=0
if ((status != 0)); then
    grep -E '^(test .*\.\.\. FAILED|error: test failed|error: doctest failed)' "$log" || true
    echo "failed: cargo test ended with $status (whole log: $log)"
    verdict=1
fi
if ((passed == 0)); then
    echo "failed: no test ran"
    verdict=1
fi
if [[ $ci == true ]] && ((parts + ignored > 0)); then
    echo "failed: with CI=true no test may be skipped ($parts without their part, $ignored ignored)"
    verdict=1
fi
echo "$((passed - parts)) passed, $failed failed, $((parts + ignored)) skipped"
exit "$verdict"
