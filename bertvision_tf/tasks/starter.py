"""The starter data: a small task of linguistic acceptability that ships with the package.

Each sentence belongs to a minimal pair in the way of BLiMP (Warstadt et al., 2020, arXiv 1912.00582): one
member is grammatical (label 1), the other (label 0) breaks one rule and is otherwise the same. No content
word, in any of its forms, stands in both train and dev: what helps on dev is grammar and not vocabulary.

    participle           Mary has taken the key.           *Mary has take the key.
    progressive          Peter is fixing the clock.        *Peter is fix the clock.
    modal_base           Emma can carry the box.           *Emma can carries the box.
    pronoun_case         Daniel thanked him.               *Daniel thanked he.
    comparative          Clara is taller than Simon.       *Clara is tall than Simon.
    determiner_number    Anna found these coins.           *Anna found this coins.
    word_order           The pilot thanked Nina.           *Pilot the thanked Nina.
    wh_word              What did Oscar mend?              *What did Oscar mend the sock?
    distant_agreement    The nurse near the boys is kind.  *The nurse near the boys are kind.

The files have CoLA's format: UTF-8, no header, four columns separated by tabs: source (here the phenomenon),
label, the author's mark ("*" or nothing), sentence. The rows of a pair follow one another, in either order.

`python -m bertvision_tf.tasks.starter FOLDER` writes them anew, byte for byte.
"""

import random
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

from bertvision_tf.errors import TaskError


class Row(NamedTuple):
    """One line of the file."""

    phenomenon: str
    label: int  # 1: acceptable, 0: not
    annotation: str  # "" or "*"
    sentence: str


SPLITS = ("train", "dev")

# Pairs a phenomenon has in (train, dev). The last one, the hardest, is kept small.
PAIRS = {
    "participle": (145, 48),
    "progressive": (145, 48),
    "modal_base": (145, 48),
    "pronoun_case": (145, 48),
    "comparative": (145, 48),
    "determiner_number": (145, 48),
    "word_order": (145, 48),
    "wh_word": (145, 48),
    "distant_agreement": (40, 16),
}
PHENOMENA = tuple(PAIRS)

# The content words of (train, dev). Irregular forms stand behind a slash: plural, or past and participle.
# "verb" names after a colon the things it is done to; "greet" is done to people, and never lacks its object.
LEXICON = {
    "name": (
        "Mary Peter Anna George Laura Daniel Emma Robert Alice Frank Julia Martin Helen Oscar Nina Victor "
        "Clara Simon Diana Henry Lucy Arthur Sarah David",
        "Susan Thomas Olivia Walter Irene Philip Rosa Edward Linda Gerald",
    ),
    "person": (
        "teacher doctor farmer lawyer student driver artist nurse neighbor singer baker soldier tailor judge "
        "guard pilot cousin boy girl woman/women child/children thief/thieves writer uncle hunter lady",
        "sailor manager waiter actor priest dentist king cook friend secretary dancer",
    ),
    "verb": (
        "take/took/taken:key,coat wear/wore/worn:hat,scarf/scarves throw/threw/thrown:ball,stone "
        "make/made/made:basket,doll find/found/found:coin,ring bring/brought/brought:cake,bottle "
        "draw/drew/drawn:rabbit,butterfly build/built/built:cabin,tower break/broke/broken:plate,stick "
        "steal/stole/stolen:wallet,jewel write/wrote/written:letter,novel eat/ate/eaten:pear,potato/potatoes "
        "fix:clock,radio carry:box,suitcase mend:sock,net polish:mirror,spoon cover:table,chair "
        "remove:nail,bolt examine:stamp,map damage:fence,truck destroy:bridge,farm use:hammer,ladder "
        "fill:bucket,jar lock:door,drawer describe:picture,statue paint:wall,gate open:bag,envelope "
        "wash:cup,shirt",
        "send/sent/sent:parcel,ticket buy/bought/bought:lamp,carpet tear/tore/torn:curtain,page "
        "bite/bit/bitten:apple,biscuit hold/held/held:rope,candle shake/shook/shaken:rug,blanket "
        "choose/chose/chosen:melody,dress repair:engine,roof inspect:wheel,boat replace:window,battery "
        "lift:barrel,piano collect:shell,leaf/leaves clean:oven,boot",
    ),
    "greet": (
        "greet thank invite scold arrest betray accuse flatter insult pardon congratulate",
        "warn rescue comfort reassure convince amuse console",
    ),
    "short": (
        "tall strong kind young quick slow rich poor brave clever calm loud proud smart weak happy busy "
        "lucky old short cold warm",
        "polite wise bold lazy tough fierce gentle cruel neat",
    ),
    "long": (
        "careful famous patient generous popular nervous talented cautious reliable ambitious",
        "modest helpful stubborn dangerous confident serious",
    ),
    "adverb": ("often always finally certainly clearly", "usually rarely suddenly gladly"),
    "place": ("garden kitchen station church school market river", "village forest harbor museum castle"),
}
PRONOUNS = "he/him she/her they/them we/us I/me"

