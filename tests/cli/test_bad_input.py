"""Every kind of bad input has one message and an exit status, and comes before any training."""

import fcntl
import json
import os
import pathlib
import pickle
import shutil
import signal

import numpy as np
import pytest

from tfqkd.cli import evaluate, export, train
from tfqkd.recipe.flag_file import flag_file
from tfqkd.recipe.recipe import Recipe
from tfqkd.recipe.setting_names import SHORT

SMALL = ["--dataset=digits", "--student=cnn2", "--teacher=none", "--formats="]
INTERRUPTED = [
    *SMALL,
    "--data.train_examples=64",
    "--training.batch_size=16",
    "--student.training.epochs=2",
    "--run.checkpoint_every=2",
]
CLUSTER = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}

# name: (flags, exit status, message)
FLAGS = {
    "unknown flag": (["--batchsize=1"], 2, "Unknown command line flag 'batchsize'"),
    "no value": (["--training.batch_size"], 2, "batch_size"),
    "text for a number": (
        ["--training.batch_size=many"],
        2,
        "must be a whole number. Received: training.batch_size=many",
    ),
    "fraction for a number": (["--bits=2.5"], 2, "must be a whole number. Received: bits=2.5"),
    "text for a switch": (["--data.flip=perhaps"], 2, "`data.flip` must be true or false"),
    "value of a negated switch": (["--nodata.flip=1"], 2, "nodata.flip"),
    "name of before": (
        ["--quantized_epochs=3"],
        2,
        "--quantized_epochs is now --quantized.training.epochs.",
    ),
    "switch of before": (["--noflip"], 2, "--noflip is now --data.flip=false."),
    "no such choice": (["--run.strategy=tpu"], 2, "strategy"),
    "one call of tf_keras": (["--run.scan=on"], 2, "`run.scan` belongs to Keras 3 on JAX"),
    "steps of an epoch that is one call": (
        ["--run.keras=3", "--run.scan=on", "--run.checkpoint_every=50"],
        2,
        "`run.checkpoint_every` counts steps",
    ),
    "float files of integers": (["--quantize.deploy", "--bits=32"], 2, "`quantize.deploy` sets"),
    "files of integers without steps": (
        ["--formats=litert-int2,litert-w2a8,tflm"],
        2,
        "formats=litert-w2a8,tflm without quantize.deploy. Add --quantize.deploy",
    ),
    "a Keras file of rounded activations": (
        ["--formats=keras", "--quantize.deploy"],
        2,
        "`formats` may hold keras only where activations are float",
    ),
    "an argument": (["quickstart"], 2, "no arguments beside flags"),
    "missing flag file": (["--flagfile=missing.flags"], 2, "missing.flags"),
    "flag file is a folder": (["--flagfile=."], 2, "must name a flag file"),
    "repeats alone": (["--repeats=2"], 2, "`repeats` and `controls` belong to a comparison"),
    "no repeats": (["--compare", "--repeats=0"], 2, "repeats"),
    "bits": (["--bits=1"], 2, "`bits` must be 2 to 8, or 32"),
    "temperature": (["--temperature=0"], 2, "`temperature` must be above 0"),
    "weight of the soft loss": (
        ["--distil.soft_weight=-1"],
        2,
        "`distil.soft_weight` must be 0 or more",
    ),
    "beta of dkd": (["--distil.dkd_beta=-1"], 2, "`distil.dkd_beta` must be 0 or more"),
    "temperature is NaN": (["--temperature=nan"], 2, "`temperature` must be finite"),
    "learning rate": (
        ["--training.learning_rate=-1"],
        2,
        "`training.learning_rate` must be above 0",
    ),
    "learning rate is infinite": (
        ["--training.learning_rate=inf"],
        2,
        "`training.learning_rate` must be finite",
    ),
    "coefficient": (["--coefficient=1.5"], 2, "`coefficient` must be in [0, 1]"),
    "momentum": (["--training.momentum=1"], 2, "`training.momentum` must be in [0, 1)"),
    "label smoothing": (
        ["--training.label_smoothing=1"],
        2,
        "`training.label_smoothing` must be in [0, 1)",
    ),
    "batch size": (["--training.batch_size=0"], 2, "`training.batch_size` must be 1 or more"),
    "epochs": (["--student.training.epochs=-1"], 2, "`student.training.epochs` must be 0 or more"),
    "seed": (["--seed=-1"], 2, "`seed` must be 0 to"),
    "validation split": (
        ["--data.validation_split=0.9"],
        2,
        "`data.validation_split` must be 0 to 0.5",
    ),
    "milestones fall": (
        ["--training.milestones=0.5,0.2"],
        2,
        "`training.milestones` must be rising",
    ),
    "milestones as text": (
        ["--training.milestones=half"],
        2,
        "`training.milestones` must be a number",
    ),
    "rule of a layer": (
        ["--quantize.layer_bits=conv1"],
        2,
        "`quantize.layer_bits` must hold rules",
    ),
    "bits of a layer": (
        ["--quantize.layer_bits=conv1=99"],
        2,
        "`quantize.layer_bits` must hold rules",
    ),
    "pattern of a layer": (
        ["--quantize.layer_bits=(=4"],
        2,
        "`quantize.layer_bits` must hold rules",
    ),
    "exponential to zero": (["--schedule=exponential"], 2, "must start and end above zero"),
    "checkpoints never": (
        ["--run.checkpoint_every=0"],
        2,
        "`run.checkpoint_every` must be minutes",
    ),
    "checkpoints in hours": (
        ["--run.checkpoint_every=1h"],
        2,
        "`run.checkpoint_every` must be minutes",
    ),
    "no checkpoint kept": (
        ["--run.checkpoints_kept=0"],
        2,
        "`run.checkpoints_kept` must be 1 or more",
    ),
    "unknown student": (["--student=resnet21"], 2, "`student`: The depth of a ResNet"),
    "missing student": (["--student=none.keras"], 2, "`student` must be a known name or the path"),
    "missing teacher": (["--teacher=runs/none"], 2, "`teacher` must be a known name or the path"),
    "unknown format": (["--formats=caffe"], 2, "Unknown: caffe"),
    "format without tfqkd": (
        ["--formats=keras", "--quantize.activation_bits=4"],
        2,
        "`formats` may hold keras only where activations are float",
    ),
    "subset": (["--data.train_examples=-1"], 2, "`data.train_examples` must be 0 or more"),
    "image size": (["--data.image_size=-8"], 2, "`data.image_size` must be 0 or more"),
    "image size of two sides": (
        ["--data.image_size=24by32"],
        2,
        "must be 0 or more pixels, or HEIGHTxW",
    ),
    "arrays": (["--dataset=arrays:none.npz"], 1, "`arrays:FILE.npz` must name a file"),
    "class weights": (
        ["--training.class_weights=auto"],
        2,
        "`training.class_weights` must be one of none, balanced",
    ),
    "patience": (["--training.patience=-1"], 2, "`training.patience` must be 0 or more"),
    "patience without validation images": (
        ["--training.patience=2"],
        2,
        "`training.patience` needs validation images",
    ),
    "where images are": (["--data.stream=disk"], 2, "`data.stream` must be one of auto, on, off"),
    "operations": (["--data.operations=-1"], 2, "`data.operations` must be 0 or more"),
    "magnitude": (["--data.magnitude=31"], 2, "`data.magnitude` must be 0 to 30"),
    "mixup": (["--data.mixup=-0.1"], 2, "`data.mixup` must be 0 or more"),
    "mixtures that are kept": (
        ["--data.mixup=0.2", "--teacher.views=4"],
        2,
        "`teacher.views` keeps logits of views that are repeated",
    ),
    "crop": (["--data.crop_padding=-1"], 2, "`data.crop_padding` must be 0 or more"),
    "epochs of the teacher": (
        ["--teacher.training.epochs=-1"],
        2,
        "`teacher.training.epochs` must be 0 or more",
    ),
    "epochs as a fraction": (
        ["--quantized.training.epochs=0.5"],
        2,
        "must be a whole number. Received: quantized.training.epochs=0.5",
    ),
    "epochs below none": (
        ["--quantized.training.epochs=-3"],
        2,
        "`quantized.training.epochs` must be 0 or more",
    ),
    "rate": (
        ["--quantized.training.learning_rate=0"],
        2,
        "`quantized.training.learning_rate` must be above 0",
    ),
    "factor": (["--training.factor=0"], 2, "`training.factor` must be above 0"),
    "warm-up": (["--training.warmup_epochs=-1"], 2, "`training.warmup_epochs` must be 0 or more"),
    "weight decay": (
        ["--training.weight_decay=-1"],
        2,
        "`training.weight_decay` must be 0 or more",
    ),
    "fall of the rate": (["--training.schedule=linear"], 2, "`training.schedule` must be one"),
    "schedule": (["--schedule=linear"], 2, "schedule"),
    "schedule on": (["--distil.schedule_on=batch"], 2, "schedule_on"),
    "end of the schedule": (
        ["--distil.coefficient_end=2"],
        2,
        "`distil.coefficient_end` must be in [0, 1]",
    ),
    "soft loss": (["--distil.soft_loss=mse"], 2, "soft_loss"),
    "seed of the float stages": (
        ["--run.pretrain_seed=-2"],
        2,
        "`run.pretrain_seed` must be -1 to",
    ),
    "steps in a call": (
        ["--run.steps_per_execution=0"],
        2,
        "`run.steps_per_execution` must be 1 or more",
    ),
    "precision": (["--run.mixed_precision=float16"], 2, "mixed_precision"),
    "no such Keras": (["--run.keras=4"], 2, "`run.keras` must be 2 or 3"),
    "profile backwards": (["--run.profile=9,3"], 2, "`run.profile` must be FIRST,LAST"),
    "quantizer": (["--quantizer=ternary"], 2, "quantizer"),
    "granularity": (["--quantize.granularity=layer"], 2, "granularity"),
    "step update": (["--quantize.step_update=never"], 2, "step_update"),
    "bits of a ternary quantizer": (["--quantizer=twn", "--bits=4"], 2, "`bits` must be 2 for the"),
    "channels of dorefa": (
        ["--quantizer=dorefa", "--quantize.granularity=channel"],
        2,
        "`quantize.granularity` can be channel for",
    ),
    "step update of lsq": (
        ["--quantizer=lsq", "--quantize.step_update=every_step"],
        2,
        "`quantize.step_update` belongs to",
    ),
    "activation quantizer": (["--quantize.activation_quantizer=dorefa"], 2, "activation_quantizer"),
    "activation bits": (
        ["--quantize.activation_bits=9"],
        2,
        "`quantize.activation_bits` must be 2 to 8, or 32",
    ),
    "activation bits of a float control": (
        ["--bits=32", "--quantize.activation_bits=8"],
        2,
        "`quantize.activation_bits` must be 32 in the float control",
    ),
    "activation bits of a layer alone": (
        ["--quantize.layer_bits=conv1=4/8"],
        2,
        "`quantize.layer_bits` may name activation bits only",
    ),
    "gradient bits": (
        ["--quantize.gradient_bits=6"],
        2,
        "`quantize.gradient_bits` belongs to the quantizer dorefa",
    ),
    "widths that rise": (
        ["--quantized.methods=gradual", "--quantized.gradual.bits=4,8"],
        2,
        "`quantized.gradual.bits` must fall",
    ),
    "shares that fall": (
        ["--quantized.methods=gradual", "--quantized.gradual.share=0.5,0.2"],
        2,
        "`quantized.gradual.share` must rise",
    ),
    "setting of a method that is not asked for": (
        ["--quantized.ema.momentum=0.9"],
        2,
        "belongs to a method that is not in use",
    ),
    "method": (["--quantized.methods=swa"], 2, "`quantized.methods` must be names of methods"),
    "moving average": (
        ["--quantized.methods=ema", "--quantized.ema.momentum=1"],
        2,
        "`quantized.ema.momentum` must be within (0, 1)",
    ),
    "raised with too few bits": (
        ["--quantized.methods=speq", "--quantized.speq.bits=2"],
        2,
        "`quantized.speq.bits` must be 3 to 8",
    ),
    "all weights pruned": (
        ["--quantized.methods=pruning", "--quantized.pruning.sparsity=1"],
        2,
        "`quantized.pruning.sparsity` must be in [0, 1)",
    ),
    "one cluster": (
        ["--quantized.methods=clustering", "--quantized.clustering.clusters=1"],
        2,
        "`quantized.clustering.clusters` must be 2 to 64",
    ),
    "all filters": (
        ["--quantized.methods=filters", "--quantized.filters.share=1"],
        2,
        "`quantized.filters.share` must be in [0, 1)",
    ),
    "taps of one side": (
        ["--quantized.methods=latent", "--quantized.latent.student_taps=a"],
        2,
        "`quantized.latent.student_taps`",
    ),
    "messages without states": (
        ["--quantized.methods=interactive", "--quantized.interactive.state_weight=0"],
        2,
        "`quantized.interactive.state_weight` must be above 0",
    ),
    "epochs of two stages": (
        ["--progressive.epochs=1,2"],
        2,
        "`progressive.epochs` must be three numbers",
    ),
    "general data alone": (
        ["--progressive.data=digits"],
        2,
        "`progressive.data` belongs to progressive distillation",
    ),
    "no general data": (
        ["--progressive.epochs=0,1,1", "--teacher=cnn2"],
        2,
        "`progressive.data` must name",
    ),
    "no general teacher": (
        [
            *("--progressive.epochs=1,1,1", "--progressive.data=digits"),
            *("--teacher=cnn2", "--progressive.teacher=none.keras"),
        ],
        2,
        "`progressive.teacher` must be the path",
    ),
    "weight of latent losses": (
        ["--progressive.weight=-1"],
        2,
        "`progressive.weight` must be 0 or more",
    ),
    "last weight of latent losses": (
        ["--progressive.last_weight=-1"],
        2,
        "`progressive.last_weight` must be 0 or more",
    ),
    "statistics of batch norm": (
        ["--training.batch_norm=running"],
        2,
        "`training.batch_norm` must be one of augmented, plain, moving",
    ),
    "weights of a network that takes none": (
        ["--student.weights=w.h5"],
        2,
        "`student.weights` must be those of one network of keras.applications",
    ),
    "missing weights": (
        ["--teacher=applications:MobileNet", "--teacher.weights=none.h5"],
        2,
        "`teacher.weights` must be a file",
    ),
    "how teachers are combined": (
        ["--teacher.combine=mean"],
        2,
        "`teacher.combine` must be one of logits, probabilities, confidence",
    ),
    "arena": (["--export.arena_bytes=-1"], 2, "`export.arena_bytes` must be 0 or more"),
    "views": (["--teacher.views=-1"], 2, "`teacher.views` must be 0 or more"),
    "limit of the cache": (
        ["--teacher.cache_limit_gb=0"],
        2,
        "`teacher.cache_limit_gb` must be above 0",
    ),
    "cache above its limit": (
        ["--teacher=cnn2", "--teacher.views=9", "--teacher.cache_limit_gb=1e-9"],
        1,
        "The teacher cache must take at most 1e-09 GiB",
    ),
    "data set of a community": (["--dataset=huggingface:mnist"], 1, "code is somebody else's"),
    "comparison without teacher": (["--compare"], 1, "needs a recipe with a teacher"),
    "path of a data folder": (["--dataset=/no/data"], 1, "would be `folder:/no/data`"),
    "folder that is no name": (["--student=."], 2, "no known name. The file or folder is ./."),
    "missing data folder": (["--dataset=folder:none"], 1, "must name a folder"),
    "unknown data set": (["--dataset=cifr10"], 1, "Did you mean cifar10"),
    "data set that is not there": (["--dataset=mnist", "--data_dir=."], 1, "must be on disk"),
    "more images than there are": (["--data.train_examples=99999"], 1, "must be at most 1197"),
    "too few images": (["--data.train_examples=3"], 1, "at least one for each class"),
    "batch above the images": (["--training.batch_size=5000"], 1, "`batch_size` must be 1 to 1197"),
    "no such layer": (["--quantize.layer_bits=conv9=4"], 1, "Received: 'conv9'"),
    "run directory cannot be made": (["--run_dir=/proc/none/run"], 1, "Files must be readable and"),
}
TF_CONFIG = {
    "missing": "",
    "no JSON": "{",
    "no cluster": json.dumps({"task": CLUSTER["task"]}),
    "index beyond the workers": json.dumps({**CLUSTER, "task": {"type": "worker", "index": 5}}),
    "unknown kind": json.dumps({**CLUSTER, "task": {"type": "ps", "index": 0}}),
    "address without port": json.dumps({**CLUSTER, "cluster": {"worker": ["a", "b:1"]}}),
}


