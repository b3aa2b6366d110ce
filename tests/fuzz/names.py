"""Plausible arguments by the name of the parameter."""

import re
from collections.abc import Callable

from tests.fuzz.guess import Guess

Guesser = Callable[[Guess, str], str]


def _shape_list(g: Guess, _: str) -> str:
    # As many elements as the tensors have.
    flat = list(g.shape)
    g.rng.shuffle(flat)
    return str(tuple(flat))


def _input(g: Guess, owner: str) -> str:
    if re.search(r"pool|[pP]ad|conv|interpolate|dropout[123]d|shuffle|local_response|instance_norm|filters", owner):
        return g.tensor(g.image(owner))
    if re.search(r"^batch_norm|group_norm|prelu", owner):
        return g.tensor((g.n + 1, g.c, *g.sizes[: g.rng.randrange(3)]))
    if owner in {"layer_norm", "rms_norm", "linear", "normalize"}:
        return g.tensor((g.n, g.c))
    if owner in {"cross_entropy", "nll_loss"}:
        return g.tensor((g.n, g.k))
    if owner == "binary_cross_entropy":
        return f"leaf(shares({g.shape}))"
    if owner in {"mm", "matmul"}:
        return g.tensor((g.n, g.c))
    if owner == "glu":
        return g.tensor((g.n, 2 * g.c))
    if owner == "one_hot":
        return f"labels(({g.n},), {g.k})"
    if owner == "bernoulli":
        return f"shares({g.shape})"
    if owner in {"gather", "scatter_add", "index_select"}:
        return g.tensor((g.n, g.c))
    return g.tensor(g.shape)


def _target(g: Guess, owner: str) -> str:
    if owner in {"cross_entropy", "nll_loss"}:
        return g.pick(f"labels(({g.n},), {g.k})", f"fnn.tensor(labels(({g.n},), {g.k}))")
    if "binary" in owner:
        return f"shares({g.shape})"
    return g.tensor(g.shape)


def _weight(g: Guess, owner: str) -> str:
    kernel = tuple(g.rng.choice([1, 1, 2, 3]) for _ in range(g.dims(owner)))
    shapes: dict[str, tuple[int, ...]] = {
        "linear": (g.k, g.c), "bilinear": (g.k, g.c, g.c), "prelu": (g.c,), "cross_entropy": (g.k,), "nll_loss": (g.k,),
        "layer_norm": (g.c,), "rms_norm": (g.c,), "group_norm": (g.c,), "batch_norm": (g.c,), "instance_norm": (g.c,),
    }  # fmt: skip
    if "conv_transpose" in owner:
        return g.tensor((g.c, g.k, *kernel))
    if "conv" in owner:
        return g.tensor((g.k, g.c, *kernel))
    return g.tensor(shapes.get(owner, g.shape))


def _bias(g: Guess, owner: str) -> str:
    if owner[0].isupper():
        return g.flag()
    return g.pick("None", g.tensor((g.k,) if "conv" in owner or "linear" in owner else (g.c,)))


def _channels(g: Guess, _: str) -> str:
    return str(g.c)


def _dim(g: Guess, _: str) -> str:
    n = max(len(g.shape), 1)
    return str(g.rng.randrange(-n, n))


def _dim_or_dims(g: Guess, owner: str) -> str:
    if owner in {"sum", "mean", "prod", "amax", "amin", "any", "all", "var", "std", "norm", "squeeze"} and g.chance(
        0.3
    ):
        return str(tuple({g.rng.randrange(max(len(g.shape), 1)) for _ in range(2)}))
    return "None" if owner == "normalize" else ("1" if owner in {"gather", "index_select"} else _dim(g, owner))


def _sequence(g: Guess, owner: str) -> str:
    parts = [g.tensor(g.shape) for _ in range(g.rng.randrange(1, 4))]
    return g.pick(f"[{', '.join(parts)}]", f"({', '.join(parts)},)")


def _function(g: Guess, _: str) -> str:
    return g.pick("lambda *x: sum((t ** 2).sum() for t in x)", "lambda x: x.exp().sum()", "lambda *x: x[0].sin()",
                  "lambda *x: x", "lambda *x: x[0]")  # fmt: skip


def _inputs(g: Guess, _: str) -> str:
    one = f"leaf(arr({g.shape[:2]}, 'float64'))"
    return g.pick(one, one, f"({one}, {one})")


