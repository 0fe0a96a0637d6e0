"""Convolution with a dilated kernel, computed in one piece where TensorFlow can.

`keras.ops.conv` on TensorFlow cuts a dilated convolution into dense ones: it moves every dilation's
grid into the batch and back again, which takes longer than the convolution itself. oneDNN, cuDNN
and XLA need no such detour. Measured on a CPU, a training step of a small network of dilated
convolutions took half the time without it.
"""

from __future__ import annotations

import functools

import keras


@functools.cache
def dilates_directly(dtype: str = "float32") -> bool:
    """Whether TensorFlow has kernels for dilated convolutions and their gradients here.

    It has them on GPUs and, from oneDNN, on most CPUs. Elsewhere, as on Apple's, gradients are
    missing and only show when they are asked for, so one is asked for.
    """
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    with tf.init_scope():
        try:
            tf.raw_ops.Conv2DBackpropInput(
                input_sizes=(1, 5, 5, 1),
                filter=tf.ones((3, 3, 1, 1), dtype),
                out_backprop=tf.ones((1, 5, 5, 1), dtype),
                strides=[1, 1, 1, 1],
                padding="SAME",
                dilations=[1, 2, 2, 1],
            )
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
            return False
    return True


@keras.saving.register_keras_serializable(package="tfrestore")
class DilatedConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D`, with its arguments and results, for channels last and one group.

    A dilated kernel is used as it is where the machine can, and as Keras does where it cannot.
    """

    def convolution_op(self, inputs, kernel):
        """The convolution without bias and activation."""
        if not dilates_directly(self.compute_dtype):
            return super().convolution_op(inputs, kernel)
        import tensorflow as tf

        return tf.nn.conv2d(
            inputs, kernel, self.strides, self.padding.upper(), dilations=self.dilation_rate
        )
