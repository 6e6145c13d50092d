#!/bin/bash
# qsub -v INPUT=input.toml docs/examples/pbs.sh     (PBS Professional; a chain: qsub -W depend=afterok:JOB ...)
#PBS -N allegro-md
#PBS -l select=2:ncpus=64:mpiprocs=64:ompthreads=1
#PBS -l place=scatter:excl
#PBS -l walltime=24:00:00

cd "$PBS_O_WORKDIR" || exit 1
export OMP_NUM_THREADS=1
ranks=$(wc -l < "$PBS_NODEFILE")
mpirun -n "$ranks" -bind-to core \
    allegro-md "$INPUT" --resume --set stop.walltime="${WALLTIME:-23.8 h}"
status=$?
[ $status -eq 130 ] && exit 0
exit $status
