"""Transfer, small: what other digits have taught is of use as it is, and what animals have taught as a start."""

import pytest

SEEDS = range(5)
DIGITS, COLORS = "from digits 0-4 to 5-9", "from animals to vehicles"


@pytest.mark.slow
def test_other_digits_help_where_images_are_few():
    import transfer

    scratch, frozen, tuned = transfer.run(SEEDS, images=(20,), old_epochs=2, tasks=(DIGITS,))[DIGITS][:, :, 0].T
    assert (frozen > scratch).all()
    assert (tuned > scratch).all()
    assert (frozen - scratch).mean() > 0.05


@pytest.mark.slow
def test_what_animals_have_taught_must_be_learnt_anew_for_vehicles():
    import transfer

    accuracies = transfer.run(SEEDS, images=(200,), old_epochs=2, epochs=6, tasks=(COLORS,))[COLORS]
    scratch, frozen, tuned = accuracies[:, :, 0].T
    assert (frozen < scratch).sum() >= 4
    assert (scratch - frozen).mean() > 0.03
    assert (tuned > scratch).sum() >= 4
    assert (tuned > 0.35).all()  # of four classes
