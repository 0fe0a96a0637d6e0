"""The parts of the local server: protocol and scheduling, around `tf.saved_model.load`.

It speaks what TensorFlow Serving speaks. What is done here and how it is told follows TensorFlow
Serving's documented behaviour and its messages, so that what works here works there.
"""
