"""The allowed values of every setting of `config.py`: types, defaults and limits."""

import difflib
import enum
import math
import re
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import config
from project.errors import UserError


class Kind(enum.Enum):
    """The kinds of sources of a value."""

    DEFAULT = enum.auto()  # no other source gives a value
    RECORD = enum.auto()  # the record of the data set, or a consequence of it
    STORED = enum.auto()  # settings.json of a trained network
    BORROWED = enum.auto()  # another setting
    CONFIG = enum.auto()
    PRESET = enum.auto()
    COMMAND_LINE = enum.auto()


@dataclass(frozen=True)
class Source:
    """Where the value of a setting comes from; messages show `str(source)`."""

    kind: Kind
    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def is_user(self) -> bool:
        """Whether the user requests the value, rather than the data set or the project."""
        return self.kind in (Kind.CONFIG, Kind.PRESET, Kind.COMMAND_LINE)


COMMAND_LINE = Source(Kind.COMMAND_LINE, "command line")
CONFIG = Source(Kind.CONFIG, "config.py")
DEFAULT = Source(Kind.DEFAULT, "built-in default")


class SettingsError(UserError):
    """A setting that cannot be used; the message tells the user what to do."""


@dataclass(frozen=True)
class Setting:
    """The allowed values of one setting. Its type and its comment are in `config.py`.

    Attributes:
        default: built-in default; None = no value, or that of `like`.
        role: "network" = part of the network's structure, stored with its weights; "learning" =
            changes what is learned; "run" = where, how long and on which devices; may change when
            a run is resumed.
        choices: allowed strings, in lower case; empty = any.
        minimum, maximum: limits that the value may reach.
        above, below: limits that it must not reach.
        multiple_of: integer that divides the value.
        like: name of the setting whose value is the default.
        stage: "mtl" or "dae" if only that stage depends on the setting.
        check: raises ValueError for wrong values that the fields above cannot describe.
    """

    default: bool | int | float | str | None = None
    role: str = "learning"
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    multiple_of: int | None = None
    like: str | None = None
    stage: str | None = None
    check: Callable[[Any], None] | None = None


def check_devices(text: str) -> None:
    """Raises ValueError unless `text` is "auto" or distinct indices such as "0,1"."""
    if text == "auto":
        return
    indices = text.split(",")
    if not all(re.fullmatch(r"\s*[0-9]+\s*", index) for index in indices):
        raise ValueError("expected auto, or indices separated by commas such as 0,1")
    if len({int(index) for index in indices}) < len(indices):
        raise ValueError("expected each index once")


def check_resume(text: str) -> None:
    """Raises ValueError unless `text` is "auto", "never" or an existing folder."""
    if text not in ("auto", "never") and not Path(text).is_dir():
        raise ValueError("expected auto, never, or the folder of an earlier run")


def check_weights(text: str) -> None:
    """Raises ValueError unless `text` is "auto", "imagenet", "none" or an existing file."""
    if text not in ("auto", "imagenet", "none") and not Path(text).is_file():
        raise ValueError("expected auto, imagenet, none, or a weight file that exists")


def check_spike(factor: float) -> None:
    """Raises ValueError for a factor that would leave out ordinary steps."""
    if 0 < factor <= 1:
        raise ValueError("expected 0, or a factor above 1 such as 10")


_STRIDE = 32  # of the encoder, which halves the resolution five times
_MAX_SEED = 2**31 - 1  # seeds of stateless TensorFlow operations are int32

