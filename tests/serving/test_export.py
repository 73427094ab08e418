"""Exported models: in a process without this library, what they say is what Keras says."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import bertvision_tf as bv
from bertvision_tf import kinds, load_encoder
from bertvision_tf.errors import HeadError, RunError
from bertvision_tf.heads import build_head, list_presets
from bertvision_tf.serving import export_runs, servable
from bertvision_tf.serving.export import BATCHING, CARD, EXTRA, TEXT_OPS, WARM_UP, list_ops
from bertvision_tf.serving.servable import Servable, ServedHead

TINY = Path(__file__).parents[1] / "checkpoints" / "bert-gelu-eps1e-12-segments2"
WORDS = "the a cat cats dog dogs has have eat eats is can not run she he".split()
ALONE = """
import json, sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("bertvision_tf", "keras_hub", "transformers", "tokenizers"):
            raise ImportError(name + " is hidden")
sys.meta_path.insert(0, Hide())
import tensorflow as tf, tensorflow_text
model = tf.saved_model.load(sys.argv[1])
asked = json.load(open(sys.argv[2]))
said = []
for signature, inputs in asked:
    found = model.signatures[signature](**{name: tf.constant(values) for name, values in inputs.items()})
    plain = lambda value: value.astype(str).tolist() if value.dtype == object else value.tolist()
    said.append({name: plain(value.numpy()) for name, value in found.items()})
json.dump(said, open(sys.argv[3], "w"))
"""


def ask_alone(model, requests, folder):
    """What a fresh process with tensorflow and tensorflow_text alone says."""
    asked, said = folder / "asked.json", folder / "said.json"
    asked.write_text(json.dumps(requests))
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(model), str(asked), str(said)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(said.read_text())


def make_texts(count, seed, most=12):
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, random.integers(1, most))) for _ in range(count)]


TEXTS = [*make_texts(7, 9, 40), "", "Zzz", "the CAT,eats!"]
LABELS = {
    "classification": lambda texts: ["cat" in text for text in texts],
    "regression": lambda texts: [len(text) / 10 for text in texts],
    "multilabel": lambda texts: [";".join(sorted({word for word in ("cat", "dog") if word in text})) for text in texts],
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def train(root, tiny_encoder):
    def run(name, table, encoder=tiny_encoder, pair=None, **options):
        task = bv.task_from_table(table, name=name, text_pair=pair)
        options = {"head": "learned_pooling", "seeds": 1, "fit": {"epochs": 2}, "codec": "float32"} | options
        return bv.train(task, encoder, store=root / "states", output=root / name, baselines=False, **options)

    return run


@pytest.fixture(scope="module")
def runs(train):
    """A run on single texts of each kind of label."""
    texts = make_texts(260, 0)
    return {kind: train(kind, {"text": texts, "label": label(texts)}) for kind, label in LABELS.items()}


def test_many_heads_on_one_pass(runs, root):
    """Each signature of texts, and all at once, against each run's own predictions."""
    names = list(runs)
    model = export_runs(list(runs.values()), root / "models" / "all" / "1")
    given = {"text": TEXTS}
    *alone, together = ask_alone(model, [*((name, given) for name in names), ("serving_default", given)], root)
    for name, said in zip(names, alone, strict=True):
        assert {f"{name}_{output}": value for output, value in said.items()}.items() <= together.items()
        found = runs[name].predict(TEXTS)
        if name == "regression":
            np.testing.assert_allclose(said["score"], found.labels, atol=1e-5)
            continue
        np.testing.assert_allclose(said["probabilities"], found.probabilities, atol=1e-5)
        shown = [";".join(label) if isinstance(label, tuple) else label for label in found.labels]
        assert said["label"] == shown
    assert len({*together["multilabel_label"]}) > 1


def test_tokens_and_images_give_the_same(runs, tiny_encoder, root):
    run = runs["classification"]
    model = export_runs([run], root / "models" / "one" / "1")
    tokens = tiny_encoder.tokenize(TEXTS)
    masks = {name: tokens[name].tolist() for name in ("segment_ids", "padding_mask")}
    images = {"hidden_states": tiny_encoder.hidden_states(tokens).tolist()} | masks
    ids = {"token_ids": tokens["token_ids"].tolist()} | masks
    requests = [("serving_default", {"text": TEXTS}), ("serve_tokens", ids), ("serve_hidden_states", images)]
    for said in ask_alone(model, requests, root):
        np.testing.assert_allclose(said["probabilities"], run.predict(TEXTS).probabilities, atol=1e-5)


