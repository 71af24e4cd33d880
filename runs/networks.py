"""The networks of the settings, and the trained weights of their stages."""

import keras
import tensorflow as tf

from models.dae import build_dae, dae_channels
from models.mtl import NetworkOptions, build_mtl
from runs.folders import weights_file
from runs.stored import use_correction, with_trained_dropout
from runs.trained_model import model_identity
from runs.weights import load_weights
from settings.loading import Settings


def network_options(settings: Settings) -> NetworkOptions:
    """Returns the options of the networks that the settings ask for."""
    names = NetworkOptions.__dataclass_fields__
    return NetworkOptions(**{name: getattr(settings, name) for name in names})


def class_count(settings: Settings) -> int:
    """Returns the classes that the network predicts; 0 = no semantic decoder."""
    return len(settings.record.classes) if settings.sem_flag else 0


def build_stage1(settings: Settings, backbone_weights: str | None = None) -> keras.Model:
    """Builds the MTL; call it under the strategy's scope."""
    options, classes = network_options(settings), class_count(settings)
    return build_mtl(options, classes, settings.norm_flag, backbone_weights)


def build_stage2(settings: Settings) -> keras.Model:
    """Builds the DAE; call it under the strategy's scope."""
    channels = dae_channels(class_count(settings), settings.norm_flag)
    return build_dae(channels, network_options(settings), settings.dae_start)


def load_stage(settings: Settings, stage: str, model: keras.Model) -> None:
    """Loads the best weights of a stage into a network built like it.

    Raises:
        FileNotFoundError: if the stage has no weights yet.
        ResumeError: if they are damaged or of another network.
    """
    load_weights(model, weights_file(settings, stage))


def load_identified(
    settings: Settings, strategy: tf.distribute.Strategy
) -> tuple[keras.Model, keras.Model | None, dict[str, str]]:
    """Builds the networks and loads their weights, of which it says which they are.

    A training may replace the files at any moment.

    Args:
        settings, strategy: of `load_networks`.

    Returns:
        (stage 1, stage 2 or None, `runs.trained_model.model_identity` of what was loaded).
    """
    corrected = use_correction(settings)
    while True:
        identity = model_identity(settings, corrected)
        mtl, dae = load_networks(settings, strategy)
        if model_identity(settings, corrected) == identity:
            return mtl, dae, identity


def load_networks(
    settings: Settings, strategy: tf.distribute.Strategy
) -> tuple[keras.Model, keras.Model | None]:
    """Builds the networks and loads their weights.

    Args:
        settings: of `adopt_stored_network`.
        strategy: under whose scope they are built.

    Returns:
        (stage 1, stage 2 or None).
    """
    corrected = use_correction(settings)
    with strategy.scope():
        mtl = build_stage1(with_trained_dropout(settings, "mtl"))
        dae = build_stage2(with_trained_dropout(settings, "dae")) if corrected else None
    load_stage(settings, "mtl", mtl)
    if dae is not None:
        load_stage(settings, "dae", dae)
    return mtl, dae
