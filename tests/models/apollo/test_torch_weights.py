"""What the authors' checkpoints hold becomes this network, or is refused by name."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrestore.checkpoints import open_checkpoint, write_checkpoint
from tfrestore.errors import InputError, UsageError
from tfrestore.models import Apollo
from tfrestore.models.apollo.torch_weights import (
    checkpoint_content,
    find_weights,
    make_network,
    rotary_tables,
    torch_weights,
)

GOLDEN = Path(__file__).parent / "golden" / "apollo_small.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def published(golden):
    """The authors' state dictionary of a small network."""
    return {
        name.removeprefix("param/"): array
        for name, array in golden.items()
        if name.startswith("param/")
    }


@pytest.fixture(scope="module")
def tiny():
    """A network that is quickly made, with all parts of the large one."""
    return Apollo(features=8, depth=2, heads=2, bands=4, band_bins=2, frame_length=20)


def found(tmp_path, content, **choices):
    path = tmp_path / "model.pth"
    write_checkpoint(path, content)
    with open_checkpoint(path) as content:
        weights = find_weights(content, **choices)
        return weights, make_network(weights)


def test_the_authors_weights_give_the_authors_output(golden, published, tmp_path):
    weights, network = found(tmp_path, {"state_dict": published})
    assert (network.features, network.depth, network.heads, network.causal) == (32, 2, 8, False)
    assert weights.sample_rate == 44100
    assert network.count_params() == 180_012
    output = np.array(network(golden["input"]))
    assert np.abs(output - golden["output"]).max() <= 1e-6


def test_weights_go_there_and_back_bit_for_bit(published, tmp_path):
    _, network = found(tmp_path, published)
    back = torch_weights(network)
    assert set(back) - set(published) == set(rotary_tables(2, 4)) - set(published)
    for name, tensor in published.items():
        if not name.endswith("_freq"):
            assert back[name].tobytes() == tensor.tobytes() and back[name].shape == tensor.shape


def test_rotary_tables_are_those_of_rotary_embeddings():
    tables = rotary_tables(1, 4)
    cosines, sines = tables["net.0.band_net.cos_freq"], tables["net.0.band_net.sin_freq"]
    # Position 3 turns the first pair by 3 and the second by 0.03.
    np.testing.assert_allclose(cosines[3], np.cos([3, 3, 0.03, 0.03]), atol=1e-6)
    np.testing.assert_allclose(sines[3], np.sin([3, 3, 0.03, 0.03]), atol=1e-6)
    assert cosines.shape == sines.shape == (100, 4)


@pytest.mark.parametrize("prefix", ["audio_model.", "model.", "module.", "module.audio_model.", ""])
def test_what_frameworks_put_around_the_weights_is_taken_off(prefix, tiny, tmp_path):
    weights = torch_weights(tiny)
    state = {f"{prefix}{name}": tensor for name, tensor in weights.items()}
    state |= {
        "discriminator.discriminators.0.discriminator.0.0.weight_orig": np.zeros(3, np.float32),
        "discriminator.discriminators.0.discriminator.0.0.bias": np.zeros(3, np.float32),
        "loss_func.window": np.zeros(3, np.float32),
    }
    lightning = {
        "epoch": 3,
        "pytorch-lightning_version": "2.1.0",
        "state_dict": state,
        "optimizer_states": [{"state": {"0": {"exp_avg": np.zeros(2, np.float32)}}}],
    }
    for content in (lightning, state, {"checkpoint": lightning}):
        result, network = found(tmp_path, content, sample_rate=1000)
        assert result.ignored == {"discriminator": 2, "loss_func": 1}
        assert result.arguments == {name: getattr(tiny, name) for name in result.arguments}
        for name, tensor in torch_weights(network).items():
            np.testing.assert_array_equal(tensor, weights[name])


def test_parts_that_were_compiled_are_found(tiny, tmp_path):
    state = {
        name.replace("band_net.", "_orig_mod.band_net."): tensor
        for name, tensor in torch_weights(tiny).items()
    }
    state = {f"_orig_mod.{name}": tensor for name, tensor in state.items()}
    _, network = found(tmp_path, state, sample_rate=1000)
    np.testing.assert_array_equal(network.weights[3], tiny.weights[3])


def test_one_of_several_is_chosen_by_name(tiny, tmp_path):
    weights = torch_weights(tiny)
    other = {name: tensor + np.float32(1) for name, tensor in weights.items()}
    state = {f"model.{name}": tensor for name, tensor in weights.items()}
    content = {"state_dict": state, "ema": {f"model.{n}": tensor for n, tensor in other.items()}}
    for name in rotary_tables(2, 4):
        content["ema"][f"model.{name}"] = weights[name]
    with pytest.raises(UsageError, match=r"--weights 'state_dict\.model' or 'ema\.model'"):
        found(tmp_path, content, sample_rate=1000)
    with pytest.raises(UsageError, match=r"--weights nothing: there is none"):
        found(tmp_path, content, which="nothing")
    for which, expected in (("state_dict.model", weights), ("ema.model", other)):
        _, network = found(tmp_path, content, which=which, sample_rate=1000)
        np.testing.assert_array_equal(
            torch_weights(network)["BN.0.1.bias"], expected["BN.0.1.bias"]
        )


