import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrestore import metrics
from tfrestore.errors import InputError, UsageError
from tfrestore.metrics.keras_metrics import (
    LSD,
    NRMSE,
    PSNR,
    SISDR,
    SNR,
    Log10LSD,
    MultiResolutionSTFTError,
    SqrtPowerMSE,
    ViSQOL,
)

ON_PATCHES = {PSNR: metrics.psnr, NRMSE: metrics.nrmse}
ON_WAVEFORMS = {
    SNR: metrics.snr,
    SISDR: metrics.si_sdr,
    LSD: metrics.lsd,
    Log10LSD: metrics.log10_lsd,
    SqrtPowerMSE: metrics.sqrt_power_mse,
    MultiResolutionSTFTError: metrics.multi_resolution_stft_error,
}
BOTH = {**ON_PATCHES, **ON_WAVEFORMS}


def patches(count=7):
    rng = np.random.default_rng(0)
    reference = rng.random((count, 16, 12)).astype("float32")
    estimate = (reference + 0.01 * rng.standard_normal(reference.shape)).astype("float32")
    estimate[2] = reference[2]  # infinite PSNR, NRMSE 0
    reference[4] = 0  # no NRMSE
    return reference, estimate


def waveforms(count=7, samples=4000):
    """Coloured noise at different levels and errors; one item is equal, one reference silent."""
    rng = np.random.default_rng(0)
    white = rng.standard_normal((count, samples + 1))
    reference = 0.1 * (white[:, 1:] + 0.9 * white[:, :-1]) * rng.uniform(0.1, 1, (count, 1)) + 0.01
    error = rng.uniform(0.01, 0.5, (count, 1)) * rng.standard_normal((count, samples))
    estimate = (0.8 * reference + 0.1 * error).astype("float32")
    reference = reference.astype("float32")
    estimate[2:3] = reference[2:3]
    reference[4:5] = 0
    return reference, estimate


def items(metric):
    return patches() if metric in ON_PATCHES else waveforms()


def numpy_mean(ruler, reference, estimate, **options):
    values = ruler(reference, estimate, **options)
    return values[np.isfinite(values)].mean()


@pytest.mark.parametrize("metric, ruler", BOTH.items())
def test_unequal_batches_give_the_mean_of_the_numpy_function(metric, ruler):
    reference, estimate = items(metric)
    mean = numpy_mean(ruler, reference, estimate)
    metric = metric()
    metric.update_state(reference[:5], estimate[:5])
    metric.update_state(reference[5:, ..., None], estimate[5:, ..., None])
    assert float(metric.result()) == pytest.approx(mean, rel=1e-5)
    metric.reset_state()
    metric.update_state(reference[:2], estimate[:2, ..., None])
    assert float(metric.result()) == pytest.approx(
        ruler(reference[:2], estimate[:2]).mean(), rel=1e-5
    )


@pytest.mark.parametrize("metric", BOTH)
def test_each_item_has_the_value_of_the_numpy_function_or_is_left_out(metric):
    ruler = BOTH[metric]
    reference, estimate = items(metric)
    for number in range(len(reference)):
        one = slice(number, number + 1)
        expected = ruler(reference[one], estimate[one])[0]
        single = metric()
        single.update_state(reference[one], estimate[one])
        assert float(single.count) == np.isfinite(expected)
        if np.isfinite(expected):
            assert float(single.result()) == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("metric, ruler", BOTH.items())
