#!/bin/bash
#SBATCH --job-name=ncf
#SBATCH --array=0-4
#SBATCH --ntasks=1 --cpus-per-task=1
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --output=%x-%A_%a.out --open-mode=append
#
# One seed per task: sbatch docs/slurm/array.sh model=gncn_t1 dataset=mnist; then: ncf-report outputs/runs

srun ncf-train threads=1 seed="$SLURM_ARRAY_TASK_ID" name="seeds-$SLURM_ARRAY_JOB_ID-$SLURM_ARRAY_TASK_ID" "$@"
