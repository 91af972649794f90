#!/bin/sh
# One training on several nodes under Slurm, a process on each:
#
#     sbatch --nodes=4 examples/slurm.sh --flagfile=configs/cifar100.flags --run_dir=/shared/runs/cifar100
#
# The run directory must lie on storage that all nodes share. Slurm sends SIGTERM before it takes the nodes away:
# the workers finish the step, keep it, and Slurm starts the job again, which goes on.
#SBATCH --job-name=tfqkd
#SBATCH --ntasks-per-node=1
#SBATCH --requeue
#SBATCH --signal=TERM@120
#SBATCH --open-mode=append
root=${TFQKD_ROOT:-$SLURM_SUBMIT_DIR}
port=$((20000 + SLURM_JOB_ID % 20000))
addresses=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed "s/.*/\"&:$port\"/" | paste -sd, -)
export root addresses

srun sh -c '
    export TF_CONFIG="{\"cluster\": {\"worker\": [$addresses]}, \"task\": {\"type\": \"worker\", \"index\": $SLURM_PROCID}}"
    exec "$root/bin/train" --run.strategy=multi_worker "$@"
' train "$@"
status=$?
[ "$status" -ne 143 ] || scontrol requeue "$SLURM_JOB_ID"
exit "$status"
