"""The `Distiller`: a Keras model that trains a student on hard labels and on a teacher's soft targets."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from tfqkd.compat import is_keras3, keras, tf
from tfqkd.distillation import losses
from tfqkd.distillation.answers import Answers
from tfqkd.distillation.hard_loss import HardLoss, read_loss
from tfqkd.distillation.labels import Labels
from tfqkd.distillation.scheduled import ScheduledVariable
from tfqkd.distillation.scheduler_callback import following
from tfqkd.distillation.shapes import declared_shape, require_takes
from tfqkd.distillation.step_error import step_error
from tfqkd.distillation.tasks import AUTO, Task, require_task
from tfqkd.distillation.teachers import LOGITS_IN_BATCH, as_teacher, members, require_logits


class Distiller(keras.Model):
    """Trains a student with `loss = (1-λ)·hard + λ·soft` (arXiv 1909.01688) plus its regularisers.

    `hard` is the compiled loss on the labels, `soft` the loss between the outputs of teacher and student, λ
    the coefficient. Both are means over the global batch, with sample and class weights. What the outputs
    are, the compiled loss tells, or `task`:

    - "softmax", of a categorical cross-entropy: the logits of classes, `[batch, classes]`, at least two.
      `soft` is `losses.soft_loss` at the temperature, of the logits or of `losses.standardized` ones, or
      `losses.decoupled_soft_loss`; they agree where both choose the same class.
    - "sigmoid", of a binary cross-entropy: a logit for each label, `[batch, labels]`. `soft` is
      `losses.sigmoid_soft_loss`, the mean over labels; they agree on a label where both say yes or both no.
    - "regression", of a squared, absolute or like error: values, `[batch, values]`. `soft` is
      `losses.squared_error`; the temperature has no part in it, and nothing is there to agree on.

    `evaluate`, `predict` and calling it are the student's; quantize the student before it is bound here. The
    teacher is frozen, runs in inference mode and is in no checkpoint of the distiller.

    `fit` logs loss, hard_loss, soft_loss, agreement (share of examples or labels on which student and teacher
    agree), coefficient, temperature and the compiled metrics; without a teacher's answers neither soft_loss
    nor agreement, and of a regression neither agreement nor temperature.

    `coefficient` and `temperature` are variables: assign to them at any time, or let a callback do it
    (`core.schedulers.CoefficientScheduler`); nothing is traced or compiled again.

    Example:
        ```python
        distiller = tfqkd.Distiller(student=quantized, teacher=teacher, temperature=2.0, coefficient=0.5)
        distiller.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), ["accuracy"])
        distiller.fit(train, validation_data=test, epochs=10)
        ```

    Args:
        student: A tf_keras model that returns `[batch, outputs]`: logits or values. By keyword, as the
            teacher: Keras' own Distiller has them the other way round.
        teacher: What `teachers.as_teacher` takes: any callable from the same batch to the same outputs. Or
            `LOGITS_IN_BATCH`: training batches are `((x, teacher_logits), y)`, of any float type, such as a
            `TeacherCache` gives; those of `evaluate` and `predict` stay `x`.
        temperature: `T > 0`, finite, that divides both logits in the soft loss.
        coefficient: λ in [0, 1], the weight of the soft loss.
        soft_loss: "cross_entropy" (default, as in the paper), "kl", which has the same gradient and is zero
            at a match, or "none": the control, which scales the hard loss by 1-λ and asks no teacher. The
            squared error of a regression is both. For classes also "standardized", the KL of logits whose
            mean and deviation are taken out (arXiv 2403.01427), and "dkd", decoupled distillation (arXiv
            2203.08679).
        soft_weight: Multiplies the soft loss besides λ, 0 or more: the small gradient of standardized logits
            has 10 in its paper's recipe.
        dkd_beta: β of "dkd", 0 or more.
        scale_by_temperature_squared: Whether the soft loss is multiplied by `T²` (default, as in arXiv
            1503.02531), so that λ weighs the same at every temperature. The paper does not say.
        task: "softmax", "sigmoid" or "regression"; "auto" (default) reads it off the compiled loss. A loss
            of your own, a hinge and the like do not tell it.

    Raises:
        TypeError: If student or teacher are of no usable kind.
        ValueError: If a setting is out of range, a model ends in softmax, or teacher and student take other
            batches or have other numbers of outputs.
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
        soft_weight: float = 1.0,
        dkd_beta: float = 8.0,
        scale_by_temperature_squared: bool = True,
        task: str = AUTO,
        **kwargs: Any,
    ) -> None:
        _require_settings(temperature, coefficient, soft_loss)
        _require_weights(soft_weight=soft_weight, dkd_beta=dkd_beta)
        require_task(task)
        _require_student(student)
        require_logits(student, "student", task)
        asks = soft_loss != "none" and teacher is not LOGITS_IN_BATCH
        if asks:
            _require_same_shapes(student, teacher)
        super().__init__(**kwargs)
        # Every replica returns the same logs; by default Keras would add them up.
        self.distribute_reduction_method = "first"
        self.student = student
        self._logits_in_batch = teacher is LOGITS_IN_BATCH
        # A plain function: Keras would track a model, save it and count its weights.
        self._teacher = as_teacher(teacher, task) if asks else None
        self._require_teacher = functools.partial(require_logits, teacher, "teacher")
        self.soft_loss = soft_loss
        self.soft_weight = soft_weight
        self.dkd_beta = dkd_beta
        self.scale_by_temperature_squared = scale_by_temperature_squared
        self._scheduled = {
            "coefficient": ScheduledVariable("coefficient", coefficient),
            "temperature": ScheduledVariable("temperature", temperature),
        }
        self.coefficient = self._scheduled["coefficient"].value
        self.temperature = self._scheduled["temperature"].value
        self._given_task = task
        self._task: Task | None = None
        self._hard: HardLoss | None = None
        self._answers = Answers()
        self._labels = Labels()
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
        self._hard = read_loss(loss)
        self._task = None
        if self._hard and self.soft_loss != "none":
            self._task = self._hard.task(self._given_task)
            # Export looks for it: the student's file says what its outputs are.
            self.student.distilled_task = self._task.name
            require_logits(self.student, "student", self._task.name)
            self._require_teacher(self._task.name)
            self._task.require_soft_loss(self.soft_loss)
            if isinstance(getattr(self.student, "output_shape", None), tuple):
                outputs = tf.TensorShape(self.student.output_shape)
                self._task.require_outputs(outputs)
                _require_classes(self.soft_loss, outputs[-1])
        if _computes_in_float16(self.student):
            optimizer = keras.optimizers.get(optimizer)
            if not isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer):
                optimizer = keras.mixed_precision.LossScaleOptimizer(optimizer)
        super().compile(optimizer, loss, *args, **kwargs)
        self._forget()
        with self.distribute_strategy.scope():
            self._trackers = [keras.metrics.Mean(name=name) for name in self._logged()]

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Trains the student as `keras.Model.fit` does; a schedule ends with it, its last value stays.

        Args:
            *args: As for `keras.Model.fit`.
            **kwargs: As for `keras.Model.fit`; `callbacks` may hold schedulers (`core.schedulers`).

        Raises:
            ValueError: If there is no loss or no labels, the batches are not what student and teacher take,
                labels are out of range of the student's classes, or a teacher that shows no layers answers
                in probabilities: before the first step, or after it where a step must tell. Labels of later
                steps at once on a CPU, else at the end.
        """
        self._forget()
        arguments = inspect.signature(super().fit).bind(*args, **kwargs).arguments
        arguments["callbacks"] = following(arguments.get("callbacks"))
        try:
            with self._labels_explained():
                history = super().fit(**arguments)
            self._look_at_answers()
            return history
        finally:
            # Keras calls no callback when a fit is interrupted.
            for scheduled in self._scheduled.values():
                scheduled.hold()

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates the student as `keras.Model.evaluate` does.

        Raises:
            ValueError: If labels are out of range of the student's classes.
        """
        with self._labels_explained():
            return super().evaluate(*args, **kwargs)

    def make_train_function(self, force: bool = False) -> Callable[[Any], Any]:
        """Returns what Keras does; its first call also looks at the labels and the teacher's answers.

        Raises:
            ValueError: In that call, if they are out of range or probabilities.
        """
        if self.train_function is None or force:
            execute = super().make_train_function(force)

            def look_once(iterator: Any) -> Any:
                with self._labels_explained():
                    logs = execute(iterator)
                if self.train_function is look_once:
                    self.train_function = execute
                    self._look_at_answers()
                return logs

            self.train_function = look_once
        return self.train_function

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        """Returns the student's outputs."""
        return self.student(inputs, training=training)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics that are reset at the start of every epoch."""
        return [*self._trackers, *(self.compiled_metrics.metrics if self.compiled_metrics else [])]

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Makes one step on a batch `(x, y)` or `(x, y, sample_weight)`; for x, see `LOGITS_IN_BATCH`."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        x, teacher_logits = self._asked(x)
        step = self.optimizer.iterations
        coefficient = self._scheduled["coefficient"].advance(step)
        temperature = self._scheduled["temperature"].advance(step)

        with tf.GradientTape() as tape:
            logits = tf.cast(self.student(x, training=True), tf.float32)
            hard = self._mean_hard_loss(y, logits, sample_weight)
            distillation = (1 - coefficient) * hard
            if self._task and teacher_logits is not None:
                soft = self._mean_soft_loss(
                    self._task, teacher_logits, logits, y, temperature, sample_weight
                )
                distillation += coefficient * self.soft_weight * soft
            regularization = tf.add_n([0.0, *(tf.cast(r, tf.float32) for r in self.student.losses)])
            batch = tf.shape(logits)[0]
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            loss = distillation * _share_of_global_batch(batch) + regularization / replicas
        self.optimizer.minimize(loss, self.student.trainable_variables, tape=tape)

        values = [distillation + regularization, hard]
        if self._task and teacher_logits is not None:
            self._answers.note(teacher_logits, self._task)
            values.append(soft)
            if self._task.agreement:
                values.append(_mean(self._task.agreement(teacher_logits, logits)))
        for tracker, value in zip(self._trackers, values, strict=True):
            tracker.update_state(value, sample_weight=batch)
        self.compiled_metrics.update_state(y, logits, sample_weight)
        return {
            **{tracker.name: tracker.result() for tracker in self._trackers},
            **self._compiled_results(),
            "coefficient": coefficient,
            **({"temperature": temperature} if self._task is None or self._task.softens else {}),
        }

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Evaluates the student on a batch: the hard loss with regularisers, and the compiled metrics."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        require_takes(self.student, "student", x)
        logits = tf.cast(self.student(x, training=False), tf.float32)
        loss = self._mean_hard_loss(y, logits, sample_weight)
        loss += tf.add_n([0.0, *(tf.cast(r, tf.float32) for r in self.student.losses)])
        self._trackers[0].update_state(loss, sample_weight=tf.shape(logits)[0])
        self.compiled_metrics.update_state(y, logits, sample_weight)
        return {"loss": self._trackers[0].result(), **self._compiled_results()}

    def save(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Refuses: a file could not hold the teacher, which may be any function. Save the student.

        Raises:
            ValueError: Always; `keras.models.save_model` and `ModelCheckpoint` raise it too.
        """
        del args, kwargs
        raise self._unsaved(str(filepath))

    def get_config(self) -> dict[str, Any]:
        """Refuses as `save` does."""
        raise self._unsaved("a request for its config")

    def _unsaved(self, received: str) -> ValueError:
        return ValueError(
            "A Distiller is not saved, for its teacher may be any function; its student is: "
            f"distiller.student.save(...). Received: {received}. Let a ModelCheckpoint keep weights alone "
            "(save_weights_only=True), or save the student in a callback of your own."
        )

    def schedule(self, name: str) -> ScheduledVariable:
        """Returns what drives "coefficient" or "temperature"; for callbacks."""
        return self._scheduled[name]

    def _asked(self, x: Any) -> tuple[Any, tf.Tensor | None]:
        """Returns the student's inputs and the teacher's logits for them."""
        if not self._logits_in_batch:
            require_takes(self.student, "student", x)
            return x, None if self._teacher is None else self._teacher(x)
        if not (isinstance(x, tuple) and len(x) == 2):
            raise step_error(
                "With LOGITS_IN_BATCH every training batch must be ((x, teacher_logits), y). "
                f"Received: {tf.nest.map_structure(lambda t: t.shape, x)} for x. "
                "Train on TeacherCache.batches(...), or give the Distiller a teacher to ask."
            )
        x, logits = x
        require_takes(self.student, "student", x)
        return x, None if self.soft_loss == "none" else tf.cast(logits, tf.float32)

    def _mean_hard_loss(self, y: Any, logits: tf.Tensor, sample_weight: Any) -> tf.Tensor:
        if self._hard is None:
            raise step_error(
                "A Distiller must be compiled with a hard loss. Received: loss=None. Compile it with "
                "keras.losses.SparseCategoricalCrossentropy(from_logits=True), say; coefficient=1.0 trains "
                "on the teacher alone."
            )
        if y is None:
            raise step_error(
                "A hard loss needs labels. Received: batches without labels. Pass (x, y); with "
                "coefficient=1.0 it does not matter which labels, as long as they are in range."
            )
        y = self._labels.note(y, logits, self._hard)
        # Keras divides the mean over this replica's part of the batch by the number of replicas.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        return self.compiled_loss(y, logits, sample_weight) * replicas

    def _mean_soft_loss(
        self,
        task: Task,
        teacher_logits: tf.Tensor,
        logits: tf.Tensor,
        labels: Any,
        temperature: tf.Tensor,
        sample_weight: tf.Tensor | None,
    ) -> tf.Tensor:
        task.require_outputs(logits.shape)
        if not teacher_logits.shape.is_compatible_with(logits.shape):
            raise step_error(
                "Teacher and student must return logits of one shape, or values. Received: teacher "
                f"{teacher_logits.shape}, student {logits.shape}. Train both on the same data."
            )
        # What shows no shape yet must not be stretched to the student's in silence.
        asked = tf.ensure_shape(teacher_logits, logits.shape)
        scaled = self.scale_by_temperature_squared
        if self.soft_loss == losses.DECOUPLED:
            classes = losses.class_numbers(tf.nest.flatten(labels)[0], logits)
            soft = losses.decoupled_soft_loss(
                asked, logits, classes, temperature, self.dkd_beta, scaled
            )
        elif self.soft_loss == losses.STANDARDIZED:
            asked, logits = losses.standardized(asked), losses.standardized(logits)
            soft = task.soft_loss(asked, logits, temperature, "kl", scaled)
        else:
            soft = task.soft_loss(asked, logits, temperature, self.soft_loss, scaled)
        if sample_weight is not None:
            soft *= tf.reshape(tf.cast(sample_weight, tf.float32), tf.shape(soft))
        return _mean(soft)

    def _logged(self) -> list[str]:
        if self._task is None:
            return ["loss", "hard_loss"]
        return ["loss", "hard_loss", "soft_loss", *(["agreement"] if self._task.agreement else [])]

    def _forget(self) -> None:
        self._answers.forget()
        self._labels.forget()

    def _look_at_answers(self) -> None:
        if self._task:
            self._answers.require_logits(self._task)

    @contextlib.contextmanager
    def _labels_explained(self) -> Iterator[None]:
        """Looks at the labels when steps are made, or when one failed, as a loss does on a CPU."""
        try:
            yield
        except tf.errors.InvalidArgumentError:
            self._labels.require_in_range()
            raise
        self._labels.require_in_range()

    def _compiled_results(self) -> dict[str, tf.Tensor]:
        return {metric.name: metric.result() for metric in self.compiled_metrics.metrics}


