"""The name of an encoder → the folder of its checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import EncoderError
from ..paths import read_path
from .checkpoint import CONFIG, WEIGHTS, find_weight_files
from .hub import PREFIX, download
from .packaged import PACKAGED, find_packaged

PRESET_WEIGHTS = "model.weights.h5"
MODULES = "modules.json"  # of sentence-transformers, which may keep the encoder in a folder of its own
OLD_MODULE = "0_Transformer"


def find_checkpoint(name: str) -> Path:
    """Returns the folder of a packaged encoder, of `hf://owner/name` (downloaded once), or of a path.

    Raises:
        EncoderError: there is no such folder, or its weights are only there as a pickle.
    """
    if name in PACKAGED and (name == "minilm" or not Path(name, CONFIG).is_file()):
        return find_packaged(name)
    folder = _enter_module(download(name) if name.startswith(PREFIX) else read_path(name))
    if not (folder / CONFIG).is_file():
        raise EncoderError(
            f"no encoder {name!r}: expected 'minilm', 'hf://owner/name', a KerasHub preset, or a folder with a "
            "config.json; or 'mpnet', which `bertvision fetch mpnet` brings."
        )
    if not find_weight_files(folder) and not (folder / PRESET_WEIGHTS).is_file():
        raise EncoderError(_no_safetensors(name, folder))
    return folder


def _enter_module(folder: Path) -> Path:
    """The folder of the encoder in one of sentence-transformers; else the folder itself."""
    if (folder / CONFIG).is_file() or not folder.is_dir():
        return folder
    try:
        modules = json.loads((folder / MODULES).read_text(encoding="utf-8"))
        paths = [module["path"] for module in modules if module["type"].endswith("Transformer")]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        paths = []
    own = [path for path in [*paths, OLD_MODULE] if isinstance(path, str) and Path(path).name == path]
    return next((folder / path for path in own if (folder / path / CONFIG).is_file()), folder)


def _no_safetensors(name: str, folder: Path) -> str:
    pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.ckpt*") for path in folder.glob(pattern))
    if not pickles and not name.startswith(PREFIX):
        others = [path.name for path in sorted(folder.glob("*.safetensors"))]
        found = f", and found only {', '.join(others[:4])}" if others else ""
        return f"{folder} holds no weights: expected {WEIGHTS}, or the index of its shards{found}."
    source, _, revision = name.removeprefix(PREFIX).partition("@")
    source = source if name.startswith(PREFIX) else str(folder)
    more = f", revision='{revision}'" if revision else ""
    return (
        f"{name} has its weights only as {pickles[0] if pickles else 'a pickle'}, which is not read since loading a "
        "pickle runs its code; where you trust it, convert it once with PyTorch: "
        f"python -c \"from transformers import AutoModel as M, AutoTokenizer as T; s = '{source}'; o = 'converted'; "
        f'M.from_pretrained(s{more}).save_pretrained(o); T.from_pretrained(s{more}).save_pretrained(o)"'
    )
