"""The base of the layers that compute in float32 whatever the global precision policy says.

A Fourier transform in bfloat16 keeps three digits of a waveform, so under `mixed_bfloat16` the
networks run in bfloat16 and these layers do not.
"""

import keras

from tfrestore.errors import UsageError


class Float32Layer(keras.layers.Layer):
    """A Keras layer pinned to float32: float inputs of any precision are cast on the way in.

    Raises:
        UsageError: if `dtype` asks for anything but float32.
    """

    def __init__(self, *, dtype="float32", **kwargs):
        if keras.dtype_policies.get(dtype).compute_dtype != "float32":
            raise UsageError(f"{type(self).__name__} computes in float32; leave its dtype out.")
        super().__init__(dtype=dtype, **kwargs)
