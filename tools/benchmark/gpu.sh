#!/usr/bin/env bash
# One GPU, at most eight minutes: tests/gpu, then times and memory at 448, batch 32, bf16, then the
# loader. Usage: tools/benchmark/gpu.sh OUT [CONFIG_OF_THE_LOADER]
# OUT/gpu.json has everything, OUT/gpu.md the table of docs/benchmarks.md. A part that fails or takes
# too long is named there, and the others are made all the same.
set -u
cd "$(dirname "$0")/../.."
out=${1:?where to write}
config=${2:-configs/mtlora/mtlora_swin-pico_scenes.py}
python=${PYTHON:-python}
mkdir -p "$out"

part() { # NAME SECONDS COMMAND...
  local name=$1 limit=$2 start=$SECONDS status=0
  shift 2
  echo "== $name: $*"
  timeout "$limit" "$@" > "$out/$name.log" 2>&1 || status=$?
  echo "$name $status $((SECONDS - start))" >> "$out/parts.txt"
  tail -n 3 "$out/$name.log"
}

: > "$out/parts.txt"
part tests 200 "$python" -m pytest tests/gpu -n 4 --dist loadfile --junitxml "$out/tests.xml"
part speed 200 "$python" tools/benchmark/against_reference.py --device cuda --sizes 448 \
  --batch-size 32 --bf16 --rounds 5 --variants mtlora faar sinewich full_finetune \
  --json "$out/speed.json"
part loader 60 "$python" -m mtpeft data bench "$config"
"$python" tools/benchmark/gpu_table.py "$out"