# All other words. Train and dev share these and no more.
FUNCTION_WORDS = tuple(
    """
    are behind by can could did every few had has he her him I is many may me more must near not one she
    should still than that the them these they this those three two us was we were what when which who
    why will would
""".split()
)

# How a frame is written. {name} is a word drawn from "name", {name2} another one; {thing} goes with {verb}.
# (a|b) is a free choice, the same in both members of the pair. The contrast is [right|wrong], or
# <word: right wrong> among a word's forms; of several wrong ones, one is drawn.
FRAMES = {
    "participle": (
        "{name} (has|had) <verb: participle base> the {thing.one}",
        "the {person.one} (has|had) ({adverb}|not) <verb: participle base> the {thing.one}",
        "(has|had) the {person.one} <verb: participle base> the {thing.one}?",
        "the {thing.one} was <verb: participle base> by {name}",
    ),
    "progressive": (
        "{name} (is|was) <verb: ing base s> the {thing.one}",
        "the {person.many} (are|were) (not|still) <verb: ing base> the {thing.one}",
        "(is|was) the {person.one} <greet: ing base> {name}?",
        "why (is|was) {name} <verb: ing base s> the {thing.one}?",
    ),
    "modal_base": (
        "{name} (can|will|must|should|may) <verb: base s> the {thing.one}",
        "{name} (could|would|can|will) not <verb: base s> the {thing.one}",
        "(can|will|should|must) {name} <verb: base s> the {thing.one}?",
    ),
    "pronoun_case": (
        "{name} {greet.past} [{pronoun.object}|{pronoun.subject}]",
        "[{pronoun.subject}|{pronoun.object}] {greet.past} {name}",
        "did {name} {greet.base} [{pronoun.object}|{pronoun.subject}]?",
    ),
    "comparative": (
        "{name} (is|was) <short: more base> than {name2}",
        "the {person.one} (is|was) <short: more base> than {name}",
        "{name} is [more {long}|{long}] than {name2}",
        "(is|was) {name} <short: more base> than {name2}?",
    ),
    "determiner_number": (
        "{name} {verb.past} (two|many|three|few) <thing: many one>",
        "{name} {verb.past} [these|this] {thing.many}",
        "{name} {verb.past} (one|every|this) <thing: one many>",
        "[those|that] {person.many} {greet.past} {name}",
    ),
    "word_order": (
        "[the {person.one}|{person.one} the] {greet.past} {name}",
        "{name} [{verb.past} the {thing.one}|the {thing.one} {verb.past}]",
        "{name} [will {verb.base}|{verb.base} will] the {thing.one}",
        "(why|when) [did {name}|{name} did] {verb.base} the {thing.one}?",
    ),
    "wh_word": (
        "what did {name} {verb.base}[| the {thing.one}]?",
        "who did {name} {greet.base}[| the {person.one}]?",
        "(when|why) did {name} {greet.base}[ the {person.one}|]?",
        "the {person.one} [who|which] {greet.past} {name} (is|was) {short.base}",
    ),
    "distant_agreement": (
        "the {person.one} near the {person2.many} [is|are] {short.base}",
        "the {person.many} near the {person2.one} [are|is] {short.base}",
        "the {person.one} behind the {place.many} [is|are] {short.base}",
        "the {person.many} behind the {place.one} [are|is] {short.base}",
    ),
}


