#!/usr/bin/env bash
# Runs the tests, two files at a time.
#
#   ./run_tests.sh [--all] [pytest arguments ...]    --all: also runs the tests that take minutes
#   ./run_tests.sh tests/models -k dropout           pytest's own help: python -m pytest --help
set -Eeuo pipefail

arguments=()
for argument in "$@"; do
  case $argument in
    --help | -h)
      sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" # the comment above
      exit
      ;;
    --all) arguments+=(-m "") ;; # no marker is excluded
    *) arguments+=("$argument") ;;
  esac
done

cd "$(dirname "${BASH_SOURCE[0]}")"
./setup.sh --dev
export TF_NUM_INTRAOP_THREADS=${TF_NUM_INTRAOP_THREADS:-1} # one core for each of the two processes
exec "${VIRTUAL_ENV:-.venv}/bin/python" -m pytest -q -n 2 --dist loadfile "${arguments[@]}"
