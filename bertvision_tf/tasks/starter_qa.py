"""The starter questions: a small task in SQuAD 2.0's format that ships with the package.

A passage tells a few facts about one made-up person, bridge, ship or firm, each in one of several wordings. Of its
questions two thirds ask for a fact that it tells, in one of several wordings too. A third cannot be answered: either
the passage leaves that fact out, or it is asked of someone or something else that the passage names. No name of a
person, place or thing stands in both train and dev, though common words do, wares, coins and trades among them: what
helps on dev is reading and not memory.

Each passage is an article of its own, titled by its subject. `python -m bertvision_tf.tasks.starter_qa FOLDER` writes
the files anew, byte for byte. Over 300 lines, since the wordings are its data.
"""

import json
import random
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

SPLITS = ("train", "dev")
PASSAGES = {"train": 400, "dev": 120}
TOLD = 4  # facts of each passage, each asked for once; two more questions cannot be answered
MONTHS = "January February March April May June July August September October November December".split()

# Names are built of these, the beginnings of (train, dev) being different.
BEGINNINGS = (
    "Al Bren Cor Dal Es Fen Gar Hal Ir Jor Kel Lor Mar Nor Or Pel Ros Sel Tam Ul".split(),
    "Ard Bel Cam Dor El Far Gil Hev Il Jas Kor Lun Mor Ner Os".split(),
)
GIVEN = "a in ia an ette o ius ena wyn is".split()
FAMILY = "berg ford stone well grave mont field wick ham ley".split()
TOWNS = "haven burg minster mouth bridge stead port dale".split()
RIVERS = "wen ava ith ess una".split()
THINGS = (
    "Lantern Falcon Comet Harvest Anchor Willow Meridian Thistle".split(),
    "Beacon Heron Aurora Orchard Compass Juniper".split(),
)


class Fact(NamedTuple):
    """A fact: how it is told and how it is asked. {s} is the subject, {x} the answer."""

    told: tuple[str, ...]
    asked: tuple[str, ...]


class Subject(NamedTuple):
    """A kind of subject: how it is introduced, what may be told of it, and of what else one may ask the same."""

    introduced: tuple[str, ...]
    facts: Mapping[str, Fact]


