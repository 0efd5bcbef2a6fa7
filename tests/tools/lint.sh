#!/usr/bin/env bash
# Static checks. usage: tests/tools/lint.sh [format|clippy|deny|text]…     default: all four
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

locked=()
[[ ${CI:-} != true ]] || locked=(--locked)

format() {
    cargo fmt --all --check
}

clippy() {
    cargo clippy "${locked[@]}" --workspace --all-targets -- -D warnings
}

# Advisories are left out: their database cannot be reached from every place that builds this.
deny() {
    local path=$PWD/target/tools/cargo/bin:$PATH
    if PATH=$path type -P cargo-deny >/dev/null; then
        PATH=$path cargo deny "${locked[@]}" check bans licenses sources
    elif [[ ${CI:-} == true ]]; then
        echo "missing: cargo-deny" >&2
        return 3
    else
        echo "    left out: cargo-deny is not installed (cargo install cargo-deny --locked)"
    fi
}

# What no tool knows. The patterns are written so that this file does not match them.
text() {
    local found=0
    refuse() {
        local reason=$1 pattern=$2
        shift 2
        if git ls-files -z --cached --others --exclude-standard -- "$@" |
            xargs -0 -r grep -InE -e "$pattern" /dev/null; then
            echo "refused: $reason" >&2
            found=1
        fi
    }
    refuse "a test that is left out is not a test" '#\[[i]gnore' '*.rs'
    refuse "unfinished code" '\b(todo|unimplemented)[!]' '*.rs'
    refuse "a path of somebody's machine" '(^|[^A-Za-z0-9._/~-])/(root|work)/[a-z.]' . ':!LICENSE-*'
    local script
    for script in tests/tools/*.sh .ci/run; do
        bash -n "$script" || found=1
    done
    if type -P shellcheck >/dev/null; then
        shellcheck -x tests/tools/*.sh .ci/run || found=1
    fi
    return "$found"
}

(($#)) || set -- format clippy text deny
for check in "$@"; do
    case $check in
    format | clippy | deny | text)
        echo "==> lint: $check"
        "$check"
        ;;
    *)
        echo "unknown check: $check" >&2
        exit 2
        ;;
    esac
done
