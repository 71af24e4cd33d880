"""export.py: a SavedModel that needs nothing of this project."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import export
import predict
import train_dae
import train_mtl
from datasets.rasters.reading import read_raster
from models.height_network import Extras, make_height_network, make_raw_network
from models.mtl import NetworkOptions, build_mtl
from prediction.tiles import predict_tile, unit_vectors

RUN = ["--dataset_name=blocks", "--backbone=tiny", "--decoder_width=0.02", "--dropout=0"]
RUN += ["--samples_per_epoch=4", "--mtl_steps=2", "--dae_steps=2"]
ALONE = """
import sys, numpy, tensorflow
model = tensorflow.saved_model.load(sys.argv[1]).signatures["serving_default"]
image = tensorflow.constant(numpy.load(sys.argv[2]))
numpy.savez(sys.argv[3], **{name: value.numpy() for name, value in model(image=image).items()})
assert not [name for name in sys.modules if name.split(".")[0] in ("models", "runs", "datasets")]
"""


@pytest.fixture(scope="module")
def trained(blocks, tmp_path_factory):
    """Returns the options that name trained networks of both stages."""
    folder = tmp_path_factory.mktemp("trained")
    places = [f"--{name}={folder / name}" for name in ("checkpoint_dir", "output_dir")]
    for script in (train_mtl, train_dae):
        script.main([*RUN, *places, f"--shortcut_path={blocks}"])
    return ["--dataset_name=blocks", *places]


def test_a_saved_model_alone_gives_the_heights_of_predict(trained, blocks, tmp_path):
    scene = blocks / "blocks" / "test" / "rgb" / "test_0.tif"
    predict.main([str(scene), str(tmp_path / "heights.tif"), *trained, "--window_size=64"])
    export.main([str(tmp_path / "exported"), *trained])
    np.save(tmp_path / "image.npy", read_raster(scene).pixels[None].astype("float32"))
    files = [str(tmp_path / name) for name in ("exported", "image.npy", "found.npz")]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, "-c", ALONE, *files]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    found = np.load(tmp_path / "found.npz")
    expected = read_raster(tmp_path / "heights.tif").pixels
    np.testing.assert_allclose(found["heights"][0], expected, atol=1e-4)
    np.testing.assert_allclose(found["probabilities"].sum(axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found["normals"], axis=-1), 1, atol=1e-5)
    described = json.loads((tmp_path / "exported" / "model.json").read_text())
    assert described["classes"] == ["ground", "building"] and set(described["weights"]) == {
        "mtl",
        "dae",
    }


def test_raw_values_are_scaled_and_any_size_is_taken():
    mtl = build_mtl(NetworkOptions("tiny", 0.02), 0, normals=False)
    run = make_raw_network(lambda image: mtl(image, training=False), [0.5, 0.5, 0.5])
    image = tf.random.stateless_uniform((1, 50, 70, 3), (1, 2), 0, 510)
    mirrored = np.pad(image, [(0, 0), (7, 7), (13, 13), (0, 0)], mode="symmetric")
    expected = mtl(mirrored * 0.5, training=False)["heights"][:, 7:57, 13:83]
    np.testing.assert_allclose(
        run(image)["heights"], expected, rtol=0, atol=1e-3 * np.ptp(expected)
    )


def test_normals_are_unit_vectors_over_the_views_too():
    mtl = build_mtl(NetworkOptions("tiny", 0.02), 0)
    image = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype("float32")
    network = make_height_network(mtl, extras=Extras("unit", views=True))
    mean = network(image)["normals"].numpy()  # over the views, as predict.py blends it
    assert np.linalg.norm(mean, axis=-1).min() < 0.9
    found = make_raw_network(network, [1.0, 1.0, 1.0])(image)["normals"]
    np.testing.assert_allclose(found, unit_vectors(mean), atol=1e-6)


def test_a_normal_of_length_0_is_level_ground():
    run = make_raw_network(lambda image: {"normals": image * 0}, [1.0, 1.0, 1.0])
    assert run(np.ones((1, 32, 32, 3), "float32"))["normals"][0, 0, 0].numpy().tolist() == [0, 0, 1]


@pytest.mark.parametrize("shape", [(21, 27), (10, 31), (3, 32)])
def test_odd_and_tiny_images_give_what_one_window_gives(shape):
    mtl = build_mtl(NetworkOptions("tiny", 0.02), 0, normals=False)
    network = make_height_network(mtl)
    image = np.random.default_rng(0).uniform(0, 255, (*shape, 3)).astype("float32")
    expected = predict_tile(image, lambda batch: network(batch), 32, 0.0, 1)["heights"]
    found = make_raw_network(network, [1.0, 1.0, 1.0])(image[None])["heights"][0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * np.ptp(expected))


def test_an_existing_folder_is_kept(trained, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(SystemExit, match="there already exists"):
        export.main([str(tmp_path / "there"), *trained])
    assert not list((tmp_path / "there").iterdir())


def test_without_weights_nothing_is_written(tmp_path, capsys):
    with pytest.raises(SystemExit):
        export.main([str(tmp_path / "new"), "--model=nowhere.h5"])
    assert "no trained weights at nowhere.h5" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
