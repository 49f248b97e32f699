#!/bin/bash
# Sends one job for each rate; this file itself is for the login node.
for rate in 0.1 0.01; do
    sbatch <<EOF
#!/bin/bash
#SBATCH --job-name=rate-$rate
#SBATCH --account=nct00
#SBATCH --gres=gpu:1
#SBATCH --time=00:20:00
module load python/3.11
python train.py --lr $rate
EOF
done