@pytest.fixture(autouse=True)
def in_its_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def nothing_is_trained(monkeypatch):
    from tfqkd.compat import keras

    def fit(*_, **__):
        raise AssertionError("Something was trained.")

    monkeypatch.setattr(keras.Model, "fit", fit)


def refused(capsys, main, arguments, status, message):
    """Requires the status, and the message as the only thing that is said."""
    assert main([main.__module__.rpartition(".")[2], *arguments]) == status
    err = capsys.readouterr().err
    name = main.__module__.rpartition(".")[2]
    assert err.startswith(f"{name}: error: ")
    assert message in err
    assert "Traceback" not in err
    assert err.endswith(f"See {name} --help.\n") == (status == 2)


@pytest.mark.parametrize(("arguments", "status", "message"), FLAGS.values(), ids=FLAGS)
def test_flags_recipes_and_data_sets(capsys, arguments, status, message):
    refused(capsys, train.main, [*SMALL, "--run_dir=run", *arguments], status, message)
    assert not pathlib.Path("run/recipe.json").exists()


def test_every_setting_has_a_case():
    named = {flag.partition("=")[0].lstrip("-") for row in FLAGS.values() for flag in row[0]}
    named = {SHORT.get(name, name) for name in named}
    # What a stage may say itself is of one kind with `training`.
    named |= {f"training.{name.rpartition('.')[2]}" for name in named if ".training." in name}
    # A switch takes no value, and any text may be a path.
    free = {name for name, each in Recipe.settings().items() if each.kind is bool or each.base}
    assert set(Recipe.settings()) - free - {"data.dir", "teacher.cache"} <= named


