from collections import OrderedDict

import numpy as np
import pytest

from fastnn import nn


class Add(nn.Module):
    def __init__(self, amount):
        super().__init__()
        self.amount = amount

    def forward(self, x):
        return x + self.amount

    def extra_repr(self):
        return str(self.amount)


class Times(Add):
    def forward(self, x):
        return x * self.amount


def amounts(container):
    return [module.amount for module in container]


def names(container):
    return [name for name, _ in container.named_children()]


def test_sequential_goes_in_order():
    assert nn.Sequential(Add(1), Times(10))(2) == 30
    assert nn.Sequential()(2) == 2
    net = nn.Sequential(OrderedDict(shift=Add(1), scale=Times(10)))
    assert net(2) == 30
    assert net.shift.amount == 1
    assert net[1] is net.scale


def test_slices():
    net = nn.Sequential(*map(Add, range(5)))
    assert amounts(net[1:4]) == [1, 2, 3]
    assert names(net[1:4]) == ["1", "2", "3"]  # as in PyTorch, names are kept
    assert net[-1].amount == 4
    assert amounts(nn.ModuleList(map(Add, range(5)))[::2]) == [0, 2, 4]
    assert names(nn.ModuleList(map(Add, range(5)))[::2]) == ["0", "1", "2"]


@pytest.mark.parametrize("kind", [nn.Sequential, lambda *modules: nn.ModuleList(modules)])
def test_editing(kind):
    net = kind(Add(0), Add(1), Add(2))
    net.append(Add(3)).extend([Add(4), Add(5)])
    net.insert(0, Add(-1))
    net.insert(-1, Add(45))
    assert amounts(net) == [-1, 0, 1, 2, 3, 4, 45, 5]
    assert names(net) == [str(index) for index in range(8)]
    del net[0]
    del net[-3:]
    assert amounts(net) == [0, 1, 2, 3]
    assert net.pop(1).amount == 1
    net[-1] = Add(30)
    net += [Add(7)]
    assert amounts(net) == [0, 2, 30, 7]
    assert names(net) == ["0", "1", "2", "3"]
    assert len(net) == 4


def test_sums_and_products():
    net = nn.Sequential(Add(1), Times(2))
    assert amounts(net + nn.Sequential(Add(3))) == [1, 2, 3]
    assert (net * 3)(0) == 14
    assert (2 * net)(1) == 10
    assert amounts(nn.ModuleList(net) + nn.ModuleList([Add(3)])) == [1, 2, 3]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda net: net[3], IndexError, "index 3 is out of range"),
        (lambda net: net[-4], IndexError, "index -4 is out of range"),
        (lambda net: net.insert(5, Add(1)), IndexError, "Index out of range: 5"),
        (lambda net: net.insert(0, 1), TypeError, "int is not a Module subclass"),
        (lambda net: net.append("relu"), TypeError, "str is not a Module subclass"),
        (lambda net: net.extend(3), TypeError, "Sequential.extend should be called with an iterable, but got int"),
        (lambda net: net * 0, ValueError, f"Non-positive multiplication factor 0 for {nn.Sequential}"),
    ],
)
def test_errors_change_nothing(change, error, message):
    net = nn.Sequential(Add(0), Add(1), Add(2))
    with pytest.raises(error) as caught:
        change(net)
    assert str(caught.value) == message
    assert amounts(net) == [0, 1, 2]


def test_module_list_repr_folds_what_repeats():
    assert repr(nn.ModuleList([Add(1), Add(1), Add(2)])) == "ModuleList(\n  (0-1): 2 x Add(1)\n  (2): Add(2)\n)"
    assert repr(nn.ModuleList()) == "ModuleList()"


def test_module_list_has_no_forward():
    with pytest.raises(NotImplementedError):
        nn.ModuleList([Add(1)])(1)


def test_module_dict():
    net = nn.ModuleDict({"a": nn.Linear(2, 3), "b": Add(2)})
    net["c"] = Add(3)
    net.update([("b", Add(20))])
    assert list(net) == list(net.keys()) == ["a", "b", "c"]
    assert [module.amount for name, module in net.items() if name != "a"] == [20, 3]
    assert "b" in net
    assert net.pop("b").amount == 20
    assert "b" not in net
    assert len(net) == len(list(net.values())) == 2
    assert list(net.state_dict()) == ["a.weight", "a.bias"]
    net.clear()
    assert len(net) == 0
    with pytest.raises(KeyError):
        net["a"]
    with pytest.raises(KeyError, match="already exists"):
        net["keys"] = Add(1)
    with pytest.raises(TypeError, match=r"^int is not a Module subclass$"):
        net["d"] = 3


def test_parameters_are_the_parents():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(width, width + 1) for width in (1, 2, 3))

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    net = Net()
    assert len(list(net.parameters())) == 6
    assert tuple(net(np.ones((5, 1), np.float32)).shape) == (5, 4)


def test_a_module_that_is_none_is_named():
    model = nn.Sequential(nn.Identity())
    model.add_module("gone", None)
    with pytest.raises(TypeError, match=r"^Sequential: expected a module at 'gone'; got None$"):
        model(np.zeros((2, 3), np.float32))
