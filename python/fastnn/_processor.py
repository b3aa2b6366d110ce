"""The warning about a processor on which everything takes several times as long."""

import warnings

from fastnn._core import lacking_instructions

__all__ = ["lacking_instructions", "warn_if_slow"]


def warn_if_slow(lacking: list[str]) -> None:
    """Warn if instructions are lacking.

    Args:
        lacking: Their names, as in ``/proc/cpuinfo``. Empty on ARM, and on x86 processors since 2013 (Intel) or 2015
            (AMD), other than some Atoms, Celerons and Pentiums.
    """
    if lacking:
        names = ", ".join(lacking)
        # The line that imports fastnn, past the two modules and the import system.
        warnings.warn(
            f"fastnn: this processor, or virtual machine, has no {names}: training takes 3 to 30 times as long as "
            "with it. Results are the same bits",
            RuntimeWarning,
            stacklevel=2,
        )
