"""Mixup: each training example is shaded into another of its batch, image and label alike."""

import tensorflow as tf

MASKS = ("padding_mask", "segment_ids")


def mix_up(training: tf.data.Dataset, alpha: float, seed: int, num_classes: int | None) -> tf.data.Dataset:
    """Mixes the examples of each batch in pairs, (1 - share) of one and a share below one half of the other.

    A token is real where either example has one. Segments are those of the first, as far as its tokens go.

    Args:
        training: batches of (images or measurements by name, labels).
        alpha: > 0, of the Beta distribution of the shares; the smaller, the nearer they are to 0.
        seed: of shares and pairs.
        num_classes: of labels that are classes, which become shares of each; with None labels are numbers.

    Source: Zhang et al., 2018, arXiv 1710.09412.
    """

    def mix(number: tf.Tensor, batch: tuple[dict[str, tf.Tensor], tf.Tensor]):
        images, labels = batch
        seeds = tf.random.split(tf.stack([tf.constant(seed, tf.int64), number]), 3)
        count = tf.shape(labels)[0]
        first = tf.random.stateless_gamma([count], seeds[0], alpha)
        second = tf.random.stateless_gamma([count], seeds[1], alpha)
        share = tf.minimum(first, second) / tf.maximum(first + second, 1e-12)  # (batch,)
        other = tf.argsort(tf.random.stateless_uniform([count], seeds[2]))

        def blend(part: tf.Tensor) -> tf.Tensor:
            own = tf.reshape(share, tf.concat([[count], tf.ones([tf.rank(part) - 1], tf.int32)], axis=0))
            return (1 - own) * part + own * tf.gather(part, other)

        mixed = {name: part if name in MASKS else blend(part) for name, part in images.items()}
        if "padding_mask" in images:
            real = images["padding_mask"]
            mixed["padding_mask"] = tf.maximum(real, tf.gather(real, other))
            if "segment_ids" in images:
                segments = images["segment_ids"]
                mixed["segment_ids"] = tf.where(real > 0, segments, tf.gather(segments, other))
        for name, part in images.items():
            mixed[name].set_shape(part.shape)
        if num_classes is not None:
            labels = tf.one_hot(labels, num_classes)
        return mixed, blend(tf.cast(labels, tf.float32))

    return training.enumerate().map(mix)
