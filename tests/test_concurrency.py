"""Many Python threads at once: each one's work has the bits that it has alone, and what they share stays whole."""

import threading

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim

THREADS = 6
ROUNDS = 12


def run_together(work, count=THREADS):
    """Call `work(i)` in `count` threads that start at once; return the results, or raise the first error."""
    barrier = threading.Barrier(count)
    results, errors = [None] * count, []

    def one(i):
        try:
            barrier.wait(timeout=60)
            results[i] = work(i)
        except BaseException as error:  # noqa: BLE001  (it is raised below, in the main thread)
            errors.append(error)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=300)
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    return results


def make(seed):
    rng = np.random.default_rng(seed)
    model = nn.Sequential(nn.Linear(9, 33), nn.BatchNorm1d(33), nn.Tanh(), nn.Linear(33, 4))
    for parameter in model.parameters():
        with fnn.no_grad():
            parameter.copy_(fnn.as_tensor(rng.normal(size=tuple(parameter.shape)).astype(np.float32) * 0.3))
    x = rng.normal(size=(48, 9)).astype(np.float32)
    return model, x, rng.integers(0, 4, 48)


def trained(seed, *, planned):
    """The weights of a small net after some steps, as bytes."""
    model, x, y = make(seed)
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    loss_fn = nn.CrossEntropyLoss()
    step = fnn.TrainStep(model, loss_fn, optimizer)
    for _ in range(ROUNDS):
        if planned:
            step(x, y)
        else:
            optimizer.zero_grad()
            loss_fn(model(fnn.as_tensor(x)), y).backward()
            optimizer.step()
    return b"".join(value.numpy().tobytes() for value in model.state_dict().values())


@pytest.mark.parametrize("planned", [False, True])
def test_nets_in_threads_have_the_bits_of_nets_alone(planned):
    alone = [trained(seed, planned=planned) for seed in range(THREADS)]
    assert len(set(alone)) == THREADS
    assert run_together(lambda i: trained(i, planned=planned)) == alone


def test_one_model_predicts_in_many_threads():
    model, x, _ = make(1)
    model.eval()
    expected = model(fnn.as_tensor(x)).detach().numpy().tobytes()

    def predict(i):
        with fnn.no_grad():
            return [model(fnn.as_tensor(x)).numpy().tobytes() == expected for _ in range(50)]

    assert all(all(same) for same in run_together(predict))


def test_gradients_of_shared_weights_in_many_threads():
    """Each thread differentiates its own graph, whose leaves are shared, without touching `.grad`."""
    weight = fnn.as_tensor(np.linspace(-1, 1, 35, dtype=np.float32).reshape(5, 7)).requires_grad_()
    inputs = [fnn.as_tensor(np.full((3, 7), i + 1, np.float32)) for i in range(THREADS)]

    def gradient(i):
        found = []
        for _ in range(50):
            (grad,) = fnn.autograd.grad(nn.functional.linear(inputs[i], weight).sum(), [weight])
            found.append(grad.numpy().tolist())
        return found

    for i, found in enumerate(run_together(gradient)):
        assert found == [[[3.0 * (i + 1)] * 7] * 5] * 50
    assert weight.grad is None


def test_additions_into_one_tensor_are_all_made():
    """Small additions in place run with the lock, one after the other."""
    total = fnn.zeros(7)

    def add(i):
        for _ in range(200):
            total.add_(i + 1)

    run_together(add)
    assert total.numpy().tolist() == [200.0 * sum(range(1, THREADS + 1))] * 7


def test_grad_mode_belongs_to_the_thread():
    def modes(i):
        found = []
        for _ in range(100):
            with fnn.set_grad_enabled(i % 2 == 0):
                x = fnn.ones(3, requires_grad=True)
                found.append((x * 2).requires_grad)
        return set(found)

    assert run_together(modes) == [{i % 2 == 0} for i in range(THREADS)]


def test_arrays_live_as_long_as_any_thread_has_them():
    """Memory that tensors and arrays share, made in one thread and given back in others."""
    made = [fnn.as_tensor(np.full(2049, i, np.float32)) for i in range(THREADS)]

    def churn(i):
        right = True
        for j in range(200):
            view = made[(i + j) % THREADS].numpy()
            copy = fnn.from_numpy(view.copy())
            right = right and copy.sum().item() == 2049 * ((i + j) % THREADS)
            del view
        return right

    assert all(run_together(churn))


def test_the_number_of_threads_may_change_meanwhile():
    before = fnn.get_num_threads()
    a = fnn.as_tensor(np.random.default_rng(0).normal(size=(96, 96)).astype(np.float32))
    expected = (a @ a).numpy().tobytes()

    def multiply(i):
        right = True
        for j in range(20):
            if i == 0:
                fnn.set_num_threads(1 + j % 4)
            right = right and (a @ a).numpy().tobytes() == expected
        return right

    try:
        assert all(run_together(multiply))
    finally:
        fnn.set_num_threads(before)
