"""Programs: a call as lines of Python, drawn from a seed."""

import inspect
import random
import re
from collections.abc import Callable
from typing import Any

from fastnn import nn
from tests.fuzz import surface
from tests.fuzz.guess import INTS, WRAPPERS, Guess
from tests.fuzz.names import BY_NAME

Lines = list[str]

OPERATORS = [
    *("{a} + {b}", "{a} - {b}", "{a} * {b}", "{a} / {b}", "{a} // {b}", "{a} % {b}", "{a} ** {b}", "{a} @ {b}"),
    *("{a} < {b}", "{a} <= {b}", "{a} == {b}", "{a} != {b}", "{a} > {b}", "{a} & {b}", "{a} | {b}", "{a} ^ {b}"),
    *("-{a}", "~{a}", "abs({a})", "{b} in {a}", "float({a})", "int({a})", "bool({a})", "len({a})", "list({a})"),
    *(
        "format({a}, '.2f')",
        "np.asarray({a})",
        "np.array({a}, dtype={b})",
        "hash({a})",
        "range(3)[{a}]",
        "divmod({a}, {b})",
    ),
]
IN_PLACE = ["+=", "-=", "*=", "/="]


def function(g: Guess) -> Lines:
    path, f = g.rng.choice(surface.functions())
    if path in surface.SLOW and g.chance(0.9):
        path, f = g.rng.choice(surface.functions())
    inputs = inspect.signature(f).parameters
    call = g.call(path, f)
    if "self" in inputs:
        given = g.argument(path.rsplit(".", 1)[-1], inspect.Parameter("input", inspect.Parameter.POSITIONAL_ONLY))
        name, rest = call.split("(", 1)
        call = f"{name}({given}{', ' if rest != ')' else ''}{rest}"
    return [f"y = {call}", "use(y)"]


def method(g: Guess) -> Lines:
    name, f = g.rng.choice(surface.methods())
    return [f"x = {g.plausible(name, inspect.Parameter('input', inspect.Parameter.POSITIONAL_ONLY), '')}",
            "x = x if isinstance(x, fnn.Tensor) else fnn.tensor(x)",
            f"y = {g.call(f'x.{name}', f)}", "use(y)", "use(x)"]  # fmt: skip


def operator(g: Guess) -> Lines:
    a = g.tensor(g.shape) if not g.chance(g.wildness) else g.wild_tensor()
    b = g.wild() if g.chance(g.wildness) else g.pick(g.tensor(g.shape), "2", "0.5", "-1", g.tensor(g.shape[-1:]))
    if g.chance(0.2):
        return [f"a = fnn.as_tensor({a})", f"a {g.pick(*IN_PLACE)} {b}", "use(a)"]
    form = g.pick(*OPERATORS)
    return [f"a = fnn.as_tensor({a})", f"b = {b}", f"y = {form.format(a='a', b='b')}", "use(y)"]


def _index(g: Guess) -> str:
    if g.chance(g.wildness):
        return g.wild()
    small = str(g.rng.randint(-2, 2))
    return g.pick(small, small, ":", "...", "None", "::2", "1:", f"[0, {small}]", "[True, False]", f"fnn.tensor([{small}])",
                  f"{g.pick(*INTS)}:{g.pick(*INTS)}", "np.array([0, 0])")  # fmt: skip


def index(g: Guess) -> Lines:
    where = ", ".join(_index(g) for _ in range(g.rng.choice([1, 1, 2, 3])))
    x = g.tensor(g.shape or (3,))
    get = f"y = x[{where}]"
    put = f"x[{where}] = {g.wild() if g.chance(g.wildness) else g.small()}"
    scope = g.pick("", "with fnn.no_grad(): ")
    return [f"x = fnn.as_tensor({x})", g.pick(get, scope + put), "use(x)"]


