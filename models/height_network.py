"""What the trained networks are asked for: heights, classes and normals of an image."""

from dataclasses import dataclass
from itertools import product

from keras import ops

from models.dae import dae_input
from models.dropout import samples_from

DROPOUT_SAMPLES = 8  # as many as there are views
# Of a square: whether rows and columns change places, and then which of the two run backwards.
VIEWS = tuple(product((False, True), repeat=3))
AS_IT_IS = VIEWS[0]


@dataclass(frozen=True)
class Extras:
    """What is asked for beyond heights and classes.

    Attributes:
        normal_coding: "unit" or "published", of the network's normals; None = no normals.
        views: bool, True = the mean over the eight flips and turns of the (square) windows.
        spread: bool, True = also the standard deviation of the heights: over the views, or without
            them over samples of dropout (Gal and Ghahramani, ICML 2016).
    """

    normal_coding: str | None = None
    views: bool = False
    spread: bool = False


def make_height_network(mtl, dae=None, extras=None):
    """Chains stage 1 and, where given, the correction of stage 2.

    Args:
        mtl: Keras model of `models.mtl.build_mtl`.
        dae: Keras model of `models.dae.build_dae`, or None.
        extras: `Extras`; None = none.

    Returns:
        Function (image (batch, rows, columns, channels), 0-255) -> dict: `heights` (..., 1) metres,
        `semantics` (..., class_count) probabilities where the network has classes, `correction`
        (..., 1) metres where there is a stage 2 (already subtracted), and as `extras` say `normals`
        (..., 3), unit vectors, where the network has them (their mean over views is shorter), and
        `uncertainty` (..., 1) metres.
    """
    extras = extras or Extras()

    def look(image, view=AS_IT_IS):
        return _back(_predict(mtl, dae, _turn(image, view), extras.normal_coding), view)

    def height_network(image):
        if extras.views:
            return _summary([look(image, view) for view in VIEWS], extras.spread)
        result = look(image)
        if extras.spread:
            samples = [_sample(look, image, number) for number in range(DROPOUT_SAMPLES)]
            result["uncertainty"] = _deviation(samples)
        return result

    return height_network


def _predict(mtl, dae, image, normal_coding):
    """Returns the outputs for an image as it lies."""
    outputs = mtl(image, training=False)
    result = {"heights": outputs["heights"]}
    if "semantics" in outputs:
        result["semantics"] = ops.softmax(outputs["semantics"], axis=-1)
    if normal_coding and "normals" in outputs:
        result["normals"] = _unit(outputs["normals"], normal_coding)
    if dae is not None:
        result["correction"] = dae(dae_input(image, outputs), training=False)
        result["heights"] = outputs["heights"] - result["correction"]
    return result


def _unit(normals, coding):
    """Decodes normals into unit vectors."""
    vectors = normals * 2.0 - 1.0 if coding == "published" else normals
    return ops.normalize(vectors, axis=-1)


def _sample(look, image, number):
    """Returns the outputs with features dropped, different ones for each window and `number`."""
    with samples_from(number * ops.shape(image)[0], always=True):
        return look(image)


def _summary(outputs, spread):
    """Returns the means over a list of outputs, and the standard deviation of the heights."""
    result = {name: sum(o[name] for o in outputs) / float(len(outputs)) for name in outputs[0]}
    return result | ({"uncertainty": _deviation(outputs)} if spread else {})


def _deviation(outputs):
    """Returns the standard deviation (division by their number) of the heights of some outputs."""
    return ops.std(ops.stack([output["heights"] for output in outputs]), axis=0)


def _turn(x, view):
    """Returns images (batch, rows, columns, channels) as one of the `VIEWS` shows them."""
    return _flip(_swap(x, view), view)


def _back(outputs, view):
    """Returns the outputs of a turned image in the place and the directions of the original."""
    swapped, rows, columns = view
    outputs = {name: _swap(_flip(x, view), view) for name, x in outputs.items()}
    if "normals" in outputs:
        # The first component points along the columns, the second along the rows.
        normals = outputs["normals"]
        normals = ops.take(normals, [1, 0, 2], axis=-1) if swapped else normals
        signs = (rows, columns) if swapped else (columns, rows)
        outputs["normals"] = normals * ops.array([*(1.0 - 2.0 * sign for sign in signs), 1.0])
    return outputs


def _swap(x, view):
    return ops.transpose(x, (0, 2, 1, 3)) if view[0] else x


def _flip(x, view):
    axes = [axis for axis, backwards in enumerate(view) if axis and backwards]
    return ops.flip(x, axis=axes) if axes else x