@pytest.mark.parametrize(
    ("sample_rate", "frame_length"), [(44100, 882), (48000, 960), (32000, 640), (16000, 320)]
)
def test_the_rate_is_the_one_at_which_the_window_lasts_20_ms(sample_rate, frame_length, tmp_path):
    network = Apollo(features=4, depth=1, heads=2, bands=3, frame_length=frame_length)
    weights, again = found(tmp_path, torch_weights(network))
    assert weights.sample_rate == sample_rate
    assert again.frame_length == frame_length


def test_what_tensors_do_not_tell_is_stored_beside_them_or_given(tmp_path):
    network = Apollo(
        features=8, depth=1, heads=4, bands=3, band_bins=3, frame_length=30, causal=True
    )
    tensors = torch_weights(network)
    weights, again = found(tmp_path, checkpoint_content(network, 1500, tensors))
    assert (weights.sample_rate, again.heads, again.causal) == (1500, 4, True)
    bare = {name: tensor for name, tensor in tensors.items() if not name.endswith("_freq")}
    with pytest.raises(UsageError, match="--sample-rate: the window has 30 samples"):
        found(tmp_path, bare, heads=4)
    with pytest.raises(InputError, match="8 heads"):
        found(tmp_path, bare, sample_rate=1500)
    weights, again = found(tmp_path, bare, sample_rate=8000, heads=4, causal=True)
    assert (weights.sample_rate, again.heads, again.causal) == (8000, 4, True)


def test_half_precision_is_widened(tiny, tmp_path):
    half = {name: tensor.astype(np.float16) for name, tensor in torch_weights(tiny).items()}
    _, network = found(tmp_path, half, sample_rate=1000)
    for name, tensor in torch_weights(network).items():
        if not name.endswith("_freq"):
            np.testing.assert_array_equal(tensor, half[name].astype(np.float32))


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_tensor_that_is_missing_or_of_another_shape_is_named(data, tiny, tmp_path_factory):
    tensors = torch_weights(tiny)
    weights = sorted(name for name in tensors if not name.endswith("_freq"))
    name = data.draw(st.sampled_from(weights))
    change = data.draw(st.sampled_from(["remove", "widen", "flatten", "integers", "nan", "add"]))
    if change == "remove":
        del tensors[name]
    elif change == "widen":
        tensors[name] = np.concatenate([tensors[name]] * 2)
    elif change == "flatten":
        tensors[name] = tensors[name].reshape(-1, 1)
    elif change == "integers":
        tensors[name] = tensors[name].astype(np.int32)
    elif change == "nan":
        tensors[name] = np.full_like(tensors[name], np.nan)
    else:
        name = f"{name.rpartition('.')[0]}.other"
        tensors[name] = np.zeros(3, np.float32)
    with pytest.raises(InputError) as caught:
        found(tmp_path_factory.getbasetemp(), tensors, sample_rate=1000)
    # Of the last band and the widths, another tensor may be what does not fit.
    assert "the tensor" in str(caught.value)
    if change in ("integers", "nan", "add") or (change == "remove" and "3" not in name):
        assert name in str(caught.value)


def test_other_architectures_are_refused(tiny, published, tmp_path):
    def expect(words, content):
        with pytest.raises(InputError, match=words):
            found(tmp_path, content, sample_rate=1000)

    array = np.zeros(3, np.float32)
    expect("encoder.weight, encoder.bias", {"encoder.weight": array, "encoder.bias": array})
    expect("no named tensors", {"epoch": 3, "state_dict": {}})
    expect("no named tensors", [1, 2])
    weights = torch_weights(tiny)
    expect("net.0.gate.weight is none of Apollo", weights | {"net.0.gate.weight": array})
    behind = {f"model.{name}": tensor for name, tensor in weights.items()}
    expect("stereo.weight is none of Apollo", behind | {"model.stereo.weight": array})
    turned = dict(weights)
    turned["net.1.band_net.cos_freq"] = weights["net.1.band_net.sin_freq"]
    expect("other rotary embeddings", turned)
    wider = {name: np.zeros((100, 64), np.float32) for name in rotary_tables(2, 4)}
    expect("8 heads", weights | wider)
    gains = [name for name in weights if name.endswith("input_norm.weight")]
    wide = dict.fromkeys(gains, np.zeros(10**6, np.float32))
    expect("too few for 1000000 features", weights | wide)
    expect("count 1000000000 bands", weights | {"BN.999999999.0.weight": array})
