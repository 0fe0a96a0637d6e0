import random
import threading
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrestore.audio.framing import ChunkPlan, process_in_chunks

few = settings(deadline=None, max_examples=60)


def noise(channels, samples, seed=0):
    return np.random.default_rng(seed).standard_normal((channels, samples)).astype(np.float32)


def cut(waveform, sizes):
    """The waveform in blocks of the given sizes, over and over; blocks of zero samples included."""
    blocks, position, turn = [], 0, 0
    while position < waveform.shape[1]:
        size = sizes[turn % len(sizes)]
        blocks.append(waveform[:, position : position + size])
        position += size
        turn += 1
    return blocks


def joined(blocks, channels):
    return np.concatenate([np.zeros((channels, 0), np.float32), *blocks], axis=1)


block_sizes = st.lists(st.integers(0, 50), min_size=1, max_size=4).filter(any)


@few
@given(
    samples=st.integers(0, 300),
    channels=st.integers(1, 4),
    sizes=block_sizes,
    chunk=st.integers(1, 70),
    context=st.integers(0, 90),
    batch=st.integers(1, 7),
)
def test_an_identity_in_chunks_gives_back_every_sample(
    samples, channels, sizes, chunk, context, batch
):
    waveform = noise(channels, samples)
    plan = ChunkPlan(chunk, context, batch)
    shapes = set()

    def identity(rows):
        shapes.add(rows.shape)
        return rows

    out = joined(process_in_chunks(cut(waveform, sizes), identity, plan, channels), channels)
    np.testing.assert_array_equal(out, waveform)
    assert shapes <= {(batch, 2 * context + chunk)}


@few
@given(
    samples=st.integers(1, 200),
    channels=st.integers(1, 3),
    chunk=st.integers(1, 40),
    context=st.integers(0, 90),
)
def test_what_the_process_sees_is_the_stream_reflected_at_its_ends(
    samples, channels, chunk, context
):
    waveform = noise(channels, samples)
    seen = []
    plan = ChunkPlan(chunk, context, channels)
    for _ in process_in_chunks([waveform], lambda rows: seen.append(rows) or rows, plan, channels):
        pass
    extended = np.pad(waveform, ((0, 0), (context, context)), mode="reflect")
    assert len(seen) == -(-samples // chunk)
    for k, rows in enumerate(seen):
        # Behind the last chunk's context there is filling, which reaches no sample that is kept.
        expected = extended[:, k * chunk : k * chunk + chunk + 2 * context]
        np.testing.assert_array_equal(rows[:, : expected.shape[1]], expected)


@few
@given(
    samples=st.integers(1, 200),
    sizes=block_sizes,
    chunk=st.integers(1, 40),
    half_length=st.integers(0, 12),
    surplus=st.integers(0, 9),
    batch=st.integers(1, 5),
)
def test_a_filter_no_longer_than_the_context_gives_in_chunks_what_it_gives_on_the_whole(
    samples, sizes, chunk, half_length, surplus, batch
):
    waveform = noise(2, samples)
    taps = noise(1, 2 * half_length + 1, seed=1)[0]

    def fir(rows):
        return np.stack(
            [np.convolve(row, taps)[half_length : half_length + len(row)] for row in rows]
        )

    plan = ChunkPlan(chunk, half_length + surplus, batch)
    out = joined(process_in_chunks(cut(waveform, sizes), fir, plan, 2), 2)
    extended = np.pad(waveform, ((0, 0), (half_length, half_length)), mode="reflect")
    whole = np.stack([np.convolve(row, taps, mode="valid") for row in extended])
    np.testing.assert_allclose(out, whole, rtol=0, atol=1e-5)


@few
@given(samples=st.integers(1, 300), first=block_sizes, second=block_sizes)
def test_the_result_does_not_depend_on_how_the_stream_is_cut_into_blocks(samples, first, second):
    waveform = noise(2, samples)

    def neighbours(rows):
        return rows * np.roll(rows, 1, axis=1)

    one, other = (
        joined(process_in_chunks(cut(waveform, sizes), neighbours, ChunkPlan(17, 5, 3), 2), 2)
        for sizes in (first, second)
    )
    np.testing.assert_array_equal(one, other)


def test_what_a_process_says_about_the_context_is_thrown_away():
    def spoil_context(rows):
        rows = rows.copy()
        rows[:, :10] = rows[:, -10:] = np.nan
        return rows

    waveform = noise(1, 1000)
    out = joined(process_in_chunks([waveform], spoil_context, ChunkPlan(64, 10), 1), 1)
    np.testing.assert_array_equal(out, waveform)


def test_ten_minutes_need_no_more_memory_than_one():
    block = noise(2, 16_000)

    def peak(seconds):
        stream = (block for _ in range(seconds))
        pieces = process_in_chunks(stream, lambda rows: rows, ChunkPlan(32_768, 4096, 4), 2)
        tracemalloc.start()
        try:
            assert sum(piece.shape[1] for piece in pieces) == seconds * 16_000
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(600) < 1.1 * peak(60)


def test_results_come_out_before_the_stream_is_over():
    produced = []

    def endless():
        while True:
            produced.append(None)
            yield noise(1, 100)

    pieces = process_in_chunks(endless(), lambda rows: rows, ChunkPlan(100, 50, 2), 1)
    for _ in range(5):
        next(pieces)
    assert len(produced) <= 8


@pytest.mark.parametrize("shape", [(2, 20), (1, 20, 1), (20,)])
def test_a_block_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match="Expected blocks of shape"):
        list(process_in_chunks([np.zeros(shape)], lambda rows: rows, ChunkPlan(8, 2), 1))


