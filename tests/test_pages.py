"""The pages: every command and every block of Python in them runs as it is written, in a small world."""

import argparse
import configparser
import contextlib
import io
import re
import runpy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from cyclopts import MissingArgumentError

from bertvision_tf.cli.app import app
from bertvision_tf.settings import RunSettings

from .command import Done, run_here
from .conftest import REAL_DATA, has_real_data
from .pages import (
    PAGES,
    ROOT,
    SHELL,
    Block,
    Command,
    find_blocks,
    list_commands,
    read_blocks,
    read_commands,
    read_spans,
)
from .small_world import RUNS, World, make_small, running_eagerly

T = TypeVar("T")
TRAIN = [("python", "scripts/train_glue.py"), ("python", "scripts/train_squad.py")]
LANGUAGES = {*SHELL, "python", "json", "text"}
LEFT_OUT = {  # how commands begin that are read, and not run
    ". .venv/bin/activate": "the tests have an environment of their own",
    "bertvision fetch": "downloads 415 MB; tests/encoders/test_find.py fetches a small encoder",
    "docker run": "needs Docker and an image from its hub",
    "tensorboard": "serves a page until it is stopped",
    "bertvision demo": "serves a page until it is stopped; tests/serving/test_demo.py clicks in it",
    "bertvision predict --url": "needs a server; tests/serving/test_client.py has one",
    "export KERASTUNER_ORACLE_IP": "for three processes; tests/tuning/test_search.py runs them",
    "KERASTUNER_TUNER_ID": "for three processes; tests/tuning/test_search.py runs them",
    "python benchmarks/": "takes minutes to hours",
}
PLANNED = {  # pages whose commands are read and checked, and not run
    "docs/results.md": "their verbs run on other pages",
    "docs/fine_tuning.md": "their verbs run on other pages",
    "docs/questions.md": "their verbs run on other pages",
}
SUPPOSED = {  # runs of other pages that a page uses
    "docs/how-to/glue.md": ["runs/cola", "runs/rte-comparison_adapter_64_similarity_8"],
    "docs/how-to/report.md": ["runs/cola", "runs/cola-learned_pooling", "runs/reviews"],
    "docs/how-to/serve.md": ["runs/cola", "runs/reviews"],
    "docs/how-to/ensemble-and-predict.md": [
        "runs/cola-standardized_adapter_64_shared",
        "runs/rte-comparison_adapter_64",
        "runs/rte-comparison_adapter_64_similarity_8",
        "runs/a",
        "runs/b",
    ],
}
WRITTEN = {  # what pages say is there when their commands have run
    "README.md": ["quickstart/grammar_by_layer.png", "runs/cola/results.json", "runs/cola/config.json", "out.csv"],
    "docs/how-to/glue.md": ["runs/ten-seeds/predictions.csv", "runs/ten-seeds/heads/seed-0.keras", "submission"],
    "docs/how-to/heads.md": ["comparison.csv"],
    "docs/how-to/own-table.md": ["out.csv"],
    "docs/how-to/questions.md": ["quickstart-qa/run/null_odds.json", "quickstart-qa/run/nbest_predictions.json"],
    "docs/how-to/report.md": ["report/index.html", "report/pictures", "report/report.json"],
    "docs/how-to/search.md": ["runs/search-rte/best.json", "runs/search-rte/trials.csv", "runs/search-rte/search.json"],
    "docs/how-to/serve.md": ["models/cola/1/assets.extra/batching_parameters.txt"],
    "docs/how-to/store.md": ["states/cola-dev"],
}
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
RUN_PAGES = [page for page in PAGES if {block.language for block in read_blocks(page)} & {*SHELL, "python"}]


class Planned(Exception):
    """A run was checked up to where it would begin."""


class Read(Exception):
    """A script has read its options."""


def say(command: Command, what: object) -> None:
    """Fails the test at a line of a page."""
    pytest.fail(f"{command.place}\n{what}", pytrace=False)


def is_left_out(command: Command) -> bool:
    return command.page in PLANNED or any(str(command).startswith(start) for start in LEFT_OUT)


def check(command: Command, whole: bool = True) -> None:
    """Reads a command that is not run; one that cannot be read fails, or, where it is whole, lacks something."""
    program, *rest = command.words or ("export",)
    try:
        with contextlib.nullcontext() if whole else contextlib.suppress(MissingArgumentError):
            READERS[program](rest)
    except Exception as error:
        say(command, f"{type(error).__name__}: {error}")


def check_bertvision(words: list[str]) -> None:
    """Reads a command line as the command does."""
    app.parse_args(words, exit_on_error=False, print_error=False)


