#!/usr/bin/env bash
# The whole job: trains stage 1 (MTL), tests it, trains stage 2 (DAE), tests both together.
#
#   ./run_train_test.sh [--name=value ...]    settings for all four; --help lists them
set -Eeuo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${VIRTUAL_ENV:-$here/.venv}/bin/python

for argument in "$@"; do
  case ${argument%%=*} in
    --correction)
      echo "error: this script tests without and with the correction, so it sets --correction" \
        "itself. Leave it out, or run test_dsm.py." >&2
      exit 2
      ;;
    --help | -h)
      "$here/setup.sh"
      exec "$python" "$here/train_mtl.py" --help
      ;;
  esac
done

stage() { # title, script, arguments
  printf '\n== %s ==\n' "$1"
  "$python" "$here/$2" "${@:3}"
}

"$here/setup.sh"
stage "1/4 Training stage 1 (MTL)" train_mtl.py "$@"
stage "2/4 Testing stage 1" test_dsm.py --correction=false --splits=train,valid,test "$@"
stage "3/4 Training stage 2 (DAE)" train_dae.py "$@"
stage "4/4 Testing both stages" test_dsm.py --correction=true --splits=train,valid,test "$@"
