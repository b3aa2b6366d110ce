"""DBNs: that each machine sees what the one below makes of the data, and that the net begins where they ended."""

from __future__ import annotations

import numpy as np

import fastnn as fnn
from fastnn import nn
from fastnn.unsupervised import DBN, RBM


def rows(n: int = 120, width: int = 13) -> np.ndarray:
    """Two classes of noisy prototypes."""
    rng = np.random.default_rng(0)
    prototypes = rng.uniform(size=(2, width)) < 0.5
    noise = rng.uniform(size=(n, width)) < 0.1
    return (prototypes[np.arange(n) % 2] ^ noise).astype(np.float32)


def test_greedy_learning_is_one_machine_after_the_other() -> None:
    x = rows()
    fnn.manual_seed(3)
    dbn = DBN([13, 7, 5], lr=0.2, k=2)
    lower, upper = RBM(13, 7, lr=0.2, k=2), RBM(7, 5, lr=0.2, k=2)
    lower.load_state_dict(dbn.rbms[0].state_dict())
    upper.load_state_dict(dbn.rbms[1].state_dict())
    fnn.manual_seed(4)
    histories = dbn.pretrain(x, epochs=3, batch_size=16, verbose=False)
    fnn.manual_seed(4)
    expected = lower.fit(x, epochs=3, batch_size=16, verbose=False)
    upper.fit(lower.transform(x), epochs=3, batch_size=16, verbose=False)
    for one, other in zip(dbn.rbms, (lower, upper), strict=True):
        for name, value in one.state_dict().items():
            np.testing.assert_array_equal(value.numpy(), other.state_dict()[name].numpy(), err_msg=name)
    assert [len(h.epochs) for h in histories] == [3, 3]
    assert histories[0]["reconstruction_error"] == expected["reconstruction_error"]
    np.testing.assert_array_equal(dbn.transform(x), upper.transform(lower.transform(x)))
    np.testing.assert_array_equal(
        dbn.reconstruct(x), lower._mean_visible(upper.reconstruct(lower.transform(x))).numpy()
    )


def test_the_net_begins_where_pre_training_ended() -> None:
    x = rows()
    fnn.manual_seed(3)
    dbn = DBN([13, 7, 5])
    dbn.pretrain(x, verbose=False)
    net = dbn.to_sequential()
    assert [type(layer) for layer in net] == [nn.Linear, nn.Sigmoid, nn.Linear, nn.Sigmoid]
    np.testing.assert_allclose(net(x).detach().numpy(), dbn.transform(x), rtol=1e-6)
    np.testing.assert_allclose(dbn(x).detach().numpy(), dbn.transform(x), rtol=1e-6)
    head = dbn.to_sequential(3)
    assert head(x).shape == (120, 3)
    before = dbn.rbms[0].weight.detach().numpy().copy()
    trainer = dbn.finetune(x, np.arange(120) % 2, 2, lr=0.05, epochs=15, verbose=False)
    assert trainer.history["accuracy"][-1] > 0.95
    np.testing.assert_array_equal(dbn.rbms[0].weight.detach().numpy(), before)
    assert not np.array_equal(trainer.model[0].weight.detach().numpy(), before)


def test_gaussian_below_bernoulli_above() -> None:
    fnn.manual_seed(0)
    dbn = DBN([4, 6, 3], visible="gaussian", momentum=0.5)
    assert [rbm.visible for rbm in dbn.rbms] == ["gaussian", "bernoulli"]
    assert [rbm.lr for rbm in dbn.rbms] == [0.01, 0.1]
    x = np.random.default_rng(0).normal(size=(64, 4))
    dbn.pretrain(x, epochs=2, verbose=False)
    assert dbn.sample(5, 10).shape == (5, 4)


def test_samples_come_from_the_data_s_modes() -> None:
    x = rows(400)
    clean = (x[::2].mean(0) > 0.5, x[1::2].mean(0) > 0.5)
    for seed in range(5):
        fnn.manual_seed(seed)
        dbn = DBN([13, 10, 6])
        dbn.pretrain(x, epochs=60, batch_size=10, verbose=False)
        samples = dbn.sample(100, 200) > 0.5
        near = [np.minimum((s ^ clean[0]).sum(), (s ^ clean[1]).sum()) for s in samples]
        # Chance is 4 of the 13 units.
        assert np.mean(near) < 2