def test_pairs_first_tokens_and_poolers(train, root):
    texts, others = make_texts(260, 1), make_texts(260, 2)
    table = {
        "text": texts,
        "other": others,
        "label": [one[0] == two[0] for one, two in zip(texts, others, strict=True)],
    }
    pairs = train("pairs", table, pair="other", head="comparison_adapter_4_similarity_2")
    pooled = train("pooled", table, pair="other", tokens="cls", pooler=True, layers=[0, 2])
    for run in (pairs, pooled):
        model = export_runs([run], root / "models" / run.path.name / "1")
        given = {"text": TEXTS, "text_pair": TEXTS[::-1]}
        (said,) = ask_alone(model, [("serving_default", given)], root)
        wanted = run.predict(TEXTS, TEXTS[::-1])
        np.testing.assert_allclose(said["probabilities"], wanted.probabilities, atol=1e-5)
    with pytest.raises(RunError, match="cannot share an encoder pass: they read tokens all and cls"):
        export_runs([pairs, pooled], root / "models" / "none" / "1")


def test_answers(train, root):
    """The best span over windows, its characters, and no answer, as `Run.answer` has them."""
    random = np.random.default_rng(3)

    def make(count):
        table = {"id": [], "question": [], "context": [], "answers": []}
        for row in range(count):
            words = random.choice(WORDS, random.integers(8, 60)).tolist()
            if row % 4:
                words[random.integers(len(words))] = "bird"
            table["id"].append(str(row))
            table["question"].append("what ?")
            table["context"].append(" ".join([*words, str(row)]))
            table["answers"].append(json.dumps(["bird"] if row % 4 else []))
        return table

    run = train("answers", make(420), max_length=24, fit={"epochs": 6, "learning_rate": 0.03, "batch_size": 16})
    table = make(40)
    contexts = [*table["context"], "", "bird", "  the bird  ", "the birḋ́ eats", "a bird", "\U0001f426 bird \U0001f426"]
    questions = ["what ?"] * len(contexts)
    model = export_runs([run], root / "models" / "answers" / "1")
    (said,) = ask_alone(model, [("serving_default", {"question": questions, "context": contexts})], root)
    found = run.answer_all(questions, contexts)
    assert 0 < sum(bool(one.text) for one in found) < len(found)
    assert said["answer"] == [one.text for one in found]
    assert said["start"] == [-1 if one.start is None else one.start for one in found]
    assert said["end"] == [-1 if one.end is None else one.end for one in found]
    np.testing.assert_allclose(said["null_score"], [one.null_score for one in found], atol=1e-5)
    scores = [(score, one.score) for score, one in zip(said["score"], found, strict=True) if one.score is not None]
    np.testing.assert_allclose(*zip(*scores, strict=True), atol=1e-5)
    answered = [context.encode() for context, one in zip(contexts, found, strict=True) if one.text][:8]
    broken = [start + context + end for context in answered for start, end in ((b"\x80\xff ", b""), (b"", b" \xff"))]
    ask = tf.saved_model.load(str(model)).signatures["serving_default"]
    said = ask(question=tf.constant(["what ?"] * len(broken)), context=tf.constant(broken))
    found = run.answer_all(["what ?"] * len(broken), [text.decode(errors="replace") for text in broken])
    assert [one.decode() for one in said["answer"].numpy()] == [one.text for one in found]
    assert any(one.text for one in found)


def build_servable(encoder, heads, pairs=False, max_length=64):
    """A model of all hidden states of texts of at most `max_length` tokens."""
    options = {"tokens": "all", "pooler": False, "pairs": pairs, "max_length": max_length, "dtype": "float32"}
    return Servable(encoder, heads, layers=range(encoder.num_hidden_states), **options)


def build_heads(encoder, kind):
    """All listed heads that can be built, with random weights."""
    random = np.random.default_rng(0)
    for name in list_presets():
        if name.endswith(("_flat", "_pretrained")):  # of a fixed number of tokens; of weights that are downloaded
            continue
        sizes = {"num_hidden_states": encoder.num_hidden_states, "hidden_dim": encoder.hidden_dim}
        try:
            model = build_head(name, kind=kind, **sizes)
        except HeadError:  # a comparison for spans, or a network that needs more channels than the tiny encoder has
            continue
        for weight in model.weights:
            if weight.dtype == "float32" and "variance" not in weight.name:
                noise = random.normal(size=weight.shape)
                if len(weight.shape) > 1:
                    weight.assign(noise * np.sqrt(2 / np.prod(weight.shape[:-1])))
                else:
                    weight.assign_add(0.3 * noise)
        yield ServedHead(name, model, kinds.find_kind(kind))


