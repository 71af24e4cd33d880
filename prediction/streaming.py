"""The one way from an image to blended predictions: windows, strips, batches, sums, rows.

An image of any height goes through in one pass from above to below. Overlapping windows
(`Windows`) are cut from the strip of rows that a row of windows covers; the network predicts them
in batches; their predictions are added up with weights (`_Sums`); rows that no further window
reaches are divided by the sum of their weights and handed on. So only bands of the height of a
window are in memory. Reading the next strip and writing finished rows happen in threads, while the
network computes.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np

ROUNDING = 1e-6  # pixels; 0.9 of 320 px overlaps by 288 px, not by 289
SMALLEST_WEIGHT = 1e-6  # of one axis; keeps a pixel that only one corner covers away from 0 / 0

# (first row, number of rows) -> image float32 (rows, columns, channels), valid bool (rows, columns)
Reader = Callable[[int, int], tuple[np.ndarray, np.ndarray]]
# float32 (n, size, size, channels) -> outputs by name, each (n, size, size, channels)
BatchPredictor = Callable[[np.ndarray], dict[str, np.ndarray]]
# (first row, outputs by name float32 (rows, columns, channels), valid bool (rows, columns))
Writer = Callable[[int, dict[str, np.ndarray], np.ndarray], None]


def window_origins(length: int, window: int, step: int) -> list[int]:
    """Lists where windows start along one axis so that they cover it.

    Args:
        length: pixels of the axis.
        window: pixels of a window.
        step: pixels from one window to the next, at most `window`.

    Returns:
        0, step, 2 * step, ..., the last one aligned to the end; [0] if one window is enough.

    Raises:
        ValueError: if an argument is below 1, or the step leaves gaps between windows.
    """
    if min(length, window, step) < 1 or step > window:
        raise ValueError(
            f"Got length {length}, window {window}, step {step}; expected positive pixel counts "
            "and a step of at most one window. Choose a smaller step (a larger overlap)."
        )
    if length <= window:
        return [0]
    return [*range(0, length - window, step), length - window]


def blend_weights(window: int, sigma: float = 0.2) -> np.ndarray:
    """Makes the weights with which overlapping windows are averaged.

    exp(-(x^2 + y^2) / (2 sigma^2)) on a grid from -1 to 1 in both axes, as in the published
    DSMNet code: the middle of a window counts most, because a network sees least at its border.

    Args:
        window: pixels.
        sigma: > 0, width of the Gaussian as a share of half a window.

    Returns:
        float32 (window, window), all > 0; the scale is arbitrary.

    Raises:
        ValueError: if `window` or `sigma` is not positive.
    """
    if window < 1 or sigma <= 0:
        raise ValueError(f"Expected window >= 1 and sigma > 0, got {window} and {sigma}.")
    axis = np.linspace(-1.0, 1.0, window) if window > 1 else np.zeros(1)
    profile = np.maximum(np.exp(-np.square(axis) / (2.0 * sigma**2)), SMALLEST_WEIGHT)
    return np.outer(profile, profile).astype("float32")


@dataclass(frozen=True)
class Windows:
    """Where the windows of an image lie.

    An axis shorter than the window is padded equally on both sides; origins count in the padded
    image.

    Attributes:
        rows, columns: pixels of the image.
        size: pixels of a window.
        overlap: in [0, 1), share of a window; step = size * (1 - overlap), rounded
            down, as in the published code.
    """

    rows: int
    columns: int
    size: int
    overlap: float

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"Got window_size {self.size}; expected at least 1 pixel.")
        if not 0 <= self.overlap < 1:
            raise ValueError(
                f"overlap is {self.overlap}; expected a share of the window from 0 to below 1, "
                "such as 0.5."
            )

    @property
    def step(self) -> int:
        """Pixels from one window to the next."""
        return max(1, int(self.size * (1 - self.overlap) + ROUNDING))

    @cached_property
    def padding(self) -> tuple[tuple[int, int], ...]:
        """Pixels added: ((above, below), (left, right))."""
        missing = (max(0, self.size - length) for length in (self.rows, self.columns))
        return tuple((count // 2, count - count // 2) for count in missing)

    @cached_property
    def row_origins(self) -> list[int]:
        """Upper rows of the rows of windows, in the padded image."""
        return window_origins(max(self.rows, self.size), self.size, self.step)

    @cached_property
    def column_origins(self) -> list[int]:
        """Left columns of the windows of a row, in the padded image."""
        return window_origins(max(self.columns, self.size), self.size, self.step)

    @property
    def count(self) -> int:
        """Number of windows."""
        return len(self.row_origins) * len(self.column_origins)

    @cached_property
    def weights(self) -> np.ndarray:
        """float32 (size, size, 1) of `blend_weights`."""
        return blend_weights(self.size)[..., None]

    def last_row(self, number: int) -> int:
        """Returns the end of the image's rows that are done after row `number` of windows."""
        above = self.padding[0][0]
        following = self.row_origins[number + 1 : number + 2]
        return min(self.rows, following[0] - above if following else self.rows)

    def first_number(self, row: int) -> int:
        """Returns the number of the first row of windows that reaches below `row` of the image."""
        row += self.padding[0][0]
        return next(i for i, origin in enumerate(self.row_origins) if origin + self.size > row)


