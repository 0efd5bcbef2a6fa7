#!/usr/bin/env bash
# Mutation testing of the verification rules in core/tuf: each rule is broken once in every way that cargo-mutants knows,
# and the crate's tests must notice. What they may leave alone stands in docs/mutants.md, each with its reason.
#
# cargo-mutants comes from PATH or target/tools/cargo; where it is missing it is built there, in the pinned version. The
# tree is copied to TMPDIR; only trust-tuf and its tests are built: its unit tests and core/tuf/tests/rules_attacks.rs.
#
# usage: tests/tools/mutants.sh [FILE]…    FILE below core/tuf/src, as verify.rs or 'model/*.rs'; default: all rules
#        MUTANTS_SHARD=1/8 tests/tools/mutants.sh    one part of them
# exit:  0 all noticed or allowed · 1 a survivor that is not in the list · 3 cargo-mutants is missing and cannot be built
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

version=25.3.1
tools=$PWD/target/tools/cargo
list=docs/mutants.md
out=$PWD/target/mutants
path=$tools/bin:$PATH
if ! PATH=$path type -P cargo-mutants >/dev/null; then
    echo "    building cargo-mutants $version into target/tools/cargo"
    cargo install --root "$tools" --locked --quiet cargo-mutants --version "$version" || {
        echo "missing: cargo-mutants $version: cargo install failed" >&2
        exit 3
    }
fi

rules=(verify.rs trusted.rs known.rs lookup.rs envelope.rs keys.rs edwards.rs names.rs shape.rs time.rs repository.rs
    'repository/*.rs' 'model/*.rs' 'json/*.rs')
(($#)) || set -- "${rules[@]}"
files=()
for file in "$@"; do
    files+=(-f "core/tuf/src/$file")
done
shard=()
[[ -z ${MUTANTS_SHARD:-} ]] || shard=(--shard "$MUTANTS_SHARD")

rm -rf "$out"
mkdir -p "$out"
# Survivors make it exit with 2, endless loops with 3: both are judged below.
status=0
PATH=$path nice -n 19 cargo mutants -p trust-tuf --test-package trust-tuf "${files[@]}" "${shard[@]}" --no-shuffle \
    --colors never --minimum-test-timeout 60 --timeout-multiplier 4 -o "$out" \
    --cargo-arg=--config --cargo-arg=profile.dev.package.trust-tuf.opt-level=0 \
    --cargo-arg=--config --cargo-arg=profile.dev.debug=false \
    -- --lib --test rules_attacks || status=$?
((status == 0 || status == 2 || status == 3)) || exit 1

# Without line and column, which move; one that is allowed twice stands twice.
survivors() {
    sed -E 's/^([^:]+):[0-9]+:[0-9]+: /\1: /' "$out/mutants.out/missed.txt" | sort
}
allowed() {
    sed -nE 's/^- `(core\/tuf\/src\/.*)`: .*/\1/p' "$list" | sort
}
found=$(comm -23 <(survivors) <(allowed))
echo "    $(wc -l <"$out/mutants.out/caught.txt") noticed, $(wc -l <"$out/mutants.out/timeout.txt") ran without end," \
    "$(wc -l <"$out/mutants.out/unviable.txt") do not build, $(wc -l <"$out/mutants.out/missed.txt") left alone"
if [[ -n $found ]]; then
    echo "not noticed, and not in $list:" >&2
    echo "$found" >&2
    exit 1
fi