@pytest.mark.parametrize(("kind", "constant"), [("regression", True), ("regression", False), ("span", True)])
def test_every_preset(kind, constant, tiny_encoder, root, monkeypatch):
    """The outputs of all listed heads on one encoder pass, against Keras on the encoder's states."""
    monkeypatch.setattr(servable, "CONSTANT", 40_000_000 if constant else 0)
    heads = list(build_heads(tiny_encoder, kind))
    assert len(heads) > 15
    folder = root / "models" / f"presets-{kind}-{constant}" / "1"
    served = build_servable(tiny_encoder, heads)
    tf.saved_model.save(
        served, str(folder), signatures={"all": served.build_signatures(["serve_tokens"])["serve_tokens"]}
    )
    tokens = tiny_encoder.tokenize([text for text in TEXTS if text])
    given = {name: tokens[name].tolist() for name in ("token_ids", "segment_ids", "padding_mask")}
    (said,) = ask_alone(folder, [("all", given)], root)
    images = {"hidden_states": tiny_encoder.hidden_states(tokens)} | tokens
    for head in heads:
        found = head.model({name: images[name] for name in head.model.input}, training=False)
        wanted = {"score": found[:, 0]} if kind == "regression" else found
        for name, tensor in wanted.items():
            values = np.asarray(tensor)
            real = values > -1e8  # elsewhere nothing can be answered
            assert np.ptp(values[real]) > 1e-4 or "vision" in head.name, head.name  # too deep for random weights
            both = (np.where(real, one, 0) for one in (said[f"{head.name}_{name}"], values))
            scale = np.abs(values[real]).max()
            np.testing.assert_allclose(*both, rtol=1e-5, atol=1e-5 * max(scale, 1), err_msg=head.name)


