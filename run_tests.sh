#!/usr/bin/env bash
# Runs the tests, two files at a time.
#
#   ./run_tests.sh [--all] [pytest arguments ...]    --all: also runs the tests that take minutes
set -Eeuo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
./setup.sh --dev

arguments=()
for argument in "$@"; do
  if [[ $argument == --all ]]; then
    arguments+=(-m "") # no marker is excluded
  else
    arguments+=("$argument")
  fi
done
export TF_NUM_INTRAOP_THREADS=${TF_NUM_INTRAOP_THREADS:-1} # one core for each of the two processes
exec "${VIRTUAL_ENV:-.venv}/bin/python" -m pytest -q -n 2 --dist loadfile "${arguments[@]}"
