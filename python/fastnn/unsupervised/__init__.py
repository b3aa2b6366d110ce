"""Learning without targets: restricted Boltzmann machines, and deep belief nets stacked from them."""

from fastnn.unsupervised.dbn import DBN
from fastnn.unsupervised.rbm import RBM

__all__ = ["DBN", "RBM"]
