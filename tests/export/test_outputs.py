"""What a model returns is known, written into the file, and honoured by all that run it."""

import functools
import json
import pathlib
import runpy
import zipfile

import numpy as np
import pytest
from ai_edge_litert.tools import flatbuffer_utils
from PIL import Image

import tfqkd
from tfqkd.cli.predict import main as predict
from tfqkd.compat import keras, tf
from tfqkd.data.images import ImageData, Split
from tfqkd.export import export, load, to_litert
from tfqkd.fronts.tfmot.outputs import output_of
from tfqkd.reporting.measurement import measure_files

from .in_process import files_run_here

pytestmark = pytest.mark.usefixtures("in_this_process")

layers = keras.layers
EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "classify_with_litert.py"
NAMES = ("red", "green", "blue")
IMAGES = np.random.default_rng(0).integers(0, 256, (32, 2, 2, 3), np.uint8)
LABELS = IMAGES.astype(int).sum(axis=(1, 2)).argmax(axis=1)


def build(activation=None, units=3, last=(), scale=0.002):
    """Output c is the activation of the sum of channel c, less that of a grey image."""
    image = keras.Input((2, 2, 3))
    dense = layers.Dense(units, activation=activation, name="head")
    x = dense(layers.Flatten()(image))
    for layer in last:
        x = layer(x)
    dense.set_weights([scale * np.tile(np.eye(3), (4, 1))[:, :units], np.full(units, -510 * scale)])
    return keras.Model(image, x)


def kind(model, **arguments):
    return output_of(model, model(IMAGES.astype("float32")).numpy(), **arguments)


def compiled(model, loss):
    model.compile("sgd", loss)
    return model


class OwnSoftmax(layers.Layer):
    def call(self, inputs):
        return tf.nn.softmax(inputs)


def shared(function):
    image = keras.Input((2, 2, 3))
    dense = [layers.Dense(1, activation="sigmoid")(layers.Flatten()(image)) for _ in range(3)]
    return keras.Model(image, function(dense))


def nested():
    image = keras.Input((2, 2, 3))
    return keras.Model(image, build("softmax")(image))


def through(function):
    image = keras.Input((2, 2, 3))
    return keras.Model(image, function(layers.Dense(3)(layers.Flatten()(image))))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (build, "logits"),
        (lambda: build("linear", last=[layers.Activation("linear")]), "logits"),
        (lambda: build(tf.nn.log_softmax), "logits"),
        (lambda: build("softmax"), "softmax"),
        (lambda: build(tf.nn.softmax), "softmax"),
        (lambda: build(functools.partial(tf.nn.softmax, axis=1)), "softmax"),
        (lambda: build(last=[layers.Softmax()]), "softmax"),
        (lambda: build(last=[layers.Activation("softmax", dtype="float32")]), "softmax"),
        (lambda: build("softmax", last=[layers.Dropout(0.5), layers.Reshape((3,))]), "softmax"),
        (lambda: build(last=[OwnSoftmax()]), "softmax"),
        (nested, "softmax"),
        (lambda: through(tf.nn.softmax), "softmax"),
        (lambda: through(tf.sigmoid), "sigmoid"),
        (lambda: build("sigmoid"), "sigmoid"),
        (lambda: build("hard_sigmoid"), "sigmoid"),
        (lambda: build(last=[layers.Activation("sigmoid")]), "sigmoid"),
        (lambda: build("sigmoid", units=1), "sigmoid"),
        (lambda: shared(layers.concatenate), "sigmoid"),
        (lambda: build("tanh"), "values"),
        (lambda: build(last=[layers.LeakyReLU()]), "values"),
        (lambda: build(units=1), "values"),
        # What the loss tells.
        (lambda: compiled(build(), "mse"), "values"),
        (lambda: compiled(build(), keras.losses.Huber()), "values"),
        (
            lambda: compiled(build(), keras.losses.BinaryCrossentropy(from_logits=True)),
            "sigmoid_logits",
        ),
        (
            lambda: compiled(
                build("tanh"),
                {"head": keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
            ),
            "logits",
        ),
        (lambda: compiled(build("softmax"), "mse"), "softmax"),
    ],
)
def test_a_model_tells_what_it_returns(make, expected):
    assert kind(make()) == expected


def test_a_quantized_model_tells_it_as_the_float_one(tmp_path):
    model = tfqkd.quantize_model(build("softmax"), tfqkd.TernaryScheme(), ".*")
    report = to_litert(model, tmp_path / "a.tflite", test=(IMAGES, LABELS))
    assert (report.output, report.accuracy) == ("softmax", 1)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), "logits"),
        (keras.losses.BinaryCrossentropy(from_logits=True), "sigmoid_logits"),
        ("mse", "values"),
    ],
)
def test_a_student_returns_what_its_distiller_trains(loss, expected):
    student = build()
    tfqkd.Distiller(student=student, teacher=build()).compile("sgd", loss)
    assert kind(student) == expected


def test_a_model_that_does_not_show_it_is_told(tmp_path):
    report = to_litert(build(), tmp_path / "a.tflite", images=IMAGES, output="values")
    assert report.output == load(tmp_path / "a.tflite").output == "values"
    assert list(load(tmp_path / "a.tflite").outputs) == ["values"]


@pytest.mark.parametrize(
    ("activation", "given", "message"),
    [
        (None, "odds", "must be one of logits, sigmoid_logits, softmax, .*'odds'"),
        (None, "softmax", r"must be 0 to 1\. .* Pass output='logits'"),
        ("softmax", "logits", "outputs add up to 1 .* Pass output='softmax'"),
    ],
)
def test_what_a_model_cannot_return_is_refused(activation, given, message):
    with pytest.raises(ValueError, match=message):
        kind(build(activation), given=given)


