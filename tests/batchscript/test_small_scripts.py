"""Small scripts, right and wrong ones: a line is told what stands behind it as "# WANT", and no other."""

from __future__ import annotations

import re

import pytest

from hpcdl.batchscript.findings import Surroundings, findings
from hpcdl.batchscript.read import read_script

H = "#!/bin/bash\n#SBATCH --account=nct00\n#SBATCH --time=00:10:00\n"
G = H + "#SBATCH --gres=gpu:1\n#SBATCH --cpus-per-task=8\n"
L = H.replace("00:10:00", "24:00:00")
WANT = re.compile(r"# WANT ([a-z-]+)")
PROGRAMS = {
    "slow.py": "import keras\nm = keras.Sequential()\nm.fit(1, 2, epochs=1000)\nm.save('x.keras')\n",
    "mirr.py": "from tensorflow.distribute import MirroredStrategy as M\ns = M()\n",
}
GOOD = {
    "if-nv": G
    + 'nv=""\nif [ -n "$SLURM_JOB_GPUS" ]; then nv="--nv"; fi\nsingularity exec $nv --no-home a.sif python x.py\n',
    "array-opts": G + 'opts=(--nv --no-home)\nsingularity exec "${opts[@]}" a.sif python x.py\n',
    "env-nv": G + "export APPTAINER_NV=1\napptainer exec --no-home a.sif python x.py\n",
    "rocm": G + "apptainer exec --rocm --no-home a.sif python x.py\n",
    "cpu-step-in-gpu-job": G
    + "singularity exec --no-home a.sif ls /data\nsingularity exec --nv --no-home a.sif python x.py\n",
    "unset-cvd": G + "unset CUDA_VISIBLE_DEVICES\n",
    "cvd-echo": G + 'echo "$CUDA_VISIBLE_DEVICES"\n',
    "cvd-local": G + "srun -c8 bash -c 'CUDA_VISIBLE_DEVICES=$SLURM_LOCALID python x.py'\n",
    "cvd-empty-cpu": G + 'CUDA_VISIBLE_DEVICES="" python evaluate.py\n',
    "srun-env": G + 'srun -c "$SLURM_CPUS_PER_TASK" python x.py\n',
    "srun-c": G + "srun -c8 python x.py\n",
    "srun-hostname": G + "srun hostname\n",
    "srun-1cpu": H + "#SBATCH -n4\nsrun python x.py\n",
    "pull-first": G
    + "[ -e tf.sif ] || apptainer pull tf.sif docker://tensorflow/tensorflow\napptainer exec --nv --no-home tf.sif python x.py\n",
    "mkdir-cd-tmp": G + "D=/tmp/$USER/$SLURM_JOB_ID\nmkdir -p $D && cd $D\n",
    "cd-mktemp": G + 'cd "$(mktemp -d)"\n',
    "pushd": G + "mkdir /tmp/x; pushd /tmp/x\n",
    "tmpdir": G + "cd $TMPDIR\n",
    "mem-overridden": H + "#SBATCH --mem-per-cpu=1G\nsrun --mem=2G -n1 ./a\n",
    "export-none": H + "#SBATCH --export=NONE\nA=1\necho $A $HOME $USER\n",
    "quoted-blank": G
    + 'I="/x/our images/a.sif"\nsingularity exec --nv --no-home "$I" python x.py\n',
    "env-command": G + "EPOCHS=3 python x.py\n",
    "env-path-command": G + "PYTHONPATH=/x/lib python x.py\n",
    "LD": G + "LD_PRELOAD=/x/a.so ./prog\n",
    "img-env-command": G
    + "SINGULARITY_BIND=/data/ singularity exec --nv --no-home a.sif python x.py\n",
    "hours-checkpoint-path": H.replace("00:10:00", "24:00:00")
    + "python x.py --resume --checkpoint-dir $SCRATCH/ck\n",
    "hours-non-python": H.replace("00:10:00", "24:00:00") + "srun ./solver\n",
    "tasks-pernode": H + "#SBATCH --nodes=2\n#SBATCH --ntasks-per-node=4\nsrun -n 8 ./a\n",
    "tasks-less": H + "#SBATCH -n8\nsrun -n1 ./a & srun -n7 ./b & wait\n",
    "tasks-var": H + "#SBATCH -n8\nsrun -n $SLURM_NTASKS ./a\nmpirun -np $SLURM_NTASKS ./a\n",
    "nodes-n": H + "#SBATCH -N4\nsrun -n4 ./a\n",
    "tasks-exclusive": H + "#SBATCH -N1 --exclusive\nmpirun -np 40 ./a\n",
    "late-in-quotes": H
    + 'echo "#!/bin/bash\n#SBATCH --mem=$M\n./a $1" > inner.sh\nsbatch inner.sh\n'
    + "HEAD='\n#SBATCH --mem=9G\n'\nL=$'\n#SBATCH -n3'\n",
    "patterns": H + "shopt -s extglob\nrm -f !(a|b).txt\n",
    "late-in-heredoc": G
    + "cat >inner.sh <<EOF\n#!/bin/bash\n#SBATCH --time=1\nEOF\nsbatch inner.sh\n",
    "late-comment": G + "echo\n##SBATCH --x\n# #SBATCH --y\n",
    "output-abs": H + "#SBATCH -o /dev/null\n",
    "output-here": H + "#SBATCH -o ./x.out\n",
    "mailuser": H + "#SBATCH --mail-user=ann@uni.test\n",
    "html": H + 'echo "<b>" >x.html\n',
    "pt": G.replace("gpu:1", "gpu:2")
    + "#SBATCH --ntasks=2 --gpus-per-task=1\nsrun -c8 python x.py\n",
    "nodes-opt": H + "#SBATCH --nodes=1-4\n#SBATCH --ntasks=4\n",
    "contain": G + "singularity exec --nv --containall a.sif pip install --user x\n",
    "venv-pip": G + "python -m venv v && . v/bin/activate && pip install numpy\n",
    "gpus0": H + "#SBATCH --gres=gpu:0\nsingularity exec --no-home a.sif python x.py\n",
    "none": H + "#SBATCH --gres=none\nsingularity exec --no-home a.sif ls\n",
    "gres-mps": H + "#SBATCH --gres=mps:100\nsingularity exec --nv --no-home a.sif python x.py\n",
    "partition-gpu-nv": H
    + "#SBATCH -p gpu --exclusive\nsingularity exec --nv --no-home a.sif python x.py\n",
    "if-mem": H + "#SBATCH --mem=0 --exclusive\n",
    "setcuda": G + "export CUDA_VISIBLE_DEVICES=$SLURM_JOB_GPUS\n",
    "while-read": G + 'while read -r line; do cd "$line" || continue; done < list.txt\n',
    "func-args": G
    + 'go() { cd "$1"; }\nrun() { singularity exec --nv --no-home "$1" python x.py; }\nrun a.sif\n',
    "shift-getopts": G
    + 'while getopts "e:" o; do case $o in e) E=$OPTARG;; esac; done\npython x.py --epochs ${E:-3}\n',
    "here-string": G + 'python x.py <<< "3"\n',
    "nested-heredoc": G
    + "python - <<'EOF'\nimport os\nos.environ[\"CUDA_VISIBLE_DEVICES\"]\nEOF\n",
    "srun-bg-multi": H
    + "#SBATCH --ntasks=2 --gpus=2 --cpus-per-task=4\nexport SRUN_CPUS_PER_TASK=4\nfor i in 0 1; do srun -n1 --gpus=1 --exact python x.py $i & done; wait\n",
    "overlap-monitor": G + "srun --overlap -n1 -c1 nvidia-smi -l 5 > g.log &\npython x.py\n",
    "slurm-tmpdir": G + 'cd "$SLURM_TMPDIR"\ncp -r /x/data .\n',
    "scratch-local": G + "mkdir -p /tmp/$SLURM_JOB_ID/data\ncd /tmp/$SLURM_JOB_ID/data\n",
    "tar-to-tmp": G + "tar xf data.tar -C /tmp\ncd /tmp/data\n",
    "git-clone-tmp": G + "git clone --depth 1 file:///x/repo /tmp/repo\ncd /tmp/repo\n",
    "cp-to-tmp": G + "cp -r ~/project /tmp/project\ncd /tmp/project\n",
    "rsync-tmp": G + "rsync -a src/ /tmp/w/\ncd /tmp/w\n",
    "cd-tmp-itself": G + "cd /tmp\n",
    "horovod": H
    + "#SBATCH -N2 --ntasks-per-node=4 --gpus-per-node=4 --cpus-per-task=8\nmpirun -np 8 python hvd.py\n",
    "hours-requeue": L
    + "#SBATCH --signal=B:USR1@120\ntrap 'scontrol requeue $SLURM_JOB_ID' USR1\npython nosuch.py &\nwait\n",
    "signal-by-number": H + "#SBATCH --signal=B:12\ntrap stop SIGUSR2\npython x.py & wait $!\n",
    "signal-ignored": H + "#SBATCH --signal=B:USR1\ntrap '' USR1\npython x.py\n",
    "signal-of-steps": H + "#SBATCH --signal=USR1@60\nsrun python x.py\n",
    "signal-for-exec": H + "#SBATCH --signal=B:TERM@60\nexec python x.py\n",
    "mark-in-a-comment": H + "A=1   # the group's: /gpfs/projects/<group>/README\n",
    "mark-in-a-document": H + "cat > a.txt <<EOF\nput it into /data/<name>/in\nEOF\n",
    "no-break-space-of-a-text": H + "#SBATCH --comment='a\u00a0b' # c\u00a0d\n",
    "instance": G
    + "apptainer instance start --nv a.sif tf\napptainer exec --no-home instance://tf python x.py\n",
    "hours-unknown-program": L + "python nosuch.py\n",
    "hours-resume-arg": L + "python slow.py --resume\n",
    "hours-module": L + "python -m pkg.train\n",
    "array-long": L + "#SBATCH --array=1-10\npython nosuch.py $SLURM_ARRAY_TASK_ID\n",
    "quoted-directive": H + "#SBATCH --comment='<group> is a placeholder no more'\n",
    "mail-var": H + "#SBATCH --mail-type=NONE\n",
    "nodes-kM": H + "#SBATCH -N 1k\n",
    "mem-per-gpu": G + "#SBATCH --mem-per-gpu=40G\n",
    "time-forms": H + "#SBATCH --time=1-12\n#SBATCH -t 90:00\n#SBATCH -t 5\n",
    "time-unlim": H + "#SBATCH --time=UNLIMITED\n",
    "time-min": H + "#SBATCH --time-min=00:05:00\n",
    "dep": H + "#SBATCH -d afterok:123:124,singleton\n",
    "begin": H + "#SBATCH --begin=now+1hour\n",
    "nodelist": H + "#SBATCH -w n[1-2] -N2\n",
    "constraint": H + '#SBATCH -C "a100&80gb|h100"\n',
    "wckey": H + "#SBATCH --wckey=x --reservation=course --licenses=a:1\n",
    "gres-two": H
    + "#SBATCH --gres=gpu:a100:1,nvme:100\nsingularity exec --nv --no-home a.sif python x.py\n",
    "gpus-type": H + "#SBATCH --gpus=a100:2\nsingularity exec --nv --no-home a.sif python x.py\n",
    "G": H + "#SBATCH -G2\nsingularity exec --nv --no-home a.sif python x.py\n",
    "cpus-per-gpu": H + "#SBATCH -G2 --cpus-per-gpu=8\npython x.py\n",
    "tres": H + "#SBATCH --tres-per-task=cpu:8\n",
    "sif-run": G + "./tensorflow.sif python x.py\n",
    "docker-build": G + "# apptainer exec docker://x\necho docker://x\n",
    "latency": G + 'export TF_CONFIG=\'{"cluster": {"worker": ["a:1"]}}\'\n',
    "case": G + "case $1 in a) python a.py;; *) python b.py;; esac\n",
    "exec": G + "exec python x.py\n",
    "time-kw": G + "time python x.py\n",
    "nohup": G + "nohup python x.py > o.log 2>&1\n",
    "stdbuf": G + "stdbuf -oL python -u x.py | tee log\n",
    "ampersand": G + "python x.py &> x.log\n",
    "arith": G + "(( SLURM_RESTART_COUNT > 3 )) && exit 1\n",
    "sbatch-self": G + 'sbatch --dependency=afterany:$SLURM_JOB_ID "$0"\n',
    "output-array": H + "#SBATCH --array=1-2 -o %A-%a.out\n",
    "output-there": H + "#SBATCH -o there/x.out\n",
    "chdir-there": H + "#SBATCH -D there -o x.out\n",
    "test": G + "[[ -d /tmp/x ]] || exit\n",
    "cont": G + "singularity exec \\\n  --nv \\\n  --no-home \\\n  a.sif \\\n  python x.py\n",
    "short-nv": G + "singularity -q exec --nv -B /x -H $PWD a.sif python x.py\n",
    "home-contain": G + "singularity exec --nv -c a.sif python x.py\n",
    "trap": G + 'trap "rm -rf /tmp/$SLURM_JOB_ID" EXIT\n',
    "mapfile": G
    + 'mapfile -t files < <(ls /x)\nfor f in "${files[@]}"; do python x.py "$f"; done\n',
    "empty-body": H,
    "only-comment": H + "# nothing\n",
    **{
        f"account-{name}": H + f"#SBATCH -A {name}\n"
        for name in [
            *("nn1234k", "project_2001659", "naiss2024-22-219", "project_ml", "nnk", "maxxx"),
            *("detour_account", "our-project", "yours", "ai_project", "xxl", "snic2020-33-20"),
        ]
    },
    "marks-off": H
    + "#xSBATCH -n2\n#sSBATCH -c2\n#SBATC --time=1\n#sbatch --array=1-4 job.slurm\n#BATCH mode\n#srun -n2\n"
    + "# SBATCH -n2\n#BATCH -n\n#sbatch --export=A run.sh\n#YBATCH -r a_1\n#BSUB -n2\n",
    "mark-in-a-remark": H
    + "#SBATCH -n 2  # or '#SBATCH -n 4'\n#SBATCH -N 1 ##SBATCH -N 2\n"
    + "#SBATCH --comment='a#SBATCH -c 3'\n#SBATCH -c 2 #a#SBATCH -c 3\n",
    "mark-below-a-command": H + "echo\n#BATCH -n 2\n",
    "waits-for-one": H + "python a.py & P=$!\nwait $P\n",
    "waits-within": H + "(python a.py & python b.py & wait)\n",
    "waits-asleep": H + "python a.py &\nsleep 600\n",
    "waits-by-asking": H + "python a.py &\nwhile kill -0 $!; do sleep 5; done\n",
    "waits-for-the-next": H + "python watch.py &\npython a.py\necho done\n",
    "waits-by-a-function": H + "go() { python a.py & }\ngo\n",
    "waits-by-a-script": H + "python a.py &\n. ./rest.sh\n",
    "background-aside": H + "python a.py\nrm -rf old &\n",
    "background-and-list": H + "python a.py && python b.py\n",
    **{
        f"nodes-used-{number}": H + f"#SBATCH -N 2\n{line}\n"
        for number, line in enumerate(
            [
                *("srun python x.py", "mpirun -np 2 python x.py", "torchrun --nnodes=2 x.py"),
                *("python -m torch.distributed.run x.py", "bash run.sh\npython x.py"),
                *("python launch.py", "python x.py --nodes 2", "$START python x.py", "./x.py"),
                *("ray start --head\npython x.py", ". ./all.sh\npython x.py"),
                "go() { python x.py; }\ngo",
            ]
        )
    },
    "nodes-at-most-2": H + "#SBATCH -N 1-2\npython x.py\n",
    "memory-small": H + "#SBATCH --mem=16\n./a\n",
    "memory-right": H + "#SBATCH --mem=4000\npython x.py\n",
    "memory-all": H + "#SBATCH --mem=0\npython x.py\n",
    "outputs-of-array": H + "#SBATCH --array=1-9 -o x_%3a.out -e %j.err\n",
    "output-of-one": H + "#SBATCH --array=7 -o x.out\n",
    "output-of-one-range": H + "#SBATCH --array=7-7%1 -o x.out\n",
    "output-appended": H + "#SBATCH --array=1-9 -o x.out --open-mode=append\n",
    "output-nowhere": H + "#SBATCH --array=1-9 -o /dev/null\n",
    "no-blank-in-a-path": G + "A=${W}/qec_$2.sif\nsingularity exec --nv --no-home $A python x.py\n",
    "nodes-alone": H + "#SBATCH -N 2\nsrun -n 96 ./a\n",
    "marks-in-a-text": H + 'sed -i "s:<NAME>:$X:" a.xml\necho "set it to /<path>/x"\n',
    "end-of-options": H + "#SBATCH -N1 --\n./a\n",
    "marks-in-texts": H
    + "awk '\n/<tag>/ {print}\n' a.xml\nsed -e 's/a/b/\ns/<group>/x/' a\n"
    + "python3 -c '\nprint(\"/<b>/\")\n'\n"
    + "A='/<tag>/ {print}'\nB='s/<group>/x/'\nC='\n<a>/<b>/c'\n",
    "image-of-amd": G + "singularity exec --no-home tf-rocm5.sif python x.py\n",
}
FOUND = {
    "placeholder-in-quotes": H + 'IMG="/x/<group>/a.sif"  # WANT placeholder\n',
    "word-behind-the-end": H + "#SBATCH -N1 -- one two  # WANT unknown-option\n",
    "line-behind-the-end": H + "#SBATCH --  # WANT unknown-option\n#SBATCH -N1\n",
    "placeholder-in-a-list": H + 'B="--b=1 \\\n --data=/x/<group>/d"  # WANT placeholder\n',
    "placeholder-below-a-text": H
    + "awk '\n/<tag>/ {print}\n' a.xml\npython /x/<group>/x.py  # WANT placeholder\n",
    "nv-var": G + "I=/x/a.sif\nsingularity exec --no-home $I python x.py  # WANT gpus-without-nv\n",
    "srun-in-sh": G + "srun bash run.sh  # WANT srun-cpus\n",
    "srun-absolute": G + "/usr/bin/srun python x.py  # WANT srun-cpus\n",
    "srun-function": G + "f() { srun python x.py; }  # WANT srun-cpus\nf\n",
    "cvd-env": G + "CUDA_VISIBLE_DEVICES=0,1 python x.py  # WANT cuda-visible-devices\n",
    "cvd-singularityenv": G
    + "export SINGULARITYENV_CUDA_VISIBLE_DEVICES=0  # WANT cuda-visible-devices\n",
    "tmp-cd-var": G + "W=/tmp/work\ncd $W  # WANT login-folder\n",
    "tmp-cd-subshell": G + "(cd /tmp/project && python x.py)  # WANT login-folder\n",
    "oras": G + "apptainer run --nv --no-home oras://ghcr.io/x/y:1  # WANT docker-at-run-time\n",
    "docker-var": G
    + "I=docker://x/y\napptainer exec --nv --no-home $I python x.py  # WANT docker-at-run-time\n",
    "error-folder": H + "#SBATCH -e err/x.err  # WANT output-folder\n",
    "output-dollar": H + "#SBATCH --output=$HOME/logs/%j.out  # WANT output-folder\n",
    "output-tilde": H + "#SBATCH --output=~/x.out  # WANT output-folder\n",
    "torn-double": G + "IMG=/x/my imgs/a.sif  # WANT torn-path\n",
    "torn-direct": G
    + "singularity exec --nv --no-home /x/our images/a.sif python x.py  # WANT torn-path\n",
    "torn-after-eq": G + "IMG= /x/a.sif  # WANT torn-path\n",
    "mpirun-4": G + "mpirun -np 4 python x.py  # WANT tasks-started\n",
    "export-none-var": H
    + "#SBATCH --export=NONE  # WANT export-lost\npython x.py --data $DATASET\n",
    "export-comma": H + "#SBATCH --export=ALL,L=64,32  # WANT export-lost\n",
    "export-list": H + "#SBATCH --export=A=1  # WANT export-lost\necho $MYDATA $A\n",
    "placeholder2": H + "#SBATCH --partition=YOUR_PARTITION  # WANT placeholder\n",
    "placeholder3": H + "#SBATCH -A your_account  # WANT placeholder\n",
    "placeholder4": H + "#SBATCH -A xxxxxx  # WANT placeholder\n",
    "placeholder5": H + "#SBATCH -A [project]  # WANT placeholder\n",
    "placeholder6": H + "#SBATCH --account={{account}}  # WANT placeholder\n",
    "placeholder7": H + "#SBATCH --mail-user=your.email@example.com  # WANT placeholder\n",
    "placeholder8": H + "python /gpfs/scratch/<group>/x.py  # WANT placeholder\n",
    "placeholder9": H + "#SBATCH -A PROJECT_ID  # WANT placeholder\n",
    **{
        f"placeholder-{name}": H + f"#SBATCH -A {name}  # WANT placeholder\n"
        for name in [
            *("project_xxxxxxxxx", "Project_200XXXX", "nnXXXXk", "nnNNNNk", "nn____k"),
            *("yourproject", "YourProject", "my_yourGroup", "[USERNAME]", "kullanici_adi"),
            *("naiss20YY-XX-ZZ", "SNICyyyy-xx-yy", "Project_ID", "__ACCOUNT__"),
        ]
    },
    "placeholder-in-mail": H + "#SBATCH --mail-user=YourNetID@uni.test  # WANT placeholder\n",
    **{
        f"misspelt-{mark}": H + f"#{mark} --cpus-per-task=2  # WANT ignored-directive\n"
        for mark in ("SBACTH", "BATCH", "SBTACH", "sbatch", "SBATH", "SBBATCH")
    },
    "glued": H + "#SBATCH -e x.err#SBATCH --nodes=2  # WANT ignored-directive\n",
    "nothing-waits": H + "python x.py > o.log &  # WANT nothing-waits\n# wait\n\necho done\n",
    "nothing-waits-for-steps": H
    + "#SBATCH -n2\nsrun -n1 ./a &\nsrun -n1 ./b &  # WANT nothing-waits\nsqueue -u ann\n",
    "nothing-waits-for-loop": H
    + "for i in 1 2; do\n  python x.py $i | tee $i.log &  # WANT nothing-waits\ndone\nexit 0\n",
    "nodes-idle": H
    + "#SBATCH -N 2\nmodule load python\nsource v/bin/activate\npython x.py  # WANT nodes-idle\n",
    "nodes-idle-container": H
    + "#SBATCH -N4\nsingularity exec --no-home a.sif python x.py  # WANT nodes-idle\n",
    "memory-unit": H + "#SBATCH --mem=16  # WANT memory-unit\npython x.py\n",
    "memory-unit-gpu": G + "#SBATCH --mem=32  # WANT memory-unit\n./a\n",
    "one-output": H + "#SBATCH --array=1-9%2\n#SBATCH -o there/x.%A.out  # WANT one-output\n",
    "one-error": H + "#SBATCH -a 1,4 -o %a.out\n#SBATCH -e x  # WANT one-output\n",
    "contra2": H + "#SBATCH --gpus=2 --gres=gpu:4  # WANT contradiction\n",
    "contra3": H + "#SBATCH --gpus-per-task=1  # WANT contradiction\n",
    "contra4": H + "#SBATCH --nodes=1 --gpus=4\n#SBATCH --gpus-per-node=2  # WANT contradiction\n",
    "eq": H + "#SBATCH -J=x  # WANT bad-value\n",
    "eq2": H + "#SBATCH -N=2  # WANT bad-value\n",
    "time": H + "#SBATCH --time=ten  # WANT bad-value\n",
    "late-behind-quotes": H + 'echo "one\n"\n#SBATCH --mem=9G  # WANT late-directive\n',
    "late-short": H + "set -e\n#SBATCH -N 2  # WANT late-directive\n",
    "gpt-total": H + "#SBATCH --ntasks=4 --gpus-per-task=1 --gpus=2  # WANT contradiction\n",
    "hours-slow": L.rstrip("\n") + "  # WANT no-checkpoint\npython slow.py\n",
    "hours-slow-container": "#!/bin/bash\n#SBATCH --account=a --gres=gpu:1\n#SBATCH --time=24:00:00  # WANT no-checkpoint\nsingularity exec --nv --no-home a.sif python slow.py\n",
    "out-chdir": H + "#SBATCH -D there\n#SBATCH -o logs/x.out  # WANT output-folder\n",
    "later-late": G
    + "export A=1\n#SBATCH --mem=4G  # WANT late-directive\npython x.py\n#SBATCH -p x  # WANT late-directive\n",
    "gres-typo": H + "#SBATCH --gres=gpus:1  # WANT bad-value\n",
    "mirrored-import": H
    + "#SBATCH --ntasks=2\n#SBATCH --gpus-per-task=1  # WANT gpus-per-task-mirrored\nsrun python mirr.py\n",
    "mem-three": H + "#SBATCH --mem-per-gpu=1G --gpus=1\n#SBATCH --mem=1G  # WANT mem-twice\n",
    "nv-run": H + "apptainer run --nv --no-home a.sif  # WANT nv-without-gpus\n",
    "shell-nv": H
    + "if true; then singularity exec --nv --no-home a.sif python x.py; fi  # WANT nv-without-gpus\n",
    "pushd-2": G + "pushd /tmp/proj  # WANT login-folder\n",
    "devshm": G + "cd /dev/shm/proj  # WANT login-folder\n",
    "mpiexec": H + "#SBATCH --ntasks=2\nmpiexec -n 8 ./a  # WANT tasks-started\n",
    "word": H + "#SBATCH --nodes=1 gpu  # WANT unknown-option\n",
    "flagvalue": H + "#SBATCH --requeue=yes  # WANT bad-value\n",
    "ambig": H + "#SBATCH --gpu=1  # WANT unknown-option\n",
    "ntpn": H + "#SBATCH --ntask-per-node=1  # WANT unknown-option\n",
    "signal-untrapped": H + "#SBATCH --signal=B:USR1@300  # WANT signal-untrapped\npython x.py\n",
    "signal-of-another": H
    + "#SBATCH --signal=B:USR1@300  # WANT signal-untrapped\ntrap stop USR2\npython x.py & wait\n",
    "signal-in-front": H
    + "#SBATCH --signal=B:10@300  # WANT signal-untrapped\ntrap stop USR1\npython x.py\n",
    "several-strays": "#!/bin/bash\n#SBATCH --time=10 foo bar  # WANT unknown-option\n",
    "no-break-space": H + "#SBATCH --mem=1G\u00a0--gres=gpu:1  # WANT bad-value\npython x.py\n",
    "odd-quotes": H + "A=\u201c/x/a.sif\u201d  # WANT torn-path\n",
    "mem-unit": H + "#SBATCH --mem=4 GB  # WANT unknown-option\n",
}


