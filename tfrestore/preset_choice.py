"""Which of the shipped presets a recording needs, by what an inspection finds in it.

What a preset is good for is not its claim but its measurement: `tfrestore ship` writes into its
metadata what it improved on validation music (`restores`), at which bit rates and bandwidths and by
how much, and whether it is right below the frequency at which an encoder cut the music off
(`improves_below_cutoff`), or what is there is better kept.

Music that was kept at a low sample rate ends as sharply as an MP3 does, without its holes. A file
may still have that rate, and LAME lowers the rate of MP3s of few kbit/s: at its own rate nearly all
that a preset adds would be cut off, so such a file is written at the preset's.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tfrestore.inspection import LONGEST_GAP, Inspection, inspect_file, inspect_waveform
from tfrestore.models.presets import Preset, shipped_presets

# Where LAME 3.100 cuts stereo off, Hz by kbit/s; one channel is cut off there at half the rate.
STEREO_CUTOFFS = {
    16: 3618,
    24: 3962,
    32: 5685,
    40: 7063,
    48: 7752,
    56: 9991,
    64: 11025,
    80: 13781,
    96: 15159,
    112: 15504,
    128: 16882,
}


@dataclass(frozen=True)
class Choice:
    """What is to be done with a recording.

    Attributes:
        preset: The preset to restore it with; `None` where there is nothing to restore.
        reason: What was found and chosen, a sentence without the recording's name.
        keep_below: Hz below which the recording stays as it is; `None` for no such.
        output_rate: Hz at which the result has room for what is added; `None` for the recording's
            own rate, or for the one that was asked for.
        is_final: Whether no other option would have changed that there is nothing to restore.
    """

    preset: Preset | None
    reason: str
    keep_below: float | None = None
    output_rate: int | None = None
    is_final: bool = True


# By what share a band may end beyond the lowest and the highest end that were measured.
_ALIKE = 1.1

# Hz at which bandwidths were divided to be measured.
_MEASURED_RATE = 44100


def choose_for_file(
    path: str | os.PathLike, with_gaps: bool = False, output_rate: int | None = None
) -> Choice:
    """Looks at a file and chooses from the shipped presets.

    Args:
        path: The file.
        with_gaps: Whether the caller knows of gaps in it.
        output_rate: Hz of what is to be written; `None` leaves it to the choice.

    Raises:
        AudioFileError: if it cannot be read.
    """
    return choose(inspect_file(path), shipped_presets(), with_gaps, output_rate)


def choose_for_waveform(waveform, sample_rate: int, with_gaps: bool = False) -> Choice:
    """The same for a waveform, float `(samples,)` or `(channels, samples)`, that keeps its rate."""
    found = inspect_waveform(waveform, sample_rate)
    return choose(found, shipped_presets(), with_gaps, output_rate=sample_rate)


def cutoff_to_keep(path: str | os.PathLike, preset: Preset) -> float | None:
    """Hz below which a file stays as it is when it is restored with a preset that was named.

    It is `None` where the preset improves what is there, and where the file is not cut off: then
    all of it is restored, as was asked for.

    Raises:
        AudioFileError: if the file cannot be read.
    """
    if preset.metadata.get("improves_below_cutoff", True):
        return None
    return inspect_file(path).cutoff


def choose(
    found: Inspection,
    presets: Sequence[Preset],
    with_gaps: bool = False,
    output_rate: int | None = None,
) -> Choice:
    """Chooses from presets what improved music like this.

    Args:
        found: What is known of the recording.
        presets: What to choose from.
        with_gaps: Whether there are gaps beside those that were found.
        output_rate: Hz of what is to be written; `None` leaves it to the choice: the preset's rate
            where it adds to a band that the recording's own rate would cut off, and else that.
    """
    if found.gaps or with_gaps:
        return _choose_for_gaps(found, presets)
    is_mp3 = found.codec == "MP3"
    # A file that says which codec made it is believed, but an MP3 may have been made of another.
    was_mp3 = found.was_mp3 and found.codec in (None, "MP3")
    rate = found.kbit_per_second
    if was_mp3 and (rate is None or rate > max(STEREO_CUTOFFS)):
        rate = estimated_bit_rate(found)
    if rate is None or not (is_mp3 or was_mp3):
        return _choose_for_bandwidth(found, presets, output_rate)
    gains = [(_gain(preset, rate, found.info.channels), preset) for preset in presets]
    able = [(gain, preset) for gain, preset in gains if gain is not None]
    if not able:
        known = sorted({r for preset in presets for r in _improved_rates(preset)})
        some = f"those of up to {known[-1]} kbit/s" if known else "none"
        why = f"of MP3s the presets improve {some}"
        if known and found.info.channels == 1 and rate <= known[-1]:
            why = f"one channel has the bits of stereo of {2 * rate} kbit/s, and {why}"
        return Choice(None, f"{found}: {why}, so nothing is written")
    best = max(able, key=lambda each: each[0])[1]
    about = "" if rate == found.kbit_per_second else f" as an MP3 of about {rate} kbit/s"
    chosen, room = _rate_with_room(found, best, output_rate)
    reason = f"{found}: restored{about} with {best.name}"
    if best.metadata.get("improves_below_cutoff", True):
        return Choice(best, reason + room, output_rate=chosen)
    cutoff = found.cutoff or usual_cutoff(rate, found.info.channels)
    kept = f", keeping all below {cutoff / 1000:.1f} kHz"
    return Choice(best, reason + kept + room, cutoff, chosen)


def _rate_with_room(
    found: Inspection, preset: Preset, output_rate: int | None
) -> tuple[int | None, str]:
    """The rate to write at for what a preset adds above a recording's band, and what to say of it.

    Returns:
        Hz, `None` for the recording's own or the one that was asked for; and a phrase that goes on
        from what was chosen, empty where nothing is cut off.
    """
    own_rate, room = found.info.sample_rate, preset.metadata.get("sample_rate", 0)
    rate = output_rate or own_rate
    if rate >= room:
        return None, ""
    if output_rate:
        return None, f"; {rate} Hz have no room above {rate / 2000:g} kHz, {room} Hz have for all"
    return room, f", at {room} Hz: its own {own_rate} Hz have no room above {own_rate / 2000:g} kHz"


def _choose_for_gaps(found: Inspection, presets: Sequence[Preset]) -> Choice:
    able = [preset for preset in presets if _restores(preset).get("gaps")]
    if not able:
        return Choice(None, f"{found}: no preset fills gaps, so nothing is written")
    best = max(able, key=lambda preset: max(_restores(preset)["gaps"].values()))
    also, then = "", choose(replace(found, gaps=()), presets)
    if then.preset:
        rate = f" --output-rate {then.output_rate}" if then.output_rate else ""
        also = f"; for what else it lost, restore the result with --preset {then.preset.name}{rate}"
    return Choice(best, f"{found}: filled with {best.name}{also}")


def _choose_for_bandwidth(
    found: Inspection, presets: Sequence[Preset], output_rate: int | None
) -> Choice:
    """What extends the band of a recording that no MP3 was made of, where its band ends early."""
    own_rate = found.info.sample_rate
    # A file that says which codec made it is not taken for one that was kept at a low rate.
    end = min(found.cutoff or own_rate / 2, own_rate / 2)
    able = [
        (gain, preset) for preset in presets if (gain := _bandwidth_gain(preset, end)) is not None
    ]
    if found.codec or not able:
        return Choice(None, _untouched(found, presets))
    best = max(able, key=lambda each: each[0])[1]
    about = "" if found.cutoff else f", a sample rate of {own_rate} Hz"
    made = f"what is above {end / 1000:.1f} kHz is made with {best.name}"
    chosen, room = _rate_with_room(found, best, output_rate)
    if (chosen or output_rate or own_rate) / 2 > _ALIKE * end:
        return Choice(best, f"{found}{about}: {made}{room}", output_rate=chosen)
    return Choice(
        None,
        f"{found}{about}: {made} at a higher rate only{room}; nothing is written",
        is_final=False,
    )


def estimated_bit_rate(found: Inspection) -> int:
    """The bit rate in kbit/s of the MP3 that a recording was, by where it is cut off."""
    cutoff = found.cutoff or max(STEREO_CUTOFFS.values())
    rate = min(STEREO_CUTOFFS, key=lambda rate: abs(STEREO_CUTOFFS[rate] - cutoff))
    return rate * min(2, found.info.channels) // 2


def usual_cutoff(rate: int, channels: int) -> float:
    """Hz at which LAME cuts off an MP3 of a bit rate in kbit/s."""
    alike = rate * 2 / min(2, channels)
    return float(STEREO_CUTOFFS[min(STEREO_CUTOFFS, key=lambda each: abs(each - alike))])


def _restores(preset: Preset) -> dict:
    return preset.metadata.get("restores", {})


def _improved_rates(preset: Preset) -> list[int]:
    return [
        int(rate) for rate, gain in _restores(preset).get("mp3", {}).items() if gain is not None
    ]


def _gain(preset: Preset, rate: int, channels: int) -> float | None:
    """By how much a preset improved MP3s like this; `None` where it did not, or was not tried."""
    measured = {int(each): gain for each, gain in _restores(preset).get("mp3", {}).items()}
    # An encoder has so many bits for each channel. With fewer than were measured more is lost, and
    # what improves those that were improves these too.
    alike = rate * _restores(preset).get("channels", 2) / min(2, channels)
    if not measured or max(rate, alike) > max(measured):
        return None
    return measured[min(measured, key=lambda each: abs(each - alike))]


def _measured_ends(preset: Preset) -> dict[float, float | None]:
    """Where the bands ended that a preset was measured on, Hz, with the gain of each."""
    return {
        _MEASURED_RATE / 2 / int(factor): gain
        for factor, gain in _restores(preset).get("bandwidth", {}).items()
    }


def _bandwidth_gain(preset: Preset, end: float) -> float | None:
    """By how much a preset improved bands that end like this one; `None` as for `_gain`."""
    measured = _measured_ends(preset)
    if not measured or not min(measured) / _ALIKE <= end <= max(measured) * _ALIKE:
        return None
    return measured[min(measured, key=lambda each: abs(each - end))]


def _untouched(found: Inspection, presets: Sequence[Preset]) -> str:
    """Why a recording is left alone, with what was found and what the presets are for.

    It does not say that the recording is intact: much can be wrong that no preset mends.
    """
    if found.codec:
        return f"{found}: no preset is made for {found.codec}, so nothing is written"
    rate = found.info.sample_rate
    about = "" if found.cutoff or rate >= _MEASURED_RATE else f", a sample rate of {rate} Hz"
    covered = _covered(presets)
    why = (
        f"nothing that the presets restore was found ({covered})"
        if covered
        else "no preset is shipped"
    )
    return f"{found}{about}: {why}, so nothing is written"


def _covered(presets: Sequence[Preset]) -> str:
    """What presets restore, in a phrase; empty where that is nothing."""
    rates = [rate for preset in presets for rate in _improved_rates(preset)]
    ends = [end for preset in presets for end, gain in _measured_ends(preset).items() if gain]
    parts = []
    if rates:
        parts.append(f"MP3s of up to {max(rates)} kbit/s and copies of them")
    if ends:
        low, high = min(ends) / _ALIKE / 1000, max(ends) * _ALIKE / 1000
        parts.append(f"bands that end at {low:.0f} to {high:.0f} kHz")
    if any(_restores(preset).get("gaps") for preset in presets):
        parts.append(f"silent gaps of up to {LONGEST_GAP:g} s")
    return ", ".join(parts)
