"""The page of real runs on the tiny encoder: its numbers, its pictures, and text that would like to be markup."""

import csv
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

import bertvision_tf as bv
from bertvision_tf.errors import RunError
from bertvision_tf.metrics.significance import compare_classes
from bertvision_tf.reports.figures import draw_trade_off
from bertvision_tf.reports.table import TableRow, build_named_rows, format_runs
from bertvision_tf.runs import name_runs

HOSTILE = '<img src="http://example.org/x.png" onerror="alert(1)">'
CLOSING = "</script> $x$ & £"
WORDS = "the a cat cats dog dogs has have eat eats is can not run she he".split()


def make_table(count, seed):
    random = np.random.default_rng(seed)
    texts = [" ".join(random.choice(WORDS, random.integers(2, 9))) for _ in range(count)]
    labels = np.where(random.random(count) < 0.8, ["cat" in text.split() for text in texts], random.random(count) < 0.5)
    texts = [f"{text} {(HOSTILE, CLOSING, '')[min(place % 9, 2)]}".strip() for place, text in enumerate(texts)]
    return {"text": texts, "label": np.where(labels, "<b>yes</b>", "no$").tolist()}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def runs(root, tiny_encoder):
    task = bv.task_from_table(make_table(400, 0), make_table(90, 1), name="cats")
    common = {"store": root / "states", "seeds": 2, "codec": "float32"}
    return [
        bv.train(task, tiny_encoder, head=head, output=root / head, fit={"epochs": 4, "learning_rate": rate}, **common)
        for head, rate in (("learned_pooling", 0.003), ("adapter_4_shared", 0.03))
    ]


@pytest.fixture(scope="module")
def page(runs, root):
    return bv.write_report([runs[0], runs[1].path], root / "out", examples=2)


class Loads(HTMLParser):
    """Lists all that a page would load, and its elements."""

    def __init__(self):
        super().__init__()
        self.loads, self.tags = [], set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.loads += [value for name, value in attributes if name in ("src", "href", "xlink:href", "srcset", "action")]
        assert not any(name.startswith("on") for name, _ in attributes)


def test_the_page_loads_nothing_and_escapes_texts(page):
    html = page.read_text(encoding="utf-8")
    parser = Loads()
    parser.feed(html)
    assert parser.loads and all(re.match("#|data:image/png;base64,", value) for value in parser.loads)
    assert not re.search(r"@import|url\((?!#)", html)
    assert "default-src 'none'" in html
    assert "b" not in parser.tags and HOSTILE not in html and "<b>yes" not in html
    assert "&lt;b&gt;yes&lt;/b&gt;" in html
    for svg in re.findall("<svg.*?</svg>", html, re.S):
        assert set(re.findall(r'(?:href="#|url\(#)([\w-]+)', svg)) <= set(re.findall(r'id="([\w-]+)"', svg))
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_numbers_of_the_page_are_those_of_the_runs(page, runs):
    (part,) = json.loads((page.parent / "report.json").read_text(encoding="utf-8"))["tasks"]
    best = max(runs, key=lambda run: np.mean(run.results["selection_scores"]))
    assert part["runs"][0] == best.path.name and sorted(part["runs"]) == ["adapter_4_shared", "learned_pooling"]
    shown = {row[0]: row[1] for row in part["table"]}
    for run in runs:
        assert shown[run.path.name] == f"{run.results['mean']:.3f} ± {run.results['std']:.3f}"
    assert shown["majority"] == f"{run.results['baselines']['majority']['mean']:.3f}"

    rows = {}
    for run in runs:
        with open(run.path / "predictions.csv", newline="", encoding="utf-8") as stream:
            rows[run.path.name] = list(csv.DictReader(stream))
    right = {name: np.array([row["label"] == row["prediction"] for row in own]) for name, own in rows.items()}
    for place, name in enumerate(part["runs"]):
        found = {one["name"]: one for one in part["slices"]["label"]}
        for label in ("<b>yes</b>", "no$"):
            own = right[name][[row["label"] == label for row in rows[name]]]
            assert found[label]["rows"] == len(own) and found[label]["scores"][place] == pytest.approx(own.mean())
        wrong = {row["id"] for row in part["mistakes"]["rows"] if row["wrong"][place]}
        assert wrong == {row["id"] for row, good in zip(rows[name], right[name], strict=True) if not good}
    first, second = part["runs"]
    difference = compare_classes(np.ones(90, int), right[first].astype(int), right[second].astype(int))
    assert part["comparisons"] == [difference.describe(first, second)]
    row = part["mistakes"]["rows"][0]
    place = [one["id"] for one in rows[first]].index(row["id"])
    said = rows[first][place]
    assert row["text"] == said["text"] and row["said"][0] == said["prediction"]
    assert row["sure"][0] == pytest.approx(max(float(said["p_<b>yes</b>"]), float(said["p_no$"])), abs=1e-4)


