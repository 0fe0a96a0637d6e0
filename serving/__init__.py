"""Serving exported models with TensorFlow Serving."""