def stream_windows(
    windows: Windows,
    read: Reader,
    predict_batch: BatchPredictor,
    write: Writer,
    batch_windows: int,
    finished_rows: int = 0,
    advance: Callable[[int], object] | None = None,
) -> None:
    """Predicts an image in rows of overlapping windows and hands on its finished rows.

    Windows without a valid pixel are skipped. Batches never cross a row of windows: a prediction
    that resumes after `finished_rows` repeats the same batches, and gives the same bits.

    Args:
        windows: of the image.
        read: called in a thread, from above to below, for each row once (for all rows together if
            the image is less high than a window).
        predict_batch: called with at most `batch_windows` windows.
        write: called in another thread, from above to below, with the next finished rows. Outputs
            are 0 where no window was computed, and {} until the first one was.
        batch_windows: windows per call of `predict_batch`.
        finished_rows: rows of the image that an earlier process has written.
        advance: called with the number of windows that were done or skipped.

    Raises:
        ValueError: if an argument is out of range, or an output has not the windows' shape.
    """
    if batch_windows < 1:
        raise ValueError(f"Got batch_windows {batch_windows}; expected at least 1 window.")
    if finished_rows >= windows.rows:
        return
    first = windows.first_number(finished_rows)
    sums = _Sums(windows)
    written: Future | None = None
    # One thread for each: GDAL is called in order, and never by two threads at once.
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        strips = _strips(windows, read, first)
        strip: Future = reader.submit(next, strips)
        for number in range(first, len(windows.row_origins)):
            image, valid = strip.result()
            strip = reader.submit(next, strips, ())  # while the network computes
            _predict_row(windows, image, valid, predict_batch, sums, batch_windows, advance)
            rows = sums.finish(number, finished_rows, valid)
            if written:
                written.result()  # raises the thread's error; at most one write is waiting
            written = writer.submit(write, *rows) if rows else None
    if written:
        written.result()


def band_bytes(windows: Windows, channels: int, depth: int) -> int:
    """Bounds the memory that `stream_windows` takes beyond a batch.

    Args:
        windows: of the image.
        channels: of the image.
        depth: channels of all outputs together.

    Returns:
        Bytes of three strips (in use, waiting, being joined), of the sums, and for each pixel of
        the finished rows, those being written, and the map that is made of them.
    """
    pixels = windows.size * (windows.columns + sum(windows.padding[1]))
    return 4 * pixels * (3 * channels + 4 * (depth + 1))


