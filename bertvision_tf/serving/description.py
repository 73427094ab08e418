"""What a fast tokenizer's own description says, held against what a graph can do."""

import itertools
from typing import Any, NamedTuple

from ..errors import EncoderError


class Description(NamedTuple):
    """What a tokenizer is made of.

    Attributes:
        model: its WordPiece.
        normalizer: the settings of its BertNormalizer.
        added: its added tokens, with their flags.
        trims: whether the white space that tokens took is no part of their offsets.
    """

    model: dict[str, Any]
    normalizer: dict[str, Any]
    added: list[dict[str, Any]]
    trims: bool


def read_description(described: dict[str, Any]) -> Description:
    """Reads a tokenizer's JSON.

    Raises:
        EncoderError: a graph cannot do what it says.
    """
    model, settings = described["model"], described.get("normalizer") or {}
    kinds = [part.get("type") for part in (model, settings, described.get("pre_tokenizer") or {})]
    if kinds != ["WordPiece", "BertNormalizer", "BertPreTokenizer"]:
        raise refuse(f"a graph tokenizes as BERT does, this tokenizer is made of {', '.join(map(str, kinds))}")
    if not settings["clean_text"] or model["continuing_subword_prefix"] != "##":
        raise refuse('a graph removes control characters and has "##" within words, as BERT does')
    vocabulary, longest = model["vocab"], model["max_input_chars_per_word"]
    if sorted(vocabulary.values()) != list(range(len(vocabulary))) or model["unk_token"] not in vocabulary:
        raise refuse(f"a graph needs a vocabulary without gaps, with {model['unk_token']!r} in it")
    added = described["added_tokens"]
    for token in added:
        content = token["content"]
        word = content.isprintable() and not content.startswith("##") and len(content) <= longest
        if not (word and _is_plain(token)) or vocabulary.get(content) != token["id"]:
            raise refuse(f"a graph knows added tokens only of the vocabulary and without flags, {content!r} is none")
    for one, other in itertools.product([token["content"] for token in added], repeat=2):
        tails = [one[place:] for place in range(one == other, len(one))]
        if any(tail.startswith(other) or other.startswith(tail) for tail in tails):
            raise refuse(f"a graph cannot tell where {one!r} ends and {other!r} begins")
    processor = described.get("post_processor") or {}
    trimming = [part for part in processor.get("processors", [processor]) if part.get("trim_offsets")]
    if any(part["add_prefix_space"] for part in trimming) and any(token["lstrip"] for token in added):
        raise refuse("a graph does not leave one space before a token that takes those on its left")
    return Description(model, settings, added, bool(trimming))


def _is_plain(token: dict[str, Any]) -> bool:
    """Whether an added token has no flags, or those of RoBERTa's <mask> and <unk>, and no word can be taken for it."""
    if token["single_word"] or token["rstrip"]:
        return False
    written = token["content"]
    framed = written.isascii() and written.islower() and not (written[0].isalnum() or written[-1].isalnum())
    return (framed and " " not in written) if token["lstrip"] or token["normalized"] else True


def refuse(reason: str) -> EncoderError:
    """The error of a tokenizer that has no twin."""
    return EncoderError(f"{reason}: it exports serve_tokens only.")
