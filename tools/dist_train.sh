#!/usr/bin/env bash
# Train with several processes on this machine: tools/dist_train.sh CONFIG NUM [ARGS...]
# On several machines, set NNODES, NODE_RANK, MASTER_ADDR and PORT on each. With
# MAX_RESTARTS above 0 a run whose process dies goes on from its last checkpoint and step.
set -euo pipefail
usage="usage: tools/dist_train.sh CONFIG NUM_PROCESSES [ARGS...]"
case ${1:-} in -h | --help) echo "$usage" && exit ;; esac
[ $# -ge 2 ] || { echo "$usage" >&2; exit 2; }
config=$1 processes=$2
shift 2
exec python -m torch.distributed.run \
  --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
  --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
  --nproc_per_node="$processes" --max_restarts="${MAX_RESTARTS:-0}" \
  "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"
