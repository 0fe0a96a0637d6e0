"""Adam with the equalized learning rate of Karras et al., without changing any layer.

"Progressive growing of GANs" (2018), section 4.1: weights are drawn from N(0, 1) and multiplied, at
every use, by the standard deviation c that He's initialisation would have given them. Adam steps do
not depend on the size of gradients, so that this only makes the step of each kernel c times as
large: all kernels then change at the same relative speed, instead of those of wide layers changing
many times faster. That is what is done here, on kernels that are initialised as He et al. say.
"""

from __future__ import annotations

import math

import keras


@keras.saving.register_keras_serializable(package="tfrestore")
class EqualizedAdam(keras.optimizers.Adam):
    """Adam whose step for a kernel is as large as the kernel's initial values, relatively.

    A kernel of shape `(..., inputs, outputs)` has the learning rate times sqrt(2 / fan_in), where
    fan_in is the product of all but its last size. Variables of less than two axes, biases and the
    like, have the learning rate itself, as theirs.

    The arguments are Adam's.
    """

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable."""
        if len(variable.shape) > 1:
            learning_rate = learning_rate * math.sqrt(2 / math.prod(variable.shape[:-1]))
        super().update_step(gradient, variable, learning_rate)
