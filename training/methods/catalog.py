"""The methods: each is a module of this package with a constant METHOD."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from curation.cli.sources import merge


class Method(NamedTuple):
    """A published method as values of configuration keys.

    Attributes:
        summary: one line for the help.
        published: the values that its authors give.
        tiny: values in their place for `preset: tiny`, such as sizes for a CPU.
    """

    summary: str
    published: Mapping[str, Any]
    tiny: Mapping[str, Any]

    def settings_for(self, preset: str) -> dict[str, Any]:
        """Return the values for a model size."""
        return merge(None, self.published, self.tiny if preset == "tiny" else {})


@cache
def methods() -> dict[str, Method]:
    """Return the methods by name."""
    modules = (info.name for info in pkgutil.iter_modules([str(Path(__file__).parent)]))
    imported = {name: importlib.import_module(f"{__package__}.{name}") for name in modules}
    return {name: module.METHOD for name, module in imported.items() if hasattr(module, "METHOD")}


def find_method(name: str) -> Method:
    """Return a method. Raises ValueError if there is none of this name."""
    if name not in methods():
        raise ValueError(f"method: there is no {name!r}: choose among {', '.join(methods())}")
    return methods()[name]
