import numpy as np
import pytest
import tensorflow as tf

from benchmarks.inference import main, overlap_table, smallest_overlap
from benchmarks.inference_parts import operations, plain_loop
from prediction.streaming import Windows

ROWS = [
    {"overlap": 0.0, "rmse": 3.0, "windows": 4, "seconds": 1.0},
    {"overlap": 0.5, "rmse": 2.02, "windows": 9, "seconds": 2.0},
    {"overlap": 0.75, "rmse": 2.5, "windows": 25, "seconds": 4.0},
    {"overlap": 5 / 6, "rmse": 2.0, "windows": 49, "seconds": 9.0},
]


def test_the_smallest_overlap_within_a_share_of_the_largest():
    assert smallest_overlap(ROWS) == 0.5
    assert smallest_overlap(ROWS, tolerance=0.005) == 5 / 6
    assert "| 0.500 | 2.0200 | +1.00% | 9 | 2.0 |" in overlap_table(ROWS)


def test_operations_of_convolutions():
    kernel = tf.ones((3, 3, 3, 5))

    def network(image):
        x = tf.nn.conv2d(image, kernel, 1, "SAME")  # 8 x 8 x 5 values of 27 products
        up = tf.nn.conv2d_transpose(x, tf.ones((2, 2, 4, 5)), (1, 16, 16, 4), 2)
        return {"heights": up}  # 8 x 8 x 5 values into 2 x 2 x 4 each

    assert operations(network, 8) == 2 * (64 * 5 * 27 + 64 * 5 * 16)


def test_the_plain_loop_takes_the_windows_that_it_is_told():
    seen = []

    def network(image):
        seen.append(image.shape)
        return {"heights": tf.zeros((1, 8, 8, 1))}

    image = np.zeros((16, 16, 3), "float32")
    plain_loop(image, network, Windows(16, 16, 8, 0.5), 4)
    assert seen == [(1, 8, 8, 3)] * 4


def test_one_split_is_measured_at_a_time(capsys):
    with pytest.raises(SystemExit):
        main(["--part=overlap", "--splits=valid,test"])
    assert "valid,test" in capsys.readouterr().err
