"""The families of encoders: one file for each kind of block, one row for each family."""

from collections.abc import Mapping

from .bert import ALBERT, BERT, CAMEMBERT, DISTILBERT, ELECTRA, ROBERTA, XLM_ROBERTA
from .deberta import DEBERTA
from .family import Family, OwnHead, Preset
from .modernbert import MODERNBERT
from .mpnet import MPNET
from .rotary import GTE, NOMIC

FAMILIES: Mapping[str, Family] = {  # by `model_type` of config.json
    "bert": BERT,
    "roberta": ROBERTA,
    "xlm-roberta": XLM_ROBERTA,
    "camembert": CAMEMBERT,
    "distilbert": DISTILBERT,
    "albert": ALBERT,
    "electra": ELECTRA,
    "mpnet": MPNET,
    "modernbert": MODERNBERT,
    "deberta-v2": DEBERTA,
    "nomic_bert": NOMIC,
    "gte": GTE,
}

__all__ = ["FAMILIES", "Family", "OwnHead", "Preset"]