SUBJECTS: Mapping[str, Subject] = {
    "person": Subject(
        (
            "{s} was {job} who often worked with {other}.",
            "Few people in the region were as well known as {s}, {job} and a friend of {other}.",
            "The life of {s}, {job}, is told in the letters of {other}.",
        ),
        {
            "birth_town": Fact(
                ("{s} was born in {x}.", "{s} came into the world in {x}, the third of five children."),
                ("Where was {s} born?", "In which town was {s} born?", "What is the birthplace of {s}?"),
            ),
            "birth_year": Fact(
                ("The year of {s}'s birth is given as {x}.", "It was in {x} that {s} was born."),
                ("When was {s} born?", "In which year was {s} born?", "What is the year of {s}'s birth?"),
            ),
            "spouse": Fact(
                ("{s} later married {x}.", "A wedding with {x} followed, and {s} moved to the coast."),
                ("Who did {s} marry?", "Whom did {s} take in marriage?", "Who was married to {s}?"),
            ),
            "teacher": Fact(
                ("As a child {s} had lessons from {x}.", "{x} taught {s} for six winters."),
                ("Who taught {s}?", "From whom did {s} have lessons?", "Who was the teacher of {s}?"),
            ),
            "work": Fact(
                ("{s} is remembered for a book called {x}.", "The best known work of {s} is {x}."),
                ("What is the title of {s}'s book?", "For which work is {s} remembered?", "Which book did {s} write?"),
            ),
            "death_year": Fact(
                ("{s} died in {x} after a short illness.", "A fever ended the life of {s} in {x}."),
                ("When did {s} die?", "In which year did {s} die?", "What year was the death of {s}?"),
            ),
        },
    ),
    "bridge": Subject(
        (
            "{s} is a bridge of grey stone, not far from {other}.",
            "Travellers who leave the hills see {s}, a bridge, before they see {other}.",
            "{s} and {other} are the two old bridges of the county.",
        ),
        {
            "river": Fact(
                ("{s} crosses the river {x}.", "Below the arches of {s} flows the {x}."),
                ("Which river does {s} cross?", "Over which river does {s} lead?", "What flows below {s}?"),
            ),
            "architect": Fact(
                ("{s} was designed by {x}.", "The plans for {s} were drawn by {x}."),
                ("Who designed {s}?", "Who drew the plans for {s}?", "Who was the architect of {s}?"),
            ),
            "year": Fact(
                ("Carts have been able to use {s} since {x}.", "{s} was opened in {x}, in heavy rain."),
                ("When was {s} opened?", "In which year did {s} open?", "Since when has {s} been in use?"),
            ),
            "length": Fact(
                ("From bank to bank {s} measures {x}.", "{s} has a length of {x}."),
                ("How long is {s}?", "What is the length of {s}?", "What does {s} measure from bank to bank?"),
            ),
            "toll": Fact(
                ("To pass over {s} cost {x}.", "The keeper of {s} asked every rider for {x}."),
                (
                    "What did it cost to pass over {s}?",
                    "How much was the toll on {s}?",
                    "What had a rider to pay on {s}?",
                ),
            ),
            "repairer": Fact(
                ("After a flood {s} was repaired by {x}.", "{x} mended {s} when the ice had broken it."),
                ("Who repaired {s}?", "By whom was {s} mended?", "Who mended {s}?"),
            ),
        },
    ),
    "ship": Subject(
        (
            "{s} was a sailing ship of the same line as {other}.",
            "Of the ships of that time {s} was the fastest, ahead of {other}.",
            "The museum shows models of {s} and of {other}.",
        ),
        {
            "captain": Fact(
                ("{s} was commanded by {x}.", "On every voyage {x} was the captain of {s}."),
                ("Who commanded {s}?", "Who was the captain of {s}?", "Under whose command did {s} sail?"),
            ),
            "harbour": Fact(
                ("{s} set out from {x}.", "The home harbour of {s} was {x}."),
                ("From where did {s} set out?", "What was the home harbour of {s}?", "Which port did {s} belong to?"),
            ),
            "cargo": Fact(
                ("{s} carried {x}.", "The holds of {s} were full of {x}."),
                ("What did {s} carry?", "What was the cargo of {s}?", "With what were the holds of {s} filled?"),
            ),
            "month": Fact(
                ("{s} was lost in {x}, in a gale.", "In {x} a storm drove {s} onto the rocks."),
                ("When was {s} lost?", "In which month did {s} go down?", "When did {s} run onto the rocks?"),
            ),
            "crew": Fact(
                ("The crew of {s} numbered {x}.", "{x} served aboard {s}."),
                ("How many people served aboard {s}?", "How large was the crew of {s}?", "Of how many was {s}'s crew?"),
            ),
            "builder": Fact(
                ("{x} built {s} in a small yard.", "{s} had been built by {x}."),
                ("Who built {s}?", "By whom had {s} been built?", "Who was the builder of {s}?"),
            ),
        },
    ),
    "firm": Subject(
        (
            "{s} is a family firm, like its rival {other}.",
            "Two firms share the market, {s} and {other}.",
            "The story of {s} began when {other} had already closed a workshop.",
        ),
        {
            "founder": Fact(
                ("{s} was founded by {x}.", "It was {x} who started {s}, with borrowed money."),
                ("Who founded {s}?", "Who started {s}?", "Who is the founder of {s}?"),
            ),
            "seat": Fact(
                ("The seat of {s} is in {x}.", "{s} has its workshops in {x}."),
                ("Where is the seat of {s}?", "Where does {s} have its workshops?", "In which town is {s} based?"),
            ),
            "product": Fact(
                ("{s} makes {x}.", "Most of the income of {s} comes from {x}."),
                ("What does {s} make?", "What is the product of {s}?", "From what does {s} have its income?"),
            ),
            "staff": Fact(
                ("Today {s} employs {x}.", "{x} work for {s}."),
                ("How many people work for {s}?", "How many does {s} employ?", "How large is the staff of {s}?"),
            ),
            "year": Fact(
                ("The first order reached {s} in {x}.", "{s} opened its doors in {x}."),
                ("When did {s} open?", "In which year did {s} open its doors?", "When did the first order reach {s}?"),
            ),
            "head": Fact(
                ("Since last spring {x} has led {s}.", "{s} is now led by {x}."),
                ("Who leads {s}?", "Who is at the head of {s}?", "By whom is {s} led now?"),
            ),
        },
    ),
}
JOBS = "a painter,a physician,a clockmaker,a botanist,a composer,a surveyor,a printer,a glassblower".split(",")
WARES = "pewter spoons,sea salt,roof tiles,woollen blankets,dried figs,oak barrels,copper wire,lamp oil".split(",")
COINS = "two pennies,a copper coin,three shillings,half a crown".split(",")
PEOPLE = {"crew": "sailors", "staff": "people"}


