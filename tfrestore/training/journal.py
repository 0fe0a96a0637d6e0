"""What TensorBoard shows of a run: curves, pictures and sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf


class Journal:
    """Writes scalars, images and audio under a folder, one TensorBoard run per split.

    Args:
        folder: where the event files go, in `train` and `validation`.
    """

    def __init__(self, folder: Path):
        self._writers = {
            split: tf.summary.create_file_writer(str(folder / split))
            for split in ("train", "validation")
        }

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind, error, trace) -> None:
        for writer in self._writers.values():
            try:
                writer.close()
            except tf.errors.OpError:
                # What ended the run, a full disk perhaps, is not to be hidden by what follows it.
                if kind is None:
                    raise

    def scalars(self, split: str, values: dict[str, float], step: int) -> None:
        """Curves: one point each."""
        with self._writers[split].as_default(step):
            for name, value in values.items():
                tf.summary.scalar(name, value)

    def images(self, images: dict[str, np.ndarray], step: int) -> None:
        """Pictures, uint8 `(height, width, 3)` each."""
        with self._writers["validation"].as_default(step):
            for name, image in images.items():
                tf.summary.image(name, image[None])
        self._writers["validation"].flush()

    def sounds(self, sounds: dict[str, np.ndarray], sample_rate: int, step: int) -> None:
        """Sound, float `(samples,)` each, in -1 to 1."""
        with self._writers["validation"].as_default(step):
            for name, sound in sounds.items():
                tf.summary.audio(name, sound[None, :, None], sample_rate)
        self._writers["validation"].flush()