def _strips(windows: Windows, read: Reader, first: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields (image, valid) of each row of windows from number `first` on, padded to windows.

    Rows of windows overlap: each strip keeps the lower rows of the one before and reads the rest,
    so that every row of the image is read once.
    """
    strip: tuple[np.ndarray, ...] = ()
    end = windows.row_origins[first]  # of what is read
    for origin in windows.row_origins[first:]:
        start, end = end, origin + windows.size
        new = _padded(windows, read, start, end - start)
        kept = windows.size - len(new[0])
        if kept:
            pairs = zip(strip, new, strict=True)
            new = tuple(np.concatenate([old[-kept:], rows]) for old, rows in pairs)
        strip = new
        yield strip[0], strip[1]


def _padded(windows: Windows, read: Reader, row: int, rows: int) -> tuple[np.ndarray, ...]:
    """Reads rows of the padded image: what a window lacks is mirrored, equally on both sides."""
    above_and_below, sides = windows.padding
    if any(above_and_below):
        row, rows = 0, windows.rows
    image, valid = read(row, rows)
    if not any((*above_and_below, *sides)):
        return image, valid
    image = np.pad(image, [above_and_below, sides, (0, 0)], mode="symmetric")
    return image, np.pad(valid, [above_and_below, sides], mode="symmetric")


def _predict_row(
    windows: Windows,
    image: np.ndarray,
    valid: np.ndarray,
    predict_batch: BatchPredictor,
    sums: "_Sums",
    batch_windows: int,
    advance: Callable[[int], object] | None,
) -> None:
    """Adds the predictions of one row of windows to the sums."""
    size = windows.size
    used = [c for c in windows.column_origins if valid[:, c : c + size].any()]
    if advance:
        advance(len(windows.column_origins) - len(used))
    for start in range(0, len(used), batch_windows):
        columns = used[start : start + batch_windows]
        batch = np.stack([image[:, c : c + size] for c in columns])  # (n, size, size, channels)
        sums.add(columns, _outputs(predict_batch, batch))
        if advance:
            advance(len(columns))


def _outputs(predict_batch: BatchPredictor, batch: np.ndarray) -> dict[str, np.ndarray]:
    """Calls `predict_batch`; returns its outputs as float32, of checked shape."""
    outputs = {name: np.asarray(values, "float32") for name, values in predict_batch(batch).items()}
    for name, values in outputs.items():
        if values.ndim != 4 or values.shape[:3] != batch.shape[:3]:
            raise ValueError(
                f"Output {name!r} has shape {values.shape} for windows of shape {batch.shape}; "
                f"expected {(*batch.shape[:3], 'channels')}. Let predict_batch return one value "
                "per pixel and channel."
            )
    return outputs


class _Sums:
    """Weighted sums of predictions over the rows that one row of windows covers.

    A pixel's prediction is the weighted mean over all windows that hold it. The weights belong to
    the place within a window alone, so that seams vanish: at its border a window counts almost
    nothing. Sums are kept in float32: all weights are positive, so with the 36 windows per pixel of
    the published overlap of 5/6 they lose at most about 2e-6 of a value, at half the memory of
    float64.
    """

    def __init__(self, windows: Windows):
        self.windows = windows
        self.shape = windows.size, sum(windows.padding[1]) + windows.columns
        self.weight = np.zeros((*self.shape, 1), "float32")
        self.totals: dict[str, np.ndarray] = {}

    def add(self, columns: list[int], outputs: dict[str, np.ndarray]) -> None:
        """Adds the predictions of windows that begin at `columns`."""
        size, weights = self.windows.size, self.windows.weights
        for name, values in outputs.items():
            shape = (*self.shape, values.shape[-1])
            total = self.totals.setdefault(name, np.zeros(shape, "float32"))
            for column, window in zip(columns, values, strict=True):
                total[:, column : column + size] += window * weights
        for column in columns:
            self.weight[:, column : column + size] += weights

    def finish(
        self, number: int, finished_rows: int, valid: np.ndarray
    ) -> tuple[int, dict[str, np.ndarray], np.ndarray] | None:
        """Returns what `write` takes, None without new rows; moves on to the next row of windows.

        Args:
            number: of the row of windows whose predictions were added.
            finished_rows: rows of the image that are not wanted.
            valid: bool (size, columns) of the padded image.
        """
        (above, _), (left, _) = self.windows.padding
        origin = self.windows.row_origins[number] - above
        first, last = max(origin, 0, finished_rows), self.windows.last_row(number)
        part = np.s_[first - origin : last - origin, left : left + self.windows.columns]
        rows = None
        if first < last:
            values = {name: self._mean(total, part) for name, total in self.totals.items()}
            rows = first, values, valid[part]
        for array in (self.weight, *self.totals.values()):
            _shift(array, last - origin)
        return rows

    def _mean(self, total: np.ndarray, part: tuple[slice, ...]) -> np.ndarray:
        """Returns the weighted mean over the windows, 0 where no window was computed."""
        weight = self.weight[part]
        return np.divide(total[part], weight, out=np.zeros_like(total[part]), where=weight > 0)


def _shift(array: np.ndarray, rows: int) -> None:
    """Moves an array up by a number of rows; zeros follow."""
    array[: len(array) - rows] = array[rows:]
    array[len(array) - rows :] = 0
