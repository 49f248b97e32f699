#!/bin/bash
#SBATCH --job-name=memory
#SBATCH --account=nct00
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --gres=gpu:1
#SBATCH --mem-per-cpu=8000
#SBATCH --time=00:30:00

# One line came from the old template, the other from the new one.
set -e
df -h .

module load python/3.11

python programs/train.py --epochs 2
