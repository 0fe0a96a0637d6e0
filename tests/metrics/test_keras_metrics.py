import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrestore.metrics.keras_metrics import NRMSE, PSNR
from tfrestore.metrics.spectral import mean_without_infinities, nrmse, psnr


def patches(count=7):
    rng = np.random.default_rng(0)
    reference = rng.random((count, 16, 12)).astype("float32")
    estimate = (reference + 0.01 * rng.standard_normal(reference.shape)).astype("float32")
    estimate[2] = reference[2]  # infinite PSNR, NRMSE 0
    reference[4] = 0  # no NRMSE
    return reference, estimate


@pytest.mark.parametrize("metric, ruler", [(PSNR, psnr), (NRMSE, nrmse)])
def test_unequal_batches_give_the_mean_of_the_numpy_function(metric, ruler):
    reference, estimate = patches()
    mean, _, count, left_out = mean_without_infinities(ruler(reference, estimate))
    assert (count, left_out) == (6, 1)
    metric = metric()
    metric.update_state(reference[:5], estimate[:5])
    metric.update_state(reference[5:, ..., None], estimate[5:, ..., None])
    assert float(metric.result()) == pytest.approx(mean, rel=1e-5)
    metric.reset_state()
    metric.update_state(reference[:2], estimate[:2, ..., None])
    assert float(metric.result()) == pytest.approx(
        ruler(reference[:2], estimate[:2]).mean(), rel=1e-5
    )


def test_patches_are_weighted_and_an_infinite_one_stays_out():
    reference, estimate = patches()
    weights = np.array([1, 2, 3, 0, 1, 0, 4], "float32")
    values = psnr(reference, estimate)
    kept = np.isfinite(values)
    metric = PSNR()
    metric.update_state(reference, estimate, sample_weight=weights)
    expected = np.average(values[kept], weights=weights[kept])
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)


def test_the_data_range_moves_psnr_by_its_decibels_and_nothing_left_gives_zero():
    reference, estimate = patches()
    one, ten = PSNR(), PSNR(data_range=10.0)
    for metric in (one, ten):
        metric.update_state(reference, estimate)
    assert float(ten.result() - one.result()) == pytest.approx(20, abs=1e-4)
    metric = PSNR()
    metric.update_state(reference, reference)
    assert float(metric.result()) == 0
    metric = NRMSE()
    metric.update_state(np.zeros_like(reference), estimate)
    assert float(metric.result()) == 0


def test_they_work_in_compile_in_a_graph_and_in_half_precision():
    reference, estimate = patches()
    model = keras.Sequential([keras.Input((16, 12, 1)), keras.layers.Identity()])
    model.compile(loss="mse", metrics=[PSNR(), NRMSE()])
    scores = model.evaluate(
        estimate[..., None], reference[..., None], batch_size=3, verbose=0, return_dict=True
    )
    assert scores["psnr"] == pytest.approx(
        mean_without_infinities(psnr(reference, estimate))[0], rel=1e-5
    )
    assert scores["nrmse"] == pytest.approx(
        mean_without_infinities(nrmse(reference, estimate))[0], rel=1e-5
    )
    coarse = tf.cast(estimate, tf.bfloat16)
    metric = PSNR()
    metric.update_state(reference, coarse)
    expected = mean_without_infinities(psnr(reference, tf.cast(coarse, tf.float32)))[0]
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)


def test_they_are_saved():
    for metric in (PSNR(data_range=2.0, name="level"), NRMSE()):
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
        assert type(again) is type(metric)
        assert again.get_config() == metric.get_config()


def test_two_replicas_with_unequal_batches_give_the_mean_over_all_patches():
    # In a process of its own: logical devices must be set before TensorFlow starts.
    program = """
import json
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfrestore.metrics.keras_metrics import NRMSE, PSNR
from tfrestore.metrics.spectral import mean_without_infinities, nrmse, psnr
rng = np.random.default_rng(0)
reference = rng.random((11, 16, 12)).astype("float32")
estimate = reference + rng.random((11, 1, 1)).astype("float32") * reference
estimate[10] = reference[10]
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2
with strategy.scope():
    metrics = [PSNR(), NRMSE()]
data = strategy.experimental_distribute_dataset(
    tf.data.Dataset.from_tensor_slices((reference, estimate)).batch(4))
@tf.function
def step(batch):
    strategy.run(lambda r, e: [m.update_state(r, e) for m in metrics] and None, args=batch)
sizes = []
for batch in data:
    sizes.append([int(p.shape[0]) for p in strategy.experimental_local_results(batch[0])])
    step(batch)
print(json.dumps({
    "sizes": sizes,
    "metrics": [float(m.result()) for m in metrics],
    "numpy": [mean_without_infinities(f(reference, estimate))[0] for f in (psnr, nrmse)],
}))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout.splitlines()[-1])
    assert answer["sizes"][-1] == [2, 1]
    assert answer["metrics"] == pytest.approx(answer["numpy"], rel=1e-5)