def _add_s(word: str) -> str:
    """The plural of a noun, or the third person of a verb."""
    if re.search("[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + ("es" if re.search("(s|x|ch|sh)$", word) else "s")


def _add_e(word: str, ending: str) -> str:
    """Adds an ending that begins with e: walked, used, carried; taller, braver, happier."""
    stem = word.removesuffix("e")
    return (stem[:-1] + "i" if re.search("[^aeiou]y$", stem) else stem) + ending


def _noun(entry: str) -> SimpleNamespace:
    one, _, many = entry.partition("/")
    return SimpleNamespace(one=one, many=many or _add_s(one))


def _verb(entry: str) -> SimpleNamespace:
    forms, _, things = entry.partition(":")
    base, *irregular = forms.split("/")
    past, participle = irregular or [_add_e(base, "ed")] * 2
    ing = base.removesuffix("e") + "ing"
    nouns = [_noun(thing) for thing in things.split(",") if thing]
    return SimpleNamespace(base=base, s=_add_s(base), past=past, participle=participle, ing=ing, things=nouns)


def _adjective(entry: str) -> SimpleNamespace:
    return SimpleNamespace(base=entry, more=_add_e(entry, "er"))


def _pronoun(entry: str) -> SimpleNamespace:
    subject, object_ = entry.split("/")
    return SimpleNamespace(subject=subject, object=object_)


_READERS = {"person": _noun, "place": _noun, "verb": _verb, "greet": _verb, "short": _adjective}


def read_lexicon(split: str) -> dict[str, list]:
    """The words of one split by category: plain strings, or namespaces of a word's forms."""
    if split not in SPLITS:
        raise TaskError(f"`split` needs to be one of {', '.join(SPLITS)}, got {split!r}.")
    words: dict[str, list] = {"pronoun": [_pronoun(entry) for entry in PRONOUNS.split()]}
    for category, texts in LEXICON.items():
        read = _READERS.get(category, str)
        words[category] = [read(entry) for entry in texts[SPLITS.index(split)].split()]
    return words


def _build_pair(frame: str, words: dict[str, list], rng: random.Random) -> tuple[str, str]:
    """Fills a frame with words and returns its two sentences, the right one first."""
    scene = {}
    for category, candidates in words.items():
        scene[category], scene[category + "2"] = rng.sample(candidates, 2)
    scene["thing"] = rng.choice(scene["verb"].things)

    def choose(found: re.Match) -> str:
        return rng.choice(found[1].split("|"))

    def contrast(found: re.Match) -> str:
        return "[" + "|".join(f"{{{found[1]}.{form}}}" for form in found[2].split()) + "]"

    frame = re.sub(r"\(([^)]*)\)", choose, frame)
    frame = re.sub(r"<(\w+): ([^>]*)>", contrast, frame)
    before, options, after = re.split(r"[\[\]]", frame.format(**scene))
    right, *others = options.split("|")
    wrong = rng.choice(others)
    end = "" if after.endswith("?") else "."
    first, second = (before + middle + after + end for middle in (right, wrong))
    return first[0].upper() + first[1:], second[0].upper() + second[1:]


def generate(split: str, seed: int = 0) -> list[Row]:
    """The rows of "train" or "dev", the phenomena mixed. The same seed gives the same rows on any machine."""
    words = read_lexicon(split)
    rng = random.Random(f"{split} {seed}")
    seen: set[str] = set()
    pairs: list[list[Row]] = []
    for phenomenon, sizes in PAIRS.items():
        frames = FRAMES[phenomenon]
        wanted = len(pairs) + sizes[SPLITS.index(split)]
        while len(pairs) < wanted:
            right, wrong = _build_pair(frames[len(pairs) % len(frames)], words, rng)
            if right in seen or wrong in seen:
                continue
            seen |= {right, wrong}
            pair = [Row(phenomenon, 1, "", right), Row(phenomenon, 0, "*", wrong)]
            pairs.append(pair if rng.random() < 0.5 else pair[::-1])
    rng.shuffle(pairs)
    return [row for pair in pairs for row in pair]


def write(folder: str | Path) -> None:
    """Writes train.tsv and dev.tsv into a folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        lines = ["\t".join(map(str, row)) + "\n" for row in generate(split)]
        (folder / f"{split}.tsv").write_bytes("".join(lines).encode("utf-8"))


if __name__ == "__main__":
    write(sys.argv[1])