TABLE = {
    "dataset_name": Setting("Demo"),
    "shortcut_path": Setting("data", "run"),
    "checkpoint_dir": Setting("checkpoints", "run"),
    "output_dir": Setting("output", "run"),
    "seed": Setting(0, minimum=0, maximum=_MAX_SEED),
    "crop_size": Setting(256, minimum=_STRIDE, multiple_of=_STRIDE),
    "batch_size": Setting(4, "run", minimum=1),
    "dae_batch_size": Setting(None, "run", minimum=1, like="batch_size"),
    "samples_per_epoch": Setting(None, minimum=1),
    "augment": Setting(True),
    "flips": Setting(True),
    "turns": Setting(True),
    "brightness_jitter": Setting(0.0, minimum=0, below=1),
    "contrast_jitter": Setting(0.0, minimum=0, below=1),
    "colour_jitter": Setting(0.0, minimum=0, below=1),
    "scale_jitter": Setting(0.0, minimum=0, below=1),
    "cache": Setting("auto", "run", choices=("none", "memory", "disk", "auto")),
    "input_threads": Setting(None, "run", minimum=1),
    "bad_tiles": Setting("stop", "run", choices=("stop", "skip")),
    "mtl_epochs": Setting(20, "run", minimum=1),
    "dae_epochs": Setting(20, "run", minimum=1),
    "mtl_steps": Setting(None, "run", minimum=1),
    "dae_steps": Setting(None, "run", minimum=1),
    "mtl_learning_rate": Setting(2e-4, above=0, stage="mtl"),
    "dae_learning_rate": Setting(2e-4, above=0, stage="dae"),
    "scale_learning_rate": Setting("none", choices=("none", "linear", "sqrt")),
    "base_batch_size": Setting(4, minimum=1),
    "learning_rate_schedule": Setting("constant", choices=("constant", "cosine", "step")),
    "warmup_epochs": Setting(0.0, minimum=0),
    "min_learning_rate": Setting(0.0, minimum=0),
    "decay_epochs": Setting(None, above=0),
    "decay_factor": Setting(0.1, above=0, below=1),
    "gradient_clip_norm": Setting(0.0, minimum=0),
    "gradient_accumulation_steps": Setting(1, "run", minimum=1),
    "ema_decay": Setting(0.0, minimum=0, below=1),
    "freeze_backbone_epochs": Setting(0, minimum=0, stage="mtl"),
    "backbone_learning_rate_factor": Setting(1.0, above=0, maximum=1, stage="mtl"),
    "eval_metric": Setting("rmse", choices=("rmse", "mae", "delta1", "miou")),
    "early_stopping_patience": Setting(10, "run", minimum=0),
    "resume": Setting("auto", "run", check=check_resume),
    "initial_weights": Setting("none", "run"),
    "keep_states": Setting(2, "run", minimum=1),
    "save_minutes": Setting(10.0, "run", above=0),
    "max_minutes": Setting(0.0, "run", minimum=0),
    "gradient_spike": Setting(0.0, "run", minimum=0, check=check_spike),
    "max_bad_steps": Setting(10, "run", minimum=1),
    "reg_loss": Setting("mse", choices=("mse", "mae", "huber")),
    "huber_delta": Setting(1.0, above=0),
    "height_loss_weight": Setting(1.0, minimum=0, stage="mtl"),
    "semantic_loss_weight": Setting(1.0, minimum=0, stage="mtl"),
    "normal_loss_weight": Setting(1.0, minimum=0, stage="mtl"),
    "class_weights": Setting("none", choices=("none", "balanced"), stage="mtl"),
    "label_smoothing": Setting(0.0, minimum=0, below=1, stage="mtl"),
    "deep_supervision": Setting(0.0, "network", minimum=0, stage="mtl"),
    "backbone": Setting("densenet121", "network", choices=("densenet121", "resnet50", "tiny")),
    "backbone_weights": Setting("auto", check=check_weights, stage="mtl"),
    "decoder_width": Setting(1.0, "network", above=0, maximum=2),
    "decoder_norm": Setting("none", "network", choices=("none", "batch")),
    "decoder_skips": Setting(False, "network"),
    "dropout": Setting(0.5, minimum=0, below=1),
    "encoder_batch_norm": Setting("train", "network", choices=("train", "frozen")),
    "batch_norm_momentum": Setting(0.99, minimum=0, below=1),
    "dae_start": Setting("random", choices=("random", "zero"), stage="dae"),
    "sem_flag": Setting(True, "network"),
    "norm_flag": Setting(True, "network"),
    "input_normalisation": Setting("zero_to_one", "network", choices=("zero_to_one", "imagenet")),
    "normal_coding": Setting("unit", "network", choices=("unit", "published")),
    "sar_mode": Setting("none", "network", choices=("none", "fusion")),
    "multi_gpu_enabled": Setting(True, "run"),
    "gpu_devices": Setting("auto", "run", check=check_devices),
    "cpu_replicas": Setting(0, "run", minimum=0),
    "gradient_reduction": Setting(
        "auto", "run", choices=("auto", "nccl", "reduction_to_one_device")
    ),
    "gradient_pack_bytes": Setting(0, "run", minimum=0),
    "sync_batch_norm": Setting(False),
    "precision": Setting("float32", choices=("float32", "mixed_float16", "mixed_bfloat16", "auto")),
    "gradient_checkpointing": Setting(False, "run"),
    "correction": Setting("auto", "run", choices=("auto", "true", "false")),
    "window_size": Setting(None, "run", minimum=_STRIDE, multiple_of=_STRIDE, like="crop_size"),
    "overlap": Setting(0.33, "run", minimum=0, below=1),
    "batch_windows": Setting(8, "run", minimum=1),
    "tta": Setting(False, "run"),
    "match_gsd": Setting(False, "run"),
    "preset": Setting(None, "run", choices=("published", "improved")),
}

