"""Learning without targets: restricted Boltzmann machines, and deep belief nets stacked from them."""

from fastnn._exports import exported as _exported
from fastnn.unsupervised.dbn import DBN as DBN
from fastnn.unsupervised.rbm import RBM as RBM

__all__ = [*_exported(globals())]
