#!/bin/bash -l
#SBATCH --job-name="conda example"
#SBATCH --account=nct00
#SBATCH --partition=gpu
#SBATCH --constraint=v100
#SBATCH --gres=gpu:v100:1
#SBATCH --cpus-per-task=6
#SBATCH --mem-per-cpu=4G
#SBATCH --time=00:40:00
#SBATCH --mail-type=END,FAIL

module load miniforge3
eval "$(conda shell.bash hook)"
conda activate tf-gpu

# What was this run made with?
conda list --explicit > "packages-$SLURM_JOB_ID.txt"
python -c 'import tensorflow as tf; print(tf.config.list_physical_devices("GPU"))'

cd "$SLURM_SUBMIT_DIR"
python programs/train.py --epochs 10

conda deactivate
