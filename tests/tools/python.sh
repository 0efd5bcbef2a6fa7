#!/usr/bin/env bash
# Makes target/tools/venv: a Python with python-tuf, the independent TUF reader of the tests (python-requirements.txt).
#
# A machine's python3 is used as it is. Where it lacks pip's seed (Debian without python3-venv), or where there is no
# python3 at all, Debian's packages are downloaded and unpacked below target/tools (debian.sh); nothing is installed.
#
# usage: tests/tools/python.sh [FOLDER]    FOLDER: default target/tools
# exit:  0 there · 3 something is missing and cannot be fetched; one line on stderr says what
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${1:-$here/../../target/tools}
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)
venv="$tools/venv"
requirements="$here/python-requirements.txt"

want="$(cat "$here/debian.sh" "$here/python.sh" "$requirements" | cksum) $tools"
complete() {
    [[ -f $venv/fetched && $(<"$venv/fetched") == "$want" && -x $venv/bin/python ]]
}

complete && exit 0
exec 9>"$tools/lock"
flock 9
complete && exit 0
rm -rf "$venv"
# shellcheck source=tests/tools/debian.sh
source "$here/debian.sh"

python=$(type -P python3 || true)
if [[ -n $python ]] && "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    "$python" -m venv "$venv" || missing "python3 with its venv module: it makes no environment"
else
    if [[ -n $python ]] && "$python" -c 'import venv' 2>/dev/null; then
        unpack "pip" alone python3-pip-whl
    else
        unpack "python3 and pip" with_dependencies python3 python3-pip-whl
        python=$(echo "$root"/usr/bin/python3.[0-9]*[0-9])
    fi
    export LD_LIBRARY_PATH
    LD_LIBRARY_PATH=$(library_path)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    "$python" -m venv --without-pip "$venv" || missing "python3 with its venv module: it makes no environment"
    if [[ $python == "$root"/* ]]; then
        # The name that it is called by tells Python where its environment is.
        rm "$venv/bin/python"
        cat >"$venv/bin/python" <<W
#!/bin/bash
LD_LIBRARY_PATH="$(library_path)\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
export LD_LIBRARY_PATH
exec -a "$venv/bin/python" "$python" "\$@"
W
        chmod 755 "$venv/bin/python"
        ln -sfn python "$venv/bin/${python##*/}"
    fi
    export PYTHONPATH
    PYTHONPATH=$(echo "$root"/usr/share/python-wheels/pip-*.whl)
fi

echo "    fetching python-tuf into ${venv#"$PWD"/}"
"$venv/bin/python" -m pip install --disable-pip-version-check --no-input --quiet --only-binary :all: --require-hashes \
    -r "$requirements" >"$tools/pip.log" 2>&1 || missing "python-tuf: pip install failed: $(tail -n 1 "$tools/pip.log")"
unset PYTHONPATH LD_LIBRARY_PATH
"$venv/bin/python" -c 'import tuf.ngclient, tuf.api.metadata, securesystemslib.signer' || missing "python-tuf (it does not load)"
echo "$want" >"$venv/fetched"
