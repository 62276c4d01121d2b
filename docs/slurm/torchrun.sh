#!/bin/bash
#SBATCH --job-name=ncf
#SBATCH --nodes=2 --ntasks-per-node=1 --cpus-per-task=4
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --output=%x-%j.out --open-mode=append
#
# One run over several nodes: sbatch docs/slurm/torchrun.sh name=large model=gncn_pdh dataset=mnist batch_size=2000

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# Each task is an agent of torchrun and starts one process. The job's id makes the rendezvous and its port the job's own.
srun torchrun --nnodes="$SLURM_NTASKS" --nproc-per-node=1 --max-restarts=10 \
    --rdzv-backend=c10d --rdzv-id="$SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0}" --rdzv-endpoint="$first:$((20000 + SLURM_JOB_ID % 10000))" \
    --signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1,SIGUSR2 \
    --no-python ncf-train threads="${SLURM_CPUS_PER_TASK:-1}" "$@"