def test_items_are_weighted_and_an_undefined_one_stays_out(metric, ruler):
    reference, estimate = items(metric)
    weights = np.array([1, 2, 3, 0, 1, 0, 4], "float32")
    values = ruler(reference, estimate)
    kept = np.isfinite(values)
    expected = np.average(values[kept], weights=weights[kept])
    for shape in [(7,), (7, 1)]:
        metric_of_shape = metric()
        metric_of_shape.update_state(reference, estimate, sample_weight=weights.reshape(shape))
        assert float(metric_of_shape.result()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("metric", [PSNR, SNR, SISDR])
def test_an_epoch_of_perfect_items_gives_zero(metric):
    reference, _ = items(metric)
    metric = metric()
    for _ in range(2):
        metric.update_state(reference, reference)
    assert float(metric.result()) == 0 and float(metric.count) == 0


@pytest.mark.parametrize("metric", [NRMSE, SNR, SISDR, MultiResolutionSTFTError])
def test_a_silent_reference_is_left_out(metric):
    _, estimate = items(metric)
    metric = metric()
    metric.update_state(np.zeros_like(estimate), estimate)
    assert float(metric.result()) == 0 and float(metric.count) == 0


@pytest.mark.parametrize("in_a_graph", [False, True])
def test_visqol_is_the_mean_of_what_has_a_score(in_a_graph):
    reference, estimate = waveforms(count=4, samples=16000)
    estimate[1] = 0
    expected = [metrics.visqol(reference[row], estimate[row], 16000) for row in (0, 2, 3)]
    metric = ViSQOL(16000)
    update = tf.function(metric.update_state) if in_a_graph else metric.update_state
    update(tf.constant(reference), tf.constant(estimate))
    update(tf.constant(reference[:, :9000]), tf.constant(estimate[:, :9000]))
    assert float(metric.count) == 3
    assert float(metric.result()) == pytest.approx(np.mean(expected), rel=1e-5)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert (again.sample_rate, again.name) == (16000, "visqol")


def test_the_data_range_moves_psnr_by_its_decibels():
    reference, estimate = patches()
    one, ten = PSNR(), PSNR(data_range=10.0)
    for metric in (one, ten):
        metric.update_state(reference, estimate)
    assert float(ten.result() - one.result()) == pytest.approx(20, abs=1e-4)


@pytest.mark.parametrize("level", [1e-3, 1.0])
def test_si_sdr_leaves_out_scaled_copies_and_constants(level):
    reference = level * waveforms()[0][:4]
    metric = SISDR()
    metric.update_state(reference, 0.3 * reference)
    metric.update_state(reference, reference - 0.02 * level)
    metric.update_state(reference, np.full_like(reference, level / 3))
    metric.update_state(np.full_like(reference, level / 3), reference)
    assert float(metric.count) == 0
    # 100 dB down is still measured.
    time = np.arange(4000) / 4000
    sine, cosine = (level * f(2 * np.pi * 100 * time)[None] for f in (np.sin, np.cos))
    metric.update_state(sine, sine + 1e-5 * cosine)
    assert float(metric.result()) == pytest.approx(100, abs=0.1)


def test_the_mean_is_kept_in_si_sdr_when_asked():
    reference, estimate = waveforms()
    metric = SISDR(zero_mean=False)
    metric.update_state(reference, estimate)
    expected = numpy_mean(metrics.si_sdr, reference, estimate, zero_mean=False)
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)
    assert abs(expected - numpy_mean(metrics.si_sdr, reference, estimate)) > 1e-3


@pytest.mark.parametrize("metric, ruler", [(LSD, metrics.lsd), (Log10LSD, metrics.log10_lsd)])
def test_the_floor_is_the_numpy_functions(metric, ruler):
    reference, estimate = waveforms()
    estimate[0] *= 1e-4
    with_floor = metric(floor=1e-3)
    with_floor.update_state(reference, estimate)
    expected = numpy_mean(ruler, reference, estimate, floor=1e-3)
    assert float(with_floor.result()) == pytest.approx(expected, rel=1e-5)
    without = metric(floor=0.0)
    without.update_state(0 * reference, 0 * reference)
    assert float(without.result()) == 0 and float(without.count) == 7
    without.update_state(0 * reference, estimate)
    assert float(without.count) == 7
    with pytest.raises(UsageError, match="floor is -1"):
        metric(floor=-1)


@pytest.mark.parametrize(
    "metric, shortest",
    [(LSD, 2048), (Log10LSD, 257), (SqrtPowerMSE, 2048), (MultiResolutionSTFTError, 1025)],
)
def test_waveforms_too_short_for_a_spectrum_are_left_out(metric, shortest):
    reference, estimate = waveforms(2, shortest)
    metric = metric()
    metric.update_state(reference[:, 1:], estimate[:, 1:])
    metric.update_state(reference[:, :1], estimate[:, :1])
    assert float(metric.count) == 0
    metric.update_state(reference, estimate)
    assert float(metric.count) == 2


@pytest.mark.parametrize("metric", BOTH)
def test_items_that_are_not_finite_are_left_out(metric):
    reference, estimate = items(metric)
    for array, bad in [(reference, np.nan), (estimate, np.nan), (estimate, np.inf)]:
        broken = array.copy()
        broken.reshape(len(broken), -1)[:, 100] = bad
        one = metric()
        one.update_state(*((broken, estimate) if array is reference else (reference, broken)))
        assert float(one.count) == 0 and float(one.result()) == 0


@pytest.mark.parametrize("metric", ON_WAVEFORMS)
def test_waveforms_with_channels_are_refused_in_one_line(metric):
    for shape in [(2, 3000, 2), (3000,), (2, 3, 3000, 1)]:
        with pytest.raises(InputError, match="batch, samples"):
            metric().update_state(np.ones(shape), np.ones(shape))


