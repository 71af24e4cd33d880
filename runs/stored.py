"""What earlier runs stored beside their weights: settings.json."""

from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from project.errors import UserError
from project.files import read_json, write_json
from project.version import VERSION
from runs.folders import is_trained, stage_folder, weights_digest, weights_file
from settings.loading import Settings, adopt_network
from settings.table import Kind, SettingsError, Source, check

FILE = "settings.json"


class ResumeError(UserError):
    """An earlier run cannot be continued or read."""


@dataclass(frozen=True)
class StoredRun:
    """The settings.json of a stage: enough to rebuild its network and to judge the run.

    Attributes:
        stage: "mtl" or "dae".
        settings: the settings in force, by name.
        identity: what must be equal to continue the run: network, data, global batch.
        classes: names of the classes, in the order of the class indices.
        gsd: metres per pixel of the training tiles.
        training_mean_height: metres, over the valid pixels of the training tiles.
        majority_class: index of the commonest class; None without classes.
        loss_weights: weight of each loss, by its name.
        unusable_tiles: names of the training tiles that were skipped.
        encoder_weights: what stage 1's encoder was initialised with.
        parameters: numbers that the stage trains.
        total_steps: optimizer steps that were asked for when the run last began or went on.
        schedule_steps: those for which its learning rate is planned; 0 = not stored.
        initial_weights: absolute path of the weight file that the run began with; empty = none.
        version: of the project that wrote the file; empty before 0.1.0.
    """

    stage: str
    settings: dict
    identity: dict
    classes: list[str]
    gsd: float
    training_mean_height: float
    majority_class: int | None
    loss_weights: dict[str, float]
    # What the first versions did not write.
    unusable_tiles: list[str] = field(default_factory=list)
    encoder_weights: str = ""
    parameters: int = 0
    total_steps: int = 0
    schedule_steps: int = 0
    initial_weights: str = ""
    version: str = ""

    def write(self, folder: Path) -> None:
        """Writes the settings.json of a folder."""
        write_json(folder / FILE, asdict(self) | {"version": VERSION})


def read_stored(folder: Path) -> StoredRun | None:
    """Reads the settings.json beside a stage's weights.

    Returns:
        The `StoredRun`; None where there is no such file.

    Raises:
        ResumeError: if the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        stored = read_json(path)
        needed = [f.name for f in fields(StoredRun) if f.default is f.default_factory is MISSING]
        if lacks := [name for name in needed if name not in stored]:
            raise ValueError(f"it lacks {', '.join(lacks)}")
        known = {f.name for f in fields(StoredRun)}
        run = StoredRun(**{name: value for name, value in stored.items() if name in known})
        for f in fields(run):
            if not _is_of(getattr(run, f.name), f.type):
                raise ValueError(f"{f.name} is {getattr(run, f.name)!r}, expected {f.type}")
        return run
    except ValueError as error:
        raise ResumeError(
            f"{path} is damaged ({error}). Move its folder away and train again."
        ) from None


def _is_of(value: object, kind: Any) -> bool:
    """Returns whether a value from JSON has the type that an attribute of `StoredRun` declares."""
    items = get_args(kind)
    if isinstance(kind, UnionType):
        return any(_is_of(value, one) for one in items)
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_is_of(item, items[0]) for item in value)
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(_is_of(v, items[1]) for v in value.values())
    return type(value) in ((int, float) if kind is float else (kind,))


def stored_stage(settings: Settings, stage: str) -> StoredRun:
    """Returns what is stored of a trained stage.

    Raises:
        FileNotFoundError: if the stage has no weights yet, or no settings.json beside them.
        ResumeError: if settings.json is damaged.
    """
    folder = weights_file(settings, stage).parent
    stored = read_stored(folder)
    if stored is None:
        raise FileNotFoundError(f"There is no {FILE} in {folder}, beside the weights.")
    return stored


def adopt_stored_network(settings: Settings) -> Settings:
    """Takes the network's settings from stage 1's settings.json.

    Raises:
        FileNotFoundError: if stage 1 has not been trained.
        SettingsError: if its network does not fit the command line or the data set's classes.
    """
    stored = stored_stage(settings, "mtl")
    origin = str(stage_folder(settings, "mtl") / FILE)
    names = list(settings.record.class_names)
    if stored.classes != names:
        raise SettingsError(
            f"The network was trained on the classes {stored.classes} ({origin}), but the data set "
            f"has {names}. Train it again, or restore the record."
        )
    return adopt_network(settings, stored.settings, origin)


def use_correction(settings: Settings) -> bool:
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
    trained_on = stored_stage(settings, "dae").identity["mtl_weights"]
    if trained_on == weights_digest(settings, "mtl"):
        return True
    message = f"{folder} was trained on an earlier stage 1. Run train_dae.py again."
    if settings.correction == "true":
        raise SettingsError(message)
    print(f"warning: {message} Continuing without the correction.")
    return False


def with_trained_dropout(settings: Settings, stage: str) -> Settings:
    """Returns the settings with the dropout of a stage's training, unless the user sets one.

    Raises:
        ResumeError: if the stored one is none.
    """
    if settings.sources["dropout"].is_user:
        return settings
    path = stage_folder(settings, stage) / FILE
    dropout = stored_stage(settings, stage).settings.get("dropout")
    try:
        dropout = check("dropout", "none" if dropout is None else dropout)
    except ValueError as error:
        raise ResumeError(f"{path} is damaged (dropout: {error}). Train again.") from None
    source = Source(Kind.STORED, str(path))
    return replace(
        settings,
        values=settings.values | {"dropout": dropout},
        sources=settings.sources | {"dropout": source},
    )
