"""Training runs that are interrupted, and whether two ended alike."""

import itertools

import numpy as np
import pytest


def run_until_checkpoint(run, monkeypatch, step=None):
    """The run is interrupted once it has kept the checkpoint of a step, by default the first."""
    keep = run.manager.save

    def keep_and_stop(checkpoint_number):
        keep(checkpoint_number=checkpoint_number)
        if step in (None, checkpoint_number):
            raise KeyboardInterrupt

    monkeypatch.setattr(run.manager, "save", keep_and_stop)
    with pytest.raises(KeyboardInterrupt):
        run.run()


def assert_ended_alike(ours, theirs, *variables_of):
    """Two runs have the same variables, to the last bit: those that each function gives of them."""
    pairs = (zip(each(ours), each(theirs), strict=True) for each in variables_of)
    for our, their in itertools.chain(*pairs):
        np.testing.assert_array_equal(np.array(our), np.array(their), err_msg=our.name)
