"""Public names of packages: those that an ``__init__`` imports, so that no second list repeats them."""

from __future__ import annotations

from types import ModuleType
from typing import Any


def exported(namespace: dict[str, Any], *more: str) -> list[str]:
    """Return the public names of a package, for its ``__all__``.

    Args:
        namespace: ``globals()`` at the end of the package's ``__init__``, which imports nothing of fastnn but public
            names, each ``as`` itself: so type checkers see them, too.
        more: Public submodules, and names that are imported when first used.

    Returns:
        The names, sorted.
    """

    def is_public(name: str, value: object) -> bool:
        # Flags such as TYPE_CHECKING, submodules, and helpers from elsewhere.
        if name.startswith("_") or isinstance(value, (ModuleType, bool)):
            return False
        return str(getattr(value, "__module__", "fastnn")).startswith("fastnn")

    return sorted({*more, *(name for name, value in namespace.items() if is_public(name, value))})
