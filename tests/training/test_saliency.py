import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp

from bertvision_tf.heads import build_head
from bertvision_tf.tasks import TaskKind
from bertvision_tf.training.saliency import compute_saliency

LAYERS, TOKENS, HIDDEN = 3, 6, 8


def make_images(seed=0):
    random = np.random.default_rng(seed)
    mask = np.ones((2, TOKENS), np.int32)
    mask[1, 4:] = 0
    return {
        "hidden_states": random.normal(size=(2, LAYERS, TOKENS, HIDDEN)).astype(np.float32) * mask[:, None, :, None],
        "padding_mask": mask,
        "segment_ids": np.zeros((2, TOKENS), np.int32),
    }


def decide(logits, kind, first):
    """The decision by its words, in numpy, for what the first image was decided to be."""
    if kind is TaskKind.SPAN:
        return sum(logits[name][:, place] for name, place in first.items())
    if kind is TaskKind.CLASSIFICATION:
        shares = log_softmax(logits, axis=-1)
        others = np.delete(shares, first, axis=-1)
        return shares[:, first] - logsumexp(others, axis=-1)
    return logits[:, first]


@pytest.mark.parametrize("kind", [TaskKind.CLASSIFICATION, TaskKind.MULTILABEL, TaskKind.REGRESSION, TaskKind.SPAN])
def test_saliency_is_how_the_decision_changes_with_each_cell(kind):
    """Against central differences: each cell of the image a little longer and a little shorter."""
    head = build_head(
        "adapter_4_shared" if kind is not TaskKind.SPAN else "learned_pooling",
        num_hidden_states=LAYERS,
        hidden_dim=HIDDEN,
        num_outputs={TaskKind.REGRESSION: 1, TaskKind.SPAN: 2}.get(kind, 3),
        kind=kind if kind in (TaskKind.REGRESSION, TaskKind.SPAN) else "classification",
    )
    random = np.random.default_rng(1)
    head.set_weights([random.normal(size=weight.shape).astype(np.float32) * 0.5 for weight in head.get_weights()])
    images = make_images()
    found = compute_saliency(head, images, kind)

    def run(states):
        repeated = {name: np.repeat(images[name][:1], len(states), axis=0) for name in ("padding_mask", "segment_ids")}
        logits = head({name: {**repeated, "hidden_states": states}[name] for name in head.input}, training=False)
        if isinstance(logits, dict):
            return {name: np.asarray(part, np.float64) for name, part in logits.items()}
        return np.asarray(logits, np.float64)

    one = images["hidden_states"][0]
    alone = run(one[None])
    first = {name: part[0].argmax() for name, part in alone.items()} if kind is TaskKind.SPAN else alone[0].argmax()
    step, longer = 0.01, []
    for sign in (1, -1):
        states = np.repeat(one[None], LAYERS * TOKENS, axis=0)
        for place, (layer, token) in enumerate(np.ndindex(LAYERS, TOKENS)):
            states[place, layer, token] *= 1 + sign * step
        longer.append(decide(run(states), kind, first))
    differences = ((longer[0] - longer[1]) / (2 * step)).reshape(LAYERS, TOKENS)
    np.testing.assert_allclose(found[0], differences, atol=2e-3, rtol=2e-2)
    assert np.abs(differences).max() > 0.05
    assert np.all(found[1, :, 4:] == 0) and np.any(found[1, :, :4] != 0)
