"""Writes the trained networks as a TensorFlow SavedModel, which runs without this project's code.

The signature serving_default takes `image`, float32 (batch, rows, columns, bands) as the photos are
stored (a radar band, where the network has one, last), and gives `heights` (batch, rows, columns,
1) in metres, and where the networks have them `probabilities` of the classes and `normals`.
Example: python export.py exported --dataset_name=Demo
"""

import json
import shutil
import tempfile
from pathlib import Path

import settings as settings_module
from scene_model import trained_record

OPTIONS = (
    ("folder", {"help": "folder to write; it must not exist yet"}),
    ("--model", {"metavar": "FILE", "help": "best.weights.h5 of stage 1, settings.json beside it"}),
)
STRIDE = 32  # of the encoder


def make_raw_network(network, scales):
    """Makes a network that takes images as they are stored, of any size.

    Args:
        network: function of `models.inference.make_height_network`.
        scales: float for each band; 0-255 = stored x scale.

    Returns:
        Function (image float32 (batch, rows, columns, bands)) -> dict of float32 tensors: `heights`
        (..., 1) metres, and as the network has them `probabilities` and `normals`. What rows and
        columns lack of a multiple of 32 is mirrored on both sides, as predict.py does, and cut off
        again.
    """
    import tensorflow as tf

    def mirrored(length):
        missing = -length % STRIDE
        place = tf.range(length + missing) - missing // 2
        place %= 2 * length  # the image and its mirror image, again and again
        return tf.minimum(place, 2 * length - 1 - place), missing // 2

    def run(image):
        rows, columns = tf.shape(image)[1], tf.shape(image)[2]
        (row_places, above), (column_places, left) = mirrored(rows), mirrored(columns)
        padded = tf.gather(tf.gather(image, row_places, axis=1), column_places, axis=2)
        outputs = network(padded * tf.constant(scales))
        outputs = {"probabilities" if k == "semantics" else k: v for k, v in outputs.items()}
        return {
            name: tf.cast(value, tf.float32)[:, above : above + rows, left : left + columns]
            for name, value in outputs.items()
            if name != "correction"
        }

    return run


def write_model(folder, stages, serve, channels):
    """Writes a SavedModel.

    Args:
        folder: `Path`.
        stages: Keras models whose weights it holds.
        serve: function of `make_raw_network`.
        channels: int, bands of the image.
    """
    import keras
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    for network in stages:
        archive.track(network)
    image = tf.TensorSpec((None, None, None, channels), tf.float32, name="image")
    archive.add_endpoint("serve", serve, [image])
    archive.write_out(str(folder), verbose=False)


def export(settings, folder):
    """Writes the SavedModel of the trained networks, and model.json beside it.

    Args:
        settings: `settings.Settings` of `networks.adopt_stored_network`.
        folder: `Path`, which appears when it is whole.

    Raises:
        SettingsError: if the folder exists.
    """
    import networks
    import runs
    from models.inference import Extras, make_height_network
    from scene_model import model_identity, version

    if folder.exists():
        raise settings_module.SettingsError(
            f"{folder} exists already. Name a new folder, or remove it."
        )
    mtl, dae = networks.load_networks(settings, runs.start_strategy(settings))
    record, channels = settings.record, mtl.input_shape[-1]
    scales = [record.rgb_scale] * 3 + [record.sar_scale] * (channels - 3)
    network = make_height_network(mtl, dae, Extras(settings.normal_coding, settings.tta))
    described = {
        "input": "image: float32 (batch, rows, columns, bands) as stored; "
        f"0-255 = stored x {scales}",
        "outputs": "heights: metres; probabilities: of the classes; normals: unit vectors, x to "
        "the east, y to the south",
        "metres_per_pixel": float(settings.record.gsd),
        "classes": list(record.class_names),
        "weights": model_identity(settings, dae is not None),
        "version": version(),
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        stages = [stage for stage in (mtl, dae) if stage is not None]
        write_model(part, stages, make_raw_network(network, scales), channels)
        (part / "model.json").write_text(json.dumps(described, indent=2) + "\n")
        part.chmod(0o755)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    print(f"Written to {folder}: {described['input']} -> {described['outputs']}")


def main(arguments=None):
    settings = settings_module.load(__doc__, arguments, OPTIONS, trained_record)
    # TensorFlow comes in only now, so that a wrong setting is refused at once.
    import networks
    import runs

    with runs.clear_errors():
        export(networks.adopt_stored_network(settings), Path(settings.options.folder))


if __name__ == "__main__":
    main()
