import importlib
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

import config
from project.version import VERSION, checkout
from settings.loading import adopt_network, describe, identity, load
from settings.presets import PRESETS
from settings.table import KINDS, NETWORK, RECOMMENDABLE, TABLE, SettingsError

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted({path.stem for path in ROOT.glob("*.py")} - {"config"})
JITTERS = [name for name in TABLE if name.endswith("_jitter")]
TASKS = ("height", "semantic", "normal")
TOML = """
crop_size = 64
batch_size = 2
loss_weights = {{ height = 0.5 }}
classes = [{{ code = 1, name = "ground" }}]
recommended = {{ {} }}
"""


def read(*arguments):
    """Loads settings as a script does, for the data set Demo."""
    return load("A test.", list(arguments))


def refused(capsys, *arguments):
    """Returns the message with which these arguments are refused."""
    with pytest.raises(SystemExit) as stop:
        read(*arguments)
    assert stop.value.code == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert message.startswith("error: ")
    return message


@pytest.fixture
def own(tmp_path):
    """Creates the data set "own"; returns a function from [recommended] to arguments."""
    (tmp_path / "own").mkdir()

    def write(recommended=""):
        (tmp_path / "own" / "dataset.toml").write_text(TOML.format(recommended))
        return ["--dataset_name=own", f"--shortcut_path={tmp_path}"]

    return write


def test_command_line_wins_over_preset(own):
    both = read(*own(), "--overlap=0.25", "--preset=published")
    assert both.overlap == 0.25
    assert str(both.sources["overlap"]) == "command line"
    assert read(*own(), "--preset=published").overlap == pytest.approx(5 / 6)


def test_preset_wins_over_config(own, monkeypatch):
    monkeypatch.setattr(config, "crop_size", 128)
    asked = read(*own(), "--preset=published")
    assert (asked.crop_size, str(asked.sources["crop_size"])) == (320, "preset published")


def test_preset_can_be_chosen_in_config(monkeypatch):
    monkeypatch.setattr(config, "preset", "published")
    assert read().normal_coding == "published"
    assert read("--preset=none").normal_coding == "unit"


def test_config_wins_over_record(own, monkeypatch):
    monkeypatch.setattr(config, "crop_size", 256)
    asked = read(*own("crop_size = 96"))
    assert (asked.crop_size, str(asked.sources["crop_size"])) == (256, "config.py")


def test_record_wins_over_built_in_default(own):
    asked = read(*own("decoder_width = 1, sem_flag = false"))
    assert (asked.crop_size, asked.batch_size, asked.height_loss_weight) == (64, 2, 0.5)
    assert (asked.decoder_width, asked.sem_flag) == (1.0, False)
    assert str(asked.sources["crop_size"]) == "dataset.toml of own"
    assert asked.record.folder.name == "own"


def test_built_in_default_is_last(own):
    asked = read(*own())
    assert (asked.seed, asked.dropout, asked.semantic_loss_weight) == (0, 0.5, 1.0)
    assert {str(asked.sources[name]) for name in ("seed", "dropout")} == {"built-in default"}


def test_catalogue_record_is_named_as_source(tmp_path):
    assert str(read(f"--shortcut_path={tmp_path}").sources["crop_size"]) == "record of Demo"


def test_none_cancels_the_value_of_config(own, monkeypatch):
    monkeypatch.setattr(config, "crop_size", 128)
    assert read(*own(), "--crop_size=None").crop_size == 64


def test_borrowed_values_follow_what_was_asked():
    asked = read("--crop_size=96", "--batch_size=3")
    assert (asked.window_size, asked.dae_batch_size) == (96, 3)
    assert str(asked.sources["window_size"]) == "as crop_size"
    assert read("--crop_size=96", "--window_size=64").window_size == 64


