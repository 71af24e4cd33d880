"""Semantic measures from a confusion matrix."""

from collections.abc import Iterable, Sequence

import numpy as np

CLASS_MEASURES = ("miou", "overall_accuracy", "fwiou", "mean_f1")


def confusion_matrix(
    classes: np.ndarray, predicted_classes: np.ndarray, class_count: int
) -> np.ndarray:
    """Counts pixels by true and predicted class.

    Args:
        classes: int (pixels,), true class indices, 0 to class_count - 1.
        predicted_classes: int (pixels,), predicted class indices in the same range.
        class_count: number of classes.

    Returns:
        int64 (class_count, class_count): rows are true, columns predicted classes.

    Raises:
        ValueError: if an index is out of range.
    """
    for kind, indices in (("true", classes), ("predicted", predicted_classes)):
        if indices.size and not 0 <= indices.min() <= indices.max() < class_count:
            raise ValueError(
                f"{kind} class indices run from {indices.min()} to {indices.max()}; expected 0 to "
                f"{class_count - 1}. Check that labels and network have the same classes."
            )
    pairs = classes.astype("int64") * class_count + predicted_classes
    counts = np.bincount(pairs, minlength=class_count**2)
    return counts.reshape(class_count, class_count)


def class_measures(confusion: np.ndarray, class_names: Sequence[str]) -> dict:
    """Derives the semantic measures from one confusion matrix.

    With TP, FP, FN of a class: iou = TP / (TP + FP + FN), precision = TP / (TP + FP),
    recall = TP / (TP + FN), f1 = 2 TP / (2 TP + FP + FN). miou and mean_f1 = mean over the classes
    that occur in truth or prediction, overall_accuracy = share of correct pixels, fwiou = iou
    weighted by the class's share of the true pixels. None where a denominator is 0.

    Args:
        confusion: int (classes, classes), rows true, columns predicted.
        class_names: one per class.

    Returns:
        miou, overall_accuracy, fwiou, mean_f1, each a float or None, and per_class: class name to
        a dict of iou, precision, recall, f1.
    """
    totals = (np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0))
    counts = zip(class_names, *(total.tolist() for total in totals), strict=True)
    per_class = {
        name: {
            "iou": _ratio(right, true + predicted - right),
            "precision": _ratio(right, predicted),
            "recall": _ratio(right, true),
            "f1": _ratio(2 * right, true + predicted),
        }
        for name, right, true, predicted in counts
    }
    pixels = int(confusion.sum())
    if pixels == 0:
        return {**dict.fromkeys(CLASS_MEASURES), "per_class": per_class}
    ious = [measures["iou"] for measures in per_class.values()]
    weighted = [
        iou * float(true) / pixels
        for iou, true in zip(ious, confusion.sum(axis=1), strict=True)
        if iou is not None
    ]
    return {
        "miou": _mean(ious),
        "overall_accuracy": float(np.trace(confusion)) / pixels,
        "fwiou": sum(weighted),
        "mean_f1": _mean(measures["f1"] for measures in per_class.values()),
        "per_class": per_class,
    }


def mean_ious(confusions: np.ndarray) -> np.ndarray:
    """Computes the miou of `class_measures` for many confusion matrices at once.

    Args:
        confusions: int or float (matrices, classes, classes), rows true, columns predicted.

    Returns:
        float64 (matrices,); NaN where a matrix has no pixels.
    """
    right = np.diagonal(confusions, axis1=1, axis2=2)
    union = confusions.sum(axis=1) + confusions.sum(axis=2) - right
    occurs = union > 0
    ious = np.divide(right, union, np.zeros(union.shape), where=occurs)
    found = occurs.sum(axis=1)
    return np.divide(ious.sum(axis=1), found, np.full(len(found), np.nan), where=found > 0)


def _mean(values: Iterable[float | None]) -> float:
    """Returns the mean of the values that are not None."""
    return float(np.mean([value for value in values if value is not None]))


def _ratio(part: float, whole: float) -> float | None:
    """Returns part / whole, or None if there is no whole."""
    return part / whole if whole else None
