#!/usr/bin/env bash
# Runs one training on two processes of this machine, which reach each other over loopback:
#
#     examples/two_local_workers.sh --dataset=digits --student=cnn6 --teacher=cnn32 --run_dir=runs/two
#
# Every flag goes to bin/train. If a worker dies, the other one ends too; the same command goes on.
root=$(cd "$(dirname "$0")/.." && pwd)
port=${PORT:-$((20000 + $$ % 20000))}
cluster="{\"worker\": [\"127.0.0.1:$port\", \"127.0.0.1:$((port + 1))\"]}"

# Each worker in a process group of its own: Ctrl-C, or a signal to the group of this script, is passed on once.
# Twice would end a worker in the middle of its step.
set -m
for index in 1 0; do
    TF_CONFIG="{\"cluster\": $cluster, \"task\": {\"type\": \"worker\", \"index\": $index}}" \
        "$root/bin/train" --strategy=multi_worker "$@" &
    if [ "$index" = 1 ]; then second=$!; else first=$!; fi
done
# A stop asked of this script is asked of the workers: they finish the step and keep it.
trap 'kill -INT "$first" "$second" 2>/dev/null' INT
trap 'kill -TERM "$first" "$second" 2>/dev/null' TERM HUP
status=0
for worker in "$first" "$second"; do
    wait "$worker"
    code=$?
    # A trapped signal ends the wait early; the worker itself ends a step later.
    while kill -0 "$worker" 2>/dev/null; do wait "$worker"; code=$?; done
    [ "$status" -ne 0 ] || status=$code
done
case $status in 130 | 143) printf 'To go on: '; printf '%q ' "$0" "$@"; echo ;; esac
exit "$status"
