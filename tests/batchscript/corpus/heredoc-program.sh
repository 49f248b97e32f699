#!/bin/bash
#SBATCH --job-name=heredoc
#SBATCH --account=nct00
#SBATCH --cpus-per-task=4
#SBATCH --gres=gpu:1
#SBATCH --time=00:10:00

module load python/3.11 cuda/12.3

# The settings of this run, beside its output.
cat > settings-$SLURM_JOB_ID.yaml <<EOF
epochs: 3
cpus: $SLURM_CPUS_PER_TASK
#SBATCH --time=99:00:00 is text of this file, not a directive
EOF

cat > look.py <<'PY'
import sys

import tensorflow as tf

gpus = tf.config.list_physical_devices("GPU")
print("TensorFlow", tf.__version__, "sees", gpus)
if not gpus:
    sys.exit("no GPU: CUDA_VISIBLE_DEVICES=0 would not help")
PY

python look.py
python programs/train.py --epochs 3
rm look.py
