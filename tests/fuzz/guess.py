"""Arguments as Python expressions: plausible ones by the parameter's name, and wild ones."""

import inspect
import random
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

INTS = [
    *("0", "1", "2", "3", "-1", "-2", "7", "2**15", "2**31-1", "2**31", "2**32", "2**33+1", "2**40", "2**53+1"),
    *("2**62", "2**63-1", "2**63", "2**64", "2**80", "-2**31", "-2**63", "-2**63-1", "10**400", "True", "False"),
    *("np.int8(3)", "np.int64(-1)", "np.uint64(2**63)", "np.bool_(True)", "np.array(2)", "fnn.tensor(2)"),
]
FLOATS = [
    *("0.0", "-0.0", "0.5", "1.0", "1.5", "-0.5", "0.1", "1e-45", "1e-300", "1e300", "inf", "-inf", "nan", "2.0**40"),
    *("np.float32(0.5)", "np.float64(nan)", "np.float16(2)", "Fraction(1, 3)", "Decimal('0.5')", "fnn.tensor(0.5)"),
]
OTHERS = [
    *("None", "''", "'mean'", "'abc'", "'\\ud800'", "b'x'", "1j", "np.complex64(1j)", "np.datetime64('2020')"),
    *("[]", "()", "{}", "set()", "[1]", "(1, 2)", "[2**62] * 3", "[None]", "[[1], [2, 3]]", "[0.5, 'a']", "object()"),
    *("len", "lambda *a: None", "range(3)", "np.array([2, 3])", "float", "'float32'", "slice(None)", "...", "type"),
    *(
        "fnn.tensor([1.5, 2.5])",
        "iter([1, 2])",
        "{'a': 1}",
        "np.zeros((0, 3))",
        "[inf, nan]",
        "(1,) * 40",
        "Exception()",
    ),
    *(
        "np.array(['a'])",
        "np.zeros(2, 'i4,f8')",
        "np.array([None, 1])",
        "np.float32",
        "fnn.float64",
        "model()",
        "sgd()",
    ),
]
DTYPES = ["float32", "float64", "int64", "bool", "int32", "uint8", "float16", "complex64", "object"]
WRAPPERS = [
    *("strided", "backwards", "turned", "read_only", "mapped", "overlapping", "unaligned", "big_endian"),
]


# Parameters of which a great value only means much work: nothing ends them but patience.
LONG = {
    *("epochs", "iterations", "num_iter", "max_iter", "max_eval", "steps", "cg_iterations", "ns_steps", "samples", "k"),
    *("max_ls", "points", "n_chains", "rows", "cycles", "n"),
}


@cache
def _told(function: Any) -> tuple[str, tuple[inspect.Parameter, ...]]:
    return inspect.getdoc(function) or "", tuple(inspect.signature(function).parameters.values())


