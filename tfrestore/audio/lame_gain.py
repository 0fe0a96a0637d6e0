"""How loud LAME's MP3s are; apart, so that networks know it without an audio library."""

#: What LAME 3.100 turns the sound down to, of its amplitude, at up to 160 kbit/s (measured).
LAME_GAIN = 0.95
