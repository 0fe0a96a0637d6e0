"""Apollo: band-sequence modeling for high-quality audio restoration."""
