"""The trial of a task's heads on an encoder's states, for benchmarks that train heads."""

from pathlib import Path
from typing import Any

from bertvision_tf import TaskSpec
from bertvision_tf.encoders import Encoder
from bertvision_tf.experiments.preparation import name_default_head
from bertvision_tf.extraction import extract_once
from bertvision_tf.heads import get_preset
from bertvision_tf.progress import ignore
from bertvision_tf.settings import FitConfig, StateSettings
from bertvision_tf.training.draw import Draw, split_task
from bertvision_tf.training.trial import Trial


def build_trial(
    task: TaskSpec, encoder: Encoder, data_dir: Path, states: Path, rows: int | None = None, **fit: Any
) -> Trial:
    """The default head on the states of train and dev, which are extracted where they are missing.

    Args:
        task, encoder: whose.
        data_dir: folder of GLUE's official download.
        states: folder of the stores.
        rows: the first of train and of dev; all with None.
        **fit: fields of FitConfig.
    """
    splits = [task.load(split, data_dir) for split in ("train", "dev")]
    if rows is not None:
        splits = [split.take(rows) for split in splits]
    settings = StateSettings().choose(encoder, task.max_length)
    stores = [extract_once(encoder, split, states, ignore, **settings) for split in splits]
    training, selection = split_task(task, splits[0])
    head = get_preset(name_default_head(task))
    config = FitConfig.for_head(head, **fit)
    return Trial(task, head, stores, splits, Draw(splits[0].labels, training), selection, config)
