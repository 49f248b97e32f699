#!/bin/bash
#SBATCH --job-name=rates
#SBATCH --account=nct00
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=10
#SBATCH --gpus=1
#SBATCH --mem-per-cpu=3000M
#SBATCH --time=01:00:00
#SBATCH --output=rates.out

module load python/3.11

say() {
    local text=$1
    printf '%s %s\n' "$(date +%T)" "$text"
}

train() {
    local rate=$1 epochs=$2
    say "rate $rate, $epochs epochs"
    python programs/train.py --lr "$rate" --epochs "$epochs" --out "model-$rate.keras"
}

for rate in 0.1 0.03 0.01 0.003; do
    if ! train "$rate" 5; then
        say "rate $rate failed"
        continue
    fi
done

for file in model-*.keras; do
    python programs/evaluate.py "$file"
done
