# shellcheck shell=bash
# Debian packages without installing them: sourced by fetch.sh and python.sh, which set `tools` (an absolute folder).
#
# apt checks each package against Debian's signed lists; it is then only unpacked, into $tools/root. No package script
# runs, no root is needed, nothing outside $tools is written.

root="${tools:?set by the caller}/root"
# Options for apt with package lists of our own; empty while the machine's lists do. As root, apt would change to a user
# that cannot write here.
apt_options=(-o "APT::Sandbox::User=root" -qq)

missing() {
    echo "missing: $*" >&2
    exit 3
}

# For a machine whose package lists are absent or old: the machine's sources and keys, our folders.
refresh_lists() {
    local lists="$tools/apt"
    [[ " ${apt_options[*]} " != *" Dir::State="* ]] || return 0
    echo "    package lists into ${lists#"$PWD"/}"
    mkdir -p "$lists/state/lists/partial" "$lists/cache/archives/partial"
    apt_options+=(-o "Dir::State=$lists/state" -o "Dir::State::status=/var/lib/dpkg/status" -o "Dir::Cache=$lists/cache")
    apt-get "${apt_options[@]}" update >"$lists/log" 2>&1 ||
        missing "$1: apt-get update failed: $(tail -n 1 "$lists/log")"
}

has_candidate() {
    [[ $(apt-cache "${apt_options[@]}" policy "$1" 2>/dev/null) == *"Candidate: "[!\(]* ]]
}

# What skopeo and podman need from a bare machine besides themselves; the libraries' package names differ between Debian's
# releases.
with_libraries_of_clients() {
    printf '%s\n' "$@"
    apt-cache "${apt_options[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
        --no-replaces --no-enhances skopeo podman 2>/dev/null |
        grep -E '^lib(gpgme|assuan|devmapper|subid)[0-9.]' | sort -u
}

# The packages, and what this machine lacks of all that they depend on.
with_dependencies() {
    apt-get "${apt_options[@]}" install --simulate --no-install-recommends "$@" 2>/dev/null | awk '$1 == "Inst" {print $2}'
}

# The packages and nothing else.
alone() {
    printf '%s\n' "$@"
}

# unpack WHAT EXPAND PACKAGE…: WHAT for messages, EXPAND one of the three above
unpack() {
    local what=$1 expand=$2 program package wanted debs round
    shift 2
    for program in apt-get apt-cache dpkg-deb; do
        type -P "$program" >/dev/null || missing "$what (not here, and there is no $program to fetch Debian's packages)"
    done
    echo "    fetching $what (Debian packages, unpacked only)"
    for package in "$@"; do
        has_candidate "$package" || refresh_lists "$what"
    done
    for package in "$@"; do
        has_candidate "$package" || missing "$what (no package $package in this machine's apt sources)"
    done
    debs="$tools/debs"
    # The second round is for old lists: they name files that the mirror has replaced.
    for round in 1 2; do
        rm -rf "$debs"
        mkdir -p "$debs"
        mapfile -t wanted < <("$expand" "$@")
        if ((${#wanted[@]})) && (cd "$debs" && apt-get "${apt_options[@]}" download "${wanted[@]}") >"$tools/download.log" 2>&1; then
            break
        fi
        [[ $round == 1 ]] || missing "$what: apt-get download failed: $(tail -n 1 "$tools/download.log")"
        refresh_lists "$what"
    done
    for package in "$debs"/*.deb; do
        dpkg-deb -x "$package" "$root"
    done
    rm -rf "$debs"
}

# The folders of unpacked shared libraries. No empty member: the loader would take it for the current folder.
library_path() {
    local folder path=
    for folder in "$root"/usr/lib/*-linux-gnu "$root"/lib/*-linux-gnu; do
        if [[ -d $folder ]]; then path+=${path:+:}$folder; fi
    done
    echo "$path"
}

# lost_libraries PROGRAM: the shared libraries that it would not find (a static program needs none, and ldd calls that an error)
lost_libraries() {
    { LD_LIBRARY_PATH=$(library_path) ldd "$1" 2>/dev/null || true; } | awk '/not found/ {print $1}' | tr '\n' ' '
}
