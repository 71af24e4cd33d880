import numpy as np

from prediction.predictor import image_reader


class Part:
    """A photo or radar image of 2 x 2 pixels."""

    def __init__(self, values, valid):
        self.image = np.full((2, 2, len(values)), values, "float32")
        self.valid = np.array(valid, bool)

    def read(self, row, rows):
        return self.image[row : row + rows], self.valid[row : row + rows]


def test_a_pixel_needs_data_in_photo_and_radar():
    photo, radar = Part([1, 2, 3], [[1, 1], [0, 0]]), Part([4], [[1, 0], [1, 0]])
    image, valid = image_reader(photo, radar)(0, 2)
    np.testing.assert_array_equal(valid, [[True, False], [False, False]])
    np.testing.assert_array_equal(image, [[[1, 2, 3, 4], [0] * 4], [[0] * 4, [0] * 4]])
