from pathlib import Path

import numpy as np
import pytest

from datasets.records.record import ClassLabel, Record
from datasets.tiles.labels import LabelError, class_indices


def record_of(*codes, ignore=()):
    classes = tuple(ClassLabel(code, f"class {code}") for code in codes)
    return Record(name="mine", folder=Path("mine"), classes=classes, ignore_codes=ignore)


def indices(codes, record, dtype="int32"):
    pixels = np.array(codes, dtype)
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    return class_indices(pixels, np.ones(pixels.shape[:2], bool), record).tolist()


def test_codes_become_positions_in_the_record():
    assert indices([[6, 2], [65, 6]], record_of(2, 6, ignore=(65,)), "uint8") == [[1, 0], [-1, 1]]


def test_order_is_the_records_and_not_that_of_the_codes():
    assert indices([[6, 2]], record_of(6, 2)) == [[0, 1]]


def test_several_codes_of_one_class():
    classes = (ClassLabel(0, "other", (2, 5, 9)), ClassLabel(1, "building", (6,)))
    record = Record(name="mine", folder=Path("mine"), classes=classes, ignore_codes=(65,))
    assert indices([[9, 6, 1], [65, 0, 2]], record, "uint8") == [[0, 1, 1], [-1, 0, 0]]


def test_several_colours_of_one_class():
    classes = (ClassLabel((0, 0, 255), "b"), ClassLabel((0, 255, 0), "o", ((255, 0, 0),)))
    record = Record(name="mine", folder=Path("mine"), classes=classes)
    colours = [[[255, 0, 0], [0, 0, 255], [0, 255, 0]]]
    assert indices(colours, record, "uint8") == [[1, 0, 1]]


def test_negative_and_large_codes():
    assert indices([[-1, 70000]], record_of(70000, -1)) == [[1, 0]]


def test_codes_in_a_float_file():
    assert indices([[6.0, 2.0]], record_of(2, 6), "float32") == [[1, 0]]


def test_colours_are_codes_too():
    record = record_of((255, 0, 0), (0, 0, 255), ignore=((0, 0, 0),))
    assert indices([[[0, 0, 255], [255, 0, 0], [0, 0, 0]]], record, "uint8") == [[1, 0, -1]]


def test_pixels_without_data_are_ignored_whatever_they_hold():
    pixels = np.array([[[99], [2]]], "uint8")
    found = class_indices(pixels, np.array([[False, True]]), record_of(2))
    assert found.dtype == "int32" and found.tolist() == [[-1, 0]]


def test_unknown_codes_are_listed_with_counts():
    message = r"7 \(2 pixels\), 9 \(1 pixel\)\. Known codes: 2, 6, 65"
    with pytest.raises(LabelError, match=message):
        indices([[7, 2], [7, 9]], record_of(2, 6, ignore=(65,)), "uint8")


def test_unknown_colours_are_listed():
    with pytest.raises(LabelError, match=r"\(1, 2, 3\) \(1 pixel\).*Known codes: \(9, 9, 9\)"):
        indices([[[1, 2, 3], [9, 9, 9]]], record_of((9, 9, 9)), "uint8")


def test_colours_where_codes_are_numbers_are_an_error():
    with pytest.raises(LabelError, match="3 bands, but the codes of mine need 1"):
        indices([[[1, 2, 3]]], record_of(2))
