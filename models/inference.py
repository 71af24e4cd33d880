"""What the trained networks are asked for: heights and class probabilities of an image."""

from keras import ops

from models.dae import dae_input


def make_height_network(mtl, dae=None):
    """Chains stage 1 and, where given, the correction of stage 2.

    Args:
        mtl: Keras model of `models.mtl.build_mtl`.
        dae: Keras model of `models.dae.build_dae`, or None.

    Returns:
        Function (image (batch, rows, columns, 3) of 0-255) -> dict: `heights` (..., 1) metres,
        `semantics` (..., class_count) probabilities where the network has classes, `correction`
        (..., 1) metres where there is a stage 2 (already subtracted).
    """

    def height_network(image):
        outputs = mtl(image, training=False)
        result = {"heights": outputs["heights"]}
        if "semantics" in outputs:
            result["semantics"] = ops.softmax(outputs["semantics"], axis=-1)
        if dae is not None:
            result["correction"] = dae(dae_input(image, outputs), training=False)
            result["heights"] = outputs["heights"] - result["correction"]
        return result

    return height_network
