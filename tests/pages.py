"""Commands and Python as they stand in the pages: README.md, CONTRIBUTING.md and docs/."""

import dataclasses
import functools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(str(file.relative_to(ROOT)) for file in ROOT.glob("docs/**/*.md"))]
SHELL = ("sh", "bash", "console")
FENCE = re.compile(r"\s*```(?P<language>\w*)\s*(?P<rest>.*)")
TITLE = re.compile(r'title="(?P<file>[^"]+)"')
SPAN = re.compile(r"(?<!`)`(?P<text>[^`]+)`(?!`)")
VARIABLE = re.compile(r"[A-Za-z_]\w*=.*")
PROGRAMS = ("bertvision", "python", "make", "pip")


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block: its first line's number, the language of its fence, and the file that its title names."""

    page: str
    line: int
    language: str
    file: str
    text: str


@dataclasses.dataclass(frozen=True)
class Command:
    """One command: its words as a shell reads them, and the variables before them."""

    page: str
    line: int
    words: tuple[str, ...]
    variables: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((*self.variables, *self.words))

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}: {self}"


@functools.cache
def read_blocks(page: str) -> list[Block]:
    """The fenced blocks of a page of the project."""
    return list(find_blocks(page, (ROOT / page).read_text(encoding="utf-8")))


def find_blocks(page: str, text: str) -> Iterator[Block]:
    """The fenced blocks of a text."""
    opened, lines = None, []
    for number, line in enumerate(text.splitlines(), start=1):
        fence = FENCE.fullmatch(line)
        if opened is None:
            opened, lines = fence and (number + 1, fence), []
        elif fence and not fence["language"]:
            start, first = opened
            title = TITLE.search(first["rest"])
            yield Block(page, start, first["language"], title["file"] if title else "", "\n".join(lines) + "\n")
            opened = None
        else:
            lines.append(line)
    assert opened is None, f"{page}:{opened and opened[0] - 1}: a fence that is not closed"


def read_commands(block: Block) -> Iterator[Command]:
    """The commands of a block of a shell: lines that end in a backslash go on, # begins a comment."""
    start, rest = block.line, ""
    for number, line in enumerate(block.text.splitlines(), start=block.line):
        start, rest = (start, rest + line) if rest else (number, line)
        if rest.endswith("\\"):
            rest = rest[:-1] + " "
        else:
            yield from split_commands(block.page, start, rest)
            rest = ""
    assert not rest, f"{block.page}:{start}: a backslash after which nothing comes"


def split_commands(page: str, line: int, text: str) -> Iterator[Command]:
    """The commands of a line, with && or & between."""
    reader = shlex.shlex(text, posix=True, punctuation_chars=True)
    reader.whitespace_split, words = True, []
    for word in (*reader, "&&"):
        if word not in ("&&", "&"):
            words.append(word)
        elif words:
            first = next((place for place, one in enumerate(words) if not VARIABLE.fullmatch(one)), len(words))
            yield Command(page, line, tuple(words[first:]), tuple(words[:first]))
            words = []


@functools.cache
def read_spans(page: str) -> list[Command]:
    """The commands within the sentences of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for block in read_blocks(page):  # lines keep their numbers
        text = text.replace(block.text, "\n" * block.text.count("\n"), 1)
    found = []
    for span in SPAN.finditer(text):
        line = text.count("\n", 0, span.start()) + 1
        if span["text"].split()[0] in PROGRAMS:
            found += split_commands(page, line, " ".join(span["text"].split()))
    return found


def list_commands() -> list[Command]:
    """The commands of all pages' blocks."""
    shells = [block for page in PAGES for block in read_blocks(page) if block.language in SHELL]
    return [command for block in shells for command in read_commands(block)]
