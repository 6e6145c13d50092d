#!/bin/bash
# INPUT=input.toml bsub < docs/examples/lsf.sh     (a chain: bsub -w "done(JOB)" ...)
#BSUB -J allegro-md
#BSUB -n 128
#BSUB -R "span[ptile=64]"
#BSUB -R "affinity[core(1)]"
#BSUB -W 24:00
#BSUB -o allegro-md.%J.txt

export OMP_NUM_THREADS=1
mpirun -n "$LSB_DJOB_NUMPROC" -bind-to core \
    allegro-md "$INPUT" --resume --set stop.walltime="${WALLTIME:-23.8 h}"
status=$?
[ $status -eq 130 ] && exit 0
exit $status
