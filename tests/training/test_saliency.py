import numpy as np
import pytest
from scipy.special import log_expit, log_softmax, logsumexp

from bertvision_tf import kinds
from bertvision_tf.heads import build_head
from bertvision_tf.training.saliency import compute_saliency

LAYERS, TOKENS, HIDDEN = 3, 6, 8


def make_images(seed=0):
    random = np.random.default_rng(seed)
    mask = np.array([[1, 1, 1, 1, 0, 0]], np.int32)
    return {
        "hidden_states": random.normal(size=(1, LAYERS, TOKENS, HIDDEN)).astype(np.float32) * mask[:, None, :, None],
        "padding_mask": mask,
        "segment_ids": np.array([[0, 1, 1, 1, 0, 0]], np.int32),
    }


def decide(logits, kind, target):
    """The decision by its words, in numpy, (batch,)."""
    if kind is kinds.SPAN:
        return logits["start_logits"][:, target[0]] + logits["end_logits"][:, target[1]]
    if kind is kinds.CLASSIFICATION:
        shares = log_softmax(logits, axis=-1)
        return shares[:, target] - logsumexp(np.delete(shares, target, axis=-1), axis=-1)
    if kind is kinds.MULTILABEL:
        return log_expit(np.where(np.array(target) > 0, logits, -logits)).sum(axis=-1)
    return logits[:, 0]


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (kinds.CLASSIFICATION, 0),
        (kinds.CLASSIFICATION, 2),
        (kinds.MULTILABEL, [1, 0, 1]),
        (kinds.MULTILABEL, [0, 0, 0]),
        (kinds.REGRESSION, None),
        (kinds.SPAN, (2, 3)),
        (kinds.SPAN, (0, 0)),
    ],
)
def test_saliency_is_how_the_decision_changes_with_each_cell(kind, target):
    """Against central differences: each cell of the image a little longer and a little shorter."""
    head = build_head(
        "adapter_4_shared" if kind is not kinds.SPAN else "learned_pooling",
        num_hidden_states=LAYERS,
        hidden_dim=HIDDEN,
        num_outputs={kinds.REGRESSION: 1, kinds.SPAN: 2}.get(kind, 3),
        kind=kind if kind in (kinds.REGRESSION, kinds.SPAN) else "classification",
    )
    random = np.random.default_rng(1)
    head.set_weights([random.normal(size=weight.shape).astype(np.float32) * 0.5 for weight in head.get_weights()])
    images = make_images()

    def run(states):
        repeated = {name: np.repeat(images[name], len(states), axis=0) for name in ("padding_mask", "segment_ids")}
        logits = head({name: {**repeated, "hidden_states": states}[name] for name in head.input}, training=False)
        if isinstance(logits, dict):
            return {name: np.asarray(part, np.float64) for name, part in logits.items()}
        return np.asarray(logits, np.float64)

    step, longer = 0.01, []
    for sign in (1, -1):
        states = np.repeat(images["hidden_states"], LAYERS * TOKENS, axis=0)
        for place, (layer, token) in enumerate(np.ndindex(LAYERS, TOKENS)):
            states[place, layer, token] *= 1 + sign * step
        longer.append(decide(run(states), kind, target))
    differences = ((longer[0] - longer[1]) / (2 * step)).reshape(LAYERS, TOKENS)
    found = compute_saliency(head, images, kind, target)
    np.testing.assert_allclose(found, differences, atol=2e-3, rtol=2e-2)
    assert np.abs(differences).max() > 0.05
    assert np.all(found[:, 4:] == 0)