@pytest.fixture(scope="module")
def softmax_files(tmp_path_factory):
    """The files of a model that ends in softmax, and what Keras says."""
    directory = tmp_path_factory.mktemp("softmax")
    model = build("softmax")
    with files_run_here():
        formats = "litert-int2,onnx-int2,saved_model"
        reports = export(model, directory, formats, class_names=NAMES, images=IMAGES)
    # In a child process, which no other test has that is not slow.
    reports += export(model, directory, "keras", class_names=NAMES, images=IMAGES)
    return model, directory, [pathlib.Path(report.path) for report in reports]


def test_every_format_says_it(softmax_files):
    _, directory, files = softmax_files
    for path in files[:2]:
        model = load(path)
        assert (model.output, list(model.outputs)) == ("softmax", ["probabilities"])
    serve = tf.saved_model.load(directory / "saved_model").signatures["serving_default"]
    assert list(serve.structured_outputs) == ["probabilities"]
    said = json.loads((directory / "saved_model" / "assets.extra" / "tfqkd.json").read_text())
    with zipfile.ZipFile(directory / "student.keras") as archive:
        kept = json.loads(archive.read("metadata.json"))["tfqkd"]
        assert len(archive.namelist()) == 3  # Keras' own.
    for metadata in (said, kept):
        assert (metadata["output"], metadata["class_names"]) == ("softmax", list(NAMES))


def test_losses_and_accuracies_are_those_of_keras(softmax_files):
    model, _, files = softmax_files
    split = Split(IMAGES, LABELS)
    data = ImageData("colours", NAMES, split, None, split)
    loss = keras.losses.sparse_categorical_crossentropy(LABELS, model(IMAGES.astype("float32")))
    for measured in measure_files(files, data):
        assert measured.figures.loss == pytest.approx(float(np.mean(loss)), rel=1e-5)
        assert measured.figures.accuracy == 1


@pytest.fixture
def picture(tmp_path):
    Image.fromarray(IMAGES[0]).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.mark.parametrize("index", [0, 1])
def test_predict_prints_the_probabilities_of_keras(softmax_files, picture, capsys, index):
    model, _, files = softmax_files
    assert predict(["predict", f"--model={files[index]}", f"--images={picture}"]) == 0
    (expected,) = model(IMAGES[:1].astype("float32")).numpy()
    best = np.argsort(-expected)
    words = [word for i in best for word in (NAMES[i], f"{100 * expected[i]:.1f}")]
    assert capsys.readouterr().out.splitlines()[0].split() == [str(picture), *words]


@pytest.mark.parametrize(
    ("activation", "given", "shown", "likely"),
    [
        ("sigmoid", None, lambda x: x, True),
        (None, "sigmoid_logits", lambda x: 1 / (1 + np.exp(-x)), True),
        (None, "values", None, False),
    ],
)
def test_predict_and_the_example_go_by_what_the_file_says(
    picture, capsys, activation, given, shown, likely
):
    model = build(activation)
    path = picture.parent / "a.tflite"
    to_litert(model, path, class_names=NAMES, images=IMAGES, output=given)
    (outputs,) = model(IMAGES[:1].astype("float32")).numpy()
    assert predict(["predict", f"--model={path}", f"--images={picture}"]) == 0
    order = np.argsort(-outputs) if likely else range(3)
    values = [f"{100 * shown(x):.1f}" if likely else f"{x:.4g}" for x in outputs]
    expected = [word for i in order for word in (NAMES[i], values[i])]
    assert capsys.readouterr().out.splitlines()[0].split() == [str(picture), *expected]
    runpy.run_path(str(EXAMPLE))["main"](path, picture)
    above = [name for name, x in zip(NAMES, outputs, strict=True) if likely and shown(x) > 0.5]
    expected = (above or ["none"]) if likely else expected
    assert capsys.readouterr().out.split() == [str(picture), *expected]


def test_a_file_of_before_has_logits(tmp_path, picture, capsys):
    model = build()
    path = tmp_path / "a.tflite"
    to_litert(model, path, class_names=NAMES, images=IMAGES)
    file = flatbuffer_utils.read_model(path)
    (entry,) = [entry for entry in file.metadata if entry.name == b"tfqkd"]
    said = json.loads(file.buffers[entry.buffer].data.tobytes())
    assert said.pop("output") == "logits"
    file.buffers[entry.buffer].data = np.frombuffer(json.dumps(said).encode(), np.uint8)
    flatbuffer_utils.write_model(file, path)
    assert load(path).output == "logits"
    assert predict(["predict", f"--model={path}", f"--images={picture}", "--top=1"]) == 0
    (shares,) = tf.nn.softmax(model(IMAGES[:1].astype("float32"))).numpy()
    best = NAMES[shares.argmax()]
    assert capsys.readouterr().out.splitlines()[0].split() == [
        str(picture),
        best,
        f"{100 * shares.max():.1f}",
    ]
    said["output"] = "ranks"
    file = flatbuffer_utils.read_model(path)
    (entry,) = [entry for entry in file.metadata if entry.name == b"tfqkd"]
    file.buffers[entry.buffer].data = np.frombuffer(json.dumps(said).encode(), np.uint8)
    flatbuffer_utils.write_model(file, path)
    with pytest.raises(ValueError, match="output='ranks'"):
        load(path)
