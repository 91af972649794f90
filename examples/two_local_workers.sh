#!/usr/bin/env bash
# Runs one training on two processes of this machine, which reach each other over loopback:
#
#     examples/two_local_workers.sh --dataset=digits --student=cnn6 --teacher=cnn32 --run_dir=runs/two
#
# Every flag goes to bin/train. If a worker dies, the other one ends too; the same command goes on.
root=$(cd "$(dirname "$0")/.." && pwd)
port=${PORT:-$((20000 + $$ % 20000))}
cluster="{\"worker\": [\"127.0.0.1:$port\", \"127.0.0.1:$((port + 1))\"]}"

# A stop asked of this script is asked of the workers: they finish the step and keep it. Each has a process group
# of its own, since Ctrl-C goes to this one's whole group: twice would end a worker in the middle of its step.
set -m
workers=()
stopped=
pass() {
    stopped=$1
    [ -z "${workers[*]}" ] || kill -"$1" "${workers[@]}" 2>/dev/null
}
trap 'pass INT' INT
trap 'pass TERM' TERM HUP
for index in 1 0; do
    TF_CONFIG="{\"cluster\": $cluster, \"task\": {\"type\": \"worker\", \"index\": $index}}" \
        "$root/bin/train" --run.strategy=multi_worker "$@" &
    workers=("$!" "${workers[@]}")
done
# The last one may have been started, but not been named yet, when the stop came.
[ -z "$stopped" ] || pass "$stopped"
status=0
for worker in "${workers[@]}"; do
    wait "$worker"
    code=$?
    # A trapped signal ends the wait early; the worker itself ends a step later.
    while kill -0 "$worker" 2>/dev/null; do wait "$worker"; code=$?; done
    [ "$status" -ne 0 ] || status=$code
done
case $status in 130 | 143) printf 'To go on: '; printf '%q ' "$0" "$@"; echo ;; esac
exit "$status"
