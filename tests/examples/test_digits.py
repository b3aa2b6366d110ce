import numpy as np
import pytest


def test_gradients_by_hand():
    from digits_numpy import Network

    network = Network((5, 7, 6, 4), 0.0, np.random.default_rng(0))
    network.params = {name: value.astype(np.float64) for name, value in network.params.items()}
    rng = np.random.default_rng(1)
    network.params["beta"] += 0.3 * rng.normal(size=7)  # so that it matters
    x, y = rng.normal(size=(9, 5)), rng.integers(0, 4, 9)
    _, gradients = network.gradients(x, y)
    for name, value in list(network.params.items()):
        direction = rng.normal(size=value.shape)
        network.params[name] = value + 1e-6 * direction
        above, _ = network.gradients(x, y)
        network.params[name] = value - 1e-6 * direction
        below, _ = network.gradients(x, y)
        network.params[name] = value
        assert (above - below) / 2e-6 == pytest.approx((gradients[name] * direction).sum(), rel=1e-4, abs=1e-7), name


@pytest.mark.slow
def test_the_demo_runs(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="the demo draws")
    import digits

    by_us, by_hand = digits.main(["--epochs", "1", "--alone", "--out", str(tmp_path)])
    assert min(by_us.accuracy, by_hand.accuracy) > 0.85
    assert "NumPy, by hand" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["confusion.png", "curves.png", "weights.png"]