@pytest.mark.parametrize("text", TF_CONFIG.values(), ids=TF_CONFIG)
def test_tf_config(capsys, monkeypatch, no_tensorflow, text):
    monkeypatch.setenv("TF_CONFIG", text)
    arguments = [*SMALL, "--run.strategy=multi_worker"]
    refused(capsys, train.main, arguments, 2, "TF_CONFIG must name the addresses")


def test_a_comparison_of_several_workers(capsys, monkeypatch, no_tensorflow):
    monkeypatch.setenv("TF_CONFIG", json.dumps(CLUSTER))
    arguments = [*SMALL, "--run.strategy=multi_worker", "--compare"]
    refused(capsys, train.main, arguments, 2, "Several workers train one run")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"--wrong=1", "Unknown command line flag 'wrong'"),
        (b"--bits=two", "`bits` must be a whole number"),
        (b"bits=2", "no arguments beside flags"),
        (b"\xff\xfe\x00", "must name a flag file that can be read"),
        (b"--flagfile=bad.flags", "must not include itself"),
        (b"--flagfile=other.flags", "other.flags"),
    ],
)
def test_flag_files(capsys, content, message, no_tensorflow):
    pathlib.Path("bad.flags").write_bytes(content)
    refused(capsys, train.main, ["--flagfile=bad.flags"], 2, message)