def test_pictures_are_on_the_page_and_beside_it(page):
    files = sorted(file.stem for file in (page.parent / "pictures").iterdir())
    wanted = {"task-1-seeds", "task-1-weights", "task-1-seconds", "task-1-example-1", "task-1-example-2"}
    for place in (1, 2):
        wanted |= {f"task-1-run-{place}-{name}" for name in ("curves", "layer-losses", "confusion")}
    assert wanted <= set(files) and any(name.endswith("layer-weights") for name in files)
    html = page.read_text(encoding="utf-8")
    assert html.count("<svg ") == html.count("<figcaption>") == len(files)


def test_wrong_rows_are_sorted_and_filtered(page, browser):
    (part,) = json.loads((page.parent / "report.json").read_text(encoding="utf-8"))["tasks"]
    every, (first, second) = part["mistakes"]["rows"], part["runs"]

    def read():
        rows = browser.find_elements("css selector", ".mistakes tbody tr")
        return [[cell.get_attribute("textContent") for cell in row.find_elements("tag name", "td")] for row in rows]

    def choose(label, option):
        for select in browser.find_elements("css selector", ".controls label"):
            if select.text.startswith(label):
                select.find_element("xpath", f".//option[text()='{option}']").click()
                return
        raise AssertionError(label)

    browser.get(page.as_uri())
    wrong = [row for row in every if row["wrong"][0]]
    assert [row[0] for row in read()] == [row["id"] for row in wrong][:50]
    assert read()[0][1] == wrong[0]["text"] and any(row[1].endswith(CLOSING) for row in read())

    browser.find_element("xpath", "//button[contains(., 'probability')]").click()
    shown = [float(row[4]) for row in read()]
    assert shown == sorted(shown, reverse=True) and len(set(shown)) > 3

    choose("and said otherwise by", second)
    others = [row for row in wrong if row["said"][0] != row["said"][1]]
    assert {row[0] for row in read()} == {row["id"] for row in others} and others
    choose("wrong in", second)
    choose("and said otherwise by", first)
    others = [row for row in every if row["wrong"][1] and row["said"][0] != row["said"][1]]
    assert {row[0] for row in read()} == {row["id"] for row in others} and others
    choose("and said otherwise by", "(any)")
    choose("label", "no$")
    others = [row for row in every if row["wrong"][1] and row["label"] == "no$"]
    assert {row[0] for row in read()} == {row["id"] for row in others} and others
    choose("label", "(all)")
    browser.find_element("css selector", ".controls input").send_keys("ONERROR")
    others = [row for row in every if row["wrong"][1] and "onerror" in row["text"]]
    assert {row[0] for row in read()} == {row["id"] for row in others} and others

    browser.find_element("xpath", "//table[contains(@class, 'sortable')]//button[text()='score']").click()
    scores = browser.find_elements("css selector", "table.sortable tbody td:nth-child(2)")
    numbers = [float(cell.text.split()[0]) for cell in scores]
    assert numbers == sorted(numbers, reverse=True)
    assert browser.get_log("browser") == []


