#!/bin/bash
# The same command on every host of a TPU pod slice:
#   TPU=my-slice ZONE=us-central2-b launch/tpu_pod.sh vae_mnist --run-dir gs-mount/run
# Needs gcloud, dgmjax installed on every host (pip install 'dgmjax[all,tpu]'), and a folder that all
# hosts mount for runs and data. See launch/README.md for what was tested.
set -euo pipefail
: "${TPU:?name of the TPU slice}" "${ZONE:?its zone}" "${DGMJAX_DATA:?folder of data sets}"

command="DGMJAX_CLUSTER=tpu OPENBLAS_NUM_THREADS=1 DGMJAX_DATA=$(printf %q "$DGMJAX_DATA")"
command+=" dgmjax train$(printf ' %q' "$@")"
exec gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="$command"
