"""All options of a run: their groups, their checks, and files of them."""

import dataclasses
import inspect
import json
import subprocess
import sys

import numpy as np
import pytest

import bertvision_tf as bv
from bertvision_tf.errors import RunError
from bertvision_tf.settings import GROUP_OF, GROUPS, RunSettings

from .conftest import TINY


def test_every_option_stands_in_one_group_and_is_described():
    names = [field.name for kind in GROUPS.values() for field in dataclasses.fields(kind)]
    assert len(names) == len(set(names)) == len(GROUP_OF)
    for kind in GROUPS.values():
        described = inspect.getdoc(kind).partition("Attributes:")[2]
        for field in dataclasses.fields(kind):
            assert f"\n    {field.name}: " in described


def test_train_shows_every_option():
    shown = inspect.signature(bv.train).parameters
    assert [name for name in shown if name in GROUP_OF] == list(GROUP_OF)
    assert list(shown)[:4] == ["task", "encoder", "settings", "progress"]
    assert (shown["codec"].default, shown["seeds"].default) == ("int8", 5)


def test_options_find_their_groups():
    settings = RunSettings.from_options(seeds=3, fine_tune_epochs=1, limit=7, codec="int4", task="rte")
    assert (settings.head.all_seeds, settings.tuning.fine_tune_epochs, settings.rows.limit) == ([0, 1, 2], 1, 7)
    assert (settings.states.codec, settings.task) == ("int4", "rte")
    assert settings.change(limit=None) == RunSettings.from_options(
        seeds=3, fine_tune_epochs=1, codec="int4", task="rte"
    )
    with pytest.raises(TypeError, match="there is no option 'sedes'; known: data_dir"):
        settings.change(sedes=3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'sedes'"):
        bv.train("starter", sedes=3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'shots'"):
        bv.search("starter", shots=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": "3"}, "`seeds` needs one seed or more, each once; got '3'"),
        ({"seeds": 0}, "`seeds` needs one seed or more"),
        ({"seeds": [1.5]}, "`seeds` needs one seed or more"),
        ({"seeds": [1, 1]}, "`seeds` needs one seed or more"),
        ({"seeds": [-1]}, r"a seed is a whole number from 0 to 4294967295, got \[-1\]"),
        ({"seeds": [2**40]}, "a seed is a whole number from 0 to 4294967295"),
        ({"seeds": True}, "`seeds` needs one seed or more"),
        ({"seeds": None}, "`seeds` needs one seed or more"),
        ({"limit": "5"}, "`limit` needs 1 or more, got '5'"),
        ({"limit": 2.5}, "`limit` needs 1 or more, got 2.5"),
        ({"limit": 0}, "`limit` needs 1 or more, got 0"),
        ({"max_length": "16"}, "`max_length` needs 3 or more, got '16'"),
        ({"max_length": 2}, "`max_length` needs 3 or more, got 2"),
        ({"layers": [1.5]}, r"`layers` needs indices, 'auto' or none, got \[1.5\]"),
        ({"layers": [True]}, r"`layers` needs indices, 'auto' or none, got \[True\]"),
        ({"layers": "auto", "pooler": True}, "leave `pooler` out"),
        ({"shots": 0}, "`shots` needs 1 or more, got 0"),
        ({"shots": 8, "train_share": 0.5}, "leave one out"),
        ({"train_share": "half"}, "`train_share` needs more than 0 and at most 1, got 'half'"),
        ({"train_share": float("nan")}, "`train_share` needs more than 0"),
        ({"fine_tune_epochs": -1}, "`fine_tune_epochs` needs 0 or more, got -1"),
        ({"fine_tune_epochs": "1"}, "`fine_tune_epochs` needs 0 or more, got '1'"),
        ({"fine_tune_seeds": 3, "seeds": 2}, "`fine_tune_seeds` needs 1 to as many as `seeds`"),
    ],
)
def test_options_that_are_refused(options, message):
    with pytest.raises(RunError, match=message):
        RunSettings.from_options(**options)


def test_numbers_of_numpy_are_numbers():
    settings = RunSettings.from_options(seeds=np.arange(2), layers=np.array([0, 2]), limit=np.int64(9))
    assert settings.head.all_seeds == [0, 1]
    assert json.loads(json.dumps(settings.to_dict()))["layers"] == [0, 2]


def test_a_file_of_settings(tmp_path):
    settings = RunSettings.from_options(
        task="rte", layers=[0, 2], head="learned_pooling", fit={"epochs": 3}, store=tmp_path, baseline_parts=["lora_2"]
    )
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(settings.to_dict()))
    assert RunSettings.from_file(file).to_dict() == settings.to_dict()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "needs an object of options by their names, got a list"),
        ("{", "is no JSON"),
        ('{"sedes": 3}', "names no option with 'sedes'; known: balance_classes"),
        ('{"seeds": "3"}', "`seeds` needs one seed or more"),
    ],
)
def test_files_that_are_refused(tmp_path, content, message):
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(RunError, match=message):
        RunSettings.from_file(tmp_path / "settings.json")
    with pytest.raises(RunError, match=r"nowhere.json cannot be read: No such file"):
        RunSettings.from_file(tmp_path / "nowhere.json")


