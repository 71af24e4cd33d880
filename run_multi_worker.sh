#!/usr/bin/env bash
# Runs a command N times on this machine, as the workers of one TensorFlow cluster.
#
#   ./run_multi_worker.sh N [--port=PORT] COMMAND [ARGUMENT...]
#   ./run_multi_worker.sh 2 python train_mtl.py --dataset_name=Demo
#
# Each worker gets a TF_CONFIG with N free ports, or with PORT, PORT + 1, ... The script shows the
# output of the first worker, the chief, and writes that of the others to
# worker_logs/worker_<number>.log. SIGINT, SIGTERM, SIGHUP and SIGUSR1 are passed on to all workers.
# The exit status is that of the first worker that fails (75 = saved and stopped), or 0.
set -Eeuo pipefail

usage() {
    echo "error: $1" >&2
    echo "usage: ./run_multi_worker.sh N [--port=PORT] COMMAND [ARGUMENT...]" >&2
    exit 2
}

free_ports() {
    python3 - "$1" <<'PYTHON'
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in sockets:
    s.bind(("localhost", 0))
print(*(s.getsockname()[1] for s in sockets))
PYTHON
}

if [[ ${1:-} == --help || ${1:-} == -h ]]; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" # the comment above
    exit
fi
count="${1:-}"
[[ "$count" =~ ^[1-9][0-9]*$ ]] || usage "the number of workers is '$count', expected 1 or more."
shift
ports=()
if [[ "${1:-}" == --port=* ]]; then
    first="${1#--port=}"
    [[ "$first" =~ ^[0-9]+$ && $((10#$first + count)) -le 65536 && $((10#$first)) -ge 1024 ]] ||
        usage "the port is '$first', expected 1024 to $((65536 - count)) for $count workers."
    for ((i = 0; i < count; i++)); do ports+=($((10#$first + i))); done
    shift
else
    read -r -a ports <<<"$(free_ports "$count")"
fi
[[ $# -gt 0 ]] || usage "the command is missing."

addresses=$(printf ', "localhost:%s"' "${ports[@]}")
logs=worker_logs
mkdir -p "$logs"
running=() # the process of each worker that has not ended
received=
pass_on() { # signal: to all workers, so that they save their state after the same step
    received=$1
    ((${#running[@]} == 0)) || kill -s "$1" "${running[@]}" 2>/dev/null || true
}
for name in HUP INT TERM USR1; do
    # shellcheck disable=SC2064  # the name is meant now
    trap "pass_on $name" "$name"
done
for ((i = 0; i < count; i++)); do
    export TF_CONFIG="{\"cluster\": {\"worker\": [${addresses:2}]}, \"task\": {\"type\": \"worker\", \"index\": $i}}"
    (
        trap - INT # bash has commands in the background ignore it
        ((i == 0)) || exec >"$logs/worker_$i.log" 2>&1
        exec "$@"
    ) &
    running+=($!)
done
[[ -z $received ]] || pass_on "$received" # it came before all had started

status=0
while ((${#running[@]})); do
    if [[ -n ${deadline:-} ]] && ((SECONDS >= deadline)); then
        kill -KILL "${running[@]}" 2>/dev/null || true
    fi
    sleep 0.2 || true # "wait -n" loses a worker that ends when a signal interrupts it
    for i in "${!running[@]}"; do
        worker=${running[$i]}
        kill -0 "$worker" 2>/dev/null && continue
        unset "running[$i]"
        code=0
        wait "$worker" || code=$?
        ((code != 0 && status == 0)) || continue
        status=$code
        ((code != 75)) || continue # the others have saved, too, and need their time to end
        # The other workers notice the loss and end by themselves; after a minute they are killed.
        deadline=$((SECONDS + 60))
        ((i == 0)) ||
            echo "error: worker $i ended with status $code; see $logs/worker_$i.log" >&2
        ((code != 137)) ||
            echo "error: worker $i was killed, perhaps for lack of memory (docs/training.md)" >&2
    done
done
exit "$status"