def test_a_process_that_changes_the_shape_is_refused():
    with pytest.raises(ValueError, match=r"given the shape \(1, 12\) and returned \(1, 11\)"):
        list(process_in_chunks([noise(1, 20)], lambda rows: rows[:, 1:], ChunkPlan(8, 2), 1))


@pytest.mark.parametrize("plan", [(0, 1, 1), (1, -1, 1), (1, 1, 0)])
def test_a_plan_without_samples_is_refused(plan):
    with pytest.raises(ValueError, match="at least one"):
        ChunkPlan(*plan)


@pytest.mark.parametrize(
    ("channels", "batch_size", "concurrent"),
    [(1, 1, 3), (2, 1, 2), (2, 1, 3), (2, 3, 4), (3, 2, 1)],
)
def test_batches_that_run_at_the_same_time_give_what_one_after_the_other_gives(
    channels, batch_size, concurrent
):
    stream = np.random.default_rng(0).standard_normal((channels, 1003)).astype(np.float32)
    plan = ChunkPlan(chunk_samples=40, context_samples=7, batch_size=batch_size)
    running, most = set(), 0

    def process(batch):
        nonlocal most
        running.add(threading.get_ident())
        most = max(most, len(running))
        time.sleep(random.uniform(0, 0.005))
        running.discard(threading.get_ident())
        return batch + 1

    blocks = process_in_chunks([stream], process, plan, channels, concurrent)
    # Copied at once: what is not finished by then would be finished too late.
    copies = [block.copy() for block in blocks]
    np.testing.assert_array_equal(np.concatenate(copies, axis=1), stream + 1)
    assert min(2, concurrent) <= most <= concurrent


def test_what_goes_wrong_in_one_of_several_threads_comes_out_in_its_place():
    def process(batch):
        if batch.max() >= 30:
            raise ValueError(f"from {batch.max():.0f} on")
        return batch

    blocks = process_in_chunks(
        [np.arange(100, dtype=np.float32)[None]], process, ChunkPlan(10, 0), 1, 4
    )
    got = []
    with pytest.raises(ValueError, match="from 39 on"):
        for block in blocks:
            got.append(block)
    assert np.concatenate(got, axis=1).shape == (1, 30)


@few
@given(
    samples=st.integers(1, 300),
    sizes=block_sizes,
    chunk=st.integers(1, 9),
    context=st.integers(0, 12),
    grid=st.integers(1, 8),
    batch=st.integers(1, 3),
    reflect=st.booleans(),
)
def test_the_last_chunk_is_as_long_as_what_is_left_on_the_grid(
    samples, sizes, chunk, context, grid, batch, reflect
):
    chunk, context = chunk * grid, context * grid
    waveform, lengths = noise(2, samples), []

    def identity(rows):
        assert rows.shape[0] == batch
        lengths.append(rows.shape[1])
        return rows

    plan = ChunkPlan(chunk, context, batch, grid, reflect)
    out = joined(process_in_chunks(cut(waveform, sizes), identity, plan, 2), 2)
    np.testing.assert_array_equal(out, waveform)
    last = -(-((samples - 1) % chunk + 1) // grid) * grid
    if reflect:
        assert set(lengths) <= {chunk + 2 * context, last + 2 * context}
        assert lengths[-1] == last + 2 * context
    else:
        starts = range(0, samples, chunk)
        expected = {
            min(samples, start + chunk + context) - max(0, start - context) for start in starts
        }
        # The last chunk's own length on the grid may reach beyond the stream's end.
        assert set(lengths) == expected
        assert max(lengths) <= samples


def test_without_reflection_the_process_sees_the_stream_and_nothing_else():
    waveform, seen = noise(1, 100), []
    plan = ChunkPlan(40, 15, grid_samples=5, reflect=False)
    for _ in process_in_chunks([waveform], lambda rows: seen.append(rows) or rows, plan, 1):
        pass
    for rows, (first, last) in zip(seen, [(0, 55), (25, 95), (65, 100)], strict=True):
        np.testing.assert_array_equal(rows, waveform[:, first:last])
