#!/usr/bin/env bash
# Train on one machine, with one process per GPU or PROCESSES of them. After a failure the run starts again if the failed
# attempt saved a newer checkpoint. SIGTERM, SIGUSR1 and Ctrl-C save and end the run.
#
#   examples/training/one_machine.sh examples/training/train.yaml runs/1 [more flags of training.train]
set -uo pipefail
config=$1 output=$2
shift 2
processes=${PROCESSES:-$(nvidia-smi --list-gpus | wc -l)}

newest() { cat "$output/checkpoints/latest" 2>/dev/null || true; }

stopped=0 child=
trap 'stopped=1; [ -n "$child" ] && kill -TERM "$child"' TERM INT HUP USR1
while true; do
  before=$(newest)
  # in a session of its own, so that Ctrl-C reaches it only as SIGTERM
  setsid torchrun --standalone --nproc-per-node "$processes" --max-restarts 0 --shutdown-timeout 600 \
    -m training.train --config "$config" --output "$output" --resume true "$@" &
  child=$!
  [ "$stopped" -eq 1 ] && kill -TERM "$child"   # the signal came before the name of the child
  wait "$child"; code=$?
  while kill -0 "$child" 2>/dev/null; do wait "$child"; code=$?; done   # a signal ends the first wait
  if [ "$code" -eq 0 ] || [ "$stopped" -eq 1 ] || [ "$(newest)" = "$before" ]; then
    exit "$code"
  fi
  echo "the run ended early (exit $code) and continues from $(newest)" >&2
done