# What other projects call a setting, where the most similar name would be a wrong guess; by the
# names that are meant. What is below "" is no setting here.
_ELSEWHERE = {
    "dataset_name shortcut_path": "data data_dir data_root data_path datadir dataset_dir root name",
    "mtl_learning_rate dae_learning_rate": "lr learning_rate base_lr init_lr lr0",
    "mtl_epochs dae_epochs": "epochs epoch num_epochs n_epochs max_epochs",
    "mtl_steps dae_steps": "steps num_steps max_steps iterations iters max_iters",
    "batch_size": "batch bs train_batch_size",
    "crop_size": "size image_size img_size imgsz input_size patch_size tile_size",
    "gpu_devices": "gpu gpus num_gpus device devices cuda cuda_devices",
    "input_threads": "workers num_workers n_workers",
    "model checkpoint_dir": "checkpoint_path ckpt ckpt_path load model_path",  # predict.py: --model
    "output_dir": "out output_path save_dir save_path log_dir logdir results",
    "backbone": "arch encoder encoder_name model network",
    "model backbone_weights": "weights",
    "backbone_weights": "encoder_weights pretrained",
    "learning_rate_schedule": "lr_schedule lr_scheduler schedule scheduler",
    "gradient_clip_norm": "clip clip_grad grad_clip max_grad_norm",
    "gradient_accumulation_steps": "accumulate grad_accum accum_iter",
    "early_stopping_patience": "patience",
    "precision": "amp bf16 dtype fp16 half",
    "overlap": "stride",
    "": "bands channels classes gsd momentum nodata num_classes optim optimizer wd weight_decay",
}
_MEANT = {name: meant.split() for meant, names in _ELSEWHERE.items() for name in names.split()}

NETWORK = tuple(name for name, setting in TABLE.items() if setting.role == "network")


def _split(annotation: Any) -> tuple[type, bool]:
    """Returns the type and whether None is allowed, of an annotation such as `int | None`."""
    parts = typing.get_args(annotation) or (annotation,)
    (kind,) = (part for part in parts if part is not types.NoneType)
    return kind, types.NoneType in parts


KINDS = {name: _split(hint) for name, hint in typing.get_type_hints(config).items()}
# A data set may recommend a value for each setting that can be None, except the user's preset.
RECOMMENDABLE = tuple(name for name in KINDS if KINDS[name][1] and name != "preset")
# For these, "none" is a choice. For all others, it cancels the value of config.py or the preset.
NONE_IS_A_VALUE = (*(name for name in TABLE if "none" in TABLE[name].choices), "backbone_weights")
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def expected(name: str) -> str:
    """Describes the allowed values of a setting in words."""
    setting, (kind, optional) = TABLE[name], KINDS[name]
    limits = {"at least": setting.minimum, "above": setting.above, "below": setting.below}
    limits |= {"at most": setting.maximum, "a multiple of": setting.multiple_of}
    words = ", ".join(setting.choices) or _WORDS[kind]
    words += "".join(f", {word} {limit}" for word, limit in limits.items() if limit is not None)
    return words + (", or none" if optional and name not in NONE_IS_A_VALUE else "")


def parse(name: str, text: str) -> Any:
    """Converts text from the command line to the type of a setting, without evaluating it.

    Raises:
        ValueError: if the text cannot be converted.
    """
    kind, optional = KINDS[name]
    if optional and text.lower() == "none" and name not in NONE_IS_A_VALUE:
        return None
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"expected {expected(name)}") from None


def check(name: str, value: Any) -> Any:
    """Returns the value of a setting in its final form: an int as float, a choice in lower case.

    Raises:
        ValueError: if the value has another type or is outside the limits of the setting.
    """
    setting, (kind, optional) = TABLE[name], KINDS[name]
    if value is None and optional:
        return None
    if kind is float and type(value) is int:
        value = float(value) if abs(value) < 2**63 else math.inf
    has_type = type(value) is kind
    if has_type and setting.choices:
        value = value.lower()
    if not has_type or _is_outside(setting, value):
        raise ValueError(f"expected {expected(name)}")
    if setting.multiple_of and value % setting.multiple_of:
        lower = value // setting.multiple_of * setting.multiple_of
        raise ValueError(
            f"expected a multiple of {setting.multiple_of}; "
            f"the nearest are {lower} and {lower + setting.multiple_of}"
        )
    if setting.check:
        setting.check(value)
    return value


def _is_outside(setting: Setting, value: Any) -> bool:
    """Returns whether a value is empty, not finite, none of the choices, or beyond a limit."""
    return (
        value == ""
        or (isinstance(value, float) and not math.isfinite(value))
        or (len(setting.choices) > 0 and value not in setting.choices)
        or (setting.minimum is not None and value < setting.minimum)
        or (setting.maximum is not None and value > setting.maximum)
        or (setting.above is not None and value <= setting.above)
        or (setting.below is not None and value >= setting.below)
    )


def show(value: object) -> str:
    """Returns a value as it is written on the command line."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def nearest(name: str, names: Iterable[str]) -> str:
    """Returns a sentence that suggests those of `names` that are meant, or else --help.

    Args:
        name: as the user writes it, perhaps with two dashes.
        names: known ones, with two dashes if `name` has them.
    """
    names, plain = list(names), name.removeprefix("--")
    meant = _MEANT.get(plain.replace("-", "_").lower())
    if meant is None:
        near = difflib.get_close_matches(name, names, 1)
    else:
        dashed = (name.removesuffix(plain) + other for other in meant)
        near = [other for other in dashed if other in names]
    return f" Did you mean {' or '.join(near)}?" if near else " --help lists all settings."
