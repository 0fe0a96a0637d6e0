"""What is written for TensorBoard's HParams tab, read by TensorBoard's own reader."""

import keras_tuner
import pytest
from keras_tuner.engine.trial import Trial
from tensorboard import context
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.list_session_groups import Handler

from tfrestore.models.presets import find_preset
from tfrestore.training.configuration import resolve
from tfrestore.training.journal import Journal
from tuning.hparams import write_experiment, write_hparams
from tuning.layout import LOGS, RUN
from tuning.space import Space
from tuning.tuner import copy_run


def read(folder):
    """The experiment, and for each trial its values and its scores."""
    multiplexer = EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(folder))
    backend, request = Context(TBContext(data_provider=provider)), context.RequestContext()
    found = backend.experiment_from_metadata(
        request, "", True, backend.hparams_metadata(request, ""), None
    )
    wanted = api_pb2.ListSessionGroupsRequest(
        slice_size=100,
        allowed_statuses=[api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_SUCCESS, api_pb2.STATUS_RUNNING],
        include_metrics=True,
    )
    groups = Handler(request, backend, "", wanted).run().session_groups
    return found, {
        group.name: (
            {
                name: value.string_value
                if value.HasField("string_value")
                else value.bool_value
                if value.HasField("bool_value")
                else value.number_value
                for name, value in group.hparams.items()
            },
            {value.name.tag: value.value for value in group.metric_values},
        )
        for group in groups
    }


@pytest.fixture
def trials(tmp_path):
    """A trial, and one that goes on with it, in the folder of a search."""
    space = Space.of(resolve(find_preset("unet_tiny")))
    objective = keras_tuner.Objective("val_psnr", "max")
    write_experiment(tmp_path, space, objective)
    made = []
    for number, score in enumerate((30.0, 32.0)):
        hp = keras_tuner.HyperParameters()
        space.declare(hp)
        trial = Trial(hp, trial_id=f"{number:04d}")
        folder = tmp_path / f"trial_{trial.trial_id}"
        folder.mkdir()
        if made:
            copy_run(made[-1], folder)
        with Journal(folder / RUN / LOGS) as journal:
            journal.scalars("validation", {"psnr": score}, 10 + number)
        write_hparams(folder / RUN / LOGS, trial, {"val_psnr": score, "epoch": 1, "step": 10})
        made.append(folder)
    return tmp_path, space, hp


def test_tensorboard_reads_every_trial_with_its_values_and_scores(trials):
    folder, space, hp = trials
    experiment, groups = read(folder)
    assert {each.name for each in experiment.hparam_infos} == {
        each.key for each in space.dimensions
    }
    assert [each.name.tag for each in experiment.metric_infos] == ["val_psnr"]
    # A trial that goes on with another is none of its repetitions, whose mean would be shown.
    assert {name: scores for name, (_, scores) in groups.items()} == {
        "0000": {"val_psnr": 30.0},
        "0001": {"val_psnr": 32.0},
    }
    for values, _ in groups.values():
        assert {name: values[name] for name in hp.values} == pytest.approx(hp.values)


def test_a_trial_that_goes_on_keeps_the_curves(trials):
    folder, *_ = trials
    multiplexer = EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(folder))
    request = context.RequestContext()
    curves = provider.read_scalars(request, experiment_id="", plugin_name="scalars", downsample=100)
    curve = curves["trial_0001/run/logs/validation"]["psnr"]
    assert {point.step: point.value for point in curve} == {10: 30.0, 11: 32.0}
