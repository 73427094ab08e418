"""Options as keyword arguments of a function."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from .run import GROUP_OF, GROUPS

Function = TypeVar("Function", bound=Callable[..., Any])


def takes_options(*names: str) -> Callable[[Function], Function]:
    """Shows options, all with no names, as keyword arguments of a function that takes them as **options: in `help`, in
    editors, and where it is called with others."""
    fields = [field for kind in GROUPS.values() for field in dataclasses.fields(kind)]
    options = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
        for field in fields
        if field.name in (names or GROUP_OF)
    ]

    def show(function: Function) -> Function:
        own = inspect.signature(function)
        kept = [part for part in own.parameters.values() if part.kind is not inspect.Parameter.VAR_KEYWORD]
        signature = own.replace(parameters=[*kept, *options])

        @functools.wraps(function)
        def run(*arguments: Any, **given: Any) -> Any:
            signature.bind(*arguments, **given)  # or TypeError names what is unknown
            return function(*arguments, **given)

        run.__signature__ = signature  # type: ignore[attr-defined]
        return run  # type: ignore[return-value]

    return show