@pytest.mark.parametrize("name", [*GOOD, *FOUND])
def test_small_scripts(tmp_path, name):
    for program, code in PROGRAMS.items():
        (tmp_path / program).write_text(code)
    (tmp_path / "there").mkdir()
    (tmp_path / "job.slurm").write_text((GOOD | FOUND)[name])
    around = Surroundings((22, 5), home=tmp_path / "home", folder=tmp_path)
    lines = (GOOD | FOUND)[name].split("\n")
    wanted = [(n, m[1]) for n, line in enumerate(lines, 1) for m in [WANT.search(line)] if m]

    said = findings(read_script(tmp_path / "job.slurm"), around)

    assert [(one.line, one.code) for one in said] == wanted, said
    assert (name in FOUND) == bool(wanted)


@pytest.mark.parametrize(
    ("version", "has_one_cpu"),
    [
        ((21, 8), False),
        ((22, 5), True),
        ((23, 2), True),
        ((23, 11), False),
        ((25, 5), False),
        (None, False),
    ],
)
def test_srun_keeps_cpus_by_version(tmp_path, version, has_one_cpu):
    (tmp_path / "job.slurm").write_text(G + "srun python a.py\n")

    said = findings(read_script(tmp_path / "job.slurm"), Surroundings(version, folder=tmp_path))

    assert [one.code for one in said] == ["srun-cpus"] * has_one_cpu