@pytest.mark.parametrize("name", ["mpnet", "modernbert", "deberta-v2-keys", "deberta-v3", "nomic", "gte"])
def test_families_whose_blocks_are_not_berts(name, root):
    """Short texts, and where the encoder takes them, texts of which queries are split."""
    encoder = load_encoder(str(TINY.parent / name))
    longest = min(encoder.architecture.max_positions, 700)
    model = build_head(
        "adapter_2_shared",
        kind="regression",
        num_hidden_states=encoder.num_hidden_states,
        hidden_dim=encoder.hidden_dim,
    )
    served = build_servable(encoder, [ServedHead("head", model, kinds.REGRESSION)], max_length=longest)
    folder = root / "models" / name / "1"
    ask = {"all": served.build_signatures(["serve_tokens"])["serve_tokens"]}
    tf.saved_model.save(served, str(folder), signatures=ask)
    texts = ["the cat has eaten .", "who is running ?", "the dogs and the cat can not run . " * (longest // 40)]
    tokens = encoder.tokenize(texts, max_length=longest)
    given = {name: tokens[name].tolist() for name in ("token_ids", "segment_ids", "padding_mask")}
    (said,) = ask_alone(folder, [("all", given)], root)
    wanted = model(
        {"hidden_states": encoder.hidden_states(tokens)}
        | {name: tokens[name] for name in model.input if name != "hidden_states"}
    )
    np.testing.assert_allclose(said["score"], wanted[:, 0], atol=1e-4)


MALFORMED = {
    "as many texts each": ("serving_default", {"text_pair": ["a", "b"]}),
    "token_ids and padding_mask need one shape": ("serve_tokens", {"token_ids": [[1, 2]]}),
    "rows of ids are at most 64 wide": (
        "serve_tokens",
        {name: [[1] * 80] for name in ("token_ids", "padding_mask", "segment_ids")},
    ),
    "ids lie below": ("serve_tokens", {"token_ids": [[1, 2, 30_000]]}),
    "padding_mask needs ones, then zeros": ("serve_tokens", {"padding_mask": [[0, 1, 1]]}),
    "segment_ids are 0 or 1": ("serve_tokens", {"segment_ids": [[0, 0, 5]]}),
    "as many rows and tokens": ("serve_hidden_states", {"hidden_states": np.zeros((1, 3, 2, 8))}),
    "needs ones, then zeros": ("serve_hidden_states", {"padding_mask": [[7, 7, 7]]}),
}


@pytest.mark.parametrize("says", MALFORMED)
def test_malformed_requests_fail_with_a_line(says, pair_signatures):
    name, change = MALFORMED[says]
    row = {"token_ids": [[1, 2, 3]], "segment_ids": [[0, 0, 1]], "padding_mask": [[1, 1, 1]]}
    given = {"text": ["a"], "text_pair": ["b"], "hidden_states": np.zeros((1, 3, 3, 8))} | row
    ask = pair_signatures[name]
    specs = ask.structured_input_signature[1].items()
    assert np.isfinite(ask(**{key: tf.constant(given[key], spec.dtype) for key, spec in specs})["score"]).all()
    given |= change
    with pytest.raises(tf.errors.InvalidArgumentError, match=says):
        ask(**{key: tf.constant(given[key], spec.dtype) for key, spec in specs})


@pytest.fixture(scope="module")
def pair_signatures(tiny_encoder):
    sizes = {"num_hidden_states": tiny_encoder.num_hidden_states, "hidden_dim": tiny_encoder.hidden_dim}
    model = build_head("comparison_adapter_2", kind="regression", **sizes)
    return build_servable(tiny_encoder, [ServedHead("pair", model, kinds.REGRESSION)], pairs=True).build_signatures()


def test_what_lies_beside_the_model(runs, root):
    run = runs["classification"]
    model = export_runs([run], root / "models" / "card" / "1")
    card = (model / EXTRA / CARD).read_text(encoding="utf-8")
    for part in (run.encoder_fingerprint, "classification", "`serving_default`: text string", "tensorflow 2."):
        assert part in card
    assert f"{run.results['scores'][0]:.3f} of this head" in card
    ops = list_ops(model)
    assert ops - set(dir(tf.raw_ops)) == TEXT_OPS and "MatMul" in ops
    from tensorflow_serving.apis import prediction_log_pb2

    loaded = tf.saved_model.load(str(model))
    logs = [
        prediction_log_pb2.PredictionLog.FromString(one.numpy()).predict_log.request
        for one in tf.data.TFRecordDataset(str(model / EXTRA / WARM_UP))
    ]
    assert len(logs) == 3
    for request in logs:
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        said = loaded.signatures[request.model_spec.signature_name](**inputs)
        assert len(said["label"]) == len(inputs["text"])


def test_a_version_is_replaced_and_nothing_else(runs, root):
    mine = root / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="holds no SavedModel"):
        export_runs([runs["regression"]], mine)
    target = root / "models" / "again" / "1"
    for kind, output in (("regression", "score"), ("classification", "label")):
        export_runs([runs[kind]], target)
        assert output in tf.saved_model.load(str(target)).signatures["serving_default"].structured_outputs
    assert [path.name for path in target.parent.iterdir()] == ["1"]
    (target / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match=r"holds thesis\.txt beside a SavedModel"):
        export_runs([runs["classification"]], target)
    (target / "thesis.txt").unlink()
    (target / "notes").mkdir()
    with pytest.raises(RunError, match=r"holds notes beside a SavedModel"):
        export_runs([runs["classification"]], target)
    (target / "notes").rmdir()
    (target / "link").symlink_to(mine)
    with pytest.raises(RunError, match=r"holds link beside a SavedModel"):
        export_runs([runs["classification"]], target)
    above = export_runs([runs["regression"]], target.parent / "version")
    inside = export_runs([runs["regression"]], above / "1")
    with pytest.raises(RunError, match=r"holds 1 beside a SavedModel"):
        export_runs([runs["classification"]], above)
    assert tf.saved_model.contains_saved_model(str(inside))
    with pytest.raises(RunError, match="`dtype` needs one of float32, bfloat16, got 'int3'"):
        export_runs([runs["classification"]], root / "none", dtype="int3")


def test_heads_that_cannot_share_a_pass(runs, train, root):
    texts = make_texts(260, 5)
    fewer = train("fewer", {"text": texts, "label": LABELS["classification"](texts)}, layers=[0, 1])
    with pytest.raises(RunError, match=r"classification and fewer cannot .* hidden states \[0, 1, 2\] and \[0, 1\]"):
        export_runs([runs["classification"], fewer], root / "none")
    table = {"text": texts, "label": LABELS["classification"](texts)}
    half = train("half", table, encoder=str(TINY), dtype="bfloat16")
    with pytest.raises(RunError, match=r"their encoders are .* in float32 \(.* in bfloat16 \("):
        export_runs([runs["classification"], half], root / "none")
    with pytest.raises(RunError, match="a run or more"):
        export_runs([], root / "none")
    assert not (root / "none").exists()


def test_names_of_outputs_are_told_apart(tiny_encoder):
    heads = [
        ServedHead(name, build_head("last_layer", num_hidden_states=3, hidden_dim=8, kind="span"), kinds.SPAN)
        for name in ("x", "x_null")
    ]
    with pytest.raises(RunError, match="two outputs would be called x_null_score"):
        build_servable(tiny_encoder, heads).build_signatures()


def test_blocks_that_no_head_reads_are_not_kept(tiny_encoder):
    model = build_head("last_layer", num_hidden_states=1, hidden_dim=8, kind="regression")
    options = {"tokens": "all", "pooler": False, "pairs": False, "max_length": 64, "dtype": "float32"}
    first = Servable(tiny_encoder, [ServedHead("first", model, kinds.REGRESSION)], layers=[0], **options)
    first.build_signatures()
    assert {variable.name.split(".")[0].split(":")[0] for variable in first._kept} == {
        *("token_embedding", "position_embedding", "segment_embedding", "embeddings_norm")
    }


def test_one_trace_serves_all_batches_and_lengths(runs, root):
    model = tf.saved_model.load(str(export_runs([runs["classification"]], root / "models" / "trace" / "1")))
    ask = model.signatures["serving_default"]
    whole = ask(text=tf.constant(TEXTS))["probabilities"].numpy()
    for place, text in enumerate(TEXTS):
        alone = ask(text=tf.constant([text]))["probabilities"].numpy()[0]
        np.testing.assert_allclose(alone, whole[place], atol=1e-5)
    many = ask(text=tf.constant(TEXTS * 300))["probabilities"].numpy()
    np.testing.assert_allclose(many[-len(TEXTS) :], whole, atol=1e-5)
    assert ask(text=tf.constant([], tf.string))["probabilities"].shape == (0, 2)
    assert np.isfinite(ask(text=tf.constant([b"\xff\x00 cat \xed\xa0\x80"]))["probabilities"].numpy()).all()


def test_an_encoder_whose_tokenizer_has_no_twin(train, root):
    """It reads tokens alone, and says why."""
    texts = make_texts(260, 6)
    table = {"text": texts, "label": LABELS["classification"](texts)}
    both = [train(name, table, encoder=str(TINY.parent / "roberta")) for name in ("roberta", "roberta_too")]
    said = []
    model = export_runs(both, root / "models" / "roberta" / "1", notice=said.append)
    assert len(said) == 1 and said[0].endswith("it exports serve_tokens only.")
    tokens = both[0].load_encoder().tokenize(TEXTS[:5])
    given = {name: tokens[name].tolist() for name in ("token_ids", "segment_ids", "padding_mask")}
    wanted = both[0].predict(TEXTS[:5]).probabilities
    asked = [("serving_default", given), ("serve_tokens", given), ("roberta", given)]
    *whole, alone = ask_alone(model, asked, root)
    for one in (*(one["roberta_probabilities"] for one in whole), alone["probabilities"]):
        np.testing.assert_allclose(one, wanted, atol=1e-5)
    assert not (model / EXTRA / BATCHING).exists()
    assert "exports serve_tokens only" in (model / EXTRA / CARD).read_text(encoding="utf-8")


def test_bfloat16_is_smaller(runs, root):
    run = runs["classification"]
    whole = export_runs([run], root / "models" / "float32" / "1")
    half = export_runs([run], root / "models" / "bfloat16" / "1", dtype="bfloat16")
    sizes = [sum(file.stat().st_size for file in (model / "variables").iterdir()) for model in (whole, half)]
    assert sizes[1] < 0.9 * sizes[0]
    found = tf.saved_model.load(str(half)).signatures["serving_default"](text=tf.constant(TEXTS))
    difference = np.abs(found["probabilities"].numpy() - run.predict(TEXTS).probabilities).max()
    assert 1e-6 < difference < 0.05


def test_the_tool_of_tensorflow_reads_it(runs, root):
    model = export_runs([runs["classification"]], root / "models" / "tool" / "1")
    code = "import sys, tensorflow_text; from tensorflow.python.tools.saved_model_cli import main; sys.exit(main())"
    command = ["run", "--dir", str(model), "--tag_set", "serve", "--signature_def", "serving_default"]
    asked = [*command, "--input_exprs", f"text={TEXTS[:3]!r}"]
    done = subprocess.run([sys.executable, "-c", code, *asked], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-1000:]
    for label in runs["classification"].predict(TEXTS[:3]).labels:
        assert f"b'{label}'" in done.stdout
