"""Perceptual Evaluation of Audio Quality, basic version (ITU-R BS.1387-1): `peaq`.

`ear_model` makes excitation patterns of samples, `pattern_processing` adapts them and finds their
modulation and loudness, `model_output_variables` compares those of the two signals frame by frame,
`temporal_averaging` makes eleven numbers of it, `neural_network` one, and `score` is the way
through. (The package is not named as the function is: `tfrestore.metrics.peaq` is the function.)
"""

from tfrestore.metrics.peaq_basic.score import PeaqScore, peaq

__all__ = ["PeaqScore", "peaq"]