class Guess:
    """Draws expressions for one program: sizes are the same in all its arguments, so that they fit.

    Args:
        rng: What to draw from.
        by_name: What draws an expression for the parameters of a name, given the name of the function or class.
    """

    def __init__(self, rng: random.Random, by_name: Mapping[str, Callable[["Guess", str], str]]) -> None:
        self.rng, self.by_name = rng, by_name
        small = [1, 2, 3, 4, 5]
        self.n, self.c, self.k = rng.choice(small), rng.choice([1, 2, 3, 4, 6, 8]), rng.choice([1, 2, 3, 4, 16])
        self.sizes = [rng.choice([1, 2, 3, 4, 5, 7, 8, 12]) for _ in range(3)]
        self.dtype = rng.choices(["float32", "float64"], [3, 1])[0]
        self.shape = tuple(
            rng.choice([0, 1, 2, 3, 4, 5, 17] if rng.random() < 0.3 else small) for _ in range(rng.randrange(6))
        )
        self.wildness = rng.choices([0.0, 0.12, 0.5], [6, 3, 1])[0]

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def pick(self, *choices: str) -> str:
        return self.rng.choice(choices)

    # Tensors and arrays.

    def array(self, shape: Any, dtype: str | None = None) -> str:
        """Return an array of a shape: mostly plain, else in an unusual layout."""
        text = f"arr({tuple(shape) if not isinstance(shape, str) else shape}, {(dtype or self.dtype)!r})"
        return f"{self.pick(*WRAPPERS)}({text})" if self.chance(0.15) else text

    def tensor(self, shape: Any, dtype: str | None = None) -> str:
        """Return a tensor of a shape, or now and then an array."""
        array = self.array(shape, dtype)
        if (dtype or self.dtype)[:5] != "float":
            return self.pick(f"fnn.tensor({array})", f"fnn.as_tensor({array})", array)
        plain = f"fnn.tensor({array})"
        return self.pick(plain, plain, f"leaf({array})", f"leaf({array})", f"taped({array})", f"viewed({array})",
                         f"fnn.as_tensor({array})", array)  # fmt: skip

    def wild_tensor(self) -> str:
        shape = tuple(self.rng.choice([0, 1, 2, 3, 4, 5, 7, 17]) for _ in range(self.rng.randrange(6)))
        dtype = self.pick(*DTYPES)
        array = f"arr({shape}, {dtype!r})"
        for _ in range(self.rng.randrange(3)):
            array = f"{self.pick(*WRAPPERS)}({array})"
        if dtype in {"float32", "float64"}:
            return self.pick(array, f"fnn.tensor({array})", f"leaf({array})", f"fnn.as_tensor({array})", f"taped({array})",
                             f"fnn.full({shape}, {self.pick('nan', 'inf', '1e38', '1e-45')}, requires_grad=True)")  # fmt: skip
        return self.pick(array, f"fnn.tensor({array})", f"fnn.as_tensor({array})", f"{array}.tolist()")

    def wild(self) -> str:
        """Return anything."""
        kind = self.rng.random()
        if kind < 0.3:
            return self.pick(*INTS)
        if kind < 0.5:
            return self.pick(*FLOATS)
        if kind < 0.7:
            return self.pick(*OTHERS)
        if kind < 0.85:
            return self.wild_tensor()
        items = [self.pick(*self.rng.choice([INTS, FLOATS, OTHERS])) for _ in range(self.rng.randrange(1, 4))]
        return self.pick(f"[{', '.join(items)}]", f"({', '.join(items)},)")

    # Numbers.

    def whole(self, low: int = 1, high: int = 4) -> str:
        return str(self.rng.randint(low, high))

    def share(self) -> str:
        return self.pick("0.0", "0.1", "0.25", "0.5", "0.9", "1.0")

    def small(self) -> str:
        return self.pick("1e-8", "1e-5", "0.001", "0.1", "0.5", "1.0", "2", "0")

    def flag(self) -> str:
        return self.pick("True", "False")

    def per_dim(self, dims: int, low: int = 1, high: int = 3) -> str:
        """Return a number, or one for each dimension."""
        one = self.whole(low, high)
        return one if self.chance(0.6) else f"({', '.join(self.whole(low, high) for _ in range(dims))},)"

    # Arguments.

    def argument(self, owner: str, parameter: inspect.Parameter, doc: str = "") -> str:
        """Return an expression for a parameter of a function or class."""
        if not self.chance(self.wildness):
            return self.plausible(owner, parameter, doc)
        return self.pick("0", "-1", "1", "-2**63", *FLOATS[:4], *OTHERS) if parameter.name in LONG else self.wild()

    def plausible(self, owner: str, parameter: inspect.Parameter, doc: str) -> str:
        """Return an expression that the parameter may well be given."""
        name, default = parameter.name, parameter.default
        known = self.by_name.get(f"{owner}.{name}") or self.by_name.get(name)
        if known:
            return known(self, owner)
        annotation = str(parameter.annotation)
        words = re.findall(r"'(\w[\w -]*)'", annotation) if "Literal" in annotation else []
        if isinstance(default, str) and not words:
            words = [w for w in re.findall(r'``"([\w -]+)"``', doc) if w.isprintable()] or [default]
        if words:
            return repr(self.rng.choice(words))
        if isinstance(default, bool) or annotation == "bool":
            return self.flag()
        if isinstance(default, int) or annotation == "int":
            return self.whole(0, 4)
        if isinstance(default, float) or "float" in annotation:
            return self.pick(repr(default) if isinstance(default, float) else "0.5", self.share(), self.small())
        if isinstance(default, tuple) and all(isinstance(item, (int, float)) for item in default):
            return repr(default)
        if "Tensor" in annotation:
            return self.tensor(self.shape)
        if default is None:
            return "None"
        return self.pick(self.whole(), self.tensor(self.shape), self.share())

    def call(self, callee: str, function: Any, owner: str = "", given: dict[str, str] | None = None) -> str:
        """Return a call of a function with arguments for its parameters."""
        given = given or {}
        owner = owner or callee.rsplit(".", 1)[-1]
        doc, parameters = _told(function)
        words: list[str] = []
        by_name = False
        for parameter in parameters:
            if parameter.name in {"self", "cls", "$self"}:
                continue
            if parameter.kind is parameter.VAR_POSITIONAL:
                words += (
                    [self.argument(owner, parameter, doc) for _ in range(self.rng.randrange(1, 4))]
                    if not by_name
                    else []
                )
                by_name = True
                continue
            if parameter.kind is parameter.VAR_KEYWORD:
                continue
            optional = parameter.default is not parameter.empty
            if parameter.name not in given and optional and self.chance(0.6):
                by_name = True
                continue
            text = given.get(parameter.name) or self.argument(owner, parameter, doc)
            named = parameter.kind is parameter.KEYWORD_ONLY or by_name
            if parameter.kind is parameter.POSITIONAL_ONLY and by_name:
                break
            words.append(f"{parameter.name}={text}" if named else text)
        if self.chance(0.01 + self.wildness / 20):
            words.append("nonsense=1" if any("=" in word.split("(")[0] for word in words) else self.wild())
        return f"{callee}({', '.join(words)})"

    def dims(self, owner: str) -> int:
        """Return how many dimensions the images have that a function of this name takes."""
        found = re.search(r"([123])d", owner)
        return int(found[1]) if found else 2

    def image(self, owner: str, channels: int | None = None) -> tuple[int, ...]:
        """Return the shape of a batch of images or series."""
        lead = () if self.chance(0.2) else (self.n,)
        return (*lead, channels or self.c, *self.sizes[: self.dims(owner)])
