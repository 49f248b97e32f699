#!/bin/bash -l
#SBATCH -o ./mpi.%j.out
#SBATCH -D ./
#SBATCH -J mpi
#SBATCH --account=nct00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=40
#SBATCH --mail-type=none
#SBATCH --time=00:30:00
#SBATCH --no-requeue
#SBATCH --export=NONE
#SBATCH --get-user-env

# The shell of the login node stays there; this job makes its own.
unset SLURM_EXPORT_ENV

module load intel impi
module list

cases=4
for ((case = 1; case <= cases; case++)); do
    srun ./solver "input.$case" > "result.$case" || break
done
