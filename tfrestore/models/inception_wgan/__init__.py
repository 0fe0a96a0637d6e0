"""Sifringer, Stegmüller & Alahi's U-Net of inception modules, in the time domain (2020)."""