def write(name, content):
    pathlib.Path("images", name).write_bytes(content)


IMAGES = {
    "empty file": (lambda: write("train/cat/a.png", b""), "must be a readable PNG or JPEG"),
    "cut off": (
        lambda: write("test/dog/a.png", b"\x89PNG\r\n\x1a\n"),
        "must be a readable PNG or JPEG",
    ),
    "another kind": (lambda: write("train/cat/a.png", b"GIF89a"), "must be a readable PNG or JPEG"),
    "class in one split only": (lambda: shutil.rmtree("images/test/dog"), "the same classes"),
    "class without images": (
        lambda: pathlib.Path("images/test/dog/a.png").unlink(),
        "at least one image",
    ),
    "notes among the images": (lambda: write("train/dog/b.txt", b"x"), "files only"),
    "a link that leads out": (
        lambda: pathlib.Path("images/train/dog/b.png").symlink_to("/etc/hostname"),
        "Links must stay inside",
    ),
    "no test images": (lambda: shutil.rmtree("images/test"), "must hold `train` and `test`"),
}


@pytest.mark.parametrize(("damage", "message"), IMAGES.values(), ids=IMAGES)
def test_image_folders(capsys, damage, message):
    from tfqkd.compat import tf

    for folder in ("train/cat", "train/dog", "test/cat", "test/dog"):
        pathlib.Path("images", folder).mkdir(parents=True)
        write(f"{folder}/a.png", tf.io.encode_png(np.zeros((8, 8, 1), np.uint8)).numpy())
    damage()
    refused(capsys, train.main, [*SMALL, "--dataset=folder:images"], 1, message)


