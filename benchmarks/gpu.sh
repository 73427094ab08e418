#!/usr/bin/env bash
# On a machine with one NVIDIA GPU, in at most eight minutes: whether states there are right, how fast they come next to
# PyTorch's, and what a head's training costs.
#
#     benchmarks/gpu.sh GLUE-FOLDER > table.md
#
# It runs `python3` of the active environment, or $PYTHON, with the extra "bench".
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:?usage: benchmarks/gpu.sh GLUE-FOLDER}
python=${PYTHON:-python3}
export TF_CPP_MIN_LOG_LEVEL=2 TF_FORCE_GPU_ALLOW_GROWTH=true

"$python" - <<'CODE'
import sys
import tensorflow as tf
gpus = tf.config.list_physical_devices("GPU")
if not gpus:
    sys.exit("TensorFlow sees no GPU: install tensorflow[and-cuda], and look at nvidia-smi.")
print(f"{tf.config.experimental.get_device_details(gpus[0])['device_name']}, TensorFlow {tf.__version__}\n")
CODE
echo "Parity with PyTorch's states, and codes made in the graph against numpy's:"
timeout 150 "$python" -m pytest -q --no-header tests/encoders/test_parity.py tests/extraction/test_extract.py \
    -k "parity or codes or equal" | tail -1
echo
echo "Tokens a second, bfloat16:"
echo
timeout 200 "$python" benchmarks/extract.py --data-dir "$data" --tasks RTE --encoders bert-base --rows 2000 \
    --repeats 1 --dtype bfloat16 --contenders states states-xla pytorch products store store-xla
echo
echo "Heads:"
echo
timeout 120 "$python" benchmarks/heads.py --data-dir "$data" --tasks cola --quick --states "$(mktemp -d)"
