"""Lattner & Nistal's frequency-aggregation GAN, which restores heavily compressed MP3s (2021)."""
