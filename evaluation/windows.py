"""Prediction of a tile in overlapping windows that are blended without seams."""

from itertools import product

import numpy as np

SMALLEST_WEIGHT = 1e-6  # of one axis; keeps a pixel that only one corner covers away from 0 / 0


def window_origins(length, window, step):
    """Lists where windows start along one axis so that they cover it.

    Args:
        length: int, pixels of the axis.
        window: int, pixels of a window.
        step: int, pixels from one window to the next, at most `window`.

    Returns:
        list of int: 0, step, 2 * step, ..., the last one aligned to the end; [0] where one
        window is enough.

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


def blend_weights(window, sigma=0.2):
    """Makes the weights with which overlapping windows are averaged.

    exp(-(x^2 + y^2) / (2 sigma^2)) on a grid from -1 to 1 in both axes, as in the published
    DSMNet code: the middle of a window counts most, because a network sees least at its border.

    Args:
        window: int, pixels.
        sigma: float > 0, width of the Gaussian as a share of half a window.

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


def predict_tile(image, predict_batch, window_size, overlap, batch_windows):
    """Predicts a whole tile from overlapping windows, blended with `blend_weights`.

    An axis shorter than the window is padded by mirroring, equally on both sides, and the
    result is cropped back. Sums are kept in float32: all weights are positive, so with the
    36 windows per pixel of the published overlap of 5/6 they lose at most about 2e-6 of a
    value, at half the memory of float64.

    Args:
        image: float32 (rows, columns, 3), 0-255.
        predict_batch: function of float32 (n, window_size, window_size, 3) returning a dict
            of name to array (n, window_size, window_size, channels); n <= batch_windows.
        window_size: int, pixels.
        overlap: float in [0, 1), share of a window; step = window_size * (1 - overlap).
        batch_windows: int, windows per call of `predict_batch`.

    Returns:
        dict of name to float32 (rows, columns, channels). Blended class probabilities still
        add up to 1; their argmax is the class index.

    Raises:
        ValueError: if an argument is out of range, or an output has not the windows' shape.
    """
    _check_arguments(image, window_size, overlap, batch_windows)
    rows, columns = image.shape[:2]
    padding = [_padding(length, window_size) for length in (rows, columns)]
    padded = np.pad(image, [*padding, (0, 0)], mode="symmetric")
    corners = _corners(padded.shape, window_size, max(1, round(window_size * (1 - overlap))))
    blended = _blend(padded, predict_batch, window_size, corners, batch_windows)
    (top, _), (left, _) = padding
    return {
        name: np.ascontiguousarray(values[top : top + rows, left : left + columns])
        for name, values in blended.items()
    }


def _blend(image, predict_batch, window_size, corners, batch_windows):
    """Returns name to (rows, columns, channels): weighted means over the windows."""
    weights = blend_weights(window_size)[..., None]
    weight_sum = np.zeros((*image.shape[:2], 1), "float32")
    sums = {}
    for start in range(0, len(corners), batch_windows):
        places = [
            np.s_[row : row + window_size, column : column + window_size]
            for row, column in corners[start : start + batch_windows]
        ]
        windows = np.stack([image[place] for place in places])  # (n, window, window, 3)
        for name, values in _outputs(predict_batch, windows).items():
            shape = (*image.shape[:2], values.shape[-1])
            total = sums.setdefault(name, np.zeros(shape, "float32"))
            for place, window in zip(places, values, strict=True):
                total[place] += window * weights
        for place in places:
            weight_sum[place] += weights
    return {name: total / weight_sum for name, total in sums.items()}


def _outputs(predict_batch, windows):
    """Calls `predict_batch`; returns name to float32 arrays of checked shape."""
    outputs = {
        name: np.asarray(values, "float32") for name, values in predict_batch(windows).items()
    }
    for name, values in outputs.items():
        if values.ndim != 4 or values.shape[:3] != windows.shape[:3]:
            raise ValueError(
                f"Output {name!r} has shape {values.shape} for windows of shape {windows.shape}; "
                f"expected {(*windows.shape[:3], 'channels')}. Let predict_batch return one value "
                "per pixel and channel."
            )
    return outputs


def _corners(shape, window_size, step):
    """Lists the (row, column) of the upper left corner of every window."""
    return list(product(*(window_origins(length, window_size, step) for length in shape[:2])))


def _padding(length, window_size):
    """Returns the pixels to add (before, after) so that one window fits."""
    missing = max(0, window_size - length)
    return missing // 2, missing - missing // 2


def _check_arguments(image, window_size, overlap, batch_windows):
    """Raises ValueError where `predict_tile` cannot work with what it got."""
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(
            f"image has shape {image.shape}; expected (rows, columns, bands), none of them 0."
        )
    if window_size < 1 or batch_windows < 1:
        raise ValueError(
            f"Got window_size {window_size} and batch_windows {batch_windows}; expected at least "
            "1 pixel and 1 window."
        )
    if not 0 <= overlap < 1:
        raise ValueError(
            f"overlap is {overlap}; expected a share of the window from 0 to below 1, such as 0.5."
        )
