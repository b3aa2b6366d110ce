"""Another name of :mod:`fastnn.data`, for scripts that say ``torch.utils.data``."""

from fastnn.data import *  # noqa: F403
from fastnn.data import __all__  # noqa: F401
