"""How high small models make treble; apart, so that networks know it without an audio library."""

#: Up to here something is made, as a share of half of the sample rate: 20 kHz of 22.05. Above,
#: nothing is heard, and most music has been cut off.
HIGHEST_MADE = 0.907
