#!/usr/bin/env bash
# Runs the whole job: trains stage 1 (MTL), tests it, trains stage 2 (DAE), tests both together.
#
#   ./run_train_test.sh [--workers=N] [--name=value ...]
#
# The settings (--name=value) apply to all four steps; --help lists them. With --workers=N, both
# trainings run as N workers on this machine (./run_multi_worker.sh). SIGINT, SIGTERM, SIGHUP and
# SIGUSR1 are passed on to the running step, and max_minutes counts from the start of this script.
# Exit status: 75 = a training has saved its state and stopped: run the same command again, 128 + n =
# signal n came in another step: nothing is lost, run it again; otherwise that of the failed step.
set -Eeuo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${VIRTUAL_ENV:-$here/.venv}/bin/python

list_settings() { # needs no environment, but Python 3.11
  [[ -x $python ]] || python=python3
  "$python" "$here/train_mtl.py" --help 2>/dev/null
}

settings=()
train=("$python")
while (($#)); do
  case ${1%%=*} in
    --correction)
      echo "error: this script tests without and with the correction, so it sets --correction" \
        "itself. Leave it out, or run test_dsm.py instead." >&2
      exit 2
      ;;
    --help | -h)
      sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" # the comment above
      list_settings || echo "docs/settings.md lists the settings."
      exit
      ;;
    --version)
      "$here/setup.sh"
      exec "$python" "$here/train_mtl.py" "$1"
      ;;
    --workers)
      [[ $1 == *=* ]] || set -- "--workers=${2:-}" "${@:3}"
      if [[ ! ${1#*=} =~ ^[1-9][0-9]*$ ]]; then
        echo "error: the number of workers is '${1#*=}', expected 1 or more." >&2
        exit 2
      fi
      train=("$here/run_multi_worker.sh" "${1#*=}" "$python")
      ;;
    *) settings+=("$1") ;;
  esac
  shift
done

received="" step=""
pass_on() { # signal
  received=$1
  [[ -z $step ]] || kill -s "$1" "$step" 2>/dev/null || true
}
run() { # command: ends the script with its status if it fails
  # In the background, so that a signal is passed on before the command ends. There, bash has
  # commands ignore Ctrl-C; "trap - INT" takes that back, but not what nohup has ignored.
  (trap - INT && exec "$@") &
  step=$!
  [[ -z $received ]] || kill -s "$received" "$step" 2>/dev/null || true # it came in between
  # Not "wait", which loses the status of a command that ends when a signal interrupts it.
  while kill -0 "$step" 2>/dev/null; do sleep 0.2 || true; done
  wait "$step"
  step=""
  [[ -z $received ]] || exit $((128 + $(kill -l "$received")))
}
stage() { # title, command
  printf '\n== %s ==\n' "$1"
  run "${@:2}" "${settings[@]}"
}
evaluate() { # title, correction
  stage "$1" "$python" "$here/test_dsm.py" "--correction=$2" --splits=train,valid,test
}

for name in HUP INT TERM USR1; do
  # shellcheck disable=SC2064  # the name is meant now
  trap "pass_on $name" "$name"
done
DSMNET_JOB_STARTED=$(date +%s) && export DSMNET_JOB_STARTED
run "$here/setup.sh"
stage "1/4 Training stage 1 (MTL)" "${train[@]}" "$here/train_mtl.py"
evaluate "2/4 Testing stage 1" false
stage "3/4 Training stage 2 (DAE)" "${train[@]}" "$here/train_dae.py"
evaluate "4/4 Testing both stages" true
