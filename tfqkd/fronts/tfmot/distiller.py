"""The `Distiller`: a Keras model that trains a student on hard labels and on a teacher's soft targets."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from tfqkd.compat import keras, tf
from tfqkd.core.soft_loss import SoftLoss
from tfqkd.core.tasks import AUTO
from tfqkd.core.teachers import LOGITS_IN_BATCH
from tfqkd.core.weights import Weight
from tfqkd.fronts.arguments import require_settings
from tfqkd.fronts.hard_loss import HardLoss
from tfqkd.fronts.logits import require_logits
from tfqkd.fronts.terms import Term
from tfqkd.fronts.tfmot.arguments import require_one_output, require_same_shapes, require_student
from tfqkd.fronts.tfmot.blend import Blend
from tfqkd.fronts.tfmot.hard_loss import read_losses, require_hard_loss
from tfqkd.fronts.tfmot.inspection import Inspection, looking_once
from tfqkd.fronts.tfmot.loss_scaling import with_loss_scaling
from tfqkd.fronts.tfmot.means import penalties, share_of_global_batch
from tfqkd.fronts.tfmot.output_form import OutputForm, by_output
from tfqkd.fronts.tfmot.scheduled import ScheduledVariable
from tfqkd.fronts.tfmot.scheduler_callback import following
from tfqkd.fronts.tfmot.shapes import require_takes
from tfqkd.fronts.tfmot.soft_targets import SoftTargets
from tfqkd.fronts.tfmot.soft_terms import SoftTerms
from tfqkd.fronts.tfmot.step_terms import StepTerms
from tfqkd.fronts.unsaved import Unsaved


class Distiller(Unsaved, keras.Model):
    """The `tfqkd.Distiller` of tf_keras: see there for the losses, the settings and what `fit` logs.

    A student may have several outputs, with a loss and a task each: `(1-λ)·hard + λ·soft` is the sum over
    them, with the `loss_weights` of `compile`, and `fit` logs `NAME_loss`, `NAME_soft_loss` and
    `NAME_agreement` too. The teacher returns them in the student's order, or in a dict by name. What a mask
    leaves out counts in neither loss. With "dist" each replica correlates its own examples alone.

    Args:
        student: A tf_keras model that returns `[batch, ..., outputs]`, or several such.
        teacher: What `teachers.as_teacher` takes, or `LOGITS_IN_BATCH`.
        task: As for `tfqkd.Distiller`; of several outputs one for all, a list, or a dict by name.
        terms: As for `tfqkd.Distiller`; for a student with one output.

    Raises:
        TypeError: As `tfqkd.Distiller` does.
        ValueError: As `tfqkd.Distiller` does.
    """

    train_function: Any

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
        task: Any = AUTO,
        terms: Sequence[Term] = (),
        **kwargs: Any,
    ) -> None:
        require_student(student)
        outputs = OutputForm(student)
        tasks = [AUTO if each is None else each for each in by_output(task, outputs.names)]
        for each in tasks:
            require_settings(temperature, coefficient, soft_weight, each)
        require_one_output(terms, outputs.names)
        # None is the control: no teacher is asked.
        compared = None
        if soft_loss != "none":
            compared = SoftLoss(soft_loss, dkd_beta, scale_by_temperature_squared)
        require_logits(student, "student", dict(zip(outputs.names, tasks, strict=True)))
        if compared is not None and teacher is not LOGITS_IN_BATCH:
            require_same_shapes(student, teacher)
        super().__init__(**kwargs)
        # Every replica returns the same logs; by default Keras would add them up.
        self.distribute_reduction_method = "first"
        self.student = student
        self._outputs = outputs
        if len(outputs.names) > 1 and not isinstance(student.output, dict):
            # Keras finds losses and metrics of several outputs by them; of a dict it knows the keys.
            self.output_names = outputs.names
        self._given_tasks = tasks
        self._terms = StepTerms(terms, student, teacher)
        self.beside = self._terms.networks
        self._targets = SoftTargets(
            teacher, tasks, outputs.names, self._terms.teacher, compared is not None
        )
        self._compared = compared
        self._blend = Blend(coefficient, temperature, soft_weight if compared else 0.0, self._terms)
        self.balances = self._blend.balances
        self.coefficient = self.schedule("coefficient").value
        self.temperature = self.schedule("temperature").value
        self._hard: list[HardLoss | None] = []
        self._soft: SoftTerms | None = None
        self._inspection = Inspection(len(outputs.names))
        self._trackers: list[keras.metrics.Metric] = []

    def compile(self, optimizer: Any = "sgd", loss: Any = None, *args: Any, **kwargs: Any) -> None:
        """Configures training as `keras.Model.compile` does.

        Args:
            optimizer: Keras optimizer; with a float16 student it gets loss scaling.
            loss: The hard loss: a Keras loss that averages over the batch; a cross-entropy with
                `from_logits=True`.
            *args: As for `keras.Model.compile`.
            **kwargs: As for `keras.Model.compile`.

        Raises:
            ValueError: If the loss expects probabilities, sums over the batch, or does not tell what the
                outputs are while `task` is "auto"; or if a model ends in what the loss applies itself.
        """
        self._hard = read_losses(loss, self._outputs.names)
        self._soft = None
        optimizer = with_loss_scaling(optimizer, self.student)
        super().compile(optimizer, loss, *args, **kwargs)
        if any(self._hard) and self._compared:
            self._soft = self._soft_terms(self._compared)
        self._inspection.forget()
        logged = ["loss", "hard_loss", *(self._soft.logged if self._soft else [])]
        logged += [term.name for term in self._terms.terms]
        with self.distribute_strategy.scope():
            self._trackers = [keras.metrics.Mean(name=name) for name in logged]

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Trains the student as `keras.Model.fit` does; a schedule ends with it, its last value stays.

        Args:
            *args: As for `keras.Model.fit`.
            **kwargs: As for `keras.Model.fit`; `callbacks` may hold schedulers (`core.schedulers`).

        Raises:
            ValueError: If there is no loss or no labels, the batches are not what student and teacher take,
                labels are out of range of the student's classes, or a teacher without visible layers returns
                probabilities: before the first step, or after it where a step must tell. Labels of later
                steps at once on a CPU, else at the end.
        """
        self._inspection.forget()
        arguments = inspect.signature(super().fit).bind(*args, **kwargs).arguments
        callbacks = arguments.get("callbacks") or []
        arguments["callbacks"] = following([callbacks, self._terms.schedulers()])
        try:
            with self._inspection.labels_explained():
                history = super().fit(**arguments)
            self._require_logits()
            return history
        finally:
            # Keras calls no callback when a fit is interrupted.
            self._blend.hold()

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates the student as `keras.Model.evaluate` does.

        Raises:
            ValueError: If labels are out of range of the student's classes.
        """
        with self._inspection.labels_explained():
            return super().evaluate(*args, **kwargs)

    def make_train_function(self, force: bool = False) -> Callable[[Any], Any]:
        """Returns what Keras does; its first call also looks at the labels and the teacher's outputs.

        Raises:
            ValueError: In that call, if they are out of range or probabilities.
        """
        if self.train_function is None or force:
            execute = super().make_train_function(force)
            self.train_function = looking_once(
                self, execute, self._inspection, self._require_logits
            )
        return self.train_function

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        """Returns the student's outputs."""
        return self.student(inputs, training=training)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics that are reset at the start of every epoch."""
        compiled = self.compiled_metrics.metrics if self.compiled_metrics else []
        return [*self._trackers, *self._losses_of_outputs, *compiled]

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Makes one step on a batch `(x, y)` or `(x, y, sample_weight)`; for x, see `LOGITS_IN_BATCH`."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        x, kept = self._targets.split(x)
        require_takes(self.student, "student", x)
        targets, teacher_taps = self._targets.of(x, kept)
        step = self.optimizer.iterations
        settings = self._blend.advance(step)

        with tf.GradientTape(persistent=bool(self.balances)) as tape:
            found, taps = self._terms.student(x, training=True)
            # A second pass would put its own in their place.
            penalized = self.student.losses
            outputs = self._outputs.tensors(found)
            hard = self._mean_hard_loss(y, outputs, sample_weight)
            soft: list[tf.Tensor] = []
            if self._soft and targets is not None:
                soft = self._soft.means(
                    targets,
                    outputs,
                    self._outputs.each(y),
                    settings["temperature"],
                    self._outputs.each(sample_weight),
                )
            terms = self._terms.losses(
                x,
                y,
                (outputs[0], taps),
                (targets and targets[0], teacher_taps),
                self._terms.raised(x, step),
                lambda output: self._mean_hard_loss(y, [output], sample_weight),
            )
            balanced = self._blend.found(tape, hard, soft, terms, self.student)
            distillation = self._blend.of(hard, soft, terms, settings, balanced)
            regularization = penalties([*penalized, *self._terms.penalties])
            batch = tf.shape(outputs[0])[0]
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            loss = distillation * share_of_global_batch(batch) + regularization / replicas
        trained = [*self.student.trainable_variables, *self._terms.trainable_variables]
        self.optimizer.minimize(loss, trained, tape=tape)

        values = [distillation + regularization, hard]
        if soft and self._soft and targets is not None:
            self._inspection.note_targets(targets, self._soft.tasks)
            values += [*soft, *self._soft.agreements(targets, outputs)]
        values += terms.values()
        for tracker, value in zip(self._trackers, values, strict=True):
            tracker.update_state(value, sample_weight=batch)
        self.compiled_metrics.update_state(y, self._outputs.packed(outputs), sample_weight)
        return self._logs(settings, balanced)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Evaluates the student on a batch: the hard loss with regularisers, and the compiled metrics."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        require_takes(self.student, "student", x)
        outputs = self._outputs.tensors(self.student(x, training=False))
        loss = self._mean_hard_loss(y, outputs, sample_weight)
        loss += penalties(self.student.losses)
        self._trackers[0].update_state(loss, sample_weight=tf.shape(outputs[0])[0])
        self.compiled_metrics.update_state(y, self._outputs.packed(outputs), sample_weight)
        return {"loss": self._trackers[0].result(), **self._compiled_results()}

    def schedule(self, name: str) -> ScheduledVariable:
        """Returns what drives "coefficient" or "temperature"; for callbacks."""
        return self._blend.settings[name]

    def _soft_terms(self, compared: SoftLoss) -> SoftTerms:
        given = zip(self._hard, self._given_tasks, strict=True)
        tasks = [None if hard is None else hard.task(task) for hard, task in given]
        names = ["" if task is None else task.name for task in tasks]
        # Export looks for it: the student's file says what its outputs are.
        self.student.distilled_task = names[0] if len(names) == 1 else tuple(names)
        known = {key: name or AUTO for key, name in zip(self._outputs.names, names, strict=True)}
        require_logits(self.student, "student", known)
        self._targets.require_logits(known)
        weights = by_output(self.compiled_loss._user_loss_weights, self._outputs.names)
        shapes = self._outputs.shapes(self.student)
        return SoftTerms.of(tasks, compared, self._outputs.names, shapes, weights)

    def _logs(
        self, settings: dict[str, tf.Tensor], balanced: dict[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        logs = {tracker.name: tracker.result() for tracker in self._trackers}
        logs |= {**self._compiled_results(), "coefficient": settings["coefficient"]}
        if not self._soft or self._soft.softens:
            logs["temperature"] = settings["temperature"]
        return logs | {f"{name}_weight": weight for name, weight in balanced.items()}

    def _mean_hard_loss(self, y: Any, outputs: list[tf.Tensor], sample_weight: Any) -> tf.Tensor:
        require_hard_loss(self._hard, y)
        labels = self._inspection.note_labels(self._outputs.each(y), outputs, self._hard)
        # Keras divides the mean over this replica's part of the batch by the number of replicas.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        if len(outputs) == 1:
            return self.compiled_loss(labels[0], outputs[0], sample_weight) * replicas
        packed = self._outputs.packed
        weights = packed(self._outputs.each(sample_weight))
        return self.compiled_loss(packed(labels), packed(outputs), weights) * replicas

    def _require_logits(self) -> None:
        if self._soft:
            self._inspection.require_logits(self._soft.tasks)

    def _compiled_results(self) -> dict[str, tf.Tensor]:
        metrics = [*self._losses_of_outputs, *self.compiled_metrics.metrics]
        return {metric.name: metric.result() for metric in metrics}

    @property
    def _losses_of_outputs(self) -> list[keras.metrics.Metric]:
        # The first is Keras' sum of all.
        return self.compiled_loss.metrics[1:] if self.compiled_loss else []
