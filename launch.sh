#!/usr/bin/env bash
# Asks how to train, shows the batch arithmetic, and runs ./run_train_test.sh with your answers.
#
#   ./launch.sh [--name=value ...]    each answer is also an option; --help lists all options
set -Eeuo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
"$here/setup.sh"
# -P: Python imports modules from the project, not from the user's current folder.
export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH}
exec "${VIRTUAL_ENV:-$here/.venv}/bin/python" -P -m commands.launch "$@"
