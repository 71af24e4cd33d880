"""Writes the trained networks as a TensorFlow SavedModel, which runs without this project's code.

The signature serving_default takes `image`, float32 (batch, rows, columns, bands) as the photos are
stored (a radar band, where the network has one, last), and gives `heights` (batch, rows, columns,
1) in metres, and where the networks have them `probabilities` of the classes and `normals`.
Example: python export.py exported --dataset_name=Demo
"""

from pathlib import Path

from project.files import whole_folder, write_json
from project.version import checkout
from runs.trained_model import trained_record
from settings.loading import SettingsError, load

OPTIONS = (
    ("folder", {"help": "folder to write; it must not exist yet"}),
    ("--model", {"metavar": "FILE", "help": "best.weights.h5 of stage 1, settings.json beside it"}),
)


def export(settings, folder):
    """Writes the SavedModel of the trained networks, and model.json beside it.

    Args:
        settings: `settings.loading.Settings` of `runs.stored.adopt_stored_network`.
        folder: `Path`, which appears when it is whole.

    Raises:
        SettingsError: if the folder exists.
    """
    from models.height_network import Extras, make_height_network
    from models.saved_model import make_raw_network, write_model
    from runs.networks import load_networks
    from runs.start import start_strategy
    from runs.trained_model import model_identity

    if folder.exists():
        raise SettingsError(f"{folder} exists already. Name a new folder, or remove it.")
    mtl, dae = load_networks(settings, start_strategy(settings))
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
        "version": checkout(),
    }
    stages = [stage for stage in (mtl, dae) if stage is not None]
    with whole_folder(folder) as part:
        write_model(part, stages, make_raw_network(network, scales), channels)
        write_json(part / "model.json", described)
    print(f"Written to {folder}: {described['input']} -> {described['outputs']}")


def main(arguments=None):
    settings = load(__doc__, arguments, OPTIONS, trained_record)
    # TensorFlow comes in only now, so that a wrong setting is refused at once.
    from commands.errors import clear_errors
    from runs.stored import adopt_stored_network

    with clear_errors():
        export(adopt_stored_network(settings), Path(settings.options.folder))


if __name__ == "__main__":
    main()
