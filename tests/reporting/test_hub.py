import filecmp
import shutil

import numpy as np
import pytest

import tfqkd
from tfqkd import runtime
from tfqkd.cli.flagfiles import expand
from tfqkd.models import pretrained_file, pretrained_names
from tfqkd.recipe.recipe import Recipe
from tfqkd.training.directory import RECIPE_FILE
from tfqkd.training.results import RESULTS_FILE, ExportedFile, ModelResult, Results

NETWORK = pretrained_file("resnet20_ternary_cifar100")
RECIPE = Recipe({"training.epochs": 3}, dataset="folder:my/photos", temperature=5.0)
SAID = {"licence": "mit", "data_origin": "our own photographs, CC0"}


def load_card(folder):
    hub = pytest.importorskip(
        "huggingface_hub", reason="needs huggingface_hub: pip install '.[dev]'"
    )
    return hub.ModelCard.load(folder / "README.md")


@pytest.fixture
def run(tmp_path):
    """A finished run, as its directory tells it; its file is that of a network that comes along."""
    folder = tmp_path / "run"
    (folder / "export").mkdir(parents=True)
    shutil.copy(NETWORK, folder / "export" / "student-int2.tflite")
    student = ModelResult(
        role="quantized", label="ternary, teacher", name="resnet20", parameters=278_324,
        accuracy=0.6988, top5=0.9, loss=1.1, model="model.keras", quantized_share=0.969,
    )  # fmt: skip
    file = ExportedFile(
        format="litert-int2", path="student-int2.tflite", bytes=118_888, gzip_bytes=90_000,
        max_difference=1e-6, agreement=1.0, accuracy=0.6998,
    )  # fmt: skip
    results = Results(models=(student,), export=(file,), class_names=("cat", "dog"))
    (folder / RESULTS_FILE).write_text(results.to_json())
    (folder / RECIPE_FILE).write_text(RECIPE.to_json())
    return folder


@pytest.mark.parametrize("name", pretrained_names())
def test_a_network_that_comes_along_has_its_files_and_a_card_without_dead_links(name, tmp_path):
    folder = tfqkd.save_to_folder(name, tmp_path / "hub")
    file = pretrained_file(name)
    assert filecmp.cmp(file, folder / file.name, shallow=False)
    text = (folder / "README.md").read_text()
    assert "](" not in text.replace("](http", "")
    card = load_card(folder)
    assert (card.data.license, card.data.model_name) == ("apache-2.0", name)


def test_a_run_becomes_a_folder_whose_card_and_line_of_code_hold(run, tmp_path):
    folder = tfqkd.save_to_folder(run, tmp_path / "photos", **SAID)
    card = load_card(folder)
    (result,) = card.data.eval_results
    assert (card.data.license, card.data.model_name) == ("mit", "photos")
    assert (result.dataset_name, result.metric_value) == ("photos", 69.88)
    assert "our own photographs, CC0" in card.text
    assert "| `student-int2.tflite` | 118,888 | 69.98 |" in card.text
    assert 'tfqkd.export.load("student-int2.tflite")' in card.text
    loaded = runtime.load(folder / "student-int2.tflite")
    assert loaded(np.zeros((1, 32, 32, 3), "uint8")).shape == (1, 100)
    flags = list(expand([f"--flagfile={folder / 'recipe.flags'}"]))
    assert {"--training.epochs=3", "--temperature=5.0"} <= set(flags)


@pytest.mark.parametrize("missing", ["licence", "data_origin"])
def test_what_a_reader_must_know_is_asked_for_and_nothing_is_left(run, tmp_path, missing):
    with pytest.raises(ValueError, match="must state its licence and where its images come from"):
        tfqkd.save_to_folder(run, tmp_path / "hub", **{**SAID, missing: ""})
    assert not (tmp_path / "hub").exists()


def test_a_run_without_a_file_is_refused(run, tmp_path):
    results = Results.read(run)
    bare = Results(models=results.models, class_names=results.class_names)
    (run / RESULTS_FILE).write_text(bare.to_json())
    with pytest.raises(ValueError, match="needs an exported file"):
        tfqkd.save_to_folder(run, tmp_path / "hub", **SAID)
