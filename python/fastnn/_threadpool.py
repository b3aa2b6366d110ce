"""A controller for threadpoolctl, so that what limits the threads of BLAS limits ours: joblib and scikit-learn do."""

from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

NAME = "threadpoolctl"


def register() -> None:
    """Make us known to threadpoolctl: now if it is imported already, else when it is. It takes 30 ms to import."""
    if NAME in sys.modules:
        _make_known(sys.modules[NAME])
    else:
        sys.meta_path.insert(0, _Watch())


class _Watch(MetaPathFinder):
    """Finds threadpoolctl as everybody would, and has it know us once it is loaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != NAME:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Then(spec.loader)
        return spec


class _Then(Loader):
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _make_known(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def _make_known(threadpoolctl: Any) -> None:
    base: Any = getattr(threadpoolctl, "LibController", None)
    # Before version 3.2 it knew a fixed list of libraries; and the module may be half imported by another thread.
    if base is None or not hasattr(threadpoolctl, "register"):
        return

    class FastnnController(base):  # type: ignore[misc]
        """The threads of this package, as threadpoolctl sees them."""

        user_api = "blas"
        internal_api = "fastnn"
        filename_prefixes = ("_core",)
        check_symbols = ("fastnn_get_num_threads", "fastnn_set_num_threads")

        def get_num_threads(self) -> int:
            return int(self.dynlib.fastnn_get_num_threads())

        def set_num_threads(self, num_threads: int) -> None:
            self.dynlib.fastnn_set_num_threads(num_threads)

        def get_version(self) -> str:
            from fastnn import __version__  # noqa: PLC0415  (half imported so far)

            return str(__version__)

        def set_additional_attributes(self) -> None:
            """Nothing more to tell."""

    threadpoolctl.register(FastnnController)
