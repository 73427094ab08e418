"""The ratios that say how fast this library is, in one table of one run.

python benchmarks/figures.py --data-dir glue [--quick] [--encoders minilm mpnet bert-base]

It runs heads.py, extract.py, search.py and against_fine_tuning.py, which print tables of their own. Of encoders larger
than MiniLM it measures states alone, on fewer rows. With --quick it runs only the first two, on fewer rows and measured
once, in about four minutes.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from contenders import describe_processor
from extract import list_installed

QUICK = ("states", "states-openvino", "pytorch", "openvino", "products", "store")
LARGE = ("states", "states-openvino", "pytorch", "onnxruntime", "openvino", "kerashub", "products")
ROWS, LARGE_ROWS = 400, 120  # texts of a task for MiniLM, and for encoders of eight times its products


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of GLUE's official download")
    parser.add_argument("--encoders", nargs="+", default=["minilm", "bert-base"])
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        states = ["--states", f"{folder}/states"]
        if options.quick:
            extraction = ["--quick", "--rows", "200", "--tasks", "RTE", "--contenders", *list_installed(QUICK)]
            parts = [("heads.py", ["--quick", "--tasks", "cola", *states]), ("extract.py", extraction)]
        else:
            large = ["--rows", str(LARGE_ROWS), "--contenders", *list_installed(LARGE)]
            parts = [
                ("heads.py", states),
                *(
                    ("extract.py", ["--encoders", name, *(["--rows", str(ROWS)] if name == "minilm" else large)])
                    for name in options.encoders
                ),
                ("search.py", ["--store", f"{folder}/states", "--output", f"{folder}/runs"]),
                ("against_fine_tuning.py", []),
            ]
        figures = {}
        for script, given in parts:
            figures |= measure(script, ["--data-dir", str(options.data_dir), *given], Path(folder) / "figures.json")
            print("", *(f"{name} {value:.2f}" for name, value in figures.items()), sep="\n", flush=True)
    print(f"\n{describe_processor()}\n\n| figure | ratio |\n| --- | ---: |")
    for name, value in figures.items():
        print(f"| {name} | {value:.2f} |")


def measure(script: str, given: list[str], file: Path) -> dict[str, float]:
    """Runs a benchmark, and returns its figures."""
    command = [sys.executable, str(Path(__file__).with_name(script)), *given, "--figures", str(file)]
    print(f"\n{script}\n", flush=True)
    done = subprocess.run(command, check=False)
    if done.returncode:
        sys.exit(f"{script} failed with status {done.returncode}")
    return json.loads(file.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
