"""For all tests."""

import signal

from fastnn import _core

# A shell has its background jobs ignore Ctrl-C, and so would the processes that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Where results must not depend on the number of threads, there have to be as many, however few cores are free.
_core.set_whole_teams(True)
