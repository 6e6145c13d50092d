#!/bin/bash
# docs/examples/slurm-chain.sh NUMBER_OF_JOBS INPUT.toml     each begins when the one before has ended well
script=$(dirname "$0")/slurm.sh
job=$(sbatch --parsable "$script" "$2") || exit 1
for _ in $(seq 2 "$1"); do
    job=$(sbatch --parsable --dependency=afterok:"$job" --kill-on-invalid-dep=yes "$script" "$2") || exit 1
done
echo "the last job is $job"
