"""`python -m benches`: the tables of the README, interleaved in one run, with whichever peers are installed."""

from __future__ import annotations

import argparse
import importlib.util
import platform
import sys

import numpy as np

from benches import convnets, extras, images, kernels, nets
from benches.compare import interleaved, table


def _agree(problem: nets.Problem, candidates: dict[str, object]) -> None:
    """The first losses of every candidate are the same; dropout is switched off, since no two libraries draw alike."""
    plain = nets.Problem(problem.net.without_dropout(), problem.weights, problem.biases, problem.batches)
    losses = {}
    for name in candidates:
        step = {**nets.OURS, **nets.PEERS}[name](plain)
        losses[name] = [step() for _ in range(3)]
    reference = losses["fastnn"]
    for name, got in losses.items():
        # scikit-learn adds ε before the bias correction: where gradients are as small as ε, its second step is another.
        same = 1 if name == "sklearn" else len(reference)
        message = f"{name} does not compute what fastnn does"
        np.testing.assert_allclose(got[:same], reference[:same], rtol=2e-3, err_msg=message)


def steps(names: list[str], seconds: float, *, check: bool) -> str:
    """One training step of each net."""
    rows = []
    for net in nets.NETS:
        if names and net.name not in names:
            continue
        problem = nets.Problem.make(net)
        candidates = {}
        for name, make in {**nets.OURS, **nets.installed_peers()}.items():
            try:
                candidates[name] = make(problem)
            except NotImplementedError:
                continue
        if check:
            _agree(problem, candidates)
        times = interleaved(candidates, seconds=seconds)
        peers = {k: v for k, v in times.items() if k in nets.PEERS}
        micro = {k: f"{v * 1e6:,.1f}" for k, v in times.items()}
        best = min(peers, key=lambda k: peers[k]) if peers else "–"
        ratio = f"**{peers[best] / times['fastnn']:.2f}**" if peers else "–"
        fused = times.get("torch fused")
        eager = f"{fused / times['fastnn eager']:.2f}" if fused else "–"
        shape = "-".join(map(str, net.widths))
        rows.append(
            [
                f"{net.name} {shape}, batch {net.batch}",
                *(micro.get(k, "–") for k in (*nets.OURS, *nets.PEERS)),
                f"{best}",
                ratio,
                eager,
            ]
        )
        print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    header = [
        "net",
        *(f"{k}, µs" for k in (*nets.OURS, *nets.PEERS)),
        "best peer",
        "its time / ours",
        "torch fused / our eager",
    ]
    return table("One training step with Adam", header, rows)


def single_kernels(seconds: float, title: str, candidates: list[kernels.Row]) -> str:
    """One kernel each."""
    rows = []
    for row in candidates:
        here = {k: make for k, make in row.peers.items() if importlib.util.find_spec(k.split()[0])}
        if here:
            row.check()
        times = interleaved({"fastnn": row.ours(), **{k: make() for k, make in here.items()}}, seconds=seconds)
        for peer in here or {"–": None}:
            ratio = f"**{times[peer] / times['fastnn']:.2f}**" if here else "–"
            theirs = f"{times[peer] * 1e6:,.2f}" if here else "–"
            rows.append([row.name, f"{times['fastnn'] * 1e6:,.2f}", peer, theirs, ratio])
            print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    return table(title, ["kernel", "fastnn, µs", "peer", "peer, µs", "its time / ours"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches", description=__doc__)
    parser.add_argument("names", nargs="*", help="nets to time, `convnets`, `kernels`, `images`, `extras`; all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=6.0, help="seconds a row")
    parser.add_argument("--no-check", action="store_true", help="do not compare results first")
    args = parser.parse_args()
    nets.limit_threads(args.threads)
    import fastnn

    print(f"{platform.machine()}, {fastnn._core.isa()}, {args.threads} threads; medians of interleaved rounds\n")
    wanted = [n for n in args.names if n not in {"convnets", "kernels", "images", "extras"}]
    if wanted or not args.names:
        print(steps(wanted, args.seconds, check=not args.no_check))
    if "convnets" in args.names or not args.names:
        print(convnets.table_of_steps(args.seconds * 3, check=not args.no_check))
    if "kernels" in args.names or not args.names:
        print(single_kernels(args.seconds, "Single kernels", kernels.rows()))
    if "images" in args.names or not args.names:
        print(single_kernels(args.seconds, "Layers over images, forward and backward", images.rows()))
    if "extras" in args.names or not args.names:
        print(extras.extras(args.seconds * 5, args.threads))


if __name__ == "__main__":
    main()