@pytest.mark.parametrize(("label", "received"), [(2, "0..2"), (-1, "-1..0")])
def test_labels_out_of_range(capsys, monkeypatch, label, received):
    from tfqkd.data import datasets
    from tfqkd.data.images import ImageData, Split

    def read(image_size, centre_crop):
        split = Split(np.zeros((2, 8, 8, 1), np.uint8), np.array([0, label]))
        return ImageData("digits", ("a", "b"), split, None, split)

    monkeypatch.setattr(datasets.digits, "read", read)
    message = f"Labels must be 0..1, one of 2 classes. Received: {received} in the train split"
    refused(capsys, train.main, [*SMALL, "--run_dir=run"], 1, message)


def save_model(path, classes=10, shape=(8, 8, 1), activation=None):
    from tfqkd.compat import keras

    keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Flatten(),
            keras.layers.Dense(4, name="hidden"),
            keras.layers.Dense(5, name="middle"),
            keras.layers.Dense(classes, activation=activation, name="logits"),
        ]
    ).save(path)


class Evil:
    def __reduce__(self):
        return pathlib.Path.touch, (pathlib.Path("executed"),)


MODELS = {
    "empty": (lambda: pathlib.Path("m.keras").touch(), "does not load"),
    "text": (lambda: pathlib.Path("m.keras").write_text("a model"), "does not load"),
    "pickle": (
        lambda: pathlib.Path("m.keras").write_bytes(pickle.dumps(Evil())),
        "does not load",
    ),
    "folder": (lambda: pathlib.Path("m.keras").mkdir(), "does not load"),
    "other classes": (lambda: save_model("m.keras", classes=7), "must fit the data set digits"),
    "other images": (lambda: save_model("m.keras", shape=(9, 8, 1)), "must fit the data set"),
    "other channels": (lambda: save_model("m.keras", shape=(8, 8, 3)), "must fit the data set"),
    "softmax": (lambda: save_model("m.keras", activation="softmax"), "softmax"),
}


