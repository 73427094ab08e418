"""The command with streams that are closed, full or read by nobody, and interrupted twice."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from .conftest import TINY

HEADS = f"heads learned_pooling last_layer --encoder {TINY}"


def hear_interrupts():
    """In a new process: it may have been told to ignore them, as what a shell runs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run(arguments, streams=""):
    """What a shell gets of the command: status, output and errors."""
    command = f"{sys.executable} -m bertvision_tf {arguments} {streams}"
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams(streams):
    found = run(HEADS, streams)
    assert found.returncode == 0 and found.stderr == ""
    assert ("learned_pooling" in found.stdout) == (">&-" not in streams.replace("2>&-", ""))


@pytest.mark.parametrize("streams", [">&-", "2>&-", ">&- 2>&-"])
def test_an_error_with_closed_streams(streams):
    found = run("table nowhere", streams)
    assert found.returncode == 1 and found.stdout == ""
    assert found.stderr.count("error: no finished run at nowhere") == ("2>&-" not in streams)


def test_a_full_device_is_one_line():
    found = run(HEADS, "> /dev/full")
    assert (found.returncode, found.stderr) == (1, "error: the output cannot be written: No space left on device\n")


def test_a_reader_that_has_gone():
    found = run(HEADS, "| true; exit ${PIPESTATUS[0]}")
    assert found.returncode == 1 and found.stderr == ""


def test_nothing_printed_lands_in_a_store(tmp_path):
    found = run(f"extract --limit 3 --encoder {TINY} --output {tmp_path}/store", ">&- 2>&-")
    assert found.returncode == 0
    assert run(f"verify {tmp_path}/store").stdout.startswith(f"{tmp_path}/store: whole (1 shards")


@pytest.mark.parametrize("times", [1, 2, 5])
def test_interrupts_are_one_line(times, tmp_path):
    command = [
        sys.executable, "-m", "bertvision_tf", "train", "--encoder", str(TINY), "--store", f"{tmp_path}/states",
        "--output", f"{tmp_path}/run", "--seeds", "5000", "--no-baselines", "--head", "adapter_64_shared",
    ]  # fmt: skip
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    options = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "preexec_fn": hear_interrupts}
    with subprocess.Popen(command, text=True, env=environment, **options) as one:
        while not list(tmp_path.glob("states/*/dev/*/shard-*.h5")) and one.poll() is None:
            time.sleep(0.1)
        time.sleep(2)
        for _ in range(times):
            one.send_signal(signal.SIGINT)
            time.sleep(0.05)
        timer = threading.Timer(60, one.kill)  # or a lost interrupt would train 5000 heads
        timer.start()
        _, errors = one.communicate()
        timer.cancel()
    lines = [line for line in errors.splitlines() if not line.startswith("note: ")]
    assert one.returncode in (130, -signal.SIGINT) if times > 1 else one.returncode == 130, errors
    assert lines == ["interrupted; states that are finished are kept and found again"] or (times > 1 and not lines)
    assert not (tmp_path / "run").exists()


LOST = """
import os, signal, sys
from bertvision_tf.cli import main
from bertvision_tf.cli.app import app
from bertvision_tf.cli.progress import show_progress

class Finalized:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass

@app.command
def lose():
    with show_progress() as progress:
        for step in range(3):
            Finalized() if step == 1 else None
            progress("steps", step, 3)
            print("step", step)

sys.argv = ["bertvision", "lose"]
main()
"""


def test_an_interrupt_inside_a_finalizer_is_not_lost():
    """Python prints what is raised there, and goes on."""
    found = subprocess.run([sys.executable, "-c", LOST], capture_output=True, text=True, preexec_fn=hear_interrupts)
    assert (found.returncode, found.stdout) == (130, "step 0\n")
    assert found.stderr == "interrupted; states that are finished are kept and found again\n"


def test_an_ignored_interrupt_stays_ignored():
    """As a shell has it for what runs in the background."""
    code = (
        "import os, signal, sys\nfrom bertvision_tf.cli import main\nfrom bertvision_tf.cli.app import app\n"
        "@app.command\ndef wait():\n    os.kill(os.getpid(), signal.SIGINT)\n    print('finished')\n"
        "sys.argv = ['bertvision', 'wait']\nmain()"
    )
    ignored = f"trap '' INT; exec {sys.executable} -c \"$0\""
    found = subprocess.run(["bash", "-c", ignored, code], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "finished\n"), found.stderr


def test_errors_of_other_files_are_not_said_of_the_output():
    code = (
        "import sys\nfrom bertvision_tf.cli import main\nfrom bertvision_tf.cli.app import app\n"
        "@app.command\ndef fail():\n    open('/nowhere/file')\n"
        "sys.argv = ['bertvision', 'fail']\nmain()"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 1 and "FileNotFoundError" in found.stderr and "the output" not in found.stderr