class _Names:
    """Names of a split, each given once to a subject."""

    def __init__(self, split: str, rng: random.Random):
        self.place, self.rng, self.used = SPLITS.index(split), rng, set[str]()

    def person(self) -> str:
        return f"{self._begin()}{self.rng.choice(GIVEN)} {self._begin()}{self.rng.choice(FAMILY)}"

    def town(self) -> str:
        return self._begin() + self.rng.choice(("", "en", "er")) + self.rng.choice(TOWNS)

    def river(self) -> str:
        return self._begin() + self.rng.choice(RIVERS)

    def thing(self, article: str = "The") -> str:
        return f"{article} {self.rng.choice(THINGS[self.place])} of {self.town()}"

    def subject(self, kind: str) -> str:
        """A name that no other subject has."""
        while True:
            name = {
                "person": self.person,
                "bridge": lambda: f"{self.town()} Bridge",
                "ship": lambda: self.thing("the"),
                "firm": lambda: f"{self._begin()}{self.rng.choice(FAMILY)} & {self.rng.choice(('Sons', 'Daughters'))}",
            }[kind]()
            if name not in self.used:
                self.used.add(name)
                return name

    def _begin(self) -> str:
        return self.rng.choice(BEGINNINGS[self.place])

    def answer(self, fact: str) -> str:
        if fact in ("birth_town", "harbour", "seat"):
            return self.town()
        if fact in ("birth_year", "death_year", "year"):
            return str(self.rng.randint(1610, 1940))
        if fact in PEOPLE:
            return f"{self.rng.randint(12, 480)} {PEOPLE[fact]}"
        if fact == "month":
            return f"{self.rng.choice(MONTHS)} {self.rng.randint(1610, 1940)}"
        if fact == "length":
            return f"{self.rng.randint(30, 900)} {self.rng.choice(('metres', 'paces', 'feet'))}"
        lists = {"cargo": WARES, "product": WARES, "toll": COINS}
        if fact in lists:
            return self.rng.choice(lists[fact])
        return {"river": self.river, "work": self.thing}.get(fact, self.person)()


def generate(split: str, seed: int = 0) -> dict[str, Any]:
    """The content of the file of "train" or "dev". The same seed gives the same on any machine."""
    rng = random.Random(f"{split} {seed}")
    names = _Names(split, rng)
    kinds = list(SUBJECTS)
    articles = [_build_article(kinds[number % len(kinds)], names, rng) for number in range(PASSAGES[split])]
    rng.shuffle(articles)
    count = 0
    for article in articles:
        for question in article["paragraphs"][0]["qas"]:
            question["id"] = f"{split}-{count}"
            count += 1
    return {"version": "v2.0", "data": articles}


def _build_article(kind: str, names: _Names, rng: random.Random) -> dict[str, Any]:
    subject, name, other = SUBJECTS[kind], names.subject(kind), names.subject(kind)
    told = rng.sample(list(subject.facts), TOLD)
    sentences = [rng.choice(subject.introduced).format(s=name, other=other, job=rng.choice(JOBS))]
    answers: dict[str, tuple[int, str]] = {}  # sentence and text
    for fact in told:
        answers[fact] = len(sentences), names.answer(fact)
        sentences.append(rng.choice(subject.facts[fact].told).format(s=name, x=answers[fact][1]))
    sentences = [sentence[0].upper() + sentence[1:] for sentence in sentences]
    starts = [sum(len(sentence) + 1 for sentence in sentences[:place]) for place in range(len(sentences))]
    questions = list(_ask(subject, name, other, answers, sentences, starts, rng))
    rng.shuffle(questions)
    return {"title": name, "paragraphs": [{"context": " ".join(sentences), "qas": questions}]}


def _ask(subject: Subject, name: str, other: str, answers, sentences, starts, rng) -> Iterator[dict[str, Any]]:
    """The questions of a passage: each told fact once, then some that are not told."""
    for fact in rng.sample(list(answers), TOLD):
        place, text = answers[fact]
        found = sentences[place].lower().index(text.lower())  # its first letter may be the sentence's
        answer = {"text": sentences[place][found : found + len(text)], "answer_start": starts[place] + found}
        yield _describe(rng.choice(subject.facts[fact].asked).format(s=name), [answer])
    left_out = [fact for fact in subject.facts if fact not in answers]
    yield _describe(rng.choice(subject.facts[rng.choice(left_out)].asked).format(s=name), [])
    yield _describe(rng.choice(subject.facts[rng.choice(list(answers))].asked).format(s=other), [])


def _describe(question: str, answers: list[dict[str, Any]]) -> dict[str, Any]:
    return {"question": question, "id": "", "answers": answers, "is_impossible": not answers}


def write(folder: str | Path) -> None:
    """Writes train-v2.0.json and dev-v2.0.json into a folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        text = json.dumps(generate(split), ensure_ascii=False, indent=1) + "\n"
        (folder / f"{split}-v2.0.json").write_bytes(text.encode("utf-8"))


if __name__ == "__main__":
    write(sys.argv[1])
