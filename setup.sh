#!/usr/bin/env bash
# Sets up a Python environment with GDAL and the packages of requirements.txt.
#
#   ./setup.sh          installs what running needs, and tries once to install the commands that
#                       messages recommend, such as gdalwarp (later: apt-get install -y gdal-bin)
#   ./setup.sh --dev    installs what testing needs, too, and tries once to install Chromium for the
#                       tests of report.html (later: apt-get install -y chromium chromium-driver)
#
# It uses the active virtual environment, or creates .venv if none is active. Run the scripts with
# "${VIRTUAL_ENV:-.venv}/bin/python". If nothing is missing, this script prints nothing, ends at
# once and needs no network. pip's variables apply, such as PIP_CONSTRAINT=requirements-ci.txt.
set -Eeuo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
environment=${VIRTUAL_ENV:-$here/.venv}
python=$environment/bin/python
oldest=11 newest=13 # Python 3 versions for which TensorFlow and Keras have packages
outcome=error       # how a failure is reported; an optional package is only "skipped"

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

install_packages() { # arguments: names of Debian packages
  local command="apt-get install -y --no-install-recommends $*" sudo=()
  command -v apt-get >/dev/null ||
    fail "missing system packages: $*. There is no apt-get: install the equivalent packages of your" \
      "system, then run ./setup.sh again."
  if [[ $(id -u) != 0 ]]; then
    sudo=(sudo -n)
    sudo -n true 2>/dev/null ||
      fail "missing system packages, and no permission to install them. Run: sudo $command"
  fi
  say "installing $* (apt-get)"
  "${sudo[@]}" apt-get update -qq >&2 || say "apt-get update failed; continuing with the existing package lists"
  # shellcheck disable=SC2086  # the command is split into words on purpose
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive $command -qq >&2 ||
    fail "apt-get could not install $* (see above). With a network connection, run:" \
      "${sudo[0]:-} $command"
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
    say "creating .venv"
    "$base" -m venv "$environment" ||
      fail "$base -m venv failed (see above). Remove $environment and run ./setup.sh again."
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
  if ((${#missing[@]})); then
    has_gdal_commands || missing+=(gdal-bin)
    install_packages "${missing[@]}"
  fi
}

has_gdal_commands() { # gdal-bin brings them all, and through python3-gdal those that end in .py
  local name
  for name in gdalinfo gdal_translate gdalwarp gdalbuildvrt ogr2ogr gdal_edit.py; do
    command -v "$name" >/dev/null || return
  done
}

try_packages() { # a file that remembers a failure, what a failure means, names of Debian packages
  if [[ -f $1 && $(<"$1") == "$(wanted)" ]]; then return; fi
  # In a subshell, so that a failure does not end the setup.
  (outcome=skipped install_packages "${@:3}") || {
    say "$2"
    wanted >"$1"
  }
}

require_browser() {
  local missing=()
  command -v chromium >/dev/null || missing+=(chromium)
  command -v chromedriver >/dev/null || missing+=(chromium-driver)
  if ((${#missing[@]} == 0)); then return; fi
  try_packages "$environment/.no-chromium" \
    "Chromium is not installed: the browser tests will be skipped" "${missing[@]}"
}

pip_install() {
  "$python" -m pip install -q --disable-pip-version-check "$@" >&2 ||
    fail "pip could not install the Python packages (see above). Run ./setup.sh again with a network" \
      "connection."
}

build_bindings() {
  say "building the GDAL bindings $(gdal_version) (a minute or two)"
  pip_install setuptools wheel
  # The bindings must be built against the installed NumPy, not taken from a cache of another one.
  pip_install --no-build-isolation --no-cache-dir --no-deps --force-reinstall "gdal==$(gdal_version)"
  bindings_work || fail "the GDAL bindings do not load. Run: $python -c 'from osgeo import gdal_array'"
}

wanted() { # prints a fingerprint of everything that decides what is installed
  {
    cat "$here"/requirements.txt "$here"/requirements-dev.txt
    if [[ -f ${PIP_CONSTRAINT:-} ]]; then cat "$PIP_CONSTRAINT"; fi
    gdal_version || true
  } | sha256sum
}

case "$*" in
  --help | -h)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" # the comment above
    exit
    ;;
  "") requirements="requirements.txt" ;;
  --dev) requirements="requirements-dev.txt" ;;
  *) fail "unknown arguments: $*. Expected --dev, --help, or no argument." ;;
esac
stamp=$environment/.ready-$requirements

if [[ ! -x $python || ! -f $stamp || $(<"$stamp") != "$(wanted)" ]]; then
  make_environment
  bindings_work || require_build_tools
  say "installing $requirements (several minutes the first time)"
  pip_install -r "$here/$requirements"
  bindings_work || build_bindings
  wanted | tee "$environment/.ready-requirements.txt" >"$stamp" # requirements-dev.txt includes requirements.txt
fi
if ! has_gdal_commands; then
  try_packages "$environment/.no-gdal-bin" \
    "gdalinfo, gdalwarp and the like, which messages recommend, are not installed" gdal-bin
fi
if [[ $* == --dev ]]; then require_browser; fi