def evaluate(family, arrays, **compiled):
    reference, estimate = (array[..., None] for array in arrays)
    model = keras.Sequential([keras.Input(reference.shape[1:]), keras.layers.Identity()])
    model.compile(loss="mse", metrics=[metric() for metric in family], **compiled)
    return model.evaluate(estimate, reference, batch_size=3, verbose=0, return_dict=True)


@pytest.mark.parametrize("compiled", [{"jit_compile": True}, {"run_eagerly": True}])
@pytest.mark.parametrize(
    "family, arrays",
    [(ON_PATCHES, patches()), (ON_WAVEFORMS, waveforms())],
    ids=["patches", "wave"],
)
def test_they_work_in_compile_eagerly_and_compiled(family, arrays, compiled):
    scores = evaluate(family, arrays, **compiled)
    for metric, ruler in family.items():
        assert scores[metric().name] == pytest.approx(numpy_mean(ruler, *arrays), rel=1e-5)


def test_a_graph_may_leave_batch_and_length_open():
    reference, estimate = waveforms()
    family = [metric() for metric in ON_WAVEFORMS]

    @tf.function(input_signature=[tf.TensorSpec((None, None)), tf.TensorSpec((None, None))])
    def update(reference, estimate):
        for metric in family:
            metric.update_state(reference, estimate)

    update(reference[:, :200], estimate[:, :200])
    assert [float(metric.count) for metric in family[2:]] == [0] * 4
    for metric in family:
        metric.reset_state()
    update(reference[:3], estimate[:3])
    update(reference[3:], estimate[3:])
    for metric, ruler in zip(family, ON_WAVEFORMS.values(), strict=True):
        assert float(metric.result()) == pytest.approx(
            numpy_mean(ruler, reference, estimate), rel=1e-5
        )


@pytest.mark.parametrize("metric, ruler", BOTH.items())
def test_under_mixed_precision_they_compute_in_float32(metric, ruler):
    reference, estimate = items(metric)
    coarse = tf.cast(estimate, tf.bfloat16)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        metric = metric()
        metric.update_state(reference, coarse)
        assert all(variable.dtype == "float32" for variable in metric.variables)
    finally:
        keras.config.set_dtype_policy(policy)
    expected = numpy_mean(ruler, reference, tf.cast(coarse, tf.float32).numpy())
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)


def test_they_are_saved():
    configured = [
        PSNR(data_range=2.0, name="level"),
        SISDR(zero_mean=False),
        LSD(floor=1e-6),
        Log10LSD(floor=1e-5),
        *(metric() for metric in BOTH),
    ]
    for metric in configured:
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
        assert type(again) is type(metric)
        assert again.get_config() == metric.get_config()
        assert (
            keras.saving.get_registered_name(type(metric)) == f"tfrestore>{type(metric).__name__}"
        )


@pytest.mark.parametrize(
    "family, arrays",
    [(ON_PATCHES, patches(11)), (ON_WAVEFORMS, waveforms(11, 2500))],
    ids=["patches", "wave"],
)
def test_two_replicas_with_unequal_batches_give_the_mean_over_all_items(family, arrays):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert strategy.num_replicas_in_sync == 2
    with strategy.scope():
        members = [metric() for metric in family]
    data = strategy.experimental_distribute_dataset(
        tf.data.Dataset.from_tensor_slices(arrays).batch(4)
    )

    @tf.function
    def step(batch):
        def update(reference, estimate):
            for metric in members:
                metric.update_state(reference, estimate)

        strategy.run(update, args=batch)

    sizes = []
    for batch in data:
        sizes.append([int(p.shape[0]) for p in strategy.experimental_local_results(batch[0])])
        step(batch)
    assert sizes[-1] == [2, 1]
    for metric, ruler in zip(members, family.values(), strict=True):
        assert float(metric.result()) == pytest.approx(numpy_mean(ruler, *arrays), rel=1e-5)


def test_they_give_the_same_values_on_jax(tmp_path):
    pytest.importorskip("jax")
    reference, estimate = waveforms()
    np.savez(tmp_path / "pair.npz", reference=reference, estimate=estimate)
    program = f"""
import sys
import keras
import numpy as np
from tfrestore.metrics import keras_metrics
assert keras.backend.backend() == "jax"
with np.load(sys.argv[1]) as pair:
    for name in {[metric.__name__ for metric in ON_WAVEFORMS]}:
        metric = getattr(keras_metrics, name)()
        metric.update_state(pair["reference"], pair["estimate"])
        print(float(metric.result()))
"""
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "pair.npz")],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )
    assert run.returncode == 0, run.stderr
    values = [float(line) for line in run.stdout.splitlines()]
    expected = [numpy_mean(ruler, reference, estimate) for ruler in ON_WAVEFORMS.values()]
    assert values == pytest.approx(expected, rel=1e-5)