@pytest.mark.parametrize("argument", ["--crop_size=96", "--crop-size=96", "--crop_size 96"])
def test_spellings_of_an_option(argument):
    assert read(*argument.split()).crop_size == 96


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("--augment=FALSE", False),
        ("--mtl_learning_rate=1", 1.0),
        ("--gpu_devices=0,1", "0,1"),
        ("--correction=True", "true"),
        ("--mtl_steps=none", None),
    ],
)
def test_annotation_decides_the_type(argument, value):
    found = read(argument).values[argument[2:].partition("=")[0]]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--crop_sise=96", "unknown setting --crop_sise=96. Did you mean --crop_size?"),
        ("--crop=96", "unknown setting --crop=96"),
        ("--lr=1e-3", "Did you mean --mtl_learning_rate or --dae_learning_rate?"),
        ("--max-epochs 9", "Did you mean --mtl_epochs or --dae_epochs?"),
        ("--Data=/mnt/town", "Did you mean --dataset_name or --shortcut_path?"),
        ("--num_workers=4", "Did you mean --input_threads?"),
        ("--weight_decay=0", "unknown setting --weight_decay=0. --help lists all settings."),
        ("--__name__=x", "unknown setting"),
        ("crop_size=96", "Write options as --name=value"),
        ("--seed", "--seed: expected one argument"),
        ("--seed=1 --seed=2", "--seed is given 2 times: 1, 2"),
        ("--seed=1.5", "--seed=1.5: expected a whole number"),
        ("--augment=1", "--augment=1: expected true or false"),
        ("--seed=none", "expected a whole number"),
        ("--output_dir=", "expected text"),
        ("--crop_size=250", "nearest are 224 and 256"),
        ("--window_size=0", "at least 32"),
        ("--mtl_steps=-4", "at least 1"),
        ("--batch_size=0", "at least 1"),
        ("--seed=-1", "at least 0"),
        ("--overlap=1", "at least 0, below 1"),
        ("--dropout=-0.1", "at least 0, below 1"),
        ("--label_smoothing=1", "at least 0, below 1"),
        ("--class_weights=rare", "expected none, balanced."),
        ("--decoder_width=2.1", "above 0, at most 2"),
        ("--dae_learning_rate=0", "above 0"),
        ("--dropout=nan", "expected a number"),
        ("--mtl_learning_rate=inf", "expected a number"),
        ("--reg_loss=l1", "expected mse, mae, huber, or none"),
        ("--gpu_devices=0,0", "each index once"),
        ("--gpu_devices=all", "indices separated by commas"),
        ("--resume=nowhere", "the folder of an earlier run"),
        ("--backbone_weights=absent.h5", "weight file that exists"),
        ("--preset=best", "expected published"),
        ("--dataset_name=Demon", "Demo"),
    ],
)
def test_wrong_argument_is_refused(capsys, arguments, message):
    assert message in refused(capsys, *arguments.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--cpu_replicas=2 --gpu_devices=0", "cpu_replicas=2 (command line)"),
        ("--cpu_replicas=2 --multi_gpu_enabled=false", "multi_gpu_enabled=true or cpu_replicas=1"),
        ("--huber_delta=1.0", "set reg_loss=huber"),
        ("--semantic_loss_weight=2 --sem_flag=false", "set sem_flag=true"),
        ("--normal_loss_weight=2 --norm_flag=false", "set norm_flag=true"),
        ("--class_weights=balanced --sem_flag=false", "set sem_flag=true"),
        ("--label_smoothing=0.1 --sem_flag=false", "set sem_flag=true"),
        ("--eval_metric=miou --sem_flag=false", "eval_metric=miou"),
        ("--min_learning_rate=1e-5 --learning_rate_schedule=constant", "has no effect"),
        ("--min_learning_rate=1 --learning_rate_schedule=cosine", "above the learning rate"),
        ("--backbone=tiny --backbone_weights=imagenet", "no pretrained weights"),
        ("--freeze_backbone_epochs=3 --mtl_epochs=3", "frozen for the whole run"),
        ("--scale_jitter=0.1 --normal_coding=published", "ignores it. Set normal_coding=unit"),
        *(
            (f"--{name}=0.1 --augment=false", f"{name}=0.1 (command line) has no")
            for name in JITTERS
        ),
        ("--gradient_pack_bytes=1 --gradient_reduction=nccl", "set gradient_reduction=auto"),
        (" ".join(f"--{task}_loss_weight=0" for task in TASKS), "nothing to learn"),
        ("--height_loss_weight=0 --sem_flag=false --norm_flag=false", "nothing to learn"),
    ],
)
def test_conflict_is_refused(capsys, arguments, message):
    assert message in refused(capsys, *arguments.split())


def test_command_line_may_switch_off_what_config_tunes(monkeypatch):
    monkeypatch.setattr(config, "reg_loss", "huber")
    monkeypatch.setattr(config, "huber_delta", 2.0)
    assert read("--reg_loss=mae").huber_delta == 2.0


