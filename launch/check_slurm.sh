#!/bin/bash
# Runs launch/slurm.sh under a Slurm of this machine alone, which it starts and ends:
#   apt-get install slurm-wlm munge && bash launch/check_slurm.sh [FOLDER]
# Two processes train vae_digits; the job is stopped on the way as a time limit would stop it, and
# the same command resumes it. Must be root. Everything that it writes is in FOLDER.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(realpath -m "${1:-$(mktemp -d)}")
host=$(hostname -s)
mkdir -p "$folder"/{state,spool,munge,data}
chmod 700 "$folder/munge"
export SLURM_CONF="$folder/slurm.conf"
cat >"$SLURM_CONF" <<CONF
ClusterName=check
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=30
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES State=UP
CONF

stop() { # the daemons that this script started, by their numbers
    for name in slurmd slurmctld munged; do
        [ ! -s "$folder/$name.pid" ] || kill "$(cat "$folder/$name.pid")" 2>/dev/null || true
    done
}
trap stop EXIT

dd if=/dev/urandom of="$folder/munge/key" bs=128 count=1 status=none
chmod 400 "$folder/munge/key"
munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" \
    --pid-file="$folder/munged.pid" --log-file="$folder/munge/log" --seed-file="$folder/munge/seed"
slurmctld -f "$SLURM_CONF"
slurmd -f "$SLURM_CONF"
for _ in $(seq 30); do
    sinfo --noheader --format=%t 2>/dev/null | grep -qx idle && break
    sleep 1
done
sinfo

export DGMJAX_DATA="$folder/data" JAX_PLATFORMS=cpu PATH="$PWD/.venv/bin:$PATH"
submit() { # the job's number; the options that describe a cluster are those of this machine
    sbatch --parsable --nodes=1 --ntasks-per-node=2 --gpus-per-node=0 --cpus-per-task=1 \
        --time=10 --output="$folder/job-%j.log" launch/slurm.sh \
        vae_digits --run-dir "$folder/run" --steps 1500 --checkpoint-every 100
}
wait_for() { # until the job has left the queue
    for _ in $(seq 300); do
        [ -n "$(squeue --noheader --job="$1" 2>/dev/null)" ] || return 0
        sleep 1
    done
    echo "error: job $1 does not end"; exit 1
}

first=$(submit)
for _ in $(seq 240); do # until there is something to resume
    compgen -G "$folder/run/checkpoints/latest/steps/[0-9]*" >/dev/null && break
    sleep 1
done
scancel --signal=TERM "$first" # as `#SBATCH --signal` does before the time limit
wait_for "$first"
test ! -e "$folder/run/results.json" || { echo "error: the job was done too soon"; exit 1; }
second=$(submit)
wait_for "$second"
cat "$folder/job-$first.log" "$folder/job-$second.log"
grep -q 'Resumed from' "$folder/job-$second.log"
test -s "$folder/run/results.json"
echo "$(sinfo --version): 2 processes, stopped and resumed"
