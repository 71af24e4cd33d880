#!/usr/bin/env bash
# Asks how to train, shows the batch arithmetic, and runs ./run_train_test.sh with your answers.
#
#   ./launch.sh [--name=value ...]    each answer is also an option; --help lists all options
set -Eeuo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${VIRTUAL_ENV:-$here/.venv}/bin/python
export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH}
launch() { # -P: Python imports modules from the project, not from the user's current folder
  exec "$python" -P -m commands.launch "$@"
}

for argument in "$@"; do
  if [[ $argument == --help || $argument == -h ]]; then
    [[ -x $python ]] || python=python3 # help needs no environment, but Python 3.11
    (launch --help 2>/dev/null) ||
      sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" # the comment above
    exit
  fi
done
"$here/setup.sh"
launch "$@"