def test_a_student_that_no_format_can_hold(capsys):
    from tfqkd.compat import keras

    layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)]
    keras.Sequential([keras.Input((None, None, 1)), *layers]).save("m.keras")
    arguments = [*SMALL, "--student=m.keras", "--formats=saved_model"]
    refused(capsys, train.main, arguments, 1, "`model` must take batches of a fixed size")


@pytest.mark.parametrize("role", ["student", "teacher"])
@pytest.mark.parametrize(("make", "message"), MODELS.values(), ids=MODELS)
def test_models(capsys, make, message, role):
    make()
    refused(capsys, train.main, [*SMALL, f"--{role}=m.keras"], 1, message)
    assert not pathlib.Path("executed").exists()


def copied(finished):
    """A finished run that may be changed."""
    shutil.copytree(finished.directory, "run", symlinks=True)
    return pathlib.Path("run")


RUNS = {
    "recipe of no JSON": ("recipe.json", "{", "A recipe must be JSON"),
    "recipe of bytes": ("recipe.json", b"\xff\xfe", "A recipe must be JSON"),
    "recipe as a list": ("recipe.json", "[1]", "must be a JSON object"),
    "recipe as an empty list": ("recipe.json", "[]", "must be a JSON object"),
    "recipe as nothing": ("recipe.json", "null", "must be a JSON object"),
    "recipe too deep": ("recipe.json", "[" * 10**5, "A recipe must be JSON"),
    "recipe with a number too long": ("recipe.json", "9" * 5000, "A recipe must be JSON"),
    "recipe with a number too large": (
        "recipe.json",
        f'{{"temperature": {10**400}}}',
        "`temperature` must be finite",
    ),
    "recipe of another version": ("recipe.json", '{"depth": 3}', "must be one of a recipe's"),
    "recipe with a bad value": ("recipe.json", '{"bits": 1}', "`bits` must be"),
    "results cut off": ("results.json", '{"models": [', "unchanged since it was written"),
    "results of bytes": ("results.json", b"\xff", "unchanged since it was written"),
    "results too deep": ("results.json", "[" * 10**5, "unchanged since it was written"),
    "results without models": (
        "results.json",
        '{"models": [], "export": []}',
        "should hold is not",
    ),
    "results of empty models": ("results.json", '{"models": [{}], "export": []}', "should hold is"),
    "results as a list": ("results.json", "[1]", "should hold is not in it"),
}


