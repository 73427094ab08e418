"""Checkpoints of the Hugging Face hub, by names as hf://owner/name@revision.

huggingface_hub keeps them in its own cache, and reads its variables: HF_ENDPOINT (another server), HF_TOKEN (of private
repositories), HF_HUB_OFFLINE=1 (the cache alone), HF_HOME (where the cache is).
"""

from __future__ import annotations

from pathlib import Path

from ..errors import EncoderError

PREFIX = "hf://"
# What an encoder needs, in any folder of a repository: weights as safetensors or Keras's, and the tokenizer.
FILES = ["*.json", "*.safetensors", "model.weights.h5", "*.txt", "*.model", "*.spm"]


def download(name: str) -> Path:
    """The folder of a repository in the cache, downloaded where it is not there or is not the newest.

    Args:
        name: hf://owner/name, and after an @ a branch, a tag or a commit.

    Raises:
        EncoderError: it cannot be had.
    """
    from huggingface_hub import snapshot_download

    repository, at, revision = name.removeprefix(PREFIX).partition("@")
    if at and not revision:
        raise EncoderError(f"{name} names no revision after its @: expected hf://owner/name@revision.")
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=FILES))
    except Exception as error:  # the hub's client, its HTTP library and the file system each have their own
        reason = " ".join(str(error).split()) or type(error).__name__
        reason = reason if len(reason) <= 200 else f"{reason[:199]}…"
        raise EncoderError(
            f"{name} cannot be had from the hub ({reason}); offline, copy the checkpoint's folder here and name that."
        ) from None
