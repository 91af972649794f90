import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tfqkd.cli.predict import main
from tfqkd.runtime import load


@pytest.fixture(scope="module")
def pictures(finished, tmp_path_factory):
    """Three test images as PNG files, and the exported file."""
    from tfqkd.data import load as load_data

    directory = tmp_path_factory.mktemp("pictures")
    for index, image in enumerate(load_data("digits").test.images[:3]):
        Image.fromarray(image[..., 0]).save(directory / f"{index}.png")
    (file,) = finished.directory.glob("export/*.tflite")
    return directory, file


def test_the_best_classes_are_printed_with_their_names_and_shares(pictures, capsys):
    from tfqkd.data import load as load_data

    directory, file = pictures
    assert main(["predict", f"--model={file}", f"--images={directory}", "--top=2"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert last == f"Next            tfqkd-evaluate --models={file} --dataset=NAME"
    data = load_data("digits")
    logits = load(file)(data.test.images[:3]).astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for index, line in enumerate(lines):
        first, second = np.argsort(-shares[index])[:2]
        expected = [str(directory / f"{index}.png")]
        for best in (first, second):
            expected += [data.class_names[best], f"{100 * shares[index, best]:.1f}"]
        assert line.split() == expected
    assert len(lines) == 3


def test_json_holds_what_the_lines_show_and_names_what_is_unreadable(pictures, tmp_path, capfd):
    directory, file = pictures
    (tmp_path / "bad.png").write_bytes(b"none")
    asked = [
        "predict",
        f"--model={file}",
        "--top=3",
        f"--images={directory},{tmp_path / 'bad.png'}",
    ]
    assert main(asked) == 1
    lines = capfd.readouterr().out.splitlines()
    assert main([*asked, "--output=json"]) == 1
    out, err = capfd.readouterr()
    found = json.loads(out)
    assert found["model"] == str(file) and found["unreadable"] == [str(tmp_path / "bad.png")]
    assert "Received: 1 of 4" in err
    shown = []
    for image in found["images"]:
        shown.append([image["path"]])
        for entry in image["classes"]:
            shown[-1] += [entry["name"], f"{100 * entry['probability']:.1f}"]
    assert shown == [line.split() for line in lines]
    assert len(shown) == 3


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--images=a.png"], 2, "`model` must be a file that bin/export wrote"),
        (["--model={file}"], 2, "`images` must name image files"),
        (["--model={file}", "--images=none.png"], 1, "Received: none.png, where there is none"),
        (["--model={file}", "--images={file}"], 1, "must be a readable PNG or JPEG file"),
        (["--model={file}", "--images={directory}", "--top=0"], 2, "top"),
    ],
)
def test_mistakes_are_one_message(pictures, capsys, arguments, status, message):
    directory, file = pictures
    filled = [text.format(file=file, directory=directory) for text in arguments]
    assert main(["predict", *filled]) == status
    out, err = capsys.readouterr()
    assert out == "" and message in err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "saved",
            "model='saved', a SavedModel. Write a .tflite file of it with bin/export --model=saved",
        ),
        ("saved", "bin/evaluate --models=saved --dataset=NAME."),
        ("saved/saved_model.pb", "bin/evaluate --models=saved --dataset=NAME."),
        (
            "model.keras",
            "a Keras model. Write a .tflite file of it with bin/export --model=model.keras",
        ),
        ("model.h5", "of a run's student with bin/export --run_dir=RUN"),
        ("run", "model='run', a folder. Give a file: run/export/student.tflite."),
        ("pictures", "model='pictures', a folder. Give a file: there is none in it."),
        ("none.tflite", "model='none.tflite', which does not exist."),
        ("pictures/cat.png", "model='pictures/cat.png', which is another kind of file."),
    ],
)
def test_what_it_cannot_run_is_told_with_what_can_be_done(
    tmp_path, monkeypatch, capsys, name, message
):
    monkeypatch.chdir(tmp_path)
    files = ("saved/saved_model.pb", "model.keras", "model.h5", "run/export/student.tflite")
    for file in (*files, "pictures/cat.png"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert main(["predict", f"--model={name}", "--images=pictures"]) == 2
    err = capsys.readouterr().err
    assert "`model` must be a file that bin/export wrote, .tflite or .onnx." in err
    assert message in err


def test_folders_in_a_folder_of_images_are_not_passed_over_in_silence(pictures, tmp_path, capsys):
    _, file = pictures
    (tmp_path / "cat").mkdir()
    assert main(["predict", f"--model={file}", f"--images={tmp_path}"]) == 1
    assert f"whose folders are not looked into. Name them, such as {tmp_path}/cat." in (
        capsys.readouterr().err
    )


def test_a_bad_image_is_named_and_the_others_are_classified(pictures, tmp_path, capsys):
    directory, file = pictures
    (tmp_path / "bad.png").write_bytes((directory / "0.png").read_bytes()[:40])
    places = f"{directory / '0.png'},{tmp_path / 'bad.png'},{directory / '1.png'}"
    assert main(["predict", f"--model={file}", f"--images={places}"]) == 1
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == [
        str(directory / "0.png"),
        str(directory / "1.png"),
    ]
    first, last = err.splitlines()
    assert first.startswith("predict: An image must be a readable PNG") and "bad.png" in first
    assert last.startswith("predict: error: Every image must be readable. Received: 1 of 3")


def test_no_tensorflow_is_imported(pictures):
    directory, file = pictures
    code = (
        "import sys; sys.modules['tensorflow'] = sys.modules['tf_keras'] = None\n"
        "from tfqkd.cli.predict import main\n"
        f"sys.exit(main(['predict', '--model={file}', '--images={directory}']))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