def _size(g: Guess, owner: str) -> str:
    if owner in {"zeros", "ones", "empty", "rand", "randn"}:
        return g.whole(0, 5)
    if owner in {"full", "randint"}:
        return str(g.shape)
    if owner == "LocalResponseNorm" or owner == "local_response_norm":
        return g.whole()
    return g.per_dim(2, 1, 6)


def _size_of_output(g: Guess, owner: str) -> str:
    return g.per_dim(g.dims(owner), 1, 5)


def _padding(g: Guess, owner: str) -> str:
    if "Pad" in owner:
        return g.whole(0, 2) if g.chance(0.5) else str(tuple(g.rng.randint(-1, 2) for _ in range(2 * g.dims(owner))))
    return g.pick("0", g.per_dim(g.dims(owner), 0, 1), "'same'" if "onv" in owner else "0")


def _optimizer(g: Guess, _: str) -> str:
    return g.pick("sgd()", "sgd()", "optim.Adam(parameters())", "optim.SGD(parameters(), lr=0.1)")


def _penalty(g: Guess, _: str) -> str:
    return g.pick("None", "penalties.L1(0.1)", "penalties.L2(0.1)", "penalties.Lp(0.1, 3)")


BY_NAME: dict[str, Guesser] = {
    "input": _input, "self": _input, "target": _target, "weight": _weight, "bias": _bias,
    "input1": lambda g, _: g.tensor((g.n, g.c)), "input2": lambda g, _: g.tensor((g.n, g.c)),
    "other": lambda g, o: g.pick(g.tensor(g.shape), g.tensor(g.shape), g.small(), str(g.rng.randint(-2, 3)))
        if o not in {"mm", "matmul"} else g.tensor((g.c, g.k)),
    "mat2": lambda g, _: g.tensor((g.c, g.k)), "src": lambda g, _: g.tensor((g.n, g.c)),
    "mask": lambda g, _: g.tensor(g.shape, "bool"), "condition": lambda g, _: g.tensor(g.shape, "bool"),
    "index": lambda g, o: g.pick(f"labels(({g.n}, {g.c}), 1)", f"fnn.tensor(labels(({g.n}, {g.c}), {g.c}))")
        if o in {"gather", "scatter_add"} else (g.pick("[0, 0]", "labels((3,), 1)") if o == "index_select" else "0"),
    "tensors": lambda g, o: _sequence(g, o) if o not in {"TensorDataset", "save_for_backward"} else g.tensor((4, g.c)),
    "tensor": lambda g, o: g.tensor((g.n + 1, g.c)) if o != "one_hot" else f"labels(({g.n},), {g.k})",
    "data": lambda g, _: g.pick(g.array(g.shape), g.tensor(g.shape), f"{g.array(g.shape)}.tolist()", g.small()),
    "array": lambda g, _: g.array(g.shape), "gradient": lambda g, _: g.pick("None", g.array(g.shape)),
    "running_mean": lambda g, _: g.pick("None", f"fnn.zeros({g.c})"),
    "running_var": lambda g, _: g.pick("None", f"fnn.ones({g.c})"),
    "sample_weight": lambda g, _: g.pick("None", f"shares(({g.n},))"),
    "pos_weight": lambda g, _: g.pick("None", f"shares({g.shape[-1:]})"),
    "samples": lambda g, _: g.whole(), "_random_samples": lambda g, _: "None",
    "requires_grad": lambda g, _: g.flag(), "training": lambda g, _: g.flag(),
    # Numbers.
    "dim": _dim_or_dims, "dim0": _dim, "dim1": _dim, "start_dim": lambda g, _: g.pick("0", "1", "-1"),
    "end_dim": lambda g, _: g.pick("-1", "1", "2"), "dims": _dim, "shape": _shape_list,
    "split_size": lambda g, _: g.whole(), "chunks": lambda g, _: g.whole(), "start": lambda g, o: g.pick("0", "1"),
    "length": lambda g, _: g.pick("0", "1"), "n": lambda g, _: g.whole(1, 8), "m": lambda g, _: g.whole(1, 8),
    "end": lambda g, _: g.pick("3", "5.5", "10"), "step": lambda g, _: g.pick("1", "0.5", "2"),
    "steps": lambda g, _: g.whole(1, 8), "args": lambda g, _: g.pick("3", "(2, 3)", "'cpu'"),
    "sizes": lambda g, _: str(g.shape) if g.shape else "1", "size": _size, "fill_value": lambda g, _: g.small(),
    "value": lambda g, _: g.small(), "val": lambda g, _: g.small(), "alpha": lambda g, _: g.pick("1", "0.5", "2"),
    "dtype": lambda g, _: g.pick("None", "fnn.float32", "fnn.float64", "np.float32", "'float64'"),
    "device": lambda g, _: g.pick("None", "'cpu'"), "num_classes": lambda g, o: g.pick("-1", "20") if o == "one_hot" else "3",
    "reduction": lambda g, _: g.pick("'mean'", "'sum'", "'none'"), "p": lambda g, o: "2" if o == "norm" else g.share(),
    "eps": lambda g, _: g.pick("1e-5", "1e-3", "0.1"), "momentum": lambda g, _: g.pick("0.1", "0.5", "0.9"),
    "min": lambda g, _: g.pick("-1", "0", "None"), "max": lambda g, o: g.pick("1", "0.5"),
    "label_smoothing": lambda g, _: g.pick("0.0", "0.1"), "ignore_index": lambda g, _: g.pick("-100", "0"),
    # Layers.
    "in_channels": _channels, "out_channels": lambda g, _: str(g.k), "in_features": _channels, "features": _channels,
    "out_features": lambda g, _: str(g.k), "in1_features": _channels, "in2_features": _channels,
    "num_features": _channels, "num_channels": _channels, "num_parameters": lambda g, _: g.pick("1", str(g.c)),
    "n_features": _channels, "n_visible": _channels, "n_hidden": lambda g, _: str(g.k), "rank": lambda g, _: g.whole(),
    "num_groups": lambda g, _: g.pick("1", str(g.c)), "normalized_shape": lambda g, _: g.pick(str(g.c), f"[{g.c}]"),
    "kernel_size": lambda g, o: g.per_dim(g.dims(o), 1, 3), "stride": lambda g, o: g.per_dim(g.dims(o), 1, 3),
    "padding": _padding, "dilation": lambda g, o: g.pick("1", g.per_dim(g.dims(o), 1, 2)),
    "groups": lambda g, o: "1" if o != "GradualUnfreezing" else "None",
    "output_padding": lambda g, o: "0", "output_size": _size_of_output,
    "output_ratio": lambda g, _: g.pick("0.5", "(0.5, 0.7)"), "divisor_override": lambda g, _: g.pick("None", "3"),
    "norm_type": lambda g, _: g.pick("2", "1", "2.0", "inf"), "pad": lambda g, _: g.pick("(1, 1)", "(0, 1, 1, 0)", "(1, -1)"),
    "mode": lambda g, o: g.pick("'constant'", "'reflect'", "'replicate'", "'circular'") if o == "pad"
        else g.pick("'nearest'", "'bilinear'", "'linear'", "'nearest-exact'") if o in {"interpolate", "Upsample"}
        else g.pick("'fan_in'", "'fan_out'") if "kaiming" in o else g.pick("'batch'", "'row'") if o[:5] in {"stoch", "Stoch", "Resid"}
        else g.pick("'min'", "'max'") if o in {"EarlyStopping", "ModelCheckpoint", "ReduceLROnPlateau"}
        else "'triangular'" if o == "CyclicLR" else "'RGB'",
    "padding_mode": lambda g, o: g.pick("'zeros'", "'reflect'", "'circular'") if o[:4] == "Conv" else g.pick("'constant'", "'edge'"),
    "scale_factor": lambda g, _: g.pick("2", "0.5", "(2, 1)", "None"), "align_corners": lambda g, _: g.pick("None", "True", "False"),
    "recompute_scale_factor": lambda g, _: g.pick("None", "True"), "antialias": lambda g, _: "False",
    "upscale_factor": lambda g, _: g.pick("1", "2"), "downscale_factor": lambda g, _: g.pick("1", "2"),
    "unflattened_size": lambda g, _: f"(1, {g.c})", "approximate": lambda g, _: g.pick("'none'", "'tanh'"),
    "nonlinearity": lambda g, _: g.pick("'relu'", "'leaky_relu'", "'tanh'", "'linear'"),
    "modules": lambda g, o: "{'a': nn.ReLU()}" if o == "ModuleDict" else "[nn.ReLU(), nn.Linear(3, 2)]",
    "block": lambda g, _: f"nn.Linear({g.c}, {g.c})", "shortcut": lambda g, o: "None" if o == "Residual" else g.pick("'A'", "'B'"),
    "module": lambda g, _: f"nn.Linear({g.c}, {g.k})", "model": lambda g, _: "model()", "activation": lambda g, _: "None",
    "feature_range": lambda g, _: g.pick("(0, 1)", "(-1, 1)"), "blocks": lambda g, _: g.whole(1, 2), "planes": lambda g, _: "4",
    "in_planes": lambda g, _: "4", "widths": lambda g, o: "[4, 'M', 8]" if o == "VGG" else "[3, 4, 2]", "hidden": lambda g, _: "[4]",
    "image_size": lambda g, _: "32", "pool": lambda g, _: "nn.MaxPool2d", "survival": lambda g, _: g.pick("1.0", "0.5"),
    "visible": lambda g, _: g.pick("'bernoulli'", "'gaussian'"), "max_val": lambda g, _: "1.0", "min_val": lambda g, _: "-1.0",
    # Optimizers and schedules.
    "params": lambda g, _: g.pick("parameters()", "model().parameters()", "[{'params': parameters(), 'lr': 0.5}]"),
    "lr": lambda g, _: g.pick("0.1", "0.01", "1e-3"), "betas": lambda g, _: g.pick("(0.9, 0.99)", "[0.5, 0.9]"),
    "weight_decay": lambda g, _: g.pick("0", "0.1"), "maximize": lambda g, _: g.flag(), "nesterov": lambda g, _: "False",
    "capturable": lambda g, _: "False", "differentiable": lambda g, _: "False", "fused": lambda g, _: "None",
    "foreach": lambda g, _: "None", "dampening": lambda g, _: "0", "base_optimizer": _optimizer, "optimizer": _optimizer,
    "lr_lambda": lambda g, _: g.pick("lambda e: 0.9 ** e", "lambda e: 1.0"), "schedulers": lambda g, _: "[lr_scheduler.StepLR(o, 1)]",
    "milestones": lambda g, o: "[]" if o == "SequentialLR" else "[1, 2]", "last_epoch": lambda g, _: "-1",
    "T_max": lambda g, _: g.whole(1, 5), "T_0": lambda g, _: g.whole(1, 5), "T_mult": lambda g, _: g.whole(1, 2), "eta_min": lambda g, _: "0.0",
    "step_size": lambda g, _: g.whole(1, 3), "max_lr": lambda g, _: "0.5", "base_lr": lambda g, _: "0.01",
    "total_steps": lambda g, _: "10", "epochs": lambda g, _: g.pick("1", "2"), "steps_per_epoch": lambda g, _: "3",
    "total_iters": lambda g, _: g.whole(1, 5), "factor": lambda g, _: "0.5", "gamma": lambda g, _: "0.9", "after": lambda g, _: "None",
    "warmup_iters": lambda g, _: g.whole(1, 3), "swa_lr": lambda g, _: "0.05", "method": lambda g, _: g.pick("'cg'", "'direct'"),
    "power": lambda g, _: g.pick("1.0", "2.0"), "min_lr": lambda g, _: "0.0", "cycle_momentum": lambda g, _: g.flag(),
    "line_search_fn": lambda g, _: g.pick("None", "'strong_wolfe'"), "ns_steps": lambda g, _: g.whole(1, 3),
    "defaults": lambda g, _: "{'lr': 0.1}", "max_iter": lambda g, _: g.whole(1, 4), "history_size": lambda g, _: g.whole(1, 4),
    # Images.
    "degrees": lambda g, _: g.pick("30", "(-10, 10)"), "translate": lambda g, _: g.pick("None", "(0.1, 0.2)"),
    "scale": lambda g, _: g.pick("(0.8, 1.2)", "(0.5, 0.9)"), "ratio": lambda g, _: "(0.75, 1.3)", "shear": lambda g, _: g.pick("5", "(-5, 5)"),
    "interpolation": lambda g, _: g.pick("'nearest'", "'bilinear'"), "fill": lambda g, _: g.pick("0", "0.5"), "center": lambda g, _: "None",
    "mean": lambda g, o: "(0.5,)" if o == "Normalize" else "0.0", "std": lambda g, o: "(0.5,)" if o == "Normalize" else "0.1",
    "brightness": lambda g, _: g.pick("0.2", "(0.8, 1.2)"), "contrast": lambda g, _: "0.2", "saturation": lambda g, _: "0.2",
    "hue": lambda g, _: "0.1", "sigma": lambda g, _: g.pick("1.0", "4.0"), "pixels": lambda g, _: g.per_dim(2, 1, 2),
    "transforms": lambda g, _: "[augment.RandomHorizontalFlip(), augment.CutOut(2)]", "weights": lambda g, o: "None" if o == "OneOf" else "[0.5, 0.2, 1]",
    "eigenvalues": lambda g, _: "[0.2, 0.1, 0.1]", "eigenvectors": lambda g, _: "np.eye(3)", "rate": lambda g, _: g.share(), "salt": lambda g, _: g.share(),
    # Data.
    "dataset": lambda g, _: "rows()", "datasets": lambda g, _: "[rows(), rows()]", "data_source": lambda g, _: "range(5)",
    "indices": lambda g, _: g.pick("[0, 2]", "range(3)"), "lengths": lambda g, _: g.pick("[3, 3]", "[0.5, 0.5]"),
    "batch_size": lambda g, _: g.pick("1", "2", "4"), "sampler": lambda g, o: "data.SequentialSampler(range(5))" if o == "BatchSampler" else "None",
    "batch_sampler": lambda g, _: "None", "num_workers": lambda g, _: "0", "prefetch_factor": lambda g, _: "None", "timeout": lambda g, _: "0",
    "persistent_workers": lambda g, _: "False", "shuffle": lambda g, _: g.flag(), "num_samples": lambda g, _: g.whole(1, 5),
    "generator": lambda g, _: g.pick("None", "fnn.Generator()"), "root": lambda g, _: "FOLDER / 'none'", "multiprocessing_context": lambda g, _: "None",
    "batch": lambda g, _: g.pick("[arr((2,)), arr((2,))]", "[(1, 2.0), (3, 4.0)]", "[{'a': 1}, {'a': 2}]"), "pin_memory": lambda g, _: "False",
    # Derivatives.
    "func": _function, "inputs": _inputs, "v": lambda g, _: g.pick("None", f"arr({g.shape[:2]}, 'float64')"), "which": lambda g, _: "'largest'",
    "outputs": lambda g, _: "(q ** 2).sum()", "grad.inputs": lambda g, _: "q", "grad_outputs": lambda g, _: "None",
    "loss_fn": lambda g, _: "lambda: (q ** 2).sum()", "hessian_max_eigenvalue.params": lambda g, _: "q", "iterations": lambda g, _: g.whole(1, 5),
    "parameters": lambda g, _: "parameters()", "max_norm": lambda g, _: g.small(), "clip_value": lambda g, _: g.small(),
    "vec": lambda g, _: "fnn.ones(29)", "state_dict": lambda g, _: "model().state_dict()", "prefix": lambda g, _: g.pick("''", "'module.'"),
    "head": lambda g, _: g.pick("3", "nn.Linear(4, 5)"), "conv": lambda g, _: "nn.Conv2d(1, 2, 3)", "bn": lambda g, _: "nn.BatchNorm2d(2)",
    "x": lambda g, o: "arr((6, 3))", "y": lambda g, _: "labels((6,), 2)", "y_pred": lambda g, _: "shares((6, 3))", "y_true": lambda g, _: "labels((6,), 3)",
    "x_train": lambda g, _: "arr((6, 3))", "y_train": lambda g, _: "labels((6,), 2)", "x_val": lambda g, _: "arr((4, 3))", "y_val": lambda g, _: "labels((4,), 2)",
    "loss": lambda g, _: g.pick("'cross_entropy'", "nn.CrossEntropyLoss()", "F.cross_entropy"), "penalty": _penalty, "metrics": lambda g, _: g.pick("()", "['accuracy']"),
    "make_model": lambda g, _: "model", "make_optimizer": lambda g, _: "lambda m: optim.SGD(m.parameters(), lr=0.1)", "verbose": lambda g, _: "False",
    "path": lambda g, _: "FOLDER / 'fuzz.out'", "loader": lambda g, o: "data.DataLoader(rows(), 2)" if o == "update_bn" else "None",
    "trainer": lambda g, _: "training.Trainer(model(), optim.SGD(model().parameters(), 0.1), F.cross_entropy)",
    "k": lambda g, _: g.whole(1, 3), "on_nonfinite": lambda g, _: g.pick("'warn'", "'raise'"),
}  # fmt: skip
