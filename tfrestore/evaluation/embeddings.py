"""How a model's embedding sees degraded and intact windows: a map of them, and numbers with it.

Figure 6 of Sifringer, Stegmueller & Alahi ("Audio Enhancing with Wasserstein GANs", 2020) is a map
(t-SNE, van der Maaten & Hinton 2008) of their autoencoder's bottleneck for windows of the input and
of the target. A map shows neighbourhoods and no distances, and another seed another map; so numbers
are taken in the space that it is made from: the principal components of the embedding.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tfrestore.data.degradation import Degradation
from tfrestore.data.excerpts import fractions
from tfrestore.data.tracks import Track
from tfrestore.errors import AudioFileError, InputError, UsageError
from tfrestore.pictures import figure_picture, make_figure

#: Principal components that the map and the numbers are made from.
COMPONENTS = 50

# Seconds that are degraded around a window: an encoder needs to find its pace.
_SURROUNDINGS = 2
# Of full scale, root mean square: what is softer is taken for silence, of which all is alike.
_SOFTEST = 1e-3
_MOST_ATTEMPTS = 50
_WINDOWS_PER_BATCH = 32


@dataclass(frozen=True)
class Windows:
    """Windows of degraded music, and the same windows of the intact.

    Attributes:
        degraded: float32 `(windows, samples)`.
        intact: float32 `(windows, samples)`.
        places: Track and second of each.
    """

    degraded: np.ndarray
    intact: np.ndarray
    places: list[tuple[str, float]]


@dataclass(frozen=True)
class Separability:
    """How well degraded and intact windows can be told apart, and found again, by an embedding.

    Attributes:
        silhouette: Mean silhouette coefficient (Rousseeuw 1987) of the two kinds, -1 to 1: 0 where
            they lie in each other, 1 where they are two distant clusters.
        neighbour_accuracy: Share of windows whose nearest other window is of their own kind: 0.5
            where they are mixed, 1 where they are apart.
        retrieval: Share of degraded windows whose nearest intact window is their own: 1 / windows
            by chance, 1 where only the content counts.
        variance: Share of the embedding's variance that the principal components keep.
    """

    silhouette: float
    neighbour_accuracy: float
    retrieval: float
    variance: float

    def __str__(self) -> str:
        return (
            f"silhouette {self.silhouette:.3f}, nearest neighbour of the same kind "
            f"{100 * self.neighbour_accuracy:.1f} %, own window found "
            f"{100 * self.retrieval:.1f} %, variance kept {100 * self.variance:.0f} %"
        )


def check_packages() -> None:
    """Says what to install where scikit-learn is missing.

    Raises:
        UsageError: if it is.
    """
    if not importlib.util.find_spec("sklearn"):
        raise UsageError(
            "embeddings are drawn with scikit-learn, which is not installed: "
            "pip install 'tfrestore[embedding]'."
        )


def draw_windows(
    tracks: Sequence[Track],
    degradation: Degradation,
    count: int,
    samples: int,
    sample_rate: int,
    seed: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Windows:
    """Windows of tracks at random, longer tracks more often, none of them silent.

    Each is a function of (seed, its number). A window that cannot be made, or is silent, is
    replaced by another.

    Args:
        tracks: At least one.
        degradation: What the degraded ones have.
        count: How many.
        samples: Samples of each.
        sample_rate: Hz.
        seed: Decides which.
        progress: Called with how many there are.

    Raises:
        InputError: if no window that sounds is found for one number.
        UsageError: if the tracks cannot have the degradation.
    """
    if degradation.is_spectral:
        raise UsageError(f"{degradation.name} exists in a spectrogram only, and has no windows.")
    for track in tracks:
        degradation.check(track)
    ends = np.cumsum([track.duration for track in tracks])
    pairs, places = [], []
    for number in range(count):
        for attempt in range(_MOST_ATTEMPTS):
            chance, place = fractions(seed, "embedding", number, attempt)
            index = min(int(np.searchsorted(ends, chance * ends[-1], side="right")), len(ends) - 1)
            track = tracks[index]
            surroundings = max(_SURROUNDINGS, 2 * samples / sample_rate)
            start = int(place * max(0.0, track.duration - surroundings))
            pair = _window(track, degradation, start, surroundings, samples, sample_rate, seed)
            if pair is not None:
                pairs.append(pair[:2])
                places.append((track.track_id, start + pair[2] / sample_rate))
                break
        else:
            raise InputError(
                f"{_MOST_ATTEMPTS} windows in a row are silent or cannot be read, of "
                f"{track.path} for one; check the music."
            )
        progress(number + 1)
    intact, degraded = np.stack(pairs, axis=1)
    return Windows(degraded, intact, places)


def _window(track, degradation, start, seconds, samples, sample_rate, seed):
    """`(intact, degraded, offset)` of the middle of a stretch; None if there is nothing in it."""
    try:
        pair = degradation.pair(
            track, sample_rate, start=start, seconds=seconds, mono=True, seed=seed, index=start
        )
    except AudioFileError:
        return None
    offset = max(0, (pair[0].shape[1] - samples) // 2)
    windows = [each[0, offset : offset + samples] for each in pair]
    if len(windows[0]) < samples or np.sqrt(np.mean(windows[0] ** 2)) < _SOFTEST:
        return None
    return *windows, offset


def embed_windows(embed: Callable, windows: Sequence[np.ndarray]) -> np.ndarray:
    """The embeddings of windows, float32 `(windows, values)`.

    Args:
        embed: From float32 `(batch, samples)` to a tensor `(batch, ...)`.
        windows: float32 `(samples,)` each.
    """
    parts = [
        np.asarray(embed(np.stack(windows[first : first + _WINDOWS_PER_BATCH])), np.float32)
        for first in range(0, len(windows), _WINDOWS_PER_BATCH)
    ]
    return np.concatenate([part.reshape(len(part), -1) for part in parts])


def principal_components(embeddings: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
    """The first `COMPONENTS` principal components, and the share of the variance they keep.

    Args:
        embeddings: float32 `(points, values)`.
        seed: Of the randomised decomposition.

    Returns:
        float32 `(points, components)`, fewer where there are fewer points or values.
    """
    from sklearn.decomposition import PCA

    analysis = PCA(min(COMPONENTS, *embeddings.shape), svd_solver="randomized", random_state=seed)
    return analysis.fit_transform(embeddings), float(analysis.explained_variance_ratio_.sum())


def measure_separability(
    degraded: np.ndarray, intact: np.ndarray, variance: float = 1.0
) -> Separability:
    """See `Separability`.

    Args:
        degraded: float `(windows, values)`.
        intact: float `(windows, values)`, of the same windows in the same order.
        variance: Share of the variance that the values keep.
    """
    from sklearn.metrics import pairwise_distances, silhouette_score

    kinds = np.repeat([0, 1], [len(degraded), len(intact)])
    distances = pairwise_distances(np.concatenate([degraded, intact]).astype(np.float64))
    np.fill_diagonal(distances, 0)
    silhouette = silhouette_score(distances, kinds, metric="precomputed")
    across = distances[: len(degraded), len(degraded) :]
    np.fill_diagonal(distances, np.inf)
    return Separability(
        float(silhouette),
        float(np.mean(kinds[np.argmin(distances, axis=1)] == kinds)),
        float(np.mean(np.argmin(across, axis=1) == np.arange(len(degraded)))),
        variance,
    )


def map_points(points: np.ndarray, perplexity: float, seed: int) -> np.ndarray:
    """A map of points by t-SNE, float32 `(points, 2)`.

    Args:
        points: float `(points, values)`, more than `perplexity` of them.
        perplexity: About how many neighbours a point has.
        seed: Another one gives another map.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    # Its threads wait for each other in every step: where other programs took the cores, two
    # threads needed 100 s for what one did in 1 s. A thousand points take 4 s.
    with threadpool_limits(1):
        return TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(points)


def map_picture(
    positions: np.ndarray, names: tuple[str, str], title: str, subtitle: str
) -> np.ndarray:
    """The map as a picture.

    Args:
        positions: float `(2 * windows, 2)`, of all degraded windows and then of all intact ones.
        names: What these are called.
        title: The first line above it.
        subtitle: The second.

    Returns:
        uint8 `(height, width, 3)`.
    """
    figure = make_figure(7, 6.4)
    axis = figure.add_subplot()
    groups = zip(np.split(positions, 2), names, ("#c05621", "#2b6cb0"), strict=True)
    for points, name, colour in groups:
        axis.scatter(*points.T, s=10, alpha=0.65, linewidths=0, color=colour, label=name)
    axis.set_title(f"{title}\n{subtitle}", loc="left", fontsize="small", parse_math=False)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.legend(loc="best", fontsize="small")
    return figure_picture(figure)
