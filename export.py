"""Writes the trained networks as a TensorFlow SavedModel, which runs without this project's code.

The signature serving_default takes `image`, float32 (batch, rows, columns, bands), with the values
as stored in the photo. If the network uses radar, its band is the last one. It returns `heights`
(batch, rows, columns, 1) in metres and, if the networks predict them, `probabilities` of the
classes and `normals`.

Example: python export.py exported --dataset_name=Demo
"""

from pathlib import Path

import project.interrupts  # noqa: F401  first, so that Ctrl-C ends the imports in one line
from commands.errors import clear_errors
from commands.options import option
from project.files import whole_folder, write_json
from project.version import checkout
from runs.early import check_export
from runs.stored import adopt_stored_network, stored_stage
from runs.trained_model import trained_record
from settings.loading import Settings, load

OPTIONS = (
    ("folder", {"help": "folder to create; it must not exist yet"}),
    option("--model", str, "FILE", "best.weights.h5 of stage 1, beside its settings.json"),
)


def export(settings: Settings, folder: Path) -> None:
    """Writes the SavedModel of the trained networks, with a model.json that describes it.

    Args:
        settings: as returned by `runs.stored.adopt_stored_network`.
        folder: appears only when it is complete.

    Raises:
        SettingsError: if the folder exists.
    """
    check_export(settings, folder)
    # TensorFlow is imported only after what can be checked without it.
    import devices.quiet_tensorflow  # noqa: F401  first, so that it silences what follows
    from models.height_network import Extras, make_height_network, make_raw_network, write_model
    from runs.networks import load_identified
    from runs.start import start_strategy

    mtl, dae, identity = load_identified(settings, start_strategy(settings))
    record, channels = settings.record, mtl.input_shape[-1]
    scales = [record.rgb_scale] * 3 + [record.sar_scale] * (channels - 3)
    network = make_height_network(mtl, dae, Extras(settings.normal_coding, settings.tta))
    described = {
        "input": "image: float32 (batch, rows, columns, bands) as stored; "
        f"0-255 = stored x {scales}",
        "outputs": "heights: metres; probabilities: of the classes; normals: unit vectors, x to "
        "the east, y to the south",
        "metres_per_pixel": float(stored_stage(settings, "mtl").gsd),
        "classes": list(record.class_names),
        "weights": identity,
        "version": checkout(),
    }
    stages = [stage for stage in (mtl, dae) if stage is not None]
    with whole_folder(folder) as part:
        write_model(part, stages, make_raw_network(network, scales), channels)
        write_json(part / "model.json", described)
    print(f"Written to {folder}: {described['input']} -> {described['outputs']}")


def main(arguments: list[str] | None = None) -> None:
    settings = load(__doc__, arguments, OPTIONS, trained_record)
    with clear_errors(settings, "export"):
        export(adopt_stored_network(settings), Path(settings.options.folder))


if __name__ == "__main__":
    main()
