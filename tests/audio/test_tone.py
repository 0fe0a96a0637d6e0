import numpy as np

from tfrestore.audio.tone import tone_with_gap
from tfrestore.layers.gap_detection import GapDetection


def test_the_tone_has_a_gap_of_20_ms_in_its_middle_that_is_taken_for_one():
    for seconds in (0.1, 1.0, 2.5):
        tone = tone_with_gap(round(16000 * seconds), 16000)
        silent = np.flatnonzero(tone == 0)
        inside = silent[np.abs(silent - len(tone) // 2 - 160) <= 161]
        assert 320 <= len(inside) <= 322 and (np.diff(inside) == 1).all()
        lost = np.asarray(GapDetection(16000)(tone[None]))[0]
        assert lost[inside[:320]].all() and 320 <= lost.sum() < 500
        assert 0.299 < np.abs(tone).max() <= np.float32(0.3)
