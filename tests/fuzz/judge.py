"""Judgment of the outcome of a call: a result, or an error that was meant."""

import dis
import linecache
import re
import traceback
from types import FrameType, TracebackType
from typing import NamedTuple

# The file name of a program's lines.
PROGRAM = "<call>"

# Of these none is ever meant.
NEVER = (AttributeError, AssertionError, UnboundLocalError, NameError, RecursionError, SystemError, BufferError,
         UnicodeError, OverflowError, EOFError, KeyError, StopIteration, FloatingPointError)  # fmt: skip

# States in which PyTorch raises RuntimeError, too.
STATES = re.compile(
    r"requires? grad|in.?place|leaf|second time|not have been used|converted to Scalar|is ambiguous|implicitly created"
    r"|deepcopy protocol|number of gradients|retain_graph|one thread at a time|expected grads|floating-point tensor"
    r"|can't allocate memory|places of their own|invalid gradient"
)

# Python's words about its own operations: inside the package they should not have been reached.
INTERPRETER = re.compile(
    r"unsupported operand|not supported between|has no len|object is not (iterable|subscriptable|callable|reversible|an iterator)"
    r"|interpreted as an integer|must be real number|can't multiply sequence|argument must be|positional argument"
    r"|required (positional|keyword)|unexpected keyword|cannot unpack|values to unpack|zip\(\) argument|unhashable"
    r"|indices must be integers or|could not convert string|invalid literal|cannot convert float|math domain|too large|is an empty sequence"
    r"|bad operand type|item assignment|item deletion|does not support"
    r"|can only concatenate|not a mapping|after \* must be|after \*\* must be|keywords must be strings|can't convert|isinstance\(\) arg"
    r"|issubclass\(\) arg|first argument must be|only length-1|only 0-dimensional|scalar arrays|takes no arguments|must be str"
    r"|sequence item|Exceeds the limit|dictionary update sequence|division by zero|modulo|index out of range"
    r"|concatenate|an integer is required|object cannot be (converted|cast)|Can't extract"
)
# Errors of the program's own functions, and of arrays and tensors where a flag is expected, in which PyTorch says the same.
THEIRS = re.compile(r"<lambda>\(\)|\.forward\(\)|truth value of an array|Boolean value of Tensor")
# Error of Python's `int` for a tensor that holds an infinity, and for PyTorch's tensors, too.
NO_INT = "cannot convert float infinity to integer"
# Errors of the bindings' own extraction for arguments that only the package passes on.
LEAK = re.compile(r"Already (mutably )?borrowed|dictionary changed size|generator raised|'NoneType'|has no attribute")


class Verdict(NamedTuple):
    """Outcome of a call; ``wrong`` says why that is not right."""

    outcome: str
    wrong: str = ""
    place: str = ""


def _frames(trace: TracebackType | None) -> list[tuple[FrameType, int, int]]:
    found = []
    while trace is not None:
        found.append((trace.tb_frame, trace.tb_lasti, trace.tb_lineno))
        trace = trace.tb_next
    return found


def _raised_there(frame: FrameType, last: int) -> bool:
    """Say whether the instruction is a ``raise``."""
    return dis.opname[frame.f_code.co_code[last]] in {"RAISE_VARARGS", "RERAISE"}


def _converts(frame: FrameType, line: int) -> bool:
    """Say whether the line makes an array of what was given: NumPy then says what is wrong with it."""
    return bool(re.search(r"np\.(as)?array\(", linecache.getline(frame.f_code.co_filename, line)))


def _calls_theirs(frame: FrameType, line: int) -> bool:
    """Say whether the line calls a local variable that holds a function of others, such as one that the program gave."""
    text = linecache.getline(frame.f_code.co_filename, line)
    called = [frame.f_locals.get(name) for name in re.findall(r"(?<![\w.])(\w+)\(", text)]
    return any(callable(one) and not str(getattr(one, "__module__", "")).startswith("fastnn") for one in called)


def judge(error: BaseException) -> Verdict:
    """Judge an exception that a call let out."""
    kind, text = type(error).__name__, _text(error)
    frames = _frames(error.__traceback__)
    ours = [f for f in frames if "/fastnn/" in f[0].f_code.co_filename]
    place = ""
    if ours:
        frame, _, line = ours[-1]
        place = f"{frame.f_code.co_filename.split('/fastnn/')[-1]}:{line} {frame.f_code.co_name}"
    inside = bool(ours) and ours[-1][0] is frames[-1][0]
    meant = inside and (
        _raised_there(ours[-1][0], ours[-1][1])
        or _converts(ours[-1][0], ours[-1][2])
        or _calls_theirs(ours[-1][0], ours[-1][2])
    )
    # A decorator only passes on what the program gave.
    binding = re.search(r"positional argument|unexpected keyword|multiple values", text)
    meant = meant or bool(inside and binding and ours[-1][0].f_code.co_name == "wrapper")
    wrong = _wrong(error, text, inside=inside, meant=meant, entered=bool(ours))
    return Verdict(f"{kind}", f"{kind}: {wrong}" if wrong else "", place)


def _wrong(error: BaseException, text: str, *, inside: bool, meant: bool, entered: bool) -> str:
    if not isinstance(error, Exception):
        return "no ordinary exception"
    if isinstance(error, MemoryError):
        return ""
    # An operator of the program itself, which both operands refuse.
    refused = not entered and re.match(r"unsupported operand type|'\S+' not supported between", text)
    if LEAK.search(text) and not meant and not refused:
        return "speaks of internals"
    if isinstance(error, NEVER) and not (meant and isinstance(error, (AttributeError, KeyError))):
        # Python itself answers for what the program's own lines do, such as 1 // 0 or len(2 ** 80).
        own = not entered and (isinstance(error, (AttributeError, UnicodeError, KeyError)) or text == NO_INT)
        return "" if own and "fastnn" not in text else "never meant"
    if isinstance(error, ZeroDivisionError):
        return "by accident" if entered and not meant else ""
    if isinstance(error, NotImplementedError):
        return "" if meant else "not documented"
    if isinstance(error, RuntimeError):
        accident = inside and not meant and INTERPRETER.search(text)
        return "" if meant or (STATES.search(text) and not accident) else "no state error"
    if isinstance(error, (ValueError, TypeError, IndexError, ImportError)) and not THEIRS.search(text):
        return "by accident" if inside and not meant and INTERPRETER.search(text) else ""
    ordinary = (OSError, ValueError, TypeError, IndexError, ImportError, AttributeError, KeyError)
    return "" if isinstance(error, ordinary) else "another kind"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as second:  # noqa: BLE001
        return f"<{type(second).__name__}>"


def explain(error: BaseException) -> str:
    """Return the last lines of the traceback."""
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    return "".join(lines[-3:])
