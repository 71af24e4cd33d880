"""What earlier runs stored beside their weights."""

import json

import keras

from project.errors import UserError
from runs.folders import stage_folder, weights_file
from settings.loading import SettingsError, adopt_network


def stored_stage(settings, stage):
    """Returns the content of settings.json of a trained stage.

    Raises:
        FileNotFoundError: if the stage has no weights yet.
    """
    folder = weights_file(settings, stage).parent
    stored = read_stored(folder)
    if stored is None:
        raise FileNotFoundError(f"There is no settings.json in {folder}, beside the weights.")
    return stored


def adopt_stored_network(settings):
    """Takes the network's settings from stage 1's settings.json.

    Raises:
        FileNotFoundError: if stage 1 has not been trained.
        SettingsError: if its network does not fit the command line or the data set's classes.
    """
    stored = stored_stage(settings, "mtl")
    origin = str(stage_folder(settings, "mtl") / "settings.json")
    names = stored["classes"]
    if names != list(settings.record.class_names):
        raise SettingsError(
            f"The network was trained on the classes {names} ({origin}), but the data set has "
            f"{list(settings.record.class_names)}. Train it anew, or restore the record."
        )
    return adopt_network(settings, stored["settings"], origin)


def computed_settings(settings):
    """Returns the settings in force, with the precision that auto has turned out to be."""
    return settings.values | {"precision": keras.config.dtype_policy().name}


class ResumeError(UserError):
    """An earlier run cannot be continued or read."""


def read_stored(folder):
    """Reads the settings.json beside a stage's weights.

    Returns:
        dict with `identity`, `settings`, `classes`, ...; None where there is none.

    Raises:
        ResumeError: if the file is damaged.
    """
    path = folder / "settings.json"
    if not path.is_file():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return stored | {"identity": dict(stored["identity"])}
    except (ValueError, KeyError, TypeError) as error:
        raise ResumeError(
            f"{path} is damaged ({error}). Move its folder away and train anew."
        ) from None


def read_identity(folder):
    """Returns what must be equal to continue the run in a stage's folder; None without a run."""
    stored = read_stored(folder)
    return stored and stored["identity"]
