"""The command as a user runs it: in processes of its own where that may tell, in this one where it cannot."""

import contextlib
import csv
import json
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from bertvision_tf.heads import list_presets

from .command import run_here

ROOT = Path(__file__).parents[1]
TINY = str(ROOT / "tests" / "checkpoints" / "bert-gelu-eps1e-12-segments2")


def read_csv(file):
    with open(file, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def run_fresh(*arguments, cwd, script=None):
    """In a process of its own."""
    program = [sys.executable, str(ROOT / "scripts" / script)] if script else [sys.executable, "-m", "bertvision_tf"]
    return subprocess.run([*program, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=300)


def run_command(*arguments, cwd):
    """In this process, which has loaded TensorFlow."""
    with contextlib.chdir(cwd):
        return run_here(*arguments)


def assert_one_line_error(done, *parts):
    assert done.returncode == 1
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    for part in parts:
        assert part in lines[0]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A CoLA folder in the official layout, and a run on it through scripts/train_glue.py."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "glue" / "CoLA").mkdir(parents=True)
    words = ["the cat has eaten .", "the cats eat .", "she can run", "who is he ?", "a dog is running"]
    for split, count in (("train", 420), ("dev", 40)):
        lines = [f"ab{n % 3}\t{n % 2}\t{'' if n % 2 else '*'}\t{words[n % 5]} {words[n % 4]}" for n in range(count)]
        (folder / "glue" / "CoLA" / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = run_fresh(
        *("--task", "CoLA", "--encoder", TINY, "--data-dir", "glue", "--head", "adapter_4_shared", "--seeds", 2),
        *("--codec", "int4", "--store", "states", "--output", "run", "--limit", 410, "--epochs", 2),
        *("--tensorboard", "logs"),
        cwd=folder,
        script="train_glue.py",
    )
    assert done.returncode == 0, done.stderr
    return folder, done


def test_train_prints_the_table(finished):
    folder, done = finished
    assert done.stderr == ""
    for part in ("cola dev, matthews", "majority", "TF-IDF", "all layers mean", "adapter_4_shared", "\nrun: "):
        assert part in done.stdout
    results = json.loads((folder / "run" / "results.json").read_text())
    assert (results["task"], results["store"]["codec"], results["head"]) == ("cola", "int4", "adapter_4_shared")
    assert results["rows"] == {"training": 210, "selection": 200, "dev": 40, "truncated": 0, "skipped": 0}
    assert f"{results['mean']:.3f}" in done.stdout
    logs = {file.relative_to(folder / "logs").parts[0] for file in (folder / "logs").rglob("events.out.tfevents.*")}
    assert logs == {"seed-0", "seed-1"}


def test_report_and_table(finished, tmp_path):
    folder, _ = finished
    done = run_command("report", folder / "run", "--output", "out", "--examples", "1", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "wrote out/index.html\n", "")
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"index.html", "pictures", "report.json"}
    done = run_command("table", folder / "run", "--format", "csv", cwd=tmp_path)
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert float(rows[-1]["mean"]) == json.loads((folder / "run" / "results.json").read_text())["mean"]
    assert (rows[-1]["model"], rows[0]["model"], done.stderr) == ("run", "majority", "")
    assert_one_line_error(
        run_command("table", folder / "run", "--format", "word", cwd=tmp_path), "markdown, csv, latex"
    )
    assert_one_line_error(run_command("report", folder / "glue", cwd=tmp_path), "no finished run at")
    assert not (tmp_path / "report").exists()


def test_verify(finished, tmp_path):
    folder, _ = finished
    paths = json.loads((folder / "run" / "results.json").read_text())["store"]["paths"]
    done = run_command("verify", *paths, cwd=folder)
    assert (done.returncode, done.stdout.count("whole")) == (0, 2)
    shard = folder / paths[0] / "shard-00000.h5"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    try:
        done = run_command("verify", *paths, cwd=folder)
        assert (done.returncode, done.stdout.count("whole")) == (1, len(paths) - 1)
        assert "shard-00000.h5 is damaged: its SHA-256" in done.stderr
    finally:
        data[len(data) // 2] ^= 1
        shard.write_bytes(data)


def test_predict(finished, tmp_path):
    folder, _ = finished
    table = tmp_path / "mine.csv"
    table.write_text('\ufeffnote,sentence\n"a, b",the cats eat .\nc,"she said ""run"""\n', encoding="utf-8")
    done = run_fresh("predict", "run", "--input", table, "--output", tmp_path / "out.csv", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    rows = read_csv(tmp_path / "out.csv")
    assert list(rows[0]) == ["note", "sentence", "prediction", "p_unacceptable", "p_acceptable"]
    assert [(row["note"], row["sentence"]) for row in rows] == [("a, b", "the cats eat ."), ("c", 'she said "run"')]
    for row in rows:
        best = max(("unacceptable", "acceptable"), key=lambda name: float(row[f"p_{name}"]))
        assert row["prediction"] == best
    other = run_command(
        *("predict", "run", "--input", table, "--output", tmp_path / "out.tsv", "--text-column", "note"), cwd=folder
    )
    assert other.returncode == 0
    assert (tmp_path / "out.tsv").read_text(encoding="utf-8").startswith("note\tsentence\tprediction\t")


def test_predict_bad_input(finished, tmp_path):
    folder, _ = finished
    table = tmp_path / "mine.csv"
    table.write_text("text\nthe cat\n")
    out = tmp_path / "out.csv"
    done = run_command("predict", "run", "--input", table, "--output", out, cwd=folder)
    assert_one_line_error(done, "no column 'sentence'", "'text'")
    table.write_text("sentence,note\nthe cat\n")
    done = run_command("predict", "run", "--input", table, "--output", out, cwd=folder)
    assert_one_line_error(done, "line 2", "1 cells", "2")
    table.write_text("sentence\nthe cat\n \n")
    done = run_command("predict", "run", "--input", table, "--output", out, cwd=folder)
    assert_one_line_error(done, "line 3: the text is empty")
    table.write_bytes(b"sentence\nca\xff\n")
    done = run_command("predict", "run", "--input", table, "--output", out, cwd=folder)
    assert_one_line_error(done, "line 2", "UTF-8")
    done = run_command("predict", "nowhere", "--input", table, "--output", out, cwd=folder)
    assert done.returncode == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["train", "--task", "nli"], ["task 'nli' is not known", "cola"]),
        (["train", "--task", "cola", "--task", "nli"], ["task 'nli' is not known"]),  # the last of two counts
        (["train", "--task", "cola", "--data-dir", "nowhere"], ["no train rows of CoLA", "nowhere/CoLA/train.tsv"]),
        (["train", "--encoder", "nowhere"], ["no encoder 'nowhere'"]),
        (["train", "--encoder", TINY, "--head", "adapter_x"], ["No head is named 'adapter_x'"]),
        (["train", "--encoder", TINY, "--head", "absent.json"], ["absent.json cannot be read"]),
        (["verify", "nowhere"], ["no store at nowhere"]),
        (["extract", "--encoder", TINY, "--output", "o", "--codec", "int3"], ["codec 'int3' is not known"]),
        (["extract", "--encoder", TINY, "--output", "o", "--dtype", "int8"], ["dtype 'int8' is not known"]),
        (["extract", "--encoder", TINY, "--output", "o", "--max-length", "999"], ["3 to 128 tokens"]),
        (["extract", "--encoder", TINY, "--output", "/dev/null/o"], ["/dev/null/o cannot be written"]),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, arguments, parts):
    monkeypatch.chdir(tmp_path)
    done = run_here(*arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    for part in parts:
        assert part in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_extract_finds_what_is_there_and_refuses_another_length(tmp_path):
    arguments = ("extract", "--encoder", TINY, "--split", "dev", "--limit", 50, "--output", "s")
    first = run_fresh(*arguments, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "50 examples" in first.stdout
    files = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "s").iterdir()}
    assert run_command(*arguments, cwd=tmp_path).stdout == first.stdout
    done = run_command(*arguments, "--max-length", 64, cwd=tmp_path)
    assert_one_line_error(done, "max_length 128", "asked for 64")
    assert {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in (tmp_path / "s").iterdir()} == files


def test_help_is_light():
    code = "import sys; from bertvision_tf.cli import main; sys.argv = ['bertvision', '--help']\n"
    code += "try: main()\nexcept SystemExit: pass\n"
    code += "heavy = {'tensorflow', 'keras', 'transformers', 'h5py', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
    code += "print('HEAVY', sorted(heavy))"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    seconds = time.perf_counter() - start
    for verb in ("train", "extract", "verify", "predict", "quickstart"):
        assert verb in done.stdout
    assert "HEAVY []" in done.stdout
    assert seconds < 3  # a second on an idle machine


def test_importing_the_package_is_light():
    code = "import sys, bertvision_tf; print([m for m in ('tensorflow', 'keras', 'numpy', 'h5py') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there():
    import bertvision_tf

    for name in bertvision_tf.__all__:
        assert getattr(bertvision_tf, name) is not None
    assert set(bertvision_tf.__all__) <= set(dir(bertvision_tf))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = bertvision_tf.nonsense


def test_plan_says_what_it_costs(tmp_path):
    done = run_command("plan", "--encoder", TINY, "--seconds", "0.2", "--limit", "50", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == ""
    assert "starter with" in done.stdout and "100 texts" in done.stdout
    for part in ("tokens a second", "int2", "--tokens cls", "free on the disk", "images_from_encoder"):
        assert part in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_ones_own(tmp_path):
    rows = [
        f'"{word}, it is {number}",{label}' for number in range(150) for word, label in (("good", "+"), ("bad", "-"))
    ]
    (tmp_path / "my.csv").write_text("\n".join(["What was said,Verdict!", *rows]) + "\n", encoding="utf-8")
    options = ["--train", "my.csv", "--encoder", TINY, "--seeds", "1", "--epochs", "1", "--output", "run"]
    done = run_command("train", *options, cwd=tmp_path)
    assert_one_line_error(done, "which column is the text? Name it with --text-column", "'What was said', 'Verdict!'")
    done = run_command("train", *options, "--text-column", "What was said", "--label-column", "Verdict!", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run_command("predict", "run", "--input", "my.csv", "--output", "out.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = read_csv(tmp_path / "out.csv")
    assert len(found) == 300
    assert list(found[0]) == ["What was said", "Verdict!", "prediction", "p_+", "p_-"]
    assert {row["prediction"] for row in found} <= {"+", "-"}


def test_options_that_do_not_go_together_are_refused(tmp_path):
    (tmp_path / "my.csv").write_text("text,label\na,1\n", encoding="utf-8")
    for options, part in (
        (("--dev", "my.csv"), "--dev goes with --train"),
        (("--task", "cola", "--kind", "regression"), "--kind goes with --train"),
        (("--task", "cola", "--train", "my.csv"), "are two tasks: leave one out"),
    ):
        assert_one_line_error(run_command("train", *options, "--encoder", TINY, cwd=tmp_path), part)


def test_version():
    done = run_here("--version")
    assert (done.returncode, done.stdout) == (0, f"bertvision-tf {version('bertvision-tf')}\n")


def test_extract_and_verify_a_table_of_the_users(tmp_path):
    rows = "".join(f"the cat can run,{row % 2}\n" for row in range(20))
    (tmp_path / "own.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    options = ["--train", "own.csv", "--encoder", TINY, "--split", "dev", "--output", "kept"]
    done = run_command("extract", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("kept: 4 examples, 24 tokens, 3 states")
    shard = tmp_path / "kept" / "shard-00000.h5"
    (tmp_path / "damaged").mkdir()
    for file in (tmp_path / "kept").iterdir():
        (tmp_path / "damaged" / file.name).write_bytes(file.read_bytes())
    flipped = bytearray(shard.read_bytes())
    flipped[-1] ^= 1
    (tmp_path / "damaged" / shard.name).write_bytes(flipped)
    done = run_fresh("verify", "damaged", "kept", "nowhere", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == f"kept: whole (1 shards, {shard.stat().st_size / 2**20:.1f} MiB)\n"
    first, second = done.stderr.strip().splitlines()
    assert "is damaged: its SHA-256 is not the manifest's" in first
    assert second.startswith("error: no store at nowhere")


def test_heads_are_listed_with_their_sizes(tmp_path):
    done = run_command("heads", "--encoder", TINY, "--tokens", 1, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = {line.split("│")[1].strip(): line for line in done.stdout.splitlines() if line.startswith("│")}
    assert set(list_presets()) <= set(lines)
    assert f" {3 + 1 + 8 * 2 + 2} " in lines["learned_pooling"]
    assert "learned weights over the layers" in lines["learned_pooling"]
    assert "not here" in lines["comparison_adapter_64"]
    done = run_command("heads", "nonsense", "--encoder", TINY, cwd=tmp_path)
    assert_one_line_error(done, "No head is named 'nonsense'")


def test_layers_are_chosen_by_the_command(tmp_path):
    options = ["--encoder", TINY, "--limit", 450, "--seeds", 1, "--epochs", 1, "--layers", "auto", "--no-baselines"]
    done = run_command("train", *options, "--head", "last_layer", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "of 3 kept" in done.stdout
    assert "on the selection rows of 450 examples they score" in done.stdout.replace("\n", " ")


def test_words_are_read_beside_pydantic():
    """Which other packages bring into the process, and with which cyclopts checks the types of values."""
    pytest.importorskip("pydantic")
    lists = ["--layers", "0,1", "--seeds", "2", "--fine-tune-epochs", "1,2", "--baseline-parts", "all,lora_8"]
    for words in (["extract"], ["train", *lists], ["search"]):
        assert "no encoder '/nope'" in run_here(*words, "--encoder", "/nope").stderr
    assert "it needs numbers with commas between" in run_here("train", "--layers", "x").stderr
