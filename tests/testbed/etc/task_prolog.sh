#!/bin/sh
# SLURM runs this before each task, the batch script included, and exports what it prints into the task.
# A script's non-login bash then reads that file first, so `module` is there however bare sbatch's environment was.
echo "export BASH_ENV=/etc/slurm/job_bash_env.sh"
