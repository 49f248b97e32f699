#!/bin/bash
#SBATCH --job-name=tmp
#SBATCH --account=nct00
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=10
#SBATCH --time=00:20:00
#SBATCH --output=tmp.%j.out

module load python/3.11

# It was unpacked there in the morning, on the login node.
cd /tmp/digits-project
ls -l

python train.py --epochs 3 --data /gpfs/scratch/nct00/data
