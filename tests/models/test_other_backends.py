"""Networks and losses on Keras's other backends, where one is installed."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tfrestore.models import Apollo

PROGRAM = """
import sys
import keras
import numpy as np
from keras import ops
from tfrestore import models
from tfrestore.losses.log_spectrum import log_spectral_loss
from tfrestore.losses.multi_resolution_stft import multi_resolution_stft_loss
from tfrestore.losses.neurogram_similarity import neurogram_similarity_loss
from tfrestore.losses.si_snr import si_snr_loss

BACKEND = keras.backend.backend()

def normal(*shape):
    return ops.convert_to_tensor(np.random.default_rng(0).standard_normal(shape).astype("float32"))

def gradients(network, loss):
    variables = network.trainable_variables
    if BACKEND == "torch":
        loss(network).backward()
        return [variable.value.grad for variable in variables]
    import jax

    def loss_of(values):
        with keras.StatelessScope(state_mapping=list(zip(variables, values))):
            return loss(network)

    return jax.grad(loss_of)([variable.value for variable in variables])

def check(network, loss):
    for variable, gradient in zip(network.trainable_variables, gradients(network, loss)):
        assert np.all(np.isfinite(ops.convert_to_numpy(gradient))), variable.path

original = ops.flip(0.1 * normal(2, 8000), axis=0)

def all_losses(network):
    restored = network(0.1 * normal(2, 8000))
    losses = log_spectral_loss(original, restored) + si_snr_loss(original, restored)
    losses = losses + multi_resolution_stft_loss(original, restored)
    return ops.mean(losses + neurogram_similarity_loss(original, restored, sample_rate=44100))

def size(*inputs):
    return lambda network: ops.mean(ops.square(network(*inputs)))

for residual in (False, True):
    check(models.Apollo(features=8, depth=1, heads=2, residual=residual), all_losses)
    sizes = {"bins": 64, "filters": (2, 4, 4), "aggregation": 64, "maps": 8, "noise_size": 6}
    generator = models.FrequencyAggregationGenerator(**sizes, residual=residual)
    check(generator, size(normal(1, 130, 64, 2), normal(1, 6)))
check(models.UNet(filters=2, depth=3), size(ops.abs(normal(2, 128, 128, 1))))
inception = models.InceptionGenerator.from_preset("inception_wgan_time_tiny", load_weights=False)
check(inception, size(normal(1, 8192)))
restored = models.Apollo.from_preset("apollo_tiny")(0.1 * normal(2, 8000))
np.save(sys.argv[1], ops.convert_to_numpy(ops.stop_gradient(restored)))
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_networks_and_losses_have_gradients_there_and_weights_say_the_same(backend, tmp_path):
    pytest.importorskip(backend)
    environment = {**os.environ, "KERAS_BACKEND": backend}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "restored.npy")]
    subprocess.run(command, env=environment, check=True)
    waveform = 0.1 * np.random.default_rng(0).standard_normal((2, 8000)).astype("float32")
    expected = Apollo.from_preset("apollo_tiny")(waveform)
    np.testing.assert_allclose(np.load(tmp_path / "restored.npy"), expected, atol=1e-6)
