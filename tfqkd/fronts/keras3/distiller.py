"""The `Distiller`: a Keras 3 model that trains a student on hard labels and on a teacher's soft targets."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from tfqkd.core.soft_loss import SoftLoss
from tfqkd.core.tasks import AUTO
from tfqkd.core.weights import Weight
from tfqkd.fronts.arguments import require_settings
from tfqkd.fronts.hard_loss import NO_LABELS, NO_LOSS
from tfqkd.fronts.keras3.balance import Balances
from tfqkd.fronts.keras3.blend import SOFT, Blend, Step
from tfqkd.fronts.keras3.callbacks import followed
from tfqkd.fronts.keras3.hard_loss import CalledLoss
from tfqkd.fronts.keras3.inspection import Inspection
from tfqkd.fronts.keras3.outside import Outside
from tfqkd.fronts.keras3.scheduled import Schedule, Schedules
from tfqkd.fronts.keras3.shapes import require_same_shapes, require_takes
from tfqkd.fronts.keras3.soft_targets import SoftTargets
from tfqkd.fronts.keras3.soft_term import SoftTerm
from tfqkd.fronts.keras3.step_terms import StepTerms
from tfqkd.fronts.logits import require_logits
from tfqkd.fronts.terms import Term
from tfqkd.fronts.unsaved import Unsaved


class Distiller(Unsaved, keras.Model):
    """The `tfqkd.Distiller` of Keras 3: see there for the losses, the settings and what `fit` logs.

    On JAX the teacher is an argument of the compiled step, no constant in it.

    Args:
        student: A Keras 3 model that returns `[batch, ..., outputs]`: logits or values.
        teacher: Any callable from the same batch to the same outputs, or `LOGITS_IN_BATCH`.

    Raises:
        TypeError: As `tfqkd.Distiller` does.
        ValueError: As `tfqkd.Distiller` does.
    """

    def __init__(
        self,
        *,
        student: keras.Model,
        teacher: object,
        temperature: float = 2.0,
        coefficient: float = 0.5,
        soft_loss: str = "cross_entropy",
        soft_weight: Weight = 1.0,
        dkd_beta: float = 8.0,
        scale_by_temperature_squared: bool = True,
        task: str = AUTO,
        terms: Sequence[Term] = (),
        **kwargs: Any,
    ) -> None:
        require_settings(temperature, coefficient, soft_weight, task)
        compared = SoftLoss(
            "kl" if soft_loss == "none" else soft_loss, dkd_beta, scale_by_temperature_squared
        )
        _require_student(student)
        require_logits(student, "student", task)
        # Its own dtype decides whether Keras scales the loss for float16.
        super().__init__(**{"dtype": student.dtype_policy, **kwargs})
        self.student = student
        self.built = student.built
        self._outside = Outside()
        self._outside.terms = StepTerms(terms, student, teacher)
        self.beside = self._outside.terms.networks
        for index, network in enumerate(self.beside):
            # PyTorch sets the gradients of attributes back, and in a list knows variables by name alone.
            setattr(self, f"_beside_{index}", network)
        self._outside.targets = SoftTargets(
            student, teacher, task, self._outside.terms.teacher, soft_loss != "none"
        )
        if self._outside.targets.teacher:
            require_same_shapes(student, teacher)
        settings = {"coefficient": coefficient, "temperature": temperature}
        self._outside.schedules = Schedules(settings | self._outside.terms.weights)
        weights = {SOFT: 0.0 if soft_loss == "none" else soft_weight}
        weights |= {term.name: term.weight for term in terms}
        self._outside.balances = Balances(weights, student)
        self._outside.step = Step()
        self._outside.soft_weight = soft_weight
        self._outside.task = task
        self._outside.soft_loss = None if soft_loss == "none" else compared
        self._trackers: list[keras.metrics.Metric] = []

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets an attribute; Keras looks for layers and variables in it, but not in a step's state on JAX.

        There it would look at every array, at each step, which costs more than the loss.
        """
        if name == "_jax_state":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def compile(
        self, optimizer: Any = "sgd", loss: Any = None, metrics: Any = None, **kwargs: Any
    ) -> None:
        """Configures training as `keras.Model.compile` does.

        Args:
            optimizer: Keras optimizer; with a mixed_float16 student it gets loss scaling.
            loss: The hard loss: a Keras loss that averages over the batch; a cross-entropy with
                `from_logits=True`.
            metrics: As for `keras.Model.compile`; in the place that it has in tf_keras too.
            **kwargs: As for `keras.Model.compile`.

        Raises:
            ValueError: If there is no loss, it expects probabilities, sums over the batch, or does not tell
                what the outputs are while `task` is "auto"; or if a model ends in what the loss applies
                itself.
        """
        hard = CalledLoss(loss)
        soft = None
        if self._outside.soft_loss:
            task = hard.read.task(self._outside.task)
            soft = SoftTerm(task, self._outside.soft_loss)
            # Export looks for it: the student's file says what its outputs are.
            self.student.distilled_task = task.name
            require_logits(self.student, "student", task.name)
            if self._outside.targets.teacher:
                self._outside.targets.teacher.require_logits(task.name)
            soft.require_shape(getattr(self.student, "output_shape", None))
        self._outside.join(hard, soft)
        self._trackers = [self._blend.tracker]
        super().compile(optimizer, self._blend, metrics=metrics, **kwargs)

    def fit(self, *args: Any, callbacks: Any = None, **kwargs: Any) -> keras.callbacks.History:
        """Trains the student as `keras.Model.fit` does; a schedule ends with it, its last value stays.

        Raises:
            ValueError: If there are no labels, the batches are not what student and teacher take, labels are
                out of range of the student's classes, or a teacher without visible layers returns
                probabilities: in the first step, or after it where a step must tell. Labels of later steps
                where the backend fails on them, else at the end.
        """
        inspection = self._inspection
        inspection.forget()
        self._outside.balances.look_again()
        callbacks = followed(
            [callbacks, self._outside.terms.schedulers()],
            inspection.require_all,
            [self.student, *self.beside],
        )
        try:
            with inspection.labels_explained():
                history = super().fit(*args, callbacks=callbacks, **kwargs)
            inspection.require_all()
            return history
        finally:
            # Keras calls no callback when a fit is interrupted.
            for name in self._outside.schedules.values:
                self.schedule(name).hold()

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates the student as `keras.Model.evaluate` does: the hard loss, regularisers, metrics.

        Raises:
            ValueError: If labels are out of range of the student's classes.
        """
        self._outside.evaluating = True
        try:
            with self._inspection.labels_explained():
                results = super().evaluate(*args, **kwargs)
        finally:
            self._outside.evaluating = False
        self._inspection.require_labels()
        return results

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the student's outputs."""
        images = self._outside.targets.inputs(inputs)
        require_takes(self.student, "student", images)
        if not training:
            return self.student(images, training=training)
        step, terms = self._outside.step, self._outside.terms
        outputs, step.taps = terms.student(images, training=True)
        step.raised = terms.raised(images)
        return outputs

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Returns what the trainers of all backends minimise: the blend of both losses, and regularisers."""
        if y is None:
            raise ValueError(NO_LABELS)
        with self._step_on(x, training):
            return super().compute_loss(x, y, y_pred, sample_weight, training)

    def train_step(self, *arguments: Any) -> Any:
        """Makes one step; weights that are balanced are found before it, where they are not known."""
        if self.balances:
            arguments = self.balances.before_step(self, *arguments)
        return super().train_step(*arguments)

    def losses_apart(self, data: Any) -> dict[str, Any]:
        """Returns the mean of each loss of a batch of `fit`, unweighted, by name, as a step computes it."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        outputs = self(x, training=True)
        with self._step_on(x, training=True):
            labels, logits = keras.tree.flatten(y)[0], keras.tree.flatten(outputs)[0]
            return self._blend.means(labels, logits, sample_weight)

    @property
    def balances(self) -> Balances:
        """The weights that are found by gradients."""
        return self._outside.balances

    @property
    def kept(self) -> dict[str, keras.Variable]:
        """What belongs into a checkpoint besides networks and optimizer, by name."""
        return self._outside.kept

    @property
    def coefficient(self) -> keras.Variable:
        """λ: assign to it at any time, or let a scheduler do it; nothing is traced or compiled again."""
        return self.schedule("coefficient").value

    @property
    def temperature(self) -> keras.Variable:
        """T: as λ."""
        return self.schedule("temperature").value

    def schedule(self, name: str) -> Schedule:
        """Returns what drives a setting ("coefficient", say), to be read or assigned from outside a step."""
        # JAX keeps the state of an epoch aside, and would put the old value back over what is assigned.
        if hasattr(self, "jax_state_sync"):
            self.jax_state_sync()
        return Schedule(self._outside.schedules, name)

    @property
    def non_trainable_variables(self) -> list[keras.Variable]:
        """With those outside of the model, so that JAX passes them to the step; `weights` lacks them."""
        outside = self.__dict__.get("_outside")
        return super().non_trainable_variables + (outside.variables if outside else [])

    @property
    def losses(self) -> list[Any]:
        """Regularisers and added losses; those of what trains beside count in training alone."""
        return self.student.losses if self._outside.evaluating else super().losses

    def compute_metrics(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Returns what a step logs; on JAX an array holds all of it."""
        logs = super().compute_metrics(*args, **kwargs)
        if keras.backend.backend() != "jax":
            return logs
        from tfqkd.fronts.keras3.step_logs import StepLogs  # noqa: PLC0415 (of the backend)

        return StepLogs(logs)

    def get_metrics_result(self) -> dict[str, Any]:
        """Returns the metrics; those of the soft loss only of training."""
        results = super().get_metrics_result()
        hidden = self._blend.tracker.names if self._outside.evaluating else []
        return {name: value for name, value in results.items() if name not in hidden}

    @property
    def _inspection(self) -> Inspection:
        return Inspection(self, self._blend.notes)

    @property
    def _blend(self) -> Blend:
        if self._outside.blend is None:
            raise ValueError(NO_LOSS)
        return self._outside.blend

    @contextlib.contextmanager
    def _step_on(self, x: Any, training: bool) -> Iterator[None]:
        """Within it the loss is that of a batch, whose teacher is asked where the step trains."""
        step = self._outside.step
        try:
            step.training = training
            if training:
                step.inputs = self._outside.targets.inputs(x)
                if self._outside.targets.is_read:
                    step.targets = self._outside.targets.of(x)
            yield
        finally:
            step.forget()


def _require_student(student: object) -> None:
    if not isinstance(student, keras.Model):
        raise TypeError(
            f"The student must be a Keras 3 model. Received: {type(student)}. Build it with `import keras`."
        )