def test_a_report_is_replaced_whole_and_nothing_else_is(page, runs, root, monkeypatch):
    folder = root / "mine"
    folder.mkdir()
    (folder / "index.html").write_text("my own page")
    with pytest.raises(RunError, match="holds no report"):
        bv.write_report(runs, folder, examples=0)
    assert [file.name for file in folder.iterdir()] == ["index.html"]

    for name in ("notes.md", "pictures/mine.png"):
        kept = root / name.replace("/", "-")
        shutil.copytree(page.parent, kept)
        (kept / name).write_text("mine")
        with pytest.raises(RunError, match=f"holds {name} beside a report"):
            bv.write_report(runs, kept, examples=0)
        assert (kept / name).read_text() == "mine"

    target = root / "again"
    shutil.copytree(page.parent, target)
    before = (target / "index.html").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("bertvision_tf.reports.report._render", lambda parts: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            bv.write_report(runs[:1], target, examples=0)
    assert (target / "index.html").read_bytes() == before and (target / "pictures" / "task-1-example-1.png").is_file()
    bv.write_report(runs[:1], target, examples=0)
    assert not (target / "pictures" / "task-1-example-1.png").exists()


def test_what_is_refused(runs, root):
    with pytest.raises(RunError, match="a run or more"):
        bv.write_report([], root / "none")
    with pytest.raises(RunError, match="named twice"):
        bv.write_report([runs[0], runs[0].path], root / "none")
    with pytest.raises(RunError, match="no finished run"):
        bv.write_report([root / "states"], root / "none")
    assert not (root / "none").exists()


def test_tables_of_runs(runs):
    named = dict(zip(name_runs(runs), runs, strict=True))
    lines = format_runs(named, "markdown").splitlines()
    assert lines[0] == "## cats, 90 dev rows, accuracy" and lines[2].split("|")[2].strip() == "score"
    assert [line.split("|")[1].strip() for line in lines[-2:]] == list(named)
    rows = list(csv.DictReader(format_runs(named, "csv").splitlines()))
    assert float(rows[-1]["mean"]) == runs[1].results["mean"] and rows[-1]["model"] == list(named)[1]
    assert rows[0]["std"] == "" and (rows[0]["task"], rows[0]["dev_rows"]) == ("cats", "90")
    latex = format_runs(named, "latex")
    assert latex.count(r"\\") == len(rows) + 1 and r"learned\_pooling" in latex and r"\toprule" in latex
    with pytest.raises(RunError, match="markdown, csv, latex"):
        format_runs(named, "html")


def test_rivals_that_read_other_states_are_others(runs):
    """Two encoders' last layers are two rivals, each with its run's name; of one encoder they are one."""
    first, second = (json.loads(json.dumps(run.results)) for run in runs)
    last = "last layer mean + logistic regression"
    together = [row.name for row in build_named_rows([first, second], ["one", "two"])]
    assert together.count(last) == 1 and len(together) == len(first["baselines"]) + 2
    second["encoder_fingerprint"], second["baselines"][last]["mean"] = "other", 0.25
    apart = {row.name: row.mean for row in build_named_rows([first, second], ["one", "two"])}
    assert apart[f"{last} (two)"] == 0.25 and apart[f"{last} (one)"] == first["baselines"][last]["mean"]
    assert list(apart)[-2:] == ["one", "two"]


def test_what_nothing_cheaper_beats(runs):
    """The line begins above what costs nothing."""
    table = [
        TableRow("free", 0.6, None, 0, 0.0, 0.0), TableRow("small", 0.5, None, 10, 0.0, 3.0, extraction=2.0),
        TableRow("large", 0.7, None, 100, 0.0, 2.0), TableRow("larger", 0.65, None, 1000, 0.0, 9.0),
    ]  # fmt: skip
    axes = draw_trade_off(table, "weights", "accuracy").axes[0]
    (front,) = [line for line in axes.get_lines() if line.get_drawstyle() == "steps-post"]
    assert front.get_xydata().tolist() == [[100, 0.7]]
    seconds = draw_trade_off(table, "seconds", "accuracy").axes[0]
    assert 1.0 in {float(line.get_xdata()[0]) for line in seconds.get_lines() if len(line.get_xdata()) == 1}


def test_runs_of_another_version_or_without_encoder(runs, root):
    """A field that is lacking is named; without its encoder a run shows no rows as images, and the page says so."""
    old = root / "old"
    shutil.copytree(runs[0].path, old)
    results = json.loads((old / "results.json").read_text())
    (old / "results.json").write_text(
        json.dumps({name: one for name, one in results.items() if name != "significance"})
    )
    with pytest.raises(RunError, match="another version and has no significance"):
        bv.write_report([old], root / "none")
    (old / "results.json").write_text(json.dumps(results))
    config = json.loads((old / "config.json").read_text())
    (old / "config.json").write_text(json.dumps(config | {"encoder": str(root / "gone")}))
    page = bv.write_report([old], root / "gone-page", examples=1).read_text(encoding="utf-8")
    assert "No rows as images: " in page and str(root / "gone") in page


def test_a_long_text_is_read_again(tiny_encoder, root):
    """Longer than the usual limit of a cell of CSV."""
    table = make_table(60, 2)
    table["text"][3] = "the cat " * 20_000
    task = bv.task_from_table(make_table(250, 0), table, name="long")
    run = bv.train(
        task, tiny_encoder, head="learned_pooling", seeds=1, fit={"epochs": 1}, store=root / "s", output=root / "long"
    )
    assert bv.write_report([run], root / "long-page", examples=0).is_file()


def test_the_image_of_a_text(runs, tiny_encoder):
    """Lengths and cosines against the encoder's own states; the saliency of the decision is that of the head."""
    run, text = runs[1], "the cat eats ."
    found = run.explain(text)
    states = tiny_encoder.hidden_states(tiny_encoder.tokenize([text]))[0]
    assert found.tokens == ["[CLS]", "the", "cat", "eat", "##s", ".", "[SEP]"] and found.layers == ["0", "1", "2"]
    np.testing.assert_allclose(found.norms, np.linalg.norm(states, axis=-1), rtol=1e-5)
    directions = states / np.linalg.norm(states, axis=-1, keepdims=True)
    np.testing.assert_allclose(found.similarities[1:], (directions[1:] * directions[:-1]).sum(axis=-1), atol=1e-5)
    assert np.all(np.isnan(found.similarities[0]))
    assert found.prediction == run.predict([text]).labels[0] and repr(found.prediction) in found.decision
    assert found.saliency.shape == (3, 7) and np.abs(found.saliency).max() > 0
    titles = [axes.get_title(loc="left") for axes in found.plot().axes if axes.get_title(loc="left")]
    assert len(titles) == 3 and "length" in titles[0]


@pytest.mark.parametrize(
    ("columns", "options", "said"),
    [
        ({"label": [place / 10 for place in range(250)]}, {}, "raises (red) or lowers (blue)"),
        ({"label": ["red;blue", "", "blue"] * 83 + ["red"]}, {}, "for (red) and against (blue)"),
        ({"label": ["yes", "no"] * 125}, {"tokens": "cls", "pooler": True, "layers": [0, 2]}, "for (red)"),
    ],
)
def test_images_of_other_runs(root, tiny_encoder, columns, options, said):
    texts = make_table(250, 4)["text"]
    task = bv.task_from_table({"text": texts, **columns}, name="other")
    run = bv.train(
        *(task, tiny_encoder),
        **({"head": "learned_pooling", "seeds": 1, "fit": {"epochs": 1}, "baselines": False} | options),
        store=root / "other-states",
        output=root / "other",
    )
    found = run.explain("the cat eats .")
    assert said in found.decision and found.prediction in found.decision.replace("'", "")
    pooler = bool(options)
    assert found.layers == (["pooler", "0", "2"] if pooler else ["0", "1", "2"])
    assert np.isnan(found.similarities[: 1 + pooler]).all() and np.isfinite(found.similarities[1 + pooler :]).all()
    found.plot()


def test_no_script_runs_but_the_page_s_own(page, tmp_path, browser):
    """Even one that were not escaped."""
    text = page.read_text(encoding="utf-8")
    assert "script-src 'sha256-" in text and "script-src 'unsafe-inline'" not in text
    (tmp_path / "index.html").write_text(text.replace("<main>", "<main><script>document.title = 'harm'</script>", 1))
    browser.get((tmp_path / "index.html").as_uri())
    assert browser.title == "bertvision_tf report"
    assert browser.find_elements("css selector", ".mistakes tbody tr")  # the page's own has run
