"""The network is the authors' to 1e-5, and the same however it is called."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrestore.models import Apollo

GOLDEN = Path(__file__).parent / "golden" / "apollo_small.npz"


def published_weights(parameters, depth, heads, bands):
    """The authors' state dict under the paths of `Apollo`'s weights."""

    def transposed(name):
        return parameters[name][:, :, 0].T

    weights = {}
    for layer, room in (("band_split", "BN"), ("band_reconstruction", "output")):
        for weight, read in (
            ("gain", lambda name: parameters[f"{name}.0.weight"]),
            ("kernel", lambda name: transposed(f"{name}.1.weight")),
            ("bias", lambda name: parameters[f"{name}.1.bias"]),
        ):
            all_bands = [read(f"{room}.{band}") for band in range(bands)]
            weights[f"{layer}/{weight}"] = np.stack(all_bands[:-1])
            weights[f"{layer}/last_{weight}"] = all_bands[-1]
    for block in range(depth):
        theirs, ours = f"net.{block}.band_net.", f"block_{block}_roformer/"
        rows = parameters[theirs + "weight.weight"][:, :, 0]
        features = rows.shape[1]
        rows = rows.reshape(heads, 3, -1, features).swapaxes(0, 1).copy()
        width = rows.shape[2]
        rows[:2] = rows[:2][:, :, [*range(0, width, 2), *range(1, width, 2)]]
        for name, part in zip(("query", "key", "value"), rows, strict=True):
            weights[f"{ours}{name}_kernel"] = part.reshape(-1, features).T
        weights[ours + "attention_gain"] = parameters[theirs + "input_norm.weight"]
        weights[ours + "attention_kernel"] = transposed(theirs + "output.weight")
        weights[ours + "feed_forward_gain"] = parameters[theirs + "MLP.0.weight"]
        gate, content = np.split(transposed(theirs + "MLP.1.weight"), 2, axis=1)
        weights[ours + "gate_kernel"] = gate
        weights[ours + "content_kernel"] = content
        weights[ours + "feed_forward_kernel"] = transposed(theirs + "MLP_output.weight")
        for number in range(3):
            theirs = f"net.{block}.seq_net.blocks.{number}.conv."
            ours = f"block_{block}_convolution_{number}/"
            weights[ours + "depthwise_kernel"] = parameters[theirs + "0.weight"][:, 0].T
            weights[ours + "depthwise_bias"] = parameters[theirs + "0.bias"]
            weights[ours + "gain"] = parameters[theirs + "1.weight"]
            weights[ours + "expansion_kernel"] = transposed(theirs + "2.weight")
            weights[ours + "expansion_bias"] = parameters[theirs + "2.bias"]
            weights[ours + "projection_kernel"] = transposed(theirs + "4.weight")
            weights[ours + "projection_bias"] = parameters[theirs + "4.bias"]
    return weights


@pytest.fixture(scope="module")
def golden():
    """The golden arrays by name."""
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def published(golden):
    """The network with the golden weights."""
    network = Apollo(features=32, depth=2)
    parameters = {
        name.removeprefix("param/"): array
        for name, array in golden.items()
        if name.startswith("param/")
    }
    weights = published_weights(parameters, depth=2, heads=8, bands=80)
    for weight in network.weights:
        weight.assign(weights.pop("/".join(weight.path.split("/")[-2:])))
    assert not weights
    return network


def small(**arguments):
    """A network that computes quickly, with all parts of the large one."""
    return Apollo(
        **{"features": 8, "depth": 2, "heads": 2, "bands": 6, "frame_length": 64} | arguments
    )


def noise(*shape):
    return np.random.default_rng(0).uniform(-0.5, 0.5, shape).astype(np.float32)


def test_the_output_is_that_of_the_authors_network(published, golden):
    output = np.array(published(golden["input"]))
    assert np.abs(output - golden["output"]).max() <= 1e-6


@pytest.mark.parametrize("name", ["apollo", "apollo_causal"])
def test_the_presets_have_the_paper_s_number_of_parameters(name):
    network = Apollo.from_preset(name)
    assert network.count_params() == 16_539_308
    assert sum(np.prod(weight.shape) for weight in network.trainable_weights) == 16_539_308
    assert network.causal == (name == "apollo_causal")


@pytest.mark.parametrize("samples", [1, 31, 32, 33, 63, 64, 1000])
@pytest.mark.parametrize("causal", [False, True])
def test_the_output_has_the_input_s_length(samples, causal):
    network = small(causal=causal)
    assert network(noise(2, samples)).shape == (2, samples)


def test_channels_are_restored_one_by_one():
    network, waveform = small(), noise(2, 3, 500)
    output = np.array(network(waveform))
    assert output.shape == waveform.shape
    np.testing.assert_allclose(output[1, 2], network(waveform[1, 2:])[0], atol=1e-6)
    with pytest.raises(ValueError, match="channels, samples"):
        network(waveform[0, 0])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("cuts", "lanes"),
    [([25], 2), ([1, 24], 1), ([7, 3, 1, 11, 3], 4), ([0, 24, 1], 3), ([25, 0], 1)],
)
def test_a_spectrum_in_pieces_gives_what_the_whole_gives(causal, cuts, lanes):
    network = small(causal=causal)
    spectrum = network.stft(noise(2, 24 * 32))
    if causal:
        spectrum = tuple(part[:, :25] for part in spectrum)
    state, position, pieces = network.start(2, lanes), 0, []
    for number, frames in enumerate(cuts):
        piece = tuple(part[:, position : position + frames] for part in spectrum)
        position += frames
        restored, state = network.advance(piece, state, number == len(cuts) - 1, lanes)
        pieces.append(np.stack(restored, axis=-1))
        done = sum(piece.shape[1] for piece in pieces)
        if number < len(cuts) - 1:
            assert done == max(0, position - network.frames_after)
    whole = np.stack(network.restore_spectrum(spectrum), axis=-1)
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, atol=2e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_a_sample_depends_on_nothing_beyond_the_receptive_field(causal):
    network, waveform = small(depth=1, causal=causal), noise(1, 40 * 32)
    changed = waveform.copy()
    changed[:, 640:] += noise(1, 640)
    reach = 640 - (1 + network.frames_after) * network.hop_length
    difference = np.array(network(changed) - network(waveform))[0]
    # Causal: what comes out at a sample depends on nothing later than a window after it.
    assert network.frames_after == (0 if causal else 9)
    first = np.flatnonzero(difference)[0]
    assert reach - network.hop_length <= first <= reach + network.hop_length


def test_a_graph_takes_any_batch_and_length():
    network = small()
    graph = tf.function(network, [tf.TensorSpec([None, None], tf.float32)])
    for waveform in (noise(1, 700), noise(3, 333)):
        np.testing.assert_allclose(graph(waveform), network(waveform), atol=1e-6)


def test_saving_and_presets_keep_the_network(tmp_path):
    network, waveform = small(causal=True, seed=3), noise(1, 500)
    expected = network(waveform)
    network.save(tmp_path / "network.keras")
    network.save_to_preset(tmp_path / "preset")
    for again in (
        keras.saving.load_model(tmp_path / "network.keras"),
        Apollo.from_preset(tmp_path / "preset"),
    ):
        np.testing.assert_array_equal(again(waveform), expected)
        assert again.get_config() == network.get_config()
    assert np.abs(Apollo.from_config(small(seed=4).get_config())(waveform) - expected).max() > 0


def test_every_weight_has_a_gradient():
    network = small()
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(network(noise(1, 500))))
    gradients = tape.gradient(loss, network.trainable_weights)
    assert all(gradient is not None and np.abs(gradient).max() > 0 for gradient in gradients)


def test_mixed_precision_computes_nearly_the_same_in_float32_out():
    network, waveform = small(), noise(1, 2000)
    mixed = small(dtype="mixed_bfloat16")
    expected, output = np.array(network(waveform)), np.array(mixed(waveform))
    assert output.dtype == np.float32
    assert all(weight.dtype == "float32" for weight in mixed.weights)
    assert 0 < np.square(output - expected).sum() < 1e-3 * np.square(expected).sum()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"heads": 3}, "heads"),
        ({"bands": 9}, "bands"),
        ({"kernel_size": 4}, "kernel_size"),
        ({"frame_length": 63}, "frame_length"),
    ],
)
def test_sizes_that_do_not_fit_are_named(arguments, named):
    with pytest.raises(ValueError, match=named):
        small(**arguments)
