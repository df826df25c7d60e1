#!/usr/bin/env bash
# Makes the virtual environment $1 from the hashed lock. Called by `make setup`.
# Debian packages: python3-venv where Python cannot make an environment without it; unixodbc and
# redis-server for the tests. They are installed where this runs as root or with a sudo that asks
# for no password; elsewhere the run says what is missing and goes on.
set -euo pipefail
cd "$(dirname "$0")"
venv=${1:-.venv}
python=${PYTHON:-python3}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "setup: Python 3.11 or newer is needed; '$python' is $("$python" --version 2>&1 || echo missing). Set PYTHON=/path/to/python3.11" >&2
    exit 1
fi

missing=()
[ -e "$venv/bin/python" ] || "$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
ldconfig -p 2>/dev/null | grep 'libodbc\.so\.2' >/dev/null || missing+=(unixodbc)
command -v redis-server >/dev/null || missing+=(redis-server)

if [ ${#missing[@]} -gt 0 ] && command -v apt-get >/dev/null; then
    root=()
    [ "$(id -u)" = 0 ] || root=(sudo -n)
    if [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; then
        echo "setup: installing Debian packages: ${missing[*]}"
        "${root[@]}" apt-get -qq update
        # No service is started: the tests start the servers that they use, on ports of their own.
        DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 "${root[@]}" apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
        missing=()
    fi
fi
if [ ${#missing[@]} -gt 0 ]; then
    echo "setup: not installed, and no right to install: ${missing[*]}. Tests that need them are left out." >&2
fi

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
install=(--quiet --no-deps --require-hashes)
# pip takes minutes for what uv does in seconds. uv does not read pip's configuration.
index=${PIP_INDEX_URL:-$("$venv/bin/pip" config get global.index-url 2>/dev/null || true)}
[ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"
echo "setup: installing locked packages into $venv"
if ! { "$venv/bin/pip" install --disable-pip-version-check --only-binary :all: "${install[@]}" -r requirements/uv.txt &&
    "$venv/bin/uv" pip install --compile-bytecode --python "$venv/bin/python" "${install[@]}" -r requirements/dev.txt; }; then
    echo "setup: uv could not install them (the index is set with UV_DEFAULT_INDEX); pip tries, which takes minutes" >&2
    "$venv/bin/pip" install --disable-pip-version-check "${install[@]}" -r requirements/dev.txt
fi
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
echo "setup: done; the command is $venv/bin/carrier-opt"
