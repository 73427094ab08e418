"""The quick lines of `make torture`, each once more without its check."""

import subprocess
import sys
from pathlib import Path

TORTURE = Path(__file__).parents[1] / "benchmarks" / "torture"
LINES = ("flips-store", "flips-times", "flips-state", "hostile-shards", "hostile-manifests", "hostile-heads")


def test_promises_hold_and_do_not_without_their_checks(tmp_path):
    command = [sys.executable, str(TORTURE), "--quick", "--prove", "--only", *LINES]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 * (len(LINES) + 2)
    held, broken = rows[2 : len(LINES) + 2], rows[len(LINES) + 4 :]
    assert all(int(row[1]) > 0 and int(row[2]) == 0 for row in held)
    assert all(int(row[2]) > 0 for row in broken)
