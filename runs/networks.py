"""The networks of the settings, and the trained weights of their stages."""

from dataclasses import replace

from models.dae import build_dae, dae_channels
from models.mtl import NetworkOptions, build_mtl
from project.errors import first_line
from runs.folders import is_trained, stage_folder, weights_digest, weights_file
from runs.stored import ResumeError, stored_stage
from settings.loading import SettingsError


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
        settings: `settings.loading.Settings` of `adopt_stored_network`.
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
