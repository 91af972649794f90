import pytest
from training.finished import FinishedRun, finished_run


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> FinishedRun:
    return finished_run(tmp_path_factory)


@pytest.fixture(autouse=True, scope="session")
def first_steps_are_traced_once():
    """Makes the optimizer's variables before the first step of `fit`.

    Keras makes them within it, and TensorFlow then traces the step twice: a good part of what the small
    trainings of these tests take.
    """
    from tfqkd.compat import keras

    make = keras.Model.make_train_function

    def make_train_function(model, force=False):
        if isinstance(model.optimizer, keras.optimizers.Optimizer) and not hasattr(
            model, "student"
        ):
            model.optimizer.build(model.trainable_variables)
        return make(model, force)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "make_train_function", make_train_function)
        yield


@pytest.fixture
def no_training(monkeypatch):
    """Lets a test fail if anything is trained."""
    from tfqkd.compat import keras

    def fit(*_, **__):
        raise AssertionError("Something was trained.")

    monkeypatch.setattr(keras.Model, "fit", fit)
