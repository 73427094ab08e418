"""Makes the package's docstrings read as Markdown; mkdocstrings runs it when it builds the site.

Formulas and tables become code, sections that Google's style does not have become paragraphs with a bold name, and
"Example" becomes "Examples", which is highlighted.
"""

import re
from collections.abc import Iterator
from typing import Any

import griffe

OWN_SECTION = re.compile(r"(?P<name>Call arguments|Output|Source):(?P<rest>.*)")
SECTION = re.compile(r"(Args|Attributes|Call arguments|Output|Returns|Yields|Raises|Examples?|Source):")
FORMULA = re.compile(r"[\w]+(\[.*?\])? = \S|\S+ -> \[|\S+ {2,}\S")
FENCE = "```"


class ReadableDocstrings(griffe.Extension):
    """Rewrites every docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = rewrite(obj.docstring.value)


def rewrite(text: str) -> str:
    """A docstring, without its indentation, as Markdown with Google's sections."""
    lines = text.split("\n")
    first = next((place for place, line in enumerate(lines) if SECTION.match(line)), len(lines))
    written = list(_fence_code(lines[:first])) + list(_write_sections(lines[first:]))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(written))


def _fence_code(lines: list[str]) -> Iterator[str]:
    """A description with its formulas, and with what is indented, as code."""
    block: list[str] = []
    within = False  # whether a line goes on with a formula's paragraph
    for line in [*lines, None]:
        starts = line is not None and bool(FORMULA.match(line)) and (within or not block)
        if line is not None and line.strip() and (within or line.startswith("    ") or starts):
            within = within or starts
            block.append(line)
            continue
        within = False
        if block:
            indent = min(len(one) - len(one.lstrip()) for one in block)
            yield from ("", f"{FENCE}text", *(one[indent:] for one in block), FENCE, "")
            block = []
        if line is not None:
            yield line


def _write_sections(lines: list[str]) -> Iterator[str]:
    own = False  # whether a line is in a section that Google's style does not have
    for line in lines:
        found = OWN_SECTION.match(line)
        if found:
            own = True
            yield from ("", f"**{found['name']}:**{found['rest']}", *([""] * (not found["rest"].strip())))
        elif SECTION.match(line):
            own = False
            yield from ("", re.sub("^Example:", "Examples:", line))
        elif own and (argument := re.match(r" {4}(\w[\w, ]*): (.*)", line)):
            yield f"- `{argument[1]}`: {argument[2]}"
        elif own and line.strip():
            yield f"  {line.strip()}"
        else:
            yield line
