import subprocess
import sys
import types

import keras as keras3
import numpy as np
import pytest

import tfqkd
from tfqkd.compat import keras
from tfqkd.fronts.choice import front_name, of_front


def dense(kind=keras):
    return kind.Sequential([kind.Input((5,)), kind.layers.Dense(4)])


class Own(keras.Model):
    pass


class Own3(keras3.Model):
    pass


@pytest.fixture
def other_front(monkeypatch):
    """Stands in for the keras3 front."""
    made = types.SimpleNamespace(
        Distiller=lambda **arguments: arguments,
        quantize_model=lambda model, *args, **kwargs: ("quantized", model, args, kwargs),
        strip_quantization=lambda model: ("stripped", model),
    )
    monkeypatch.setitem(sys.modules, "tfqkd.fronts.keras3", made)
    return made


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (dense(), "tfmot"),
        (Own(), "tfmot"),
        (keras.layers.Dense(2), "tfmot"),
        (dense(keras3), "keras3"),
        (Own3(), "keras3"),
        (np.zeros(2), None),
        (lambda batch: batch, None),
    ],
)
def test_a_front_is_found_by_the_keras_of_a_class_or_what_it_inherits_from(model, expected):
    assert front_name(model) == expected


def test_what_is_no_model_is_refused():
    for function in (
        tfqkd.quantize_model,
        tfqkd.strip_quantization,
        tfqkd.quantization_summary,
        lambda model: tfqkd.Distiller(student=model, teacher=None),
    ):
        with pytest.raises(
            TypeError, match=r"must be of tf_keras or of Keras 3\. Received: .*dict"
        ):
            function({})


def test_a_name_that_a_front_lacks_is_refused(other_front):
    with pytest.raises(TypeError, match=r"tfqkd\.keras3 must have `quantization_summary`"):
        tfqkd.quantization_summary(dense(keras3))
    assert of_front(dense(keras3), "Distiller") is other_front.Distiller


def test_models_of_tf_keras_get_the_tfmot_front():
    quantized = tfqkd.quantize_model(dense(), tfqkd.TernaryScheme(), layers=".*")
    assert [row.bits for row in tfqkd.quantization_summary(quantized).layers] == [2]
    made = tfqkd.Distiller(student=quantized, teacher=dense(), coefficient=0.25)
    assert type(made) is tfqkd.tfmot.Distiller
    assert isinstance(made, keras.Model)
    assert isinstance(made, tfqkd.Distiller)
    assert not isinstance(quantized, tfqkd.Distiller)
    assert made.coefficient.numpy() == 0.25
    kernel = tfqkd.strip_quantization(quantized).layers[-1].kernel.numpy()
    assert len(np.unique(np.abs(kernel[kernel != 0]))) == 1


def test_all_arguments_reach_the_front(other_front):
    model, teacher = dense(keras3), dense(keras3)
    assert tfqkd.quantize_model(model, 1, layers=2) == ("quantized", model, (1,), {"layers": 2})
    assert tfqkd.strip_quantization(model) == ("stripped", model)
    made = tfqkd.Distiller(student=model, teacher=teacher, temperature=3.0)
    assert made == {"student": model, "teacher": teacher, "temperature": 3.0}


def test_models_of_keras_3_get_the_keras3_front():
    quantized = tfqkd.quantize_model(dense(keras3), tfqkd.TernaryScheme(), layers=".*")
    assert [row.bits for row in tfqkd.quantization_summary(quantized).layers] == [2]
    made = tfqkd.Distiller(student=quantized, teacher=dense(keras3), coefficient=0.25)
    assert type(made) is tfqkd.keras3.Distiller
    assert isinstance(made, tfqkd.Distiller)
    kernel = np.asarray(tfqkd.strip_quantization(quantized).layers[-1].kernel)
    assert len(np.unique(np.abs(kernel[kernel != 0]))) == 1


def test_a_named_distiller_is_subclassed_not_the_chooser():
    class Louder(tfqkd.tfmot.Distiller):
        pass

    assert isinstance(Louder(student=dense(), teacher=dense()), tfqkd.Distiller)
    with pytest.raises(TypeError, match=r"Quieter.*Subclass tfqkd\.tfmot\.Distiller"):

        class Quieter(tfqkd.Distiller):
            pass


def test_a_teacher_of_the_other_keras_is_refused_where_it_cannot_answer(other_front, monkeypatch):
    refused = pytest.raises(TypeError, match=r"the same Keras\. Received.*LOGITS_IN_BATCH")
    # TensorFlow computes for both.
    tfqkd.Distiller(student=dense(), teacher=dense(keras3))
    with refused:
        tfqkd.Distiller(student=dense(keras3), teacher=dense())
    with refused:
        tfqkd.Distiller(student=dense(keras3), teacher=tfqkd.Ensemble([dense(), dense()]))
    monkeypatch.setattr(keras3.backend, "backend", lambda: "jax")
    with refused:
        tfqkd.Distiller(student=dense(), teacher=dense(keras3))


def test_to_choose_loads_no_keras():
    script = (
        "import sys, tfqkd.fronts.choice\n"
        "print({name.partition('.')[0] for name in sys.modules} & {'tensorflow', 'tf_keras', 'keras'})"
    )
    child = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert child.stdout.strip() == "set()"