@pytest.mark.parametrize(
    "main", [train.main, evaluate.main, export.main], ids=["train", "evaluate", "export"]
)
@pytest.mark.parametrize(("name", "content", "message"), RUNS.values(), ids=RUNS)
def test_run_directories(capsys, finished, main, name, content, message):
    path = copied(finished) / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(capsys, main, [*flags_of(finished, main), "--run_dir=run"], 1, message)


def flags_of(finished, main):
    return flag_file(finished.recipe).splitlines() if main is train.main else []


# What a run reads that lost its results; of the products the first of the name.
PRODUCTS = {
    "replicas as text": ("replicas.txt", b"x", "Received: x there, 1 now"),
    "figures cut off": ("products/measured-*/figures.json", b"{", "unchanged since it was written"),
    "figures as a list": ("products/measured-*/figures.json", b"[]", "should hold is not in it"),
    "reports of bytes": (
        "products/export-*/reports.json",
        b"\xff",
        "unchanged since it was written",
    ),
    "reports of nothing": ("products/export-*/reports.json", b"[{}]", "should hold is not in it"),
    "layers cut off": (
        "products/quantized-*/quantization.json",
        b"[{",
        "unchanged since it was written",
    ),
    "layers of nothing": ("products/quantized-*/quantization.json", b"[{}]", "should hold is not"),
    "history of bytes": ("products/student-*/history.csv", b"\xff", "A history must"),
    "history as text": (
        "products/student-*/history.csv",
        b"epoch,loss\na,b\nc\n",
        "A history must",
    ),
}


