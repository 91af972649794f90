#!/bin/bash
# On the GPU machine: takes what was carried, runs benchmarks.accelerator.run with these arguments, and keeps under
# $OUT at every moment what is worth bringing back: back-1.tar ... back-4.tar, results first, compiled programs last.
# With ONLY_DATA=1 it only takes what was carried; with MPS=1 processes share the GPU through its daemon, if that works.
set -uo pipefail
cd "$(dirname "$0")/../.."
data=/tmp/data run=/tmp/run site=/tmp/site lists=/tmp/lists limit=12000000

pack() {
    rm -rf "$lists" && mkdir "$lists"
    (cd "$run" && for kind in '*/*.json' '*/*.md' '*/*[!t].npz' '*/*.cut.npz' 'cache/*-cache'; do
        compgen -G "$kind" | sort
    done | xargs -r stat -c '%s %n') |
        awk -v limit="$limit" -v lists="$lists" '$1 < limit {
            if (used + $1 + 2048 > limit) { part++; used = 0 }
            used += $1 + 2048
            if (part < 4) print $2 > (lists "/" part + 1) }'
    for list in "$lists"/[1-4]; do
        [ -f "$list" ] || continue
        tar cf "$lists/draft" -C "$run" -T "$list" && cp "$lists/draft" "$OUT/back-${list##*/}.tar"
    done
}

mkdir -p $data $run
for part in .accelerator/cifar*; do [ -d "$part" ] && cp -r "$part/." $data/ && rm -rf "$part"; done
for old in .accelerator/back/*.tar; do [ -f "$old" ] && tar xf "$old" -C $run && rm "$old"; done
[ -n "${ONLY_DATA:-}" ] && exit
if [ ! -d $site ]; then
    python3 -m pip install -q --no-index --no-deps --no-compile --target $site .accelerator/wheels/*.whl || exit
fi
export PYTHONPATH=$PWD:$site
if [ -n "${MPS:-}" ] && command -v nvidia-cuda-mps-control >/dev/null; then
    nvidia-cuda-mps-control -d
    timeout 60 python3 -c 'import jax; print("MPS:", jax.devices())' || echo quit | nvidia-cuda-mps-control
fi
python3 -m benchmarks.accelerator.run "$@" --data=$data --folder=$run &
trained=$!
while kill -0 $trained 2>/dev/null; do sleep 3; [ $((SECONDS % 15)) -lt 3 ] && pack; done
wait $trained
code=$?
pack
nvidia-smi --query-gpu=name,driver_version,memory.used --format=csv 2>/dev/null
exit $code