@pytest.fixture(scope="module")
def table(tmp_path_factory, tiny_examples):
    file = tmp_path_factory.mktemp("table") / "t.csv"
    rows = [f"{text},{'yes' if row % 2 else 'no'}" for row, text in enumerate(tiny_examples.texts)]
    file.write_text("\n".join(["text,label", *rows]) + "\n")
    return file


@pytest.fixture(scope="module")
def first(table, tmp_path_factory):
    """A run of the command on a table, with options of every group."""
    folder = tmp_path_factory.mktemp("first")
    options = (
        f"--train {table} --dev {table} --encoder {TINY} --head learned_pooling --seeds 2 --epochs 2 --layers 0,2 "
        f"--codec int4 --max-length 16 --no-baselines --store {folder}/states --output {folder}/run"
    )
    return run_command("train", *options.split()), folder


def run_command(*arguments, **options):
    command = [sys.executable, "-m", "bertvision_tf", *arguments]
    return subprocess.run(command, capture_output=True, text=True, **options)


def test_a_run_is_run_again_from_its_config(first):
    done, folder = first
    assert done.returncode == 0, done.stderr
    again = run_command(
        "train", "--config", f"{folder}/run/config.json", "--store", f"{folder}/states", "--output", f"{folder}/again"
    )
    assert again.returncode == 0, again.stderr
    one, other = bv.load_run(folder / "run"), bv.load_run(folder / "again")
    assert one.results["scores"] == other.results["scores"]
    assert one.results["head"] == other.results["head"] == "learned_pooling"
    assert one.config == other.config


def test_what_is_given_comes_before_the_file(first):
    _, folder = first
    again = run_command(
        "train", "--config", f"{folder}/run/config.json", "--store", f"{folder}/states", "--output", f"{folder}/more",
        "--seeds", "3", "--epochs", "1",
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    config = bv.load_run(folder / "more").config
    assert (config["seeds"], config["fit"]["epochs"], config["codec"]) == ([0, 1, 2], 1, "int4")
    broken = run_command("train", "--config", "nowhere.json", cwd=folder)
    assert (broken.returncode, broken.stderr) == (1, "error: nowhere.json cannot be read: No such file or directory.\n")


def test_a_run_is_run_again_in_python(first):
    _, folder = first
    settings = RunSettings.from_file(folder / "run" / "config.json")
    run = bv.train(settings=settings, store=folder / "states", output=folder / "python")
    assert run.results["scores"] == bv.load_run(folder / "run").results["scores"]


def test_a_yaml_file_of_settings(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("task: rte\nseeds: [0, 3]\nfine_tune: {parts: lora_2}\n")
    settings = RunSettings.from_file(file)
    assert (settings.task, settings.head.seeds, settings.tuning.fine_tune) == ("rte", [0, 3], {"parts": "lora_2"})
    for content, message in (
        ("seeds: 3\nseeds: 4\n", "mine.yaml is no YAML: 'seeds' stands there twice"),
        ("seeds: [3", "mine.yaml is no YAML"),
        ("- seeds\n", "needs an object of options by their names, got a list"),
        ("seeds: !!python/object/apply:os.getcwd []\n", "is no YAML: could not determine a constructor"),
    ):
        file.write_text(content)
        with pytest.raises(RunError, match=message) as caught:
            RunSettings.from_file(file)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        ({"epochs": "2"}, "`epochs` needs 1 or more, got '2'"),
        ({"batch_size": 1.5}, "`batch_size` needs 1 or more, got 1.5"),
        ({"warmup": "a"}, "`warmup` needs at least 0 and less than 1, got 'a'"),
        ({"epoch": 2}, "FitConfig has no 'epoch'; known: epochs, batch_size"),
    ],
)
def test_a_fit_that_is_refused(fit, message):
    with pytest.raises(RunError, match=message):
        bv.FitConfig.for_head(bv.get_preset("learned_pooling"), **fit)


def test_the_command_has_every_option_with_its_default_and_help():
    from bertvision_tf.cli.options import OPTIONS

    held = {"fit", "fine_tune", "resume"}
    assert set(GROUP_OF) - held <= set(OPTIONS)
    for name, option in OPTIONS.items():
        assert option.help, name
    assert {name for name, option in OPTIONS.items() if option.owner == "fit"} == {
        field.name for field in dataclasses.fields(bv.FitConfig)
    }
    assert (OPTIONS["codec"].default, OPTIONS["patience"].default, OPTIONS["fine_tune_parts"].default) == (
        *("int8", bv.FitConfig.patience, bv.FineTuneConfig.parts),
    )


def test_what_the_command_cannot_read_is_one_line():
    from .command import run_here

    for arguments, message in (
        (["train", "--seeds", "0"], "Invalid value for --seeds: it needs 1 or more"),
        (["train", "--sedes", "3"], "Unknown option: --sedes. Did you mean --seeds?"),
        (["train", "--layers", "a"], "Invalid value for --layers: it needs numbers with commas between, all or auto"),
        (["predict", "run"], "requires an argument"),
        (["trian"], 'Unknown command "trian". Did you mean "train"?'),
    ):
        done = run_here(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: ") and message in done.stderr
        assert done.stderr.count("\n") == 1
