"""What bfloat16 costs a served model: dev scores, bytes and texts a second of finished runs exported in both types.

python benchmarks/export.py RUN [RUN …] --data-dir glue
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data-dir", type=Path)
    given = parser.parse_args()

    import tensorflow as tf

    import bertvision_tf as bv
    from bertvision_tf.metrics.glue import compute_metric
    from bertvision_tf.serving import export_runs

    for path in given.runs:
        run = bv.load_run(path)
        if run.kind.answers:
            parser.error(f"{path} answers questions: this benchmark is of labels and scores.")
        task = bv.get_task(run.config["task"])
        rows = run.load_rows(task, given.data_dir)[1]
        inputs = {"text": rows.texts} | ({} if rows.text_pairs is None else {"text_pair": rows.text_pairs})
        batches = [
            {name: tf.constant(list(texts[start : start + 32])) for name, texts in inputs.items()}
            for start in range(0, len(rows), 32)
        ]
        with tempfile.TemporaryDirectory() as folder:
            models, outputs, seconds = {}, {}, {"float32": [], "bfloat16": []}
            for dtype in seconds:
                models[dtype] = export_runs([run], Path(folder) / dtype / "1", dtype=dtype)
            asked = {dtype: tf.saved_model.load(str(model)).signatures for dtype, model in models.items()}
            for _ in range(ROUNDS):
                for dtype, signatures in asked.items():
                    start = time.perf_counter()
                    found = [signatures["serving_default"](**batch) for batch in batches]
                    seconds[dtype].append(time.perf_counter() - start)
                    outputs[dtype] = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
            for dtype, found in outputs.items():
                predictions = found["score"] if run.kind.numeric else found["probabilities"].argmax(axis=1)
                score = compute_metric(task.main_metric, rows.labels, predictions)
                size = sum(file.stat().st_size for file in models[dtype].rglob("*") if file.is_file())
                rate = len(rows) / statistics.median(seconds[dtype])
                print(
                    f"{task.name} {dtype}: {task.main_metric} {score:.4f}, {size / 2**20:.0f} MiB, {rate:.0f} texts/s"
                )
            if "label" in outputs["float32"]:
                moved = np.mean(outputs["float32"]["label"] != outputs["bfloat16"]["label"])
                print(f"{task.name}: {moved:.2%} of the rows have another label")


if __name__ == "__main__":
    main()