def _mean(values: tf.Tensor) -> tf.Tensor:
    """The mean, or zero where a replica gets no example of a small last batch."""
    return tf.math.divide_no_nan(tf.reduce_sum(values), tf.cast(tf.size(values), tf.float32))


def _share_of_global_batch(batch: tf.Tensor) -> tf.Tensor | float:
    """What part of the global batch this replica has: a mean over it times this, summed, is the mean."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return 1.0
    batch = tf.cast(batch, tf.float32)
    return batch / context.all_reduce(tf.distribute.ReduceOp.SUM, batch)


def _computes_in_float16(model: keras.Model) -> bool:
    return any(layer.compute_dtype == "float16" for layer in model.layers)


def _require_settings(temperature: float, coefficient: float, soft_loss: str) -> None:
    if not 0 < temperature < float("inf"):
        raise ValueError(
            f"`temperature` must be above 0 and finite. Received: temperature={temperature}. "
            "1 leaves the logits as they are; more softens them."
        )
    if not 0 <= coefficient <= 1:
        raise ValueError(
            f"`coefficient` must be in [0, 1]. Received: coefficient={coefficient}. "
            "It weighs the soft loss; the hard loss gets 1 - coefficient."
        )
    if soft_loss not in (*losses.CLASS_LOSSES, "none"):
        raise ValueError(
            f"`soft_loss` must be one of {', '.join(losses.CLASS_LOSSES)}, none. "
            f"Received: soft_loss={soft_loss!r}."
        )


def _require_weights(**weights: float) -> None:
    for name, value in weights.items():
        if not 0 <= value < float("inf"):
            raise ValueError(f"`{name}` must be 0 or more, and finite. Received: {name}={value}.")


def _require_classes(soft_loss: str, classes: int | None) -> None:
    if soft_loss == losses.DECOUPLED and classes == 2:
        raise ValueError(
            "Decoupled distillation needs three classes or more: of two, none are left beside the label. "
            "Received: soft_loss='dkd' for 2 classes. Take soft_loss='kl'."
        )


def _require_student(student: object) -> None:
    if not isinstance(student, keras.Model):
        hint = " It is a Keras 3 model." if is_keras3(student) else ""
        raise TypeError(
            f"The student must be a tf_keras model. Received: {type(student)}.{hint} "
            "Build it with `from tfqkd.compat import keras`."
        )


def _require_same_shapes(student: keras.Model, teacher: object) -> None:
    """Raises if what student and teachers declare to take and to return shows that they differ."""
    taken = declared_shape(student)
    for each in members(teacher):
        if taken:
            require_takes(each, "teacher", tf.TensorSpec(taken))
        shapes = [getattr(model, "output_shape", None) for model in (student, each)]
        outputs = [shape[-1] for shape in shapes if isinstance(shape, tuple) and shape[-1]]
        if len(set(outputs)) > 1:
            raise ValueError(
                "Teacher and student must have the same outputs, those of the same classes. "
                f"Received: a student with {outputs[0]} and a teacher with {outputs[1]}. "
                "Train the teacher on the student's data set."
            )