def attribute(g: Guess) -> Lines:
    name = g.pick("grad", "data", "requires_grad", "data", "T", "mT", "shape", "dtype")
    value = g.wild() if g.chance(0.3) else g.pick("None", "True", "False", g.tensor(g.shape), g.tensor(g.shape))
    # Only what can be assigned is: of others Python itself says so.
    change = f"x.{name} = {value}" if name in {"grad", "data", "requires_grad"} else f"y = x.{name}"
    return [f"x = fnn.as_tensor({g.tensor(g.shape)})", change, "use(x)", "x.grad"]


def _layer_input(g: Guess, name: str, layer: Any) -> str:
    words = set(inspect.signature(layer).parameters)
    shape: tuple[int, ...]
    if re.search(r"onv|Pool|Pad|Norm[123]d|Dropout[123]d|Upsampl|Shuffle|LocalResp|GroupNorm", name):
        count = g.c * (4 if "Shuffle" in name else 1)
        shape = g.image("3d" if "3d" in name else name, count)
        if "Unshuffle" in name:
            shape = (g.n, g.c, 4, 2)
        if name.endswith("BatchNorm1d"):
            shape = (g.pick("a", "b") == "a" and (g.n + 1, g.c)) or (g.n + 1, g.c, 3)
        if "BatchNorm" in name or "Upsampl" in name:
            shape = (g.n + 1, *shape[-(g.dims(name) + 1) :]) if len(shape) > 2 or "1d" not in name else shape
    elif words & {"in_features", "features", "in1_features", "n_features", "normalized_shape", "num_parameters"}:
        shape = (g.n, g.c)
    elif name.endswith(("GLU", "Flatten", "Unflatten", "Softmax")):
        shape = (g.n, 2 * g.c)
    else:
        shape = g.shape
    return g.tensor(shape)


def layer(g: Guess) -> Lines:
    name, found = g.rng.choice(surface.layers())
    make = f"m = {g.call(name, found)}"
    lines = [make]
    if name.startswith("penalties."):
        return [*lines, "use(m(model()))" if g.chance(0.5) else f"use(m({g.wild()}))"]
    first = g.wild() if g.chance(g.wildness) else _layer_input(g, name, found)
    if name.endswith("Loss"):
        owner = {"CrossEntropyLoss": "cross_entropy", "NLLLoss": "nll_loss", "BCELoss": "binary_cross_entropy",
                 "BCEWithLogitsLoss": "binary_cross_entropy_with_logits"}.get(name[3:], "mse_loss")  # fmt: skip
        at = inspect.Parameter("input", inspect.Parameter.POSITIONAL_ONLY)
        first = g.argument(owner, at)
        first += ", " + g.argument(owner, at.replace(name="target"))
    elif "Bilinear" in name and "ampl" not in name:
        first += ", " + g.tensor((g.n, g.c))
    more = g.pick(
        "", "m.eval()", "m.double()", "m.requires_grad_(False)", "m.load_state_dict(m.state_dict())", "repr(m)"
    )
    return [*lines, *([more] if more else []), f"y = m({first})", "use(y)"]


def module_method(g: Guess) -> Lines:
    names = [n for n in dir(nn.Module) if not n.startswith("_") and n not in {"forward", "dump_patches"}]
    name = g.pick(*names)
    f = getattr(nn.Module, name)
    if not callable(f):
        return [f"y = model().{name}"]
    given = {"module": "nn.ReLU()", "fn": "lambda *a: None", "hook": "lambda *a: None", "name": "'a'", "tensor": "fnn.ones(2)",
             "param": "nn.Parameter(fnn.ones(2))", "state_dict": "m.state_dict()", "target": "'0'", "memo": "None"}  # fmt: skip
    given = {key: value for key, value in given.items() if not g.chance(g.wildness)}
    return ["m = model()", f"y = {g.call(f'm.{name}', f, given=given)}", f"use(m({g.tensor((4, 3), 'float32')}))"]


