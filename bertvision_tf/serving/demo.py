"""A local page that asks finished runs: text in, what each head says and why out."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import BertvisionError, RunError
from ..runs import FoundAnswer, Run, name_runs, share_encoders
from .export import describe_input

if TYPE_CHECKING:
    import gradio

LONGEST_TEXT, LONGEST_PASSAGE = 5_000, 50_000  # characters that the page takes
MARK = "answer"
CSS = """
.marked * {word-break: normal}
#picture * {overflow-x: auto; justify-content: safe center !important; align-items: safe center !important}
#picture img {width: auto; height: auto; max-width: max(100%, 60rem); max-height: none}
"""  # words stay whole, and the picture of a long text stays readable on a phone


def build_demo(runs: Sequence[Run]) -> gradio.Blocks:
    """The page of some runs.

    Args:
        runs: whose heads read the same: single texts, pairs, or questions with contexts; on any encoders.

    Raises:
        RunError: they read different things, or gradio is not installed.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio as gr
    except ImportError:
        raise RunError("the page needs gradio: pip install 'bertvision-tf[demo]'.") from None
    names = name_runs(runs)
    for name, run in zip(names, runs, strict=True):
        if describe_input(run) != describe_input(runs[0]):
            raise RunError(
                f"{names[0]} reads {describe_input(runs[0])}, {name} {describe_input(run)}: a page is for one of both."
            )
    known = dict(zip(names, runs, strict=True))
    share_encoders(runs)
    questions, pairs = runs[0].kind.answers, runs[0].config["text_pair"] is not None

    with gr.Blocks(title="bertvision_tf", analytics_enabled=False) as page:
        gr.Markdown(f"# {', '.join(names)}")
        first = gr.Textbox(label="Question" if questions else "Text", lines=2, elem_id="first")
        second = gr.Textbox(
            label="Passage" if questions else "Second text",
            lines=6 if questions else 2,
            visible=pairs,
            elem_id="second",
        )
        shown = gr.Dropdown(names, value=names[0], label="Picture of", visible=len(names) > 1)
        ask = gr.Button("Ask", variant="primary", elem_id="ask")
        answers: list[Any] = []
        for name in names:
            if questions:
                marked: dict[str, Any] = {
                    "color_map": {MARK: "#f2a33c"},
                    "combine_adjacent": True,
                    "elem_classes": "marked",
                }
                answers += [
                    gr.Textbox(label=name, elem_classes="said"),
                    gr.HighlightedText(label="Passage", **marked),
                ]
            else:
                answers.append(gr.Label(label=name, elem_classes="said"))
        gr.Markdown("Layers by tokens: lengths, cosines with the layer below, and what decides")
        picture = gr.Plot(show_label=False, elem_id="picture")

        def say(first: str, second: str, shown: str) -> list[Any]:
            texts = _check(first or "", second or "")
            try:
                said: list[Any] = []
                for run in known.values():
                    said += _answer(run, *texts) if questions else [_classify(run, *texts)]
                return [*said, known.get(shown, runs[0]).explain(*texts).plot()]
            except BertvisionError as error:
                raise refuse(hide_folders(str(error))) from None

        def _check(first: str, second: str) -> list[str]:
            for text, longest in ((first, LONGEST_TEXT), (second, LONGEST_PASSAGE if questions else LONGEST_TEXT)):
                if len(text) > longest:
                    raise refuse(f"The text has {len(text):,} characters; the page takes {longest:,}.")
            if not first.strip() or (pairs and not second.strip()):
                raise refuse("A text is missing.")
            return [first, second] if pairs else [first]

        def refuse(message: str) -> Exception:
            return gr.Error(message, print_exception=False)

        ask.click(say, [first, second, shown], [*answers, picture], api_name="ask")
    return page


def hide_folders(message: str) -> str:
    """A message without the folders of this machine: of a path its last name stays."""
    return re.sub(r"(?<![\w.:/\\])(?:[A-Za-z]:)?[/\\](?:[^\s/\\'\"`,;]+[/\\])+", "", message)


def launch_demo(
    runs: Sequence[Run],
    host: str = "127.0.0.1",
    port: int | None = None,
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serves the page of some runs until it is interrupted.

    Args:
        runs: as `build_demo`'s.
        host: the address that is listened on; that of this machine alone by default.
        port: 7860, or the next that is free, with None.
        ready: called with the page's address when it is there.

    Raises:
        RunError: the address is taken.
    """
    try:
        socket.getaddrinfo(host, port)  # gradio would ask again for each port
    except (OSError, UnicodeError) as error:
        raise RunError(f"the page cannot listen on {host}: {getattr(error, 'strerror', None) or error}.") from None
    page = build_demo(runs)
    import gradio as gr

    font = ["system-ui", "sans-serif"]  # gradio's own would come from elsewhere
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            theme=gr.themes.Default(font=font, font_mono=["monospace"]),
            css=CSS,
            footer_links=[],
            ssr_mode=False,
            max_file_size=1,  # of files, which the page does not take, but gradio does
        )
    except (OSError, ValueError, OverflowError) as error:
        raise RunError(
            f"the page cannot listen on {host}, port {port or 'from 7860 on'}: name another --host or --port."
        ) from error
    ready(address)
    page.block_thread()


def _classify(run: Run, text: str, text_pair: str | None = None) -> dict[str, float] | str:
    """Probabilities of one text by class, or its score."""
    found = run.predict([text], None if text_pair is None else [text_pair])
    if run.kind.numeric:
        return run.kind.tell_one(found.labels[0])
    return dict(zip(found.label_names, map(float, found.probabilities[0]), strict=True))


def _answer(run: Run, question: str, context: str) -> list[Any]:
    """What is answered, with its scores, and the passage in which it is marked."""
    found = run.answer(question, context)
    return [_describe(found), mark_answer(context, found)]


def _describe(found: FoundAnswer) -> str:
    score = "" if found.score is None else f", best span {found.score:.2f}"
    return f"{found.text or '(no answer)'}   [no answer {found.null_score:.2f}{score}]"


def mark_answer(context: str, found: FoundAnswer) -> list[tuple[str, str | None]]:
    """A context in parts, of which the answer has a mark."""
    if found.start is None or found.end is None:
        return [(context, None)]
    parts = [(context[: found.start], None), (context[found.start : found.end], MARK), (context[found.end :], None)]
    return [(text, mark) for text, mark in parts if text]
