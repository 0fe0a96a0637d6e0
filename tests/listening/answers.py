"""Keys, results and ratings as the tests of the listening test need them."""

from pathlib import Path

import numpy as np

from tfrestore.listening.key import Key, pack_key
from tfrestore.listening.results import Results


def make_key(page="p1", mode="mos", systems=("a", "b"), tracks=2):
    places = [(t, s) for t in range(tracks) for s in range(len(systems))]
    return Key(
        page=page,
        mode=mode,
        title="Test",
        systems=tuple(systems),
        excerpts=tuple((f"song {t}", 1.5 * t) for t in range(tracks)),
        items={f"{page}-{t}-{s}": (t, s) for t, s in places},
        reference=None if mode == "mos" else len(systems) - 1,
        mid_anchor=None,
        settings={"seconds": 8.0, "version": "1"},
    )


def make_record(key, ratings=None, /, **changes):
    ratings = {name: 3 for name in key.items} if ratings is None else ratings
    record = {
        "format": "tfrestore-listening-test-results",
        "version": 1,
        "page": key.page,
        "mode": key.mode,
        "session": "s1",
        "listener": "Ann",
        "finished": "2030-01-01T10:00:00.000Z",
        "ratings": [{"item": name, "rating": rating} for name, rating in ratings.items()],
        "key": pack_key(key),
    }
    return record | changes


def results_of(key, table):
    """Results from ratings `(listeners, excerpts, systems)`, NaN where there is none."""
    return [
        Results(
            Path(f"{n}.json"),
            f"session {n}",
            f"listener {n}",
            0.0,
            key,
            "",
            {item: grades[place] for item, place in key.items.items() if grades[place] > -1},
        )
        for n, grades in enumerate(np.asarray(table, float))
    ]


#: Two listeners, two excerpts, two systems, by hand.
BY_HAND = np.array([[[1, 3], [2, 5]], [[2, 4], [3, 4]]])
