"""Rooms of the package import those below them, and no others."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "bertvision_tf"
ROOMS = [  # from the top down
    *(
        "__main__",
        "cli",
        "sklearn",
        "experiments",
        "reports",
        "tuning",
        "serving",
        "runs",
        "training",
        "heads",
        "extraction",
    ),
    *("images", "layers", "store", "encoders", "tasks", "kinds", "metrics", "spans", "settings", "checksums", "notes"),
    *("progress", "random_states", "keras_settings", "forks", "packed", "paths", "hdf5", "errors"),
]
TIES = {  # upwards, for a method of a room below: when it is called, or for a picture
    ("store", "images"),  # Store.as_dataset
    ("runs", "reports"),  # Explanation.plot
    ("serving", "reports"),  # scores in a model card are written as in tables
}


def list_imports(file: Path, deep: bool = True) -> list[tuple[str, ...]]:
    """What a file imports from the package, as parts of names below it, what type checkers alone read left out.

    Args:
        file: a module.
        deep: also what is imported when a function is called.
    """
    package = file.relative_to(PACKAGE).parent.parts
    found: list[tuple[str, ...]] = []
    nodes = list(ast.parse(file.read_text(encoding="utf-8")).body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if deep or not isinstance(node, ast.FunctionDef):
            nodes += list(ast.iter_child_nodes(node))
        if isinstance(node, ast.ImportFrom) and node.level:
            above = package[: len(package) - node.level + 1]
            base = (*above, *node.module.split(".")) if node.module else above
            found += [(*base, name.name) for name in node.names]
    return found


FILES = [file for file in sorted(PACKAGE.rglob("*.py")) if file.parent != PACKAGE or file.stem != "__init__"]


def test_every_room_has_its_place():
    rooms = {file.relative_to(PACKAGE).with_suffix("").parts[0] for file in FILES}
    assert rooms == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_down(room):
    for file in FILES:
        own = file.relative_to(PACKAGE).with_suffix("").parts
        if own[0] == room:
            for other in {imported[0] for imported in list_imports(file)} & set(ROOMS) - {room}:
                assert ROOMS.index(room) < ROOMS.index(other) or (room, other) in TIES, (file, other)


def test_no_circle_of_modules():
    """Of what is imported when a module is."""
    names = {name_module(file): file for file in PACKAGE.rglob("*.py")}
    links = {}
    for name, file in names.items():
        parts = list_imports(file, deep=False)
        found = {one if one in names else one[:-1] for one in parts}
        links[name] = found & set(names) - {name, name[:-1]}  # a module may take from its own room's front
    walked: set[tuple[str, ...]] = set()

    def walk(name: tuple[str, ...], path: tuple[tuple[str, ...], ...]) -> None:
        assert name not in path, " -> ".join(".".join(one) for one in (*path, name))
        if name not in walked:
            for other in links[name]:
                walk(other, (*path, name))
            walked.add(name)

    for name in sorted(links):
        walk(name, ())


def name_module(file: Path) -> tuple[str, ...]:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts
