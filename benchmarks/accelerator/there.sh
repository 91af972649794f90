#!/bin/bash
# On the GPU machine; verbs in turn, as `there.sh take start rows ... -- look 60`:
#   take             takes what was carried: data, wheels, what came back from the machine before; keeps the code
#   start ARGS --    runs benchmarks.accelerator.run with ARGS in a session of its own, which outlasts this call
#   look SECONDS     waits, at most until all that was started has ended; shows what they print; then keeps under $OUT
#                    what is worth bringing back: back-1.tar ... back-4.tar, results first, compiled programs last
# With MPS=1 `take` starts the daemon by which processes share the GPU, if it works. All lies under $PLACE, else /tmp.
set -uo pipefail
cd "$(dirname "$0")/../.."
place=${PLACE:-/tmp} limit=14000000
data=$place/data run=$place/run site=$place/site code=$place/code lists=$place/lists
mkdir -p $data $run $code
export PYTHONPATH=$code:$site PYTHONUNBUFFERED=1 CUDA_MPS_PIPE_DIRECTORY=$place/mps CUDA_MPS_LOG_DIRECTORY=$place/mps

pack() {
    rm -rf "$lists" && mkdir "$lists"
    # A history after its checkpoint: it must know every epoch of it.
    (cd "$run" && for kind in 'cifar*/*/results.json' 'speed/speed.*' 'cifar*/*.txt' 'cifar*/*/*.json' 'cifar*/*/*.txt' \
        'cifar*/products/*/model.keras' 'cifar*/products/*/checkpoints/*/*' 'cifar*/products/*/*.*' 'cache/*-cache'; do
        compgen -G "$kind" | sort
    done | awk '!seen[$0]++' | xargs -r stat -c '%s %n' 2>/dev/null) |
        awk -v limit="$limit" -v lists="$lists" '$1 < limit {
            if (used + $1 + 2048 > limit) { part++; used = 0 }
            used += $1 + 2048
            if (part < 4) print $2 > (lists "/" part + 1) }'
    for list in "$lists"/[1-4]; do
        [ -f "$list" ] || continue
        # A training may have taken a checkpoint away meanwhile, and have the next one in the list.
        tar cf "$lists/draft" --ignore-failed-read -C "$run" -T "$list" 2>/dev/null
        cp "$lists/draft" "$OUT/back-${list##*/}.tar"
    done
}

take() {
    for part in .accelerator/cifar*; do [ -d "$part" ] && cp -r "$part/." $data/ && rm -rf "$part"; done
    for old in .accelerator/back/*.tar; do [ -f "$old" ] && tar xf "$old" -C $run && rm "$old"; done
    [ -d $site ] && return
    cp -r --parents benchmarks/*.py benchmarks/accelerator bin configs tfqkd $code
    python3 -m pip install -q --no-index --no-deps --no-compile --target $site .accelerator/wheels/*.whl || exit
    [ -n "${MPS:-}" ] || return
    mkdir -p $CUDA_MPS_PIPE_DIRECTORY
    nvidia-cuda-mps-control -d && timeout 40 python3 -c 'import jax; print("MPS:", jax.devices())' && return
    echo quit | nvidia-cuda-mps-control
    echo "MPS does not work here."
}

while [ $# -gt 0 ]; do
    verb=$1 && shift
    case $verb in
    take) take ;;
    start)
        words=()
        while [ $# -gt 0 ] && [ "$1" != -- ]; do words+=("$1") && shift; done
        [ $# -gt 0 ] && shift
        log=$run/$(ls $run/*.log 2>/dev/null | wc -l).log
        (cd $code && setsid python3 -m benchmarks.accelerator.run "${words[@]}" --data=$data --folder=$run >"$log" 2>&1 &)
        ;;
    look)
        until=$((SECONDS + $1)) && shift
        sleep 2
        while [ $SECONDS -lt $until ] && pgrep -f "accelerator.run .*--folder=$run" >/dev/null; do sleep 1; done
        for log in $run/*.log; do echo "== $log" && tail -n 40 "$log" | cut -c 1-400; done
        find $run -maxdepth 2 -name '*.txt' -mmin -1 -exec tail -n 1 {} \; | cut -c 1-200
        nvidia-smi --query-gpu=name,utilization.gpu,memory.used,clocks.sm,power.draw --format=csv,noheader 2>/dev/null
        pack
        ;;
    *) echo "There is no verb $verb." && exit 2 ;;
    esac
done
