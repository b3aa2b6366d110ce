"""The number of threads within a block, and a report of what was decided."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ContextDecorator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastnn import _core
from fastnn._types import check_at_least, check_number, shown

if TYPE_CHECKING:
    from typing_extensions import Self

# A thread or process that has this part of a core is busy.
_BUSY = 0.5
_PROC = Path("/proc")
# Seconds that a report may watch the machine.
_LONGEST = 3600
# Threads that a team may have.
MOST = 1024


class num_threads(ContextDecorator):  # noqa: N801  (as `no_grad`)
    """Let ops and steps use at most ``n`` threads within a block or a function, and restore the number afterwards.

    The number belongs to the process: two threads that set it at the same time see each other's. Results have the same
    bits for any number.

    Args:
        n: At least 1. No team is larger than the cores that the process may use.

    Raises:
        ValueError: ``n`` not in [1, 1024].
        TypeError: ``n`` is no int.

    Example:
        >>> import fastnn as fnn
        >>> with fnn.num_threads(1):
        ...     print(fnn.get_num_threads())
        1
    """

    def __init__(self, n: int) -> None:
        self.n = check_at_least("num_threads", "n", n, 1, MOST)
        self._before: list[int] = []

    def __enter__(self) -> Self:
        self._before.append(_core.get_requested_threads())
        _core.set_num_threads(self.n)
        return self

    def __exit__(self, *exc: object) -> None:
        _core.set_requested_threads(self._before.pop())


@dataclass(frozen=True)
class Neighbor:
    """A process, or a thread of this one, that was busy beside us."""

    pid: int
    name: str
    # Cores that it took.
    cores: float


@dataclass(frozen=True)
class ThreadReport:
    """Threads and cores: how many, who decided so, and who else uses them.

    Attributes:
        threads: Most members that a team may have; what :func:`get_num_threads` returns.
        decided_by: ``"set_num_threads"``, the name of an environment variable, or ``"cores"``.
        cores: Cores that the process may use, as affinity and quota leave them.
        affinity: Cores of its affinity; None where the system does not tell.
        machine: Cores of the machine.
        isa: Instruction set in use.
        teams: Regions of several members so far.
        alone_resting: Regions done by one thread because its workers were left alone: their cores were somebody else's.
        alone_unanswered: Regions done by one thread because no worker was awake in time.
        rests: Times that a worker was left alone for a while.
        resting: Workers that are left alone now.
        processes: Other busy processes.
        own_threads: Busy threads of this process that are not ours, such as another library's idle ones, which spin.
    """

    threads: int
    decided_by: str
    cores: int
    affinity: int | None
    machine: int
    isa: str
    teams: int
    alone_resting: int
    alone_unanswered: int
    rests: int
    resting: int
    processes: tuple[Neighbor, ...]
    own_threads: tuple[Neighbor, ...]

    def __str__(self) -> str:
        limits = [f"{self.machine} of the machine"]
        if self.affinity is not None:
            limits.append(f"{self.affinity} of the affinity")
        if self.cores < min(self.machine, self.affinity or self.machine):
            limits.append(f"{self.cores} of a quota")
        lines = [
            f"threads: at most {self.threads} (decided by {self.decided_by}), in teams of at most {self.team}",
            f"cores: {self.cores} ({', '.join(limits)}); instruction set: {self.isa}",
            f"regions by teams: {self.teams}",
            f"regions by one thread: {self.alone_resting} while workers rested, {self.alone_unanswered} asked in vain",
            f"workers left alone for a while: {self.rests} times, {self.resting} now",
        ]
        for title, neighbors in (("busy process", self.processes), ("busy thread of this process", self.own_threads)):
            lines += [f"{title}: {n.pid} {n.name}, {n.cores:.1f} cores" for n in neighbors]
        if self.team == 1:
            lines.append("One thread does all the work: only one core may be used, or one thread was asked for.")
        elif self.processes or self.own_threads:
            lines.append("Cores are shared with the above: work is done alone where that is faster.")
        return "\n".join(lines)

    @property
    def team(self) -> int:
        """Members of the largest team that is formed."""
        return min(self.threads, self.cores)


def thread_report(seconds: float = 0.2) -> ThreadReport:
    """Report how many threads work is shared by, why, and who else uses the cores; ``print`` it.

    Args:
        seconds: How long to watch the machine, at most an hour; 0 leaves out the neighbors, as does a system other
            than Linux.

    Raises:
        ValueError: ``seconds`` is out of range.
        TypeError: ``seconds`` is no number.
    """
    seconds = check_number("thread_report", "seconds", seconds)
    if not 0 <= seconds <= _LONGEST:
        raise ValueError(f"thread_report: expected seconds in [0, {_LONGEST}]; got {shown(seconds)}")
    counts = _core.team_counts() or dict.fromkeys(("teams", "alone_resting", "alone_unanswered", "rests", "resting"), 0)
    counts.pop("workers", None)
    processes, own = _neighbors(seconds)
    return ThreadReport(
        threads=_core.get_num_threads(),
        decided_by=_decided_by(),
        cores=_core.get_num_cores(),
        affinity=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        machine=os.cpu_count() or 1,
        isa=_core.isa(),
        processes=processes,
        own_threads=own,
        **counts,
    )


def _decided_by() -> str:
    if _core.get_requested_threads():
        return "set_num_threads"
    for name in ("FASTNN_NUM_THREADS", "OMP_NUM_THREADS"):
        said = os.environ.get(name, "").split(",")[0].strip().removeprefix("+")
        if said.isascii() and said.isdigit() and 1 <= int(said) <= MOST:
            return name
    return "cores"


def _neighbors(seconds: float) -> tuple[tuple[Neighbor, ...], tuple[Neighbor, ...]]:
    if seconds == 0 or sys.platform != "linux":
        return (), ()
    me, own = str(os.getpid()), _PROC / "self" / "task"
    before, before_own = _ticks(_PROC), _ticks(own)
    begun = time.perf_counter()
    time.sleep(seconds)
    ticks = (time.perf_counter() - begun) * os.sysconf("SC_CLK_TCK")

    def busy(old: dict[str, tuple[str, int]], new: dict[str, tuple[str, int]]) -> tuple[Neighbor, ...]:
        shares = [(pid, name, (now - old[pid][1]) / ticks) for pid, (name, now) in new.items() if pid in old]
        found = [Neighbor(int(pid), name, share) for pid, name, share in shares if share >= _BUSY]
        return tuple(sorted(found, key=lambda n: -n.cores))

    others = busy({k: v for k, v in before.items() if k != me}, _ticks(_PROC))
    threads = tuple(n for n in busy(before_own, _ticks(own)) if not n.name.startswith("fastnn-"))
    return others, threads


def _ticks(folder: Path) -> dict[str, tuple[str, int]]:
    """Name and clock ticks of each process or thread."""
    found = {}
    for entry in folder.iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                # It has ended.
                continue
            name, rest = text[text.index("(") + 1 :].rsplit(")", 1)
            fields = rest.split()
            found[entry.name] = (name, int(fields[11]) + int(fields[12]))
    return found
