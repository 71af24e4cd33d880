"""The one way from an image to blended predictions: strips, windows, batches, sums, rows.

Of an image of any height only bands of the height of a window are in memory: the strip that the
windows of one row are cut from, and the sums of their predictions. Reading the next strip and
writing finished rows happen in threads, while the network computes.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np


def stream_windows(
    windows, read, predict_batch, write, batch_windows, finished_rows=0, advance=None
):
    """Predicts an image in rows of overlapping windows and hands on its finished rows.

    Windows without a valid pixel are left out. Batches never cross a row of windows, so that
    going on after `finished_rows` repeats the same batches, and gives the same bits.

    Args:
        windows: `prediction.windows.Windows` of the image.
        read: function (row, rows) -> (image float32 (rows, columns, channels), valid bool (rows,
            columns)); called in a thread, from above to below, each row once (all rows together
            where the image is less high than a window).
        predict_batch: function of float32 (n, size, size, channels) returning a dict of name to
            array (n, size, size, channels), n <= batch_windows.
        write: function (row, values, valid) of the next finished rows, called in another thread,
            from above to below: dict of name to float32 (rows, columns, channels), 0 where no
            window was computed, {} until the first one was; bool (rows, columns).
        batch_windows: int, windows per call of `predict_batch`.
        finished_rows: int, rows of the image that are not wanted any more.
        advance: function (count) told of windows that are done or left out, or None.

    Raises:
        ValueError: if an argument is out of range, or an output has not the windows' shape.
    """
    if batch_windows < 1:
        raise ValueError(f"Got batch_windows {batch_windows}; expected at least 1 window.")
    if finished_rows >= windows.rows:
        return
    first = windows.first_number(finished_rows)
    sums, written = _Sums(windows), None
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        strips = _strips(windows, read, first)
        strip = reader.submit(next, strips)
        for number in range(first, len(windows.row_origins)):
            image, valid = strip.result()
            strip = reader.submit(next, strips, None)
            _predict_row(windows, image, valid, predict_batch, sums, batch_windows, advance)
            rows = sums.finish(number, finished_rows, valid)
            if written:
                written.result()  # an error of the thread raises here
            written = writer.submit(write, *rows) if rows else None
    if written:
        written.result()


def band_bytes(windows, channels, depth):
    """Bounds the memory that `stream_windows` takes beyond a batch.

    Args:
        windows: `prediction.windows.Windows`.
        channels: int, of the image.
        depth: int, channels of all outputs together.

    Returns:
        int, bytes: three strips (in use, waiting, being joined), the sums, and of each pixel the
        finished rows, those being written, and the map that is made of them.
    """
    pixels = windows.size * (windows.columns + sum(windows.padding[1]))
    return 4 * pixels * (3 * channels + 4 * (depth + 1))


def _strips(windows, read, first):
    """Yields (image, valid) of each row of windows from number `first` on, padded to windows."""
    image = valid = None
    end = windows.row_origins[first]  # of what is read
    for origin in windows.row_origins[first:]:
        start, end = end, origin + windows.size
        part = _padded(windows, read, start, end - start)
        image, valid = (
            np.concatenate([old[len(new) - windows.size :], new])
            if len(new) < windows.size
            else new
            for old, new in zip((image, valid), part, strict=True)
        )
        yield image, valid


def _padded(windows, read, row, rows):
    """Reads rows of the padded image."""
    above_and_below, sides = windows.padding
    if any(above_and_below):
        row, rows = 0, windows.rows
    image, valid = read(row, rows)
    if not any((*above_and_below, *sides)):
        return image, valid
    image = np.pad(image, [above_and_below, sides, (0, 0)], mode="symmetric")
    return image, np.pad(valid, [above_and_below, sides], mode="symmetric")


def _predict_row(windows, image, valid, predict_batch, sums, batch_windows, advance):
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


def _outputs(predict_batch, batch):
    """Calls `predict_batch`; returns name to float32 arrays of checked shape."""
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
    """Weighted sums of predictions over the rows that one row of windows meets."""

    def __init__(self, windows):
        self.windows = windows
        self.shape = windows.size, sum(windows.padding[1]) + windows.columns
        self.weight = np.zeros((*self.shape, 1), "float32")
        self.totals = {}

    def add(self, columns, outputs):
        """Adds the predictions of windows that begin at `columns`."""
        size, weights = self.windows.size, self.windows.weights
        for name, values in outputs.items():
            shape = (*self.shape, values.shape[-1])
            total = self.totals.setdefault(name, np.zeros(shape, "float32"))
            for column, window in zip(columns, values, strict=True):
                total[:, column : column + size] += window * weights
        for column in columns:
            self.weight[:, column : column + size] += weights

    def finish(self, number, finished_rows, valid):
        """Returns (row, values, valid) for `write`, and moves on to the next row of windows.

        Args:
            number: int, of the row of windows whose predictions are in.
            finished_rows: int, rows of the image that are left out.
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

    def _mean(self, total, part):
        """Returns the weighted mean over the windows, 0 where there is none."""
        weight = self.weight[part]
        return np.divide(total[part], weight, out=np.zeros_like(total[part]), where=weight > 0)


def _shift(array, rows):
    """Moves an array up by a number of rows; zeros follow."""
    array[: len(array) - rows] = array[rows:]
    array[len(array) - rows :] = 0
