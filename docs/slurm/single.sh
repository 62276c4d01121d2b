#!/bin/bash
#SBATCH --job-name=ncf
#SBATCH --ntasks=1 --cpus-per-task=2
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@120      # two minutes before the limit: save
#SBATCH --requeue              # and go back into the queue; many clusters forbid it unless asked
#SBATCH --output=%x-%j.out --open-mode=append
#
# sbatch docs/slurm/single.sh name=first model=gncn_pdh dataset=mnist epochs=20

srun ncf-train threads="${SLURM_CPUS_PER_TASK:-1}" "$@"
status=$?
# ncf puts the job back itself. What was killed without a word (137: kill -9, out of memory; 143: before Python had started) is put back here.
if [ "$status" -gt 128 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 1000 ]; then
    sleep 5  # time for Slurm to end the job, if it was cancelled
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
