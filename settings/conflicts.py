"""Settings that contradict each other, or that have no effect."""

from settings.table import COMMAND_LINE, CONFIG, DEFAULT, show

# A setting, the one that it needs, and the values with which it has an effect.
_NEEDS = (
    ("huber_delta", "reg_loss", ("huber",)),
    ("min_learning_rate", "learning_rate_schedule", ("cosine", "step")),
    ("decay_epochs", "learning_rate_schedule", ("step",)),
    ("decay_factor", "learning_rate_schedule", ("step",)),
    ("base_batch_size", "scale_learning_rate", ("linear", "sqrt")),
    ("flips", "augment", (True,)),
    ("turns", "augment", (True,)),
    ("brightness_jitter", "augment", (True,)),
    ("contrast_jitter", "augment", (True,)),
    ("colour_jitter", "augment", (True,)),
    ("scale_jitter", "augment", (True,)),
    ("semantic_loss_weight", "sem_flag", (True,)),
    ("normal_loss_weight", "norm_flag", (True,)),
    ("class_weights", "sem_flag", (True,)),
    ("label_smoothing", "sem_flag", (True,)),
)


def told(settings, name):
    """Returns a setting, its value and where that comes from, as messages show them."""
    return f"{name}={show(settings.values[name])} ({settings.sources[name]})"


def conflicts(settings):
    """Yields a message for each pair of settings that contradict each other."""
    said = {name: told(settings, name) for name in settings.values}
    yield from _of_devices(settings, said)
    if settings.sem_flag and not settings.record.classes:
        yield (
            f"{said['sem_flag']} needs classes, but {settings.dataset_name} has none. Set "
            "sem_flag=false, or list the classes in its dataset.toml."
        )
    if settings.eval_metric == "miou" and not settings.sem_flag:
        yield (
            f"{said['eval_metric']} needs classes, but {said['sem_flag']}. Choose rmse, mae or "
            "delta1."
        )
    rates = min(settings.mtl_learning_rate, settings.dae_learning_rate)
    if settings.min_learning_rate > rates and settings.scale_learning_rate == "none":
        yield f"{said['min_learning_rate']} is above the learning rate, {show(rates)}. Lower it."
    weights = [settings.height_loss_weight]
    weights += [settings.semantic_loss_weight] if settings.sem_flag else []
    weights += [settings.normal_loss_weight] if settings.norm_flag else []
    if not any(weights):
        yield "All loss weights are 0: there is nothing to learn. Raise one."
    rests = settings.freeze_backbone_epochs
    if rests and settings.mtl_steps is None and rests >= settings.mtl_epochs:
        yield f"{said['freeze_backbone_epochs']}, but {said['mtl_epochs']}. Let it wake earlier."
    if settings.scale_jitter and settings.norm_flag and settings.normal_coding == "published":
        yield (
            f"{said['scale_jitter']} changes the pixel size, but {said['normal_coding']} knows "
            "none. Set normal_coding=unit, norm_flag=false or scale_jitter=0."
        )
    if settings.backbone == "tiny" and settings.backbone_weights not in ("auto", "none"):
        yield f"{said['backbone_weights']}, but {said['backbone']} has none. Leave it out."
    yield from _without_effect(settings, said)


def _of_devices(settings, said):
    """Yields a message for each pair of settings of devices that contradict each other."""
    if settings.cpu_replicas > 0 and settings.gpu_devices != "auto":
        yield (
            f"{said['cpu_replicas']} rehearses without GPUs, but {said['gpu_devices']} names some. "
            "Give only one of the two."
        )
    if settings.cpu_replicas > 1 and not settings.multi_gpu_enabled:
        yield (
            f"{said['cpu_replicas']} needs several devices, but {said['multi_gpu_enabled']} "
            "allows one. Set multi_gpu_enabled=true or cpu_replicas=1."
        )
    if settings.gradient_pack_bytes and settings.gradient_reduction != "auto":
        yield (
            f"{said['gradient_pack_bytes']} has no effect with {said['gradient_reduction']}. Leave "
            "it out, or set gradient_reduction=auto."
        )


def _without_effect(settings, said):
    """Yields a message for each setting that was given, but needs another one."""
    for name, switch, needed in _NEEDS:
        if settings.values[switch] not in needed and _is_deliberate(settings.sources, name, switch):
            yield (
                f"{said[name]} has no effect with {said[switch]}. Leave it out, or set "
                f"{switch}={' or '.join(show(value) for value in needed)}."
            )


def _is_deliberate(sources, name, switch):
    """Whether the user gave `name` at least as directly as the `switch` that it needs."""
    in_config = sources[name] == CONFIG and sources[switch] in (CONFIG, DEFAULT)
    return sources[name] == COMMAND_LINE or in_config