DAMAGE = [
    "s['state'] = {}", "s['state'][0] = {}", "s['param_groups'] = []", "s['param_groups'][0]['lr'] = W",
    "s['state'][0]['step'] = W", "s['state'].clear()", "del s['state']", "s['param_groups'][0]['params'] = W", "s = W",
    "s['state'] = W", "s['param_groups'] = W", "s['param_groups'][0] = W", "del s['param_groups'][0]['lr']",
    "s['state'][next(iter(s['state']), 0)] = W", "[v.update({next(iter(v)): W}) for v in s['state'].values() if v]",
]  # fmt: skip


def optimizer(g: Guess) -> Lines:
    name, found = g.rng.choice(surface.optimizers())
    given = {} if g.chance(g.wildness) else {"params": "p"}
    lines = ["p = parameters()", f"o = {g.call(f'optim.{name}', found, given=given)}"]
    closure = "lambda: (o.zero_grad(), t := sum((q * q).sum() for q in p), t.backward(), t)[-1]"
    step = f"o.step({closure})".replace("t := ", "")
    step = "o.step(loss)" if name in {"LBFGS", "SAM", "Newton"} else "o.step()"
    define = ["def loss():", "    o.zero_grad()", "    t = sum((q * q).sum() for q in p)",
              "    t.backward() if t.requires_grad else None", "    return t"]  # fmt: skip
    lines += [*define, step]
    if g.chance(0.3):
        lines.append(g.pick("o.zero_grad()", f"o.zero_grad({g.flag()})", "repr(o)", f"o.add_param_group({{'params': {g.wild()}}})",
                            f"o.param_groups[0]['lr'] = {g.wild()}", f"p[0].data = {g.wild()}", f"p[0].grad = {g.pick('None', g.wild())}",
                            f"o.step({g.wild()})"))  # fmt: skip
        lines.append(step)
    if g.chance(0.5):
        lines.append("s = o.state_dict()")
        if g.chance(0.6):
            lines.append(g.pick(*DAMAGE).replace("W", g.wild()))
        lines += ["o.load_state_dict(s)", step]
    return lines


def schedule(g: Guess) -> Lines:
    name, found = g.rng.choice(surface.schedules())
    given = {} if g.chance(g.wildness) else {"optimizer": "o"}
    step = (
        g.pick("s.step()", "s.step()", f"s.step({g.pick(g.wild(), '3')})")
        if name != "ReduceLROnPlateau"
        else f"s.step({g.pick('1.0', g.wild())})"
    )
    lines = [f"o = {g.pick('sgd()', 'optim.Adam(parameters())')}", f"s = {g.call(f'lr_scheduler.{name}', found, given=given)}",
             "o.step()", step, step, "s.get_last_lr()"]  # fmt: skip
    if g.chance(0.3):
        lines += ["d = s.state_dict()"]
        if g.chance(0.5):
            lines += [f"d[next(iter(d))] = {g.wild()}" if g.chance(0.7) else f"d = {g.wild()}"]
        lines += ["s.load_state_dict(d)", step]
    return lines


def transform(g: Guess) -> Lines:
    name, found = g.rng.choice(surface.transforms())
    image = (g.n, g.rng.choice([1, 3, 3]), g.sizes[0] + 2, g.sizes[1] + 2)
    x = g.wild() if g.chance(g.wildness) else f"shares({image}, {g.pick(repr('float32'), repr('float64'))})"
    more = f", labels(({g.n},), 3)" if name in {"MixUp", "CutMix"} else ""
    if g.chance(g.wildness / 2):
        more = f", {g.wild()}"
    return [f"t = {g.call(f'augment.{name}', found)}", "repr(t)", f"y = t({x}{more})"]


def data_set(g: Guess) -> Lines:
    name, found = g.rng.choice(surface.data_classes())
    lines = [f"d = {g.call(f'data.{name}', found)}"]
    if g.chance(0.3):
        lines.append(g.pick("len(d)", f"d[{g.wild()}]", "d[0]", "d[-1]", "repr(d)"))
    if name not in {"Dataset", "Generator", "IterableDataset", "Sampler"}:
        lines += ["for i, item in zip(range(4), d): use(item)"]
    if name == "Generator":
        lines += [f"d.manual_seed({g.pick('3', g.wild())})"]
    return lines