def check_python(words: list[str]) -> None:
    """Reads `python -c CODE`, or the options of a script by the script itself."""
    if words[0] == "-c":
        compile(words[1], "-c", "exec")
    elif words[0].startswith("scripts/"):
        run_script(words, check_bertvision)
    else:
        read_options(words)


def run_script(words: Sequence[str], verb: Callable[[list[str]], T]) -> T:
    """Runs a script of scripts/ up to the command, which gets its words."""
    found: list[T] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(ROOT / words[0]), *words[1:]])
        patch.setattr("bertvision_tf.cli.main", lambda: found.append(verb(sys.argv[1:])))
        runpy.run_path(sys.argv[0], run_name="__main__")
    return found[0]


def read_options(words: list[str]) -> None:
    """Has a benchmark read its options, and stop there."""
    read = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser) -> None:
        read(parser)
        raise Read

    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(io.StringIO()) as told:
        patch.setattr(sys, "argv", [str(ROOT / words[0]), *words[1:]])
        patch.syspath_prepend(ROOT / "benchmarks")
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except Read:
            return
        except SystemExit:
            pass
    raise ValueError(told.getvalue() or "it reads no options")


def check_make(words: list[str]) -> None:
    for target in words:
        if "=" in target:
            assert f"$({target.partition('=')[0]})" in MAKEFILE, f"the Makefile reads no {target}"
        else:
            list_recipe(target)


def list_recipe(target: str) -> list[list[str]]:
    """The commands of a target that run the library's own."""
    found = re.search(rf"^{re.escape(target)}:.*\n((?:\t.*\n)*)", MAKEFILE, re.MULTILINE)
    assert found, f"the Makefile has no target {target}"
    lines = [line.split() for line in found[1].splitlines()]
    return [line[1:] for line in lines if line and line[0] == "$(BIN)/bertvision"]


def check_pip(words: list[str]) -> None:
    """An extra that is installed stands in setup.cfg."""
    assert words[0] == "install", f"pip {words[0]}"
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    for extra in re.findall(r"bertvision-tf\[([^]]+)\]", " ".join(words)):
        assert extra in config["options.extras_require"], f"setup.cfg has no extra {extra}"


READERS = {
    "bertvision": check_bertvision,
    "python": check_python,
    "make": check_make,
    "pip": check_pip,
    **dict.fromkeys((".", "docker", "export", "pre-commit", "tensorboard"), lambda words: None),
}


def plan(command: Command) -> None:
    """Reads a command; what trains is checked up to where it would begin."""
    check(command)
    if command.words[:2] not in (("bertvision", "train"), *TRAIN):
        return
    from bertvision_tf.experiments import grid, preparation

    def plan_only(task: object, encoder: object, settings: RunSettings, progress: object) -> None:
        preparation.plan_run(settings, task)

    def stop(*_: object) -> None:
        raise Planned

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Planned):
        patch.setattr(grid, "train", plan_only)
        patch.setattr(grid, "plot_grid", stop)
        say(command, run_program(*command.words).output)


def run(command: Command) -> None:
    """Runs a command; one that does not end with 0 fails."""
    done = run_program(*command.words)
    if done.returncode:
        say(command, done.output)


def run_program(program: str, *words: str) -> Done:
    """Runs a command in this process; of a target of make its own commands of the library."""
    if program == "make":
        (own,) = list_recipe(words[0])
        return run_here(*own)
    if program == "bertvision":
        return run_here(*words)
    if program == "python" and words[0] == "-c":
        return run_code(words)
    if program == "python":
        return run_script(words, lambda given: run_here(*given))
    return Done(127, "", f"it is not known how {program} is run: see LEFT_OUT")


def run_code(words: Sequence[str]) -> Done:
    """Runs `python -c CODE` in this process."""
    status, out = 0, io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setattr(sys, "argv", ["-c", *words[2:]])
        try:
            exec(words[1], {"__name__": "__main__"})
        except SystemExit as ended:
            status = ended.code or 0
    return Done(status, out.getvalue(), "")


def run_page(blocks: list[Block]) -> None:
    """Runs the blocks of a page in the current folder, in their order, its Python in one namespace."""
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks:
        if block.file:
            Path(block.file).write_text(block.text, encoding="utf-8")
        if block.language == "python":
            code = "\n" * (block.line - 1) + block.text
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(code, block.page, "exec"), names)
        elif block.language in SHELL:
            for command in read_commands(block):
                if block.page in PLANNED:
                    plan(command)
                elif is_left_out(command):
                    check(command)
                else:
                    run(command)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The small world, with real rows where they are there."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("pages")
        made = World(home, REAL_DATA if has_real_data() else None)
        make_small(patch)
        with running_eagerly():
            yield made


