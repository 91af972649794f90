"""One training step of PyTorch with Brevitas: `torch_row.py ROW [compiled] [bfloat16]`."""

import pathlib
import sys
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import torch
from brevitas.nn import QuantConv2d
from brevitas.quant import SignedTernaryWeightPerTensorConst
from torch import nn
from torch.nn import functional

from benchmarks.contestant import serve

BATCH, TEMPERATURE, COEFFICIENT = 128, 2.0, 0.5


def convolution(ternary: bool, inputs: int, outputs: int, size: int, strides: int) -> nn.Module:
    """A convolution without a bias; Brevitas' ternary one, with a constant scale, where asked."""
    arguments = {"stride": strides, "padding": size // 2, "bias": False}
    if not ternary:
        return nn.Conv2d(inputs, outputs, size, **arguments)
    return QuantConv2d(
        inputs, outputs, size, weight_quant=SignedTernaryWeightPerTensorConst, **arguments
    )


class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, ternary: bool, inputs: int, outputs: int, strides: int) -> None:
        super().__init__()
        self.first = convolution(ternary, inputs, outputs, 3, strides)
        self.second = convolution(ternary, outputs, outputs, 3, 1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(outputs) for _ in range(2))
        self.shortcut = nn.Identity()
        if strides != 1 or inputs != outputs:
            projection = convolution(ternary, inputs, outputs, 1, strides)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the block's output."""
        y = functional.relu(self.norms[0](self.first(x)))
        return functional.relu(self.norms[1](self.second(y)) + self.shortcut(x))


def resnet(ternary: bool, width: int = 1, classes: int = 10) -> nn.Module:
    """ResNet20 as tfqkd builds it; stem and last layer are float."""
    stem = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    blocks, inputs = [], 16
    for stage, filters in enumerate((16, 32, 64)):
        for block in range(3):
            strides = 2 if stage and not block else 1
            blocks.append(Block(ternary, inputs, filters * width, strides))
            inputs = filters * width
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes)]
    model = nn.Sequential(*stem, *blocks, *head)
    return model.to(memory_format=torch.channels_last)


def prepare(row: str, compiled: bool, bfloat16: bool) -> Callable[[int], object]:
    """Builds a row of the table, in float32 or with automatic mixed precision."""
    torch.manual_seed(0)
    student = resnet(row != "float")
    teacher = resnet(False, width=2).eval() if row == "ternary, live teacher" else None
    optimizer = torch.optim.SGD(student.parameters(), 1e-4, momentum=0.9, nesterov=True)
    images = [torch.randn(BATCH, 3, 32, 32) for _ in range(4)]
    images = [batch.to(memory_format=torch.channels_last) for batch in images]
    labels = [torch.randint(0, 10, (BATCH,)) for _ in range(4)]

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            logits = student(x)
        logits = logits.float()
        hard = functional.cross_entropy(logits, y)
        if teacher is None:
            return hard
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            said = teacher(x)
        target = functional.softmax(said.float() / TEMPERATURE, dim=1)
        soft = functional.cross_entropy(logits / TEMPERATURE, target) * TEMPERATURE**2
        return (1 - COEFFICIENT) * hard + COEFFICIENT * soft

    if compiled:
        # Sizes that vary from layer to layer must not be taken for sizes that vary from call to call.
        loss_of = torch.compile(loss_of, dynamic=False)

    def run(steps: int) -> object:
        for step in range(steps):
            optimizer.zero_grad()
            loss = loss_of(images[step % 4], labels[step % 4])
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    return run


if __name__ == "__main__":
    serve(lambda: prepare(sys.argv[1], "compiled" in sys.argv[2:], "bfloat16" in sys.argv[2:]))
