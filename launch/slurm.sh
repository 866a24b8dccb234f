#!/bin/bash
# One process a node, all GPUs of each:  sbatch launch/slurm.sh vae_mnist --seed 1
# Edit the lines below for your cluster. See launch/README.md for what was tested.
#SBATCH --job-name=dgmjax
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120       # two minutes' notice: every process saves and stops
#SBATCH --requeue               # and the same command, started again, resumes
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -euo pipefail

# Run folder and data must lie on a disk that all nodes share.
export DGMJAX_DATA="${DGMJAX_DATA:?set it to the folder of data sets}"
export DGMJAX_CLUSTER=slurm     # JAX finds the coordinator, count and index from Slurm
export PJRT_NPROC=32 OPENBLAS_NUM_THREADS=1

# --kill-on-bad-exit: a task that fails ends the step, should its peers not have ended already.
exec srun --kill-on-bad-exit=1 dgmjax train "$@"