@pytest.fixture
def folder(world, tmp_path, monkeypatch):
    """An empty folder of the small world, in which what is written is."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly`")
@pytest.mark.parametrize("page", RUN_PAGES)
def test_page_runs(page, world, folder, monkeypatch):
    world.furnish(folder, SUPPOSED.get(page, ()), monkeypatch)
    run_page(read_blocks(page))
    assert [name for name in WRITTEN.get(page, ()) if not (folder / name).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_fences_name_their_language(page):
    assert {block.language for block in read_blocks(page)} <= LANGUAGES


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_sentences_are_read(page):
    """They may lack what a command needs, and name no verb."""
    for command in read_spans(page):
        if command.words[1:2] not in [("COMMAND",), ("VERB",), ()]:
            check(command, whole=False)


def test_what_is_left_out_is_there():
    commands = [str(command) for command in list_commands()]
    assert [start for start in LEFT_OUT if not any(one.startswith(start) for one in commands)] == []
    assert {*PLANNED, *SUPPOSED, *WRITTEN} <= {*RUN_PAGES}


def test_what_pages_suppose_is_used():
    texts = {page: (ROOT / page).read_text(encoding="utf-8") for page in (*SUPPOSED, *WRITTEN)}
    assert [(page, run) for page, runs in SUPPOSED.items() for run in runs if run not in texts[page]] == []
    assert {run for runs in SUPPOSED.values() for run in runs} == {*RUNS}
    names = [(page, Path(file).name) for page, files in WRITTEN.items() for file in files]
    assert [(page, name) for page, name in names if name not in texts[page]] == []


MADE = """
Some `bertvision train \\
--export` words.

```sh
# a comment
bertvision train --task cola \\
    --text-column "What they wrote"  # another
A=1 B="2 3" bertvision search & make docs && . .venv/bin/activate
```

```json title="head.json"
{}
```
"""


def test_pages_are_read():
    shell, json = find_blocks("made.md", MADE)
    assert [(one.line, one.language, one.file) for one in (shell, json)] == [(6, "sh", ""), (13, "json", "head.json")]
    assert [(one.line, one.words, one.variables) for one in read_commands(shell)] == [
        (7, ("bertvision", "train", "--task", "cola", "--text-column", "What they wrote"), ()),
        (9, ("bertvision", "search"), ("A=1", "B=2 3")),
        (9, ("make", "docs"), ()),
        (9, (".", ".venv/bin/activate"), ()),
    ]


def test_a_fence_that_is_not_closed_is_found():
    with pytest.raises(AssertionError, match=r"made\.md:2: a fence"):
        list(find_blocks("made.md", "words\n```sh\nmake docs\n"))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("bertvision train --no-such 1", "--no-such"),
        ("bertvision train --seeds none", "none"),
        ("bertvision verify", "STORES"),
        ("bertvision no-such", "no-such"),
        ("python scripts/train_glue.py --no-such", "--no-such"),
        ("python scripts/no_such.py", "no_such"),
        ("python benchmarks/codecs.py --no-such", "--no-such"),
        ("python benchmarks/codecs.py --seeds 5", "--data-dir"),
        ("python -c 'import '", "SyntaxError"),
        ("make no-such", "no target no-such"),
        ("make bench NO_SUCH=1", "NO_SUCH"),
        ("pip install bertvision-tf[no-such]", "no extra no-such"),
        ("no-such", "no-such"),
    ],
)
def test_a_wrong_command_is_found(line, reason):
    (command,) = read_commands(Block("made.md", 7, "sh", "", f"{line}\n"))
    with pytest.raises(pytest.fail.Exception, match=re.escape(reason)) as failed:
        check(command)
    assert str(failed.value).startswith(f"made.md:7: {line.split()[0]}")


@pytest.mark.parametrize("line", ["bertvision train --head no_such", "bertvision train --baseline-parts no_such"])
def test_a_run_that_cannot_begin_is_found(line):
    with pytest.raises(pytest.fail.Exception, match=r"made\.md:1"):
        plan(Command("made.md", 1, tuple(line.split())))


def test_a_block_that_fails_is_found(folder):
    for block, wrong in [
        (Block("made.md", 1, "sh", "", "bertvision verify nowhere\n"), pytest.fail.Exception),
        (Block("made.md", 1, "python", "", "import bertvision_tf as bv\nbv.no_such\n"), AttributeError),
    ]:
        with pytest.raises(wrong):
            run_page([block])
