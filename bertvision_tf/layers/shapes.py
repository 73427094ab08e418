"""What a layer asks of the shapes and sizes it is given, and the words it refuses them with."""

from collections.abc import Sequence

from ..errors import HeadError

IMAGE_AXES = ("batch", "num_hidden_states", "tokens", "hidden_dim")

Shape = Sequence[int | None]


def check_image(shape: Shape, *, layer: str, known: tuple[str, ...] = ()) -> None:
    """Raises HeadError unless `shape` is an image's, with every axis named in `known` of a known size."""
    check_axes(shape, (4,))
    for axis in known:
        if shape[IMAGE_AXES.index(axis)] is None:
            example = "keras.Input((num_hidden_states, None, hidden_dim))"
            raise HeadError(
                f"{layer} makes weights along {axis}, unknown in `hidden_states` of shape {tuple(shape)}. "
                f"Say its size before the layer is built: `{example}`."
            )


def check_axes(shape: Shape, allowed: tuple[int, ...]) -> None:
    """Raises HeadError unless `shape` has an allowed number of axes: 4 (an image), 3 (one layer of it)."""
    if len(shape) in allowed:
        return
    axes = {4: f"({', '.join(IMAGE_AXES)})", 3: "(batch, tokens, hidden_dim)"}
    wanted = " or ".join(f"{count} axes {axes[count]}" for count in sorted(allowed, reverse=True))
    advice = ""
    if len(shape) == 3:
        advice = (
            " A single layer needs an axis: `hidden_states[:, None]`."
            " So does a single token: `hidden_states[:, :, None]`."
        )
    raise HeadError(f"`hidden_states` needs {wanted}, got shape {tuple(shape)}.{advice}")


def check_matches(shape: Shape, built: Shape) -> None:
    """Raises HeadError unless `shape` is an image of the sizes a head was built for; None stands for any."""
    check_axes(shape, (4,))
    for axis, came, wanted in zip(IMAGE_AXES, shape, built, strict=True):
        if isinstance(came, int) and wanted is not None and came != wanted:
            raise HeadError(
                f"This head was built for {axis} {wanted}, and `hidden_states` has {came}, in shape "
                f"{tuple(shape)}. Build a head for these states, or give it the states it was built for."
            )


def check_size(name: str, value: object) -> int:
    """Returns `value` if it is a whole number above 0, and raises HeadError naming it if not."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise HeadError(f"`{name}` needs a whole number above 0, got {value!r}.")
    return value


def check_rate(name: str, value: float) -> float:
    """Returns `value` if it is a share in [0, 1), and raises HeadError naming it if not."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise HeadError(f"`{name}` needs a share from 0 up to (and without) 1, got {value!r}.")
    return float(value)
