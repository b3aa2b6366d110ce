"""More views than memory holds: refused before the first is made."""

import sys

import pytest

import fastnn as fnn

MANY = 2**46


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
@pytest.mark.parametrize(
    "views",
    [lambda x: x.unbind(0), lambda x: x.split(1), lambda x: x.chunk(MANY), lambda x: x.T.chunk(MANY)],
    ids=["unbind", "split", "chunk", "chunk of nothing"],
)
def test_more_views_than_memory_holds(views) -> None:
    with pytest.raises(MemoryError, match="can't allocate memory"):
        views(fnn.zeros(MANY, 0))