def other(g: Guess) -> Lines:
    path, f = g.rng.choice(surface.others())
    if path in surface.SLOW and g.chance(0.9):
        path, f = g.rng.choice(surface.others())
    lines = ["q = leaf(arr((2, 3), 'float64'))", f"y = {g.call(path, f)}"]
    if path.startswith("models."):
        lines.append(f"use(y(fnn.tensor(arr({g.pick('(2, 1, 32, 32)', '(2, 3, 32, 32)', f'(2, {g.c})')}))))")
    elif path == "unsupervised.RBM":
        lines += [f"y.{g.pick('fit', 'transform', 'reconstruct')}(shares((6, {g.c})))"]
    elif not path.startswith(("callbacks.", "metrics.")):
        lines.append("use(y)")
    return lines


def derivative(g: Guess) -> Lines:
    x = g.tensor(g.shape) if g.chance(0.3) else g.pick("leaf", "leaf", "taped", "viewed") + f"({g.array(g.shape)})"
    y = g.pick(
        "(x * x).sum()", "(x * x)", "x.sum()", "x.exp()", "fnn.relu(x)", "x[None]", "fnn.softmax(x, 0)", "x.mean()"
    )
    grad = g.wild() if g.chance(g.wildness) else g.pick("None", "fnn.ones_like(y)")
    how = g.pick("y.backward({0})", "y.backward({0}, retain_graph=True); y.backward({0})", "y.backward({0}, create_graph=True)",
                 "fnn.autograd.grad(y, x, {0})", "fnn.autograd.grad([y], [x, x], [{0}], create_graph=True)",
                 "fnn.autograd.grad(y, {1}, allow_unused=True)", "y.sum().backward(); y.sum().backward()")  # fmt: skip
    change = g.pick(
        "", "", "", f"x.add_({g.small()})", "x.detach_()", "y.mul_(2)", "x.requires_grad_(False)", "y.zero_()"
    )
    return [
        f"x = fnn.as_tensor({x})",
        f"y = {y}",
        *([change] if change else []),
        how.format(grad, g.wild()),
        "repr(x.grad)",
    ]


def fit(g: Guess) -> Lines:
    wild = lambda plain: g.wild() if g.chance(g.wildness) else plain  # noqa: E731
    settings = g.pick("", f"clip_grad_norm={wild('1.0')}", f"ema={wild('0.9')}", f"accumulate={wild('2')}",
                      f"max_norm={wild('1.0')}", f"grad_noise={wild('0.1')}", f"metrics={wild('(' + repr('accuracy') + ',)')}",
                      f"clip_grad_value={wild('0.5')}", f"penalty={wild('penalties.L2(0.1)')}")  # fmt: skip
    given = g.pick(f"batch_size={wild('2')}", f"sample_weight={wild('shares((6,))')}", f"class_weight={wild('{0: 1.0, 1: 2.0}')}",
                   f"validation_split={wild('0.5')}", f"shuffle={wild('False')}", f"callbacks={wild('()')}",
                   f"validation_data={wild('(arr((4, 3)), labels((4,), 2))')}", f"augment={wild('None')}")  # fmt: skip
    use = g.pick(
        "t.predict(x)",
        "t.evaluate(x, y)",
        "t.fit(x, y, epochs=1, verbose=False)",
        f"t.predict({wild('x')}, batch_size={wild('2')})",
    )
    return ["m = model()", "o = optim.SGD(m.parameters(), lr=0.1, momentum=0.5)",
            f"x, y = {wild('arr((6, 3))')}, {wild('labels((6,), 2)')}",
            f"t = training.Trainer(m, o, {wild(repr('cross_entropy'))}, {settings})",
            f"t.fit(x, y, epochs={g.pick('1', '2')}, verbose=False, {given})", use]  # fmt: skip


