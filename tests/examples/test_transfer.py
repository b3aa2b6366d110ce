"""Transfer, small: what other digits have taught helps where images are few, and colours can be had as well."""

import numpy as np
import pytest

SEEDS = range(5)
DIGITS, COLOURS = "from digits 0-4 to 5-9", "from animals to vehicles"


@pytest.mark.slow
def test_other_digits_help_where_images_are_few():
    import transfer

    scratch, frozen, tuned = transfer.run(SEEDS, images=(20,), old_epochs=2, tasks=(DIGITS,))[DIGITS][:, :, 0].T
    assert (frozen > scratch).all()
    assert (tuned > scratch).all()
    assert (frozen - scratch).mean() > 0.05


@pytest.mark.slow
def test_animals_and_vehicles_are_read_and_learnt():
    import transfer

    accuracies = transfer.run(range(1), images=(100,), old_epochs=1, epochs=5, tasks=(COLOURS,))[COLOURS]
    assert accuracies.shape == (1, len(transfer.KINDS), 1)
    assert (accuracies > 0.25).any()
    assert np.isfinite(accuracies).all()
