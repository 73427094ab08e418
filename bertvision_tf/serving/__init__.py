"""Finished runs as a SavedModel for TensorFlow Serving, a client of it, and a local page to try them."""

from .client import ServedModel
from .demo import build_demo, launch_demo
from .export import export_runs
from .graph_tokenizer import GraphTokenizer
from .servable import Servable, ServedHead

__all__ = [
    "GraphTokenizer",
    "Servable",
    "ServedHead",
    "ServedModel",
    "build_demo",
    "export_runs",
    "launch_demo",
]
