"""Two logical CPU devices for every test, so that replicas can be compared with one device."""

import os
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
import soundfile
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


def synthesize(seconds, sample_rate, seed=0):
    """A few decaying tones over a little noise, float32 (samples,), peak 0.5."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    waveform = 0.005 * rng.standard_normal(len(time))
    for onset in np.arange(0, seconds, 0.25):
        after = np.maximum(time - onset, 0)
        frequency = rng.uniform(100, 2000)
        waveform += (time >= onset) * np.sin(2 * np.pi * frequency * after) * np.exp(-3 * after)
    return (0.5 * waveform / np.abs(waveform).max()).astype(np.float32)


@pytest.fixture(scope="session")
def music_folder(tmp_path_factory):
    """A folder of six short tracks of two genres, with splits."""
    folder = tmp_path_factory.mktemp("music")
    for number, split in enumerate(["train"] * 3 + ["valid"] * 2 + ["test"]):
        genre = "even" if number % 2 == 0 else "odd"
        path = folder / split / f"{genre}__{number}.flac"
        path.parent.mkdir(exist_ok=True)
        stereo = np.stack([synthesize(4.0, 22050, seed) for seed in (number, number + 100)], axis=1)
        soundfile.write(path, stereo, 22050)
    return folder


def _save_run(folder, **arguments):
    from tfrestore.models.inpainter.network import UNet
    from tfrestore.models.inpainter.restorer import InpainterRestorer

    network = UNet(filters=4, depth=2, **arguments)
    if arguments.get("global_residual"):
        output = network.get_layer("output_convolution")
        output.set_weights([np.zeros_like(weights) for weights in output.get_weights()])
    InpainterRestorer(network).save_to_preset(folder)
    return folder


@pytest.fixture(scope="session")
def random_run(tmp_path_factory):
    """A run folder whose network has not been trained: it fills gaps with something."""
    return _save_run(tmp_path_factory.mktemp("runs") / "random")


@pytest.fixture(scope="session")
def identity_run(tmp_path_factory):
    """A run folder whose network gives back what it gets."""
    return _save_run(tmp_path_factory.mktemp("runs") / "identity", global_residual=True)


@pytest.fixture(scope="session")
def stochastic_run(tmp_path_factory):
    """A run folder whose network takes noise of 8 values and does something to all it hears."""
    from tfrestore.models.sr_gan.network import FrequencyAggregationGenerator
    from tfrestore.models.sr_gan.restorer import SRGANRestorer

    network = FrequencyAggregationGenerator(filters=(2, 3, 3), aggregation=64, maps=4, noise_size=8)
    # Restorations of usual level have parts of about this size.
    spectrum = np.random.default_rng(0).normal(0, 3, (1, 130, 1024, 2)).astype(np.float32)
    loudness = np.std(network(spectrum, np.ones((1, 8), np.float32)))
    (last,) = [weight for weight in network.weights if weight.path.endswith("deconv1/kernel")]
    last.assign(last * (8 / loudness))
    folder = tmp_path_factory.mktemp("runs") / "stochastic"
    SRGANRestorer(network, chunk_seconds=2.0).save_to_preset(folder)
    return folder


@pytest.fixture
def heard_signals():
    """Ctrl-C and its like are heard, also where the tests were started in the background."""
    handlers = {"SIGINT": signal.default_int_handler}
    handlers |= {"SIGTERM": signal.SIG_DFL, "SIGHUP": signal.SIG_DFL}
    numbers = {name: getattr(signal, name) for name in handlers if hasattr(signal, name)}
    before = {number: signal.signal(number, handlers[name]) for name, number in numbers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