OPTIMIZERS = [
    "SGD(p, lr=0.1, momentum=0.5)",
    "Adam(p)",
    "RMSprop(p)",
    "Lion(p)",
    "Muon([q for q in p if q.ndim == 2])",
    "LBFGS(p)",
]


def planned(g: Guess) -> Lines:
    wild = lambda plain: g.wild() if g.chance(g.wildness) else plain  # noqa: E731
    x, y, make = g.pick(
        ("arr((4, 3))", "labels((4,), 2)", "model()"), ("arr((3, 1, 6, 5))", "labels((3,), 2)", "image_model()")
    )
    x = f"{g.pick(*WRAPPERS)}({x})" if g.chance(0.3) else x
    change = g.pick("m.eval()", "m.requires_grad_(False)", f"o.param_groups[0]['lr'] = {wild('0.5')}", "fnn.manual_seed(3)",
                    f"p[0].data = {wild('p[0].data.clone()')}", f"p[0].grad = {wild('None')}", "m.double()", "", "",
                    f"p[0].data = fnn.as_tensor({g.pick(*WRAPPERS)}(p[0].numpy(force=True)))")  # fmt: skip
    settings = g.pick("", "ema=0.9", "clip_grad_norm=1.0", "accumulate=2", "penalty=penalties.L1(0.1)", "max_norm=1.0")
    weight = g.pick("", "", f", {wild('shares((4,))')}")
    step = f"s({wild('x')}, {wild('y')}{weight})"
    return [f"m = {make}", "p = list(m.parameters())", f"o = optim.{g.pick(*OPTIMIZERS)}",
            f"s = training.TrainStep(m, F.cross_entropy, o, {settings})", f"x, y = {wild(x)}, {wild(y)}",
            "s(x, y)", "s(x, y)", *([change] if change else []), step, "s(x[:2], y[:2])", "s.reason", "s(x, y)"]  # fmt: skip


def file(g: Guess) -> Lines:
    path = g.wild() if g.chance(g.wildness) else "FOLDER / 'fuzz.safetensors'"
    what = (
        g.wild()
        if g.chance(0.3)
        else g.pick("model().state_dict()", "{'a': fnn.ones(2, 3)}", f"{{'a': {g.tensor(g.shape)}}}", "model()")
    )
    damage = g.pick(
        "", "", "b = b[:len(b) // 2]", "b = b[:8]", "b = b'\\xff' * 8 + b[8:]", "b = b[:9] + b'}' + b[10:]", "b = b''"
    )
    lines = [f"fnn.save({what}, {path})"]
    if damage and path.startswith("FOLDER"):
        lines += [f"b = Path({path}).read_bytes()", damage, f"Path({path}).write_bytes(b)"]
    return [*lines, f"use(fnn.load({path}))"]


def broken(g: Guess) -> Lines:
    """Return what must be noticed, for the tests of the fuzzer itself."""
    return [
        g.pick(
            "import os; os.abort()", "while True: pass", "raise OverflowError", "nn.Linear.forward(None, 1)", "1 + 1"
        )
    ]


KINDS: dict[Callable[[Guess], Lines], float] = {
    function: 5, method: 5, operator: 2, index: 2, attribute: 0.5, layer: 6, module_method: 0.7, optimizer: 2, schedule: 1,
    planned: 0.8,
    transform: 1.5, data_set: 1, other: 2.5, derivative: 1, fit: 0.3, file: 0.3,
    broken: 0,
}  # fmt: skip
OF_NAME = {kind.__name__: kind for kind in KINDS}


def program(seed: int, batch: int, index: int, kind: str = "") -> Lines:
    """Return the lines of a call; the same ones for the same numbers."""
    rng = random.Random(f"{seed}/{batch}/{index}")
    make = OF_NAME[kind] if kind else rng.choices(list(KINDS), list(KINDS.values()))[0]
    return make(Guess(rng, BY_NAME))