def test_conflict_within_config_is_refused(capsys, monkeypatch):
    monkeypatch.setattr(config, "huber_delta", 2.0)
    assert "huber_delta=2 (config.py) has no effect" in refused(capsys)


def test_steps_and_epochs_may_both_be_given():
    asked = read("--mtl_steps=5", "--mtl_epochs=3")
    assert (asked.mtl_steps, asked.mtl_epochs) == (5, 3)


def test_semantic_decoder_is_off_without_classes(capsys, tmp_path):
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "dataset.toml").write_text("gsd = 0.5")
    arguments = ["--dataset_name=bare", f"--shortcut_path={tmp_path}"]
    asked = read(*arguments)
    assert (asked.sem_flag, str(asked.sources["sem_flag"])) == (False, "bare has no classes")
    assert "needs classes, but bare has none" in refused(capsys, *arguments, "--sem_flag=true")


@pytest.mark.parametrize(
    ("recommended", "message"),
    [
        ("decoder_witdh = 0.5", "decoder_witdh is not a setting that a data set can recommend."),
        ("seed = 3", "seed is not a setting that a data set can recommend."),
        ("decoder_width = true", "decoder_width = True: expected a number"),
        ("mtl_epochs = 2.5", "mtl_epochs = 2.5: expected a whole number"),
        ('backbone = "vgg"', "backbone = 'vgg': expected densenet121, resnet50, tiny"),
        ("crop_size = 100", "nearest are 96 and 128"),
        ('backbone_weights = "/etc/hostname"', "'/etc/hostname', expected auto, imagenet or none"),
    ],
)
def test_wrong_recommendation_names_the_file(capsys, own, recommended, message):
    found = refused(capsys, *own(recommended))
    assert "dataset.toml: " in found and message in found


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("crop_size", "128", "config.py: crop_size = '128': expected a whole number"),
        ("augment", 1, "config.py: augment = 1: expected true or false"),
        ("crop_sise", 128, "config.py: crop_sise is not a setting. Did you mean crop_size?"),
    ],
)
def test_wrong_value_in_config_is_refused(capsys, monkeypatch, name, value, message):
    monkeypatch.setattr(config, name, value, raising=False)
    assert message in refused(capsys)


def test_line_missing_in_config_is_named(capsys, monkeypatch):
    monkeypatch.delattr(config, "overlap")
    assert "config.py lacks overlap" in refused(capsys)


def test_line_without_a_type_in_config_is_named(capsys, monkeypatch):
    monkeypatch.delitem(KINDS, "overlap")
    assert "config.py: write overlap: <type> = " in refused(capsys)


def test_options_of_the_script_itself():
    options = [("scene", {}), ("--dry-run", {"action": "store_true"}), ("--top_n", {"type": int})]
    asked = load("A test.", ["--dry-run", "a-b.tif", "--top-n=3", "--seed=1"], options)
    assert asked.options == Namespace(scene="a-b.tif", dry_run=True, top_n=3)
    assert asked.seed == 1


