"""The stages of a recipe, made one by one."""

from tfqkd.training.checking import check
from tfqkd.training.execution import execution_of, formats_of, options_of
from tfqkd.training.exporting import exported
from tfqkd.training.making import Maker
from tfqkd.training.presets import PAPER
from tfqkd.training.stage import TEACHER


class Staged:
    def __init__(self, recipe, data, products, front, place, callbacks=(), preset=PAPER):
        self.recipe, self.data, self.callbacks = recipe, data, callbacks
        self.maker = Maker(data, products, front, place, execution_of(recipe))
        self.stages = preset(recipe)

    def teachers(self):
        """The model files of the teachers."""
        return [self.maker.make(stage) for stage in self.stages if stage.role == TEACHER]

    def student(self):
        """The model file of the float student."""
        return self.maker.make(self.stages[-2])

    def quantized(self):
        """The product of the quantized student."""
        return self.maker.make(self.stages[-1], self.callbacks).parent

    def exported(self):
        """The product of the exported files."""
        self.quantized()
        formats = formats_of(self.recipe)
        return exported(self.maker, self.stages[-1], formats, self.maker.products, {})

    def check(self):
        check(self.stages, formats_of(self.recipe), self.maker, options_of(self.recipe))
        self.maker.trial.require()
