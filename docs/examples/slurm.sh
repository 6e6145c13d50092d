#!/bin/bash
# sbatch docs/examples/slurm.sh INPUT.toml          goes on where the job before has stopped
#SBATCH --job-name=allegro-md
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=64
#SBATCH --cpus-per-task=1
#SBATCH --hint=nomultithread
#SBATCH --time=24:00:00

export OMP_NUM_THREADS=1
srun --mpi=pmi2 --cpu-bind=cores --kill-on-bad-exit=1 \
    allegro-md "$1" --resume --set stop.walltime="${WALLTIME:-23.8 h}"
status=$?
# 130: the walltime has ended the run, with a checkpoint; the next job of the chain shall go on
[ $status -eq 130 ] && exit 0
exit $status
