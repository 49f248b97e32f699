#!/bin/bash
#SBATCH --job-name=below
#SBATCH --account=nct00
#SBATCH --cpus-per-task=20
#SBATCH --output=below.%j.out

module purge
module load singularity

#SBATCH --gres=gpu:1
#SBATCH --time=00:20:00

echo "job $SLURM_JOB_ID"

# SLURM has stopped reading at the first command: no GPU was asked for.
singularity exec --nv --no-home /gpfs/scratch/nct00/images/tf2.21-py311.sif \
    python programs/train.py --epochs 2
