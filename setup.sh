#!/usr/bin/env bash
# Makes ready to run: a Python environment with the packages of requirements.txt and GDAL.
#
#   ./setup.sh          what running needs
#   ./setup.sh --dev    what testing needs, too; Chromium, for the tests of report.html, if it can
#                       (tried once: apt-get install -y chromium chromium-driver makes up for it)
#
# An active virtual environment is used, else .venv is made; "${VIRTUAL_ENV:-.venv}/bin/python"
# is the Python to run with. Quiet, quick and offline when nothing is missing.
# pip's own variables work, such as PIP_CONSTRAINT=requirements-ci.txt.
set -Eeuo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
environment=${VIRTUAL_ENV:-$here/.venv}
python=$environment/bin/python
oldest=11 newest=13 # of Python 3, for which TensorFlow and Keras have packages
outcome=error         # of a failure; some may be lived with

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { printf "setup: %s: %s\n" "$outcome" "$*" >&2; exit 1; }

minor_version() { "$1" -c 'import sys; print(sys.version_info[1] if sys.version_info[0] == 3 else 0)'; }

fits() {
  local minor
  minor=$(minor_version "$1" 2>/dev/null) && ((minor >= oldest && minor <= newest))
}

find_python() {
  local candidate
  for candidate in python3 python3.11 python3.12 python3.13; do
    if fits "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  fail "no Python 3.$oldest to 3.$newest found (python3 is $(python3 --version 2>&1 || true))." \
    "Install one: sudo apt-get install -y python3.11 python3.11-dev python3.11-venv"
}

install_packages() { # names of Debian packages
  local command="apt-get install -y --no-install-recommends $*" sudo=()
  command -v apt-get >/dev/null ||
    fail "missing system packages: $*. Install what this system calls them, then run ./setup.sh."
  if [[ $(id -u) != 0 ]]; then
    sudo=(sudo -n)
    sudo -n true 2>/dev/null ||
      fail "missing system packages, and no right to install them. Run: sudo $command"
  fi
  say "installing $* (apt-get)"
  "${sudo[@]}" apt-get update -qq >&2 || say "apt-get update failed; trying the lists at hand"
  # shellcheck disable=SC2086  # the words of the command
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive $command -qq >&2 ||
    fail "apt-get could not install $*. See above; with network, run: ${sudo[0]:-} $command"
}

make_environment() {
  local base minor
  if [[ -n ${VIRTUAL_ENV:-} ]]; then
    [[ -x $python ]] || fail "the active virtual environment $environment has no bin/python."
    fits "$python" ||
      fail "the active virtual environment has $("$python" --version 2>&1), but Python" \
        "3.$oldest to 3.$newest is needed. Run: deactivate"
    "$python" -c 'import pip' 2>/dev/null ||
      fail "the active virtual environment has no pip. Run: $python -m ensurepip"
  elif [[ -x $python ]] && ! fits "$python"; then
    fail "$environment has $("$python" --version 2>&1), but Python 3.$oldest to 3.$newest is" \
      "needed. Remove it: rm -r $environment"
  elif ! "$python" -c 'import pip' 2>/dev/null; then
    base=$(find_python)
    minor=$(minor_version "$base")
    "$base" -c 'import ensurepip, venv' 2>/dev/null || install_packages "python3.$minor-venv"
    say "making .venv"
    "$base" -m venv "$environment" ||
      fail "$base -m venv failed; see above. Remove $environment and run ./setup.sh again."
  fi
}

gdal_version() { command -v gdal-config >/dev/null && gdal-config --version; }

bindings_work() {
  local found
  found=$("$python" -c 'from osgeo import gdal, gdal_array; print(gdal.__version__)' 2>/dev/null) &&
    [[ $found == "$(gdal_version || echo "$found")" ]]
}

require_build_tools() {
  local missing=() include
  include=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
  command -v g++ >/dev/null || missing+=(g++)
  command -v gdal-config >/dev/null || missing+=(libgdal-dev)
  [[ -f $include/Python.h ]] || missing+=("python3.$(minor_version "$python")-dev")
  if ((${#missing[@]})); then install_packages "${missing[@]}"; fi
}

require_browser() {
  local missing=()
  command -v chromium >/dev/null || missing+=(chromium)
  command -v chromedriver >/dev/null || missing+=(chromium-driver)
  if ((${#missing[@]} == 0)); then return; fi
  if [[ -f $no_browser && $(<"$no_browser") == "$(wanted)" ]]; then return; fi
  # In a shell of its own: all but some tests work without.
  (outcome=skipped install_packages "${missing[@]}") || {
    say "without Chromium: the browser's tests will be skipped"
    wanted >"$no_browser"
  }
}

pip_install() {
  "$python" -m pip install -q --disable-pip-version-check "$@" >&2 ||
    fail "pip could not install the Python packages; see above. With network, run ./setup.sh again."
}

build_bindings() {
  say "building the GDAL bindings $(gdal_version) (a minute or two)"
  pip_install setuptools wheel
  # Built against the NumPy that is installed here, never taken from a cache of another one.
  pip_install --no-build-isolation --no-cache-dir --no-deps --force-reinstall "gdal==$(gdal_version)"
  bindings_work || fail "the GDAL bindings do not load. Run: $python -c 'from osgeo import gdal_array'"
}

wanted() { # a fingerprint of all that decides what is installed
  {
    cat "$here"/requirements.txt "$here"/requirements-dev.txt
    if [[ -f ${PIP_CONSTRAINT:-} ]]; then cat "$PIP_CONSTRAINT"; fi
    gdal_version || true
  } | sha256sum
}

case "$*" in
  "") requirements="requirements.txt" ;;
  --dev) requirements="requirements-dev.txt" ;;
  *) fail "unknown arguments: $*. Expected none, or --dev." ;;
esac
stamp=$environment/.ready-$requirements
no_browser=$environment/.no-chromium # holds what `wanted` said when Chromium could not be installed

if [[ ! -x $python || ! -f $stamp || $(<"$stamp") != "$(wanted)" ]]; then
  make_environment
  bindings_work || require_build_tools
  say "installing $requirements (several minutes the first time)"
  pip_install -r "$here/$requirements"
  bindings_work || build_bindings
  wanted | tee "$environment/.ready-requirements.txt" >"$stamp" # the developers' list has the other in it
fi
if [[ $* == --dev ]]; then require_browser; fi