def test_help_lists_each_setting_with_its_comment_and_value(capsys):
    with pytest.raises(SystemExit) as stop:
        read("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0
    assert all(f"--{name} " in text for name in TABLE)
    assert "metres from which the Huber loss is linear; only for reg_loss=huber [1]" in text


def test_help_shows_purpose_own_options_settings_and_version(capsys):
    options = [("scene", {"help": "a photo"}), ("--top_n", {"type": int})]
    with pytest.raises(SystemExit):
        load("Counts trees.\n\nIn two paragraphs.", ["--help"], options)
    text = capsys.readouterr().out
    parts = ["Counts trees.\n\nIn two", "usage: ", "a photo", "--top_n", "--version", "--seed"]
    places = [text.index(part) for part in (*parts, "--preset", "built-in default.")]
    assert places == sorted(places) and places[0] == 0
    assert text.endswith(f"DSMNet {VERSION}\n")


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_script_shows_its_purpose(capsys, script):
    module = importlib.import_module(script)
    with pytest.raises(SystemExit) as stop:
        module.main(["--help"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith(module.__doc__.strip())


def test_version_needs_no_other_argument(capsys):
    with pytest.raises(SystemExit) as stop:
        load("A test.", ["--version"], [("scene", {})])
    assert (stop.value.code, capsys.readouterr().out) == (0, f"DSMNet {checkout()}\n")


def test_settings_are_read_only_and_name_the_nearest():
    asked = read()
    with pytest.raises(AttributeError):
        asked.seed = 3
    with pytest.raises(AttributeError, match="Did you mean crop_size"):
        asked.crop_sise  # noqa: B018


def test_banner_shows_only_what_is_no_default(own):
    lines = describe(read(*own(), "--seed=1"))
    assert "seed=1 (command line)" in lines
    assert "crop_size=64 (dataset.toml of own)" in lines
    assert not any(line.startswith("dropout") for line in lines)


def stored_network(**changes):
    values = read().values
    return {name: values[name] for name in NETWORK} | {"crop_size": 64} | changes


def test_network_is_taken_from_the_checkpoint():
    asked = adopt_network(read(), stored_network(decoder_width=0.25), "mtl/settings.json")
    assert asked.decoder_width == 0.25
    assert str(asked.sources["decoder_width"]) == "mtl/settings.json"
    assert (asked.crop_size, asked.window_size) == (64, 64)  # as in the training


def test_crop_size_of_the_command_line_wins_over_the_checkpoint():
    stored = stored_network(decoder_width=0.25)
    assert adopt_network(read("--crop_size=96"), stored, "x").crop_size == 96
    assert adopt_network(read("--window_size=96"), stored, "x").window_size == 96


@pytest.mark.parametrize(
    "option", ["--height_loss_weight=2", "--class_weights=balanced", "--label_smoothing=0.1"]
)
def test_weights_and_class_labels_concern_stage_1_only(option):
    changed = read(option)
    assert identity(changed, "mtl") != identity(read(), "mtl")
    assert identity(changed, "dae") == identity(read(), "dae")


def test_network_may_be_repeated_but_not_contradicted():
    asked = read("--decoder_width=0.25")
    assert adopt_network(asked, stored_network(decoder_width=0.25), "x").decoder_width == 0.25
    message = r"decoder_width=0.25 \(command line\).*decoder_width=0.5 \(mtl/settings.json\)"
    with pytest.raises(SettingsError, match=message):
        adopt_network(asked, stored_network(decoder_width=0.5), "mtl/settings.json")


def test_stored_network_must_be_complete():
    with pytest.raises(SettingsError, match=r"x does not give \w+\. Train"):
        adopt_network(read(), {}, "x")


def test_devices_and_length_do_not_prevent_resuming():
    longer = read("--mtl_epochs=40", "--cpu_replicas=2", "--output_dir=elsewhere", "--batch_size=2")
    assert identity(longer) == identity(read())
    assert identity(read("--seed=1")) != identity(read())


def test_each_stage_has_its_own_identity():
    changed = read("--dae_learning_rate=1")
    assert identity(changed, "mtl") == identity(read(), "mtl")
    assert identity(changed, "dae") != identity(read(), "dae")


def test_settings_import_no_heavy_library():
    heavy = "{'tensorflow', 'keras', 'numpy', 'osgeo'}"
    code = f"import sys, settings.loading; print({heavy} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.strip() == "set()"


def test_none_as_a_choice_wins_over_a_recommendation(own):
    arguments = own('decoder_norm = "batch"')
    assert read(*arguments).decoder_norm == "batch"
    assert read(*arguments, "--decoder_norm=none").decoder_norm == "none"
    arguments = own('class_weights = "balanced"')
    assert read(*arguments).class_weights == "balanced"
    assert read(*arguments, "--class_weights=none").class_weights == "none"
    assert read(*arguments, "--preset=published").class_weights == "none"


def test_published_preset_decides_all_that_the_authors_decided():
    left = {name for name in RECOMMENDABLE if TABLE[name].role != "run"} - set(PRESETS["published"])
    assert left == {
        # Depends on the data set: its loss weights, and the heads for which it has labels.
        *(f"{task}_loss_weight" for task in TASKS),
        "sem_flag",
        "norm_flag",
        "backbone_weights",  # whatever is available
        # These have no effect on a constant rate.
        *("decay_epochs", "decay_factor", "min_learning_rate"),
    }


def test_texts_that_are_not_utf8_are_refused(capsys):
    message = refused(capsys, "--checkpoint_dir=caf\udce9")
    assert r"'--checkpoint_dir=caf\udce9' is not UTF-8" in message
