"""The networks of the settings, and the trained weights of their stages."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

from models.backbones import first_line
from models.dae import build_dae, dae_channels
from models.mtl import NetworkOptions, build_mtl
from settings import SettingsError, adopt_network
from training.resume import ResumeError, read_stored


def network_options(settings):
    """Returns the `NetworkOptions` of the settings."""
    names = NetworkOptions.__dataclass_fields__
    return NetworkOptions(**{name: getattr(settings, name) for name in names})


def class_count(settings):
    """Returns the classes that the network predicts; 0 = no semantic decoder."""
    return len(settings.record.classes) if settings.sem_flag else 0


def build_stage1(settings, backbone_weights=None):
    """Builds the MTL; call it under the strategy's scope."""
    options, classes = network_options(settings), class_count(settings)
    return build_mtl(options, classes, settings.norm_flag, backbone_weights)


def build_stage2(settings):
    """Builds the DAE; call it under the strategy's scope."""
    channels = dae_channels(class_count(settings), settings.norm_flag)
    return build_dae(channels, network_options(settings).style, settings.dae_start)


def stage_folder(settings, stage):
    """Returns the folder of a stage's weights and state: beside --model, where a script has it."""
    model = getattr(settings.options, "model", None)
    if model:
        folder = Path(model).parent
        # In full, as "." and ".." have no name that could be replaced.
        return folder if stage == "mtl" else Path(os.path.abspath(folder)).with_name(stage)
    return Path(settings.checkpoint_dir) / settings.dataset_name / stage


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


def is_trained(settings, stage):
    """Says whether a stage has weights."""
    return (stage_folder(settings, stage) / "best.weights.h5").is_file()


def weights_digest(settings, stage):
    """Returns the SHA-256 of a stage's best weights."""
    return hashlib.sha256(weights_file(settings, stage).read_bytes()).hexdigest()


def weights_file(settings, stage):
    """Returns the path of a stage's best weights.

    Raises:
        FileNotFoundError: if it has none yet.
    """
    path = stage_folder(settings, stage) / "best.weights.h5"
    if not path.is_file():
        raise FileNotFoundError(
            f"There are no trained weights at {path}. Run train_{stage}.py with the same "
            "dataset_name and checkpoint_dir first."
        )
    return path


def load_stage(settings, stage, model):
    """Loads the best weights of a stage into a network built like it.

    Raises:
        FileNotFoundError: if the stage has no weights yet.
        ResumeError: if they are damaged or of another network.
    """
    path = weights_file(settings, stage)
    try:
        model.load_weights(path)
    except (OSError, ValueError) as error:
        reason = first_line(error)
        raise ResumeError(
            f"{path} cannot be loaded ({reason}): it is damaged or of another network. Train anew."
        ) from None


def use_correction(settings):
    """Decides whether stage 2 takes part in an evaluation.

    Raises:
        FileNotFoundError: if `correction` is true and stage 2 has not been trained.
        SettingsError: if `correction` is true and stage 2 was trained on another stage 1.
    """
    folder = stage_folder(settings, "dae")
    if settings.correction == "false":
        return False
    if settings.correction == "auto" and not is_trained(settings, "dae"):
        return False
    trained_on = stored_stage(settings, "dae")["identity"]["mtl_weights"]
    if trained_on == weights_digest(settings, "mtl"):
        return True
    message = f"{folder} was trained on an earlier stage 1. Run train_dae.py again."
    if settings.correction == "true":
        raise SettingsError(message)
    print(f"warning: {message} Going on without the correction.")
    return False


def load_networks(settings, strategy):
    """Builds the networks and loads their weights.

    Args:
        settings: `settings.Settings` of `adopt_stored_network`.
        strategy: `tf.distribute.Strategy`.

    Returns:
        (stage 1, stage 2 or None).
    """
    corrected = use_correction(settings)
    with strategy.scope():
        mtl = build_stage1(settings)
        dae = build_stage2(_stage2_settings(settings)) if corrected else None
    load_stage(settings, "mtl", mtl)
    if corrected:
        load_stage(settings, "dae", dae)
    return mtl, dae


def _stage2_settings(settings):
    """Returns the settings with stage 2's own dropout, unless the user has asked for one."""
    if not settings.sources["dropout"].startswith("record of "):
        return settings
    stored = stored_stage(settings, "dae")["settings"]["dropout"]
    return replace(settings, values=settings.values | {"dropout": stored})
