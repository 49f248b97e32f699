#!/bin/bash
#SBATCH --job-name=mirrored
#SBATCH --account=nct00
#SBATCH --qos=acc_debug
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=80
#SBATCH --gpus-per-node=4
#SBATCH --time=00:50:00
#SBATCH --output=%x.%j.log

# A single process drives all four cards, so one task is right.
ml purge
ml load singularity

export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK
export SINGULARITYENV_PYTHONNOUSERSITE=1

singularity exec --nv \
    --bind /gpfs/scratch/nct00 \
    /gpfs/scratch/nct00/images/tf2.21-py311.sif \
    python programs/mirrored.py
