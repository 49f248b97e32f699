#!/bin/bash
#SBATCH --job-name=blank
#SBATCH --account=nct00
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=20
#SBATCH --time=00:20:00

module load apptainer

# The path is right here ...
image="/gpfs/scratch/nct00/our images/tensorflow.sif"
data="/gpfs/scratch/nct00/data"

if [[ ! -e $image ]]; then
    echo "there is no $image" >&2
    exit 1
fi

# ... and torn here: without quotes the shell makes two words of it.
apptainer exec --nv --no-home --bind "$data" --bind "$PWD" $image \
    python programs/train.py --data "$data"
