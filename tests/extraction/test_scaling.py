"""What a store costs on several devices, worked out."""

import pytest

from bertvision_tf.extraction.scaling import Rates, measure_disk, scale

from ..command import run_here


def test_times_of_rates():
    """A million tokens at 1,000 a second; a store of 10 GB at 100 MB a second written and 500 read."""
    one, eight, many = scale(10**6, 10**10, Rates(1000, 1e8, 5e8))
    assert (one.making, one.disk_bound, one.reading, one.running) == (1000, False, 20, 1000)
    assert one.pays_from == 2  # 1000 + 2 * 20 < 2 * 1000
    assert (eight.making, eight.running, eight.disk_bound, eight.pays_from) == (125, 125, False, 2)
    assert (many.making, many.disk_bound, many.running) == (100, True, 125)  # no more than one machine's run anew
    assert many.pays_from == 1


@pytest.mark.parametrize("passes", range(1, 40))
@pytest.mark.parametrize(("tokens", "stored", "read"), [(10**6, 10**10, 1e7), (10**6, 10**10, 1.1e7), (7, 3, 1.0)])
def test_it_pays_from_the_first_pass_on_that_is_cheaper(tokens, stored, read, passes):
    for one in scale(tokens, stored, Rates(1000, 1e8, read), (1, 3)):
        cheaper = one.making + passes * one.reading < passes * one.running
        assert cheaper == (one.pays_from is not None and passes >= one.pays_from)


def test_a_disk_is_tried_and_left_as_it_was(tmp_path):
    write, read = measure_disk(tmp_path, 2**25)
    assert write > 0 and read > 0
    assert not list(tmp_path.iterdir())
    assert measure_disk(tmp_path / "not" / "there") is None


def test_plan_says_when_a_store_pays(tiny_encoder, tmp_path):
    words = ("plan", "--encoder", tiny_encoder.name, "--limit", 50, "--seconds", 0.1, "--store", tmp_path)
    done = run_here(*words, "--device-rate", 100, "--disk-rate", 50, "--tokens", "cls")
    assert done.returncode == 0, done.stderr
    assert "a store is faster from" in done.stdout
    assert "from 100 tokens a second and device (given), and a disk that writes 50 and reads 50 MB" in done.stdout
    assert "(--codec int8 --tokens cls), or none" in done.stdout
    done = run_here(*words, "--codec", "bogus")
    assert done.returncode == 1 and done.stderr.startswith("error: ") and "bogus" in done.stderr
    for rate in (("--device-rate", 0), ("--disk-rate", -1), ("--tokens", "bogus")):
        assert run_here(*words, *rate).returncode != 0
