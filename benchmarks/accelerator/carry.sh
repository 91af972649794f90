#!/bin/bash
# Prepares .accelerator/, which is carried to the GPU machine: `carry.sh DATA`, DATA/cifar100/train/CLASS/NN.webp.
# wheels/ and parts of at most 37.5 MB of each data set, cifar100-1/, cifar100-2/, ...; the last has what is counted of all.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=$(realpath "$1") python=python3
[ -x .venv/bin/python ] && python=.venv/bin/python
mkdir -p .accelerator/wheels .accelerator/back
python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 \
    --platform manylinux2014_x86_64 -d .accelerator/wheels -r benchmarks/accelerator/wheels.txt
for name in cifar100 cifar10; do
    rm -rf .accelerator/$name-*
    (cd "$data" && find $name -name '*.webp' -printf '%s %p\n' | sort -k 2) |
        awk -v limit=37500000 '{ if (used + $1 > limit) { part++; used = 0 } used += $1; print part + 1, $2 }' |
        while read -r part file; do
            mkdir -p ".accelerator/$name-$part/$(dirname "$file")"
            cp "$data/$file" ".accelerator/$name-$part/$file"
        done
    last=$(find .accelerator -maxdepth 1 -name "$name-*" | sort | tail -n 1)
    $python -m benchmarks.accelerator.arrays "$data/$name" >"$last/$name/counts.json"
done
du -sm .accelerator/*