@pytest.mark.parametrize(("name", "content", "message"), PRODUCTS.values(), ids=PRODUCTS)
def test_a_run_that_goes_on_reads_what_was_written_or_says_so(
    capsys, finished, name, content, message
):
    run = copied(finished)
    (run / "results.json").unlink()
    (run / "report.html").unlink(missing_ok=True)
    sorted(run.glob(name))[0].write_bytes(content)
    arguments = [*flags_of(finished, train.main), "--run_dir=run"]
    refused(capsys, train.main, arguments, 1, message)


def test_a_run_directory_that_another_process_works_on(capsys):
    pathlib.Path("run").mkdir()
    with pathlib.Path("run/.lock").open("w") as lock:
        lock.write("process 12 on that-machine")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        message = "Received: run, which process 12 on that-machine is using"
        refused(capsys, train.main, [*SMALL, "--run_dir=run"], 1, message)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """A run that was stopped after five steps; it has checkpoints after two, four and five."""
    from tfqkd.progress import ProgressBar

    directory = tmp_path_factory.mktemp("interrupted") / "run"
    original, done = ProgressBar.on_train_batch_end, []

    def stop(self, index, logs=None):
        original(self, index, logs)
        done.append(index)
        if len(done) == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ProgressBar, "on_train_batch_end", stop)
        assert train.main(["train", *INTERRUPTED, f"--run_dir={directory}"]) == 143
    return directory


def cut(file):
    file.write_bytes(file.read_bytes()[:-1])


def stop_before_training(monkeypatch):
    from tfqkd.compat import keras

    def fit(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(keras.Model, "fit", fit)


@pytest.mark.parametrize("name", ["state.data-00000-of-00001", "state.index"])
def test_damaged_checkpoints_are_named_and_the_one_before_is_used(
    capsys, monkeypatch, interrupted, name
):
    shutil.copytree(interrupted, "run")
    newest = sorted(pathlib.Path("run").glob("products/*/checkpoints/epoch*"))[-1]
    cut(newest / name)
    cut(newest / name)
    stop_before_training(monkeypatch)
    assert train.main(["train", *INTERRUPTED, "--run_dir=run"]) == 130
    out, err = capsys.readouterr()
    assert err == ""
    assert f"The checkpoint {newest} is damaged (" in out
    assert "float student (cnn2), seed 0: goes on after epoch 1." in out


@pytest.mark.parametrize("content", [b"", b"TFL3", b"no flatbuffer at all", b"\0" * 4096])
def test_exported_files(capsys, finished, content):
    path = copied(finished) / "export" / "student-int8.tflite"
    path.write_bytes(content)
    refused(capsys, evaluate.main, ["--run_dir=run"], 1, "student-int8.tflite")


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--format=caffe", "Unknown: caffe"),
        ("--head=int4", "head"),
        ("--dense_kernels=int8", "dense_kernels"),
        ("--per_layer=some", "per_layer"),
    ],
)
def test_flags_of_an_export(capsys, no_tensorflow, flag, message):
    refused(capsys, export.main, ["--run_dir=.", flag], 2, message)


@pytest.mark.parametrize("main", [evaluate.main, export.main], ids=["evaluate", "export"])
@pytest.mark.parametrize("run_dir", ["", "none", "file"])
def test_there_must_be_a_run(capsys, main, run_dir):
    pathlib.Path("file").touch()
    refused(capsys, main, [f"--run_dir={run_dir}"], 2, "`run_dir` must be a directory")
