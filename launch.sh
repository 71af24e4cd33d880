#!/usr/bin/env bash
# Asks how to train, shows the arithmetic, and runs ./run_train_test.sh accordingly.
#
#   ./launch.sh [--name=value ...]    each answer is an option, too; --help lists all
set -Eeuo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
"$here/setup.sh"
# -P: modules come from the project, not from the folder in which the user stands.
export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH}
exec "${VIRTUAL_ENV:-$here/.venv}/bin/python" -P -m commands.launch "$@"
