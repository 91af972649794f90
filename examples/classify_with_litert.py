"""Classifies image files with an exported .tflite file and LiteRT alone: nothing of tfqkd, no TensorFlow.

pip install ai-edge-litert numpy pillow
python examples/classify_with_litert.py student-int2.tflite cat.png dog.jpg
"""

import json
import pathlib
import sys

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageOps


def metadata(path: str) -> dict:
    """Returns the metadata entry `tfqkd`: `class_names`, `output` and more, if the file holds it."""
    with pathlib.Path(path).open("rb") as file:
        model = schema.Model.GetRootAs(file.read())
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        if entry.Name() == b"tfqkd":
            return json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
    return {}


def pixels(path: str, height: int, width: int, channels: int, cut: bool = False) -> np.ndarray:
    """Returns an image as the file takes it: raw pixels, 0 to 255, which it standardises itself.

    Args:
        path: The image.
        height: Of the file's images.
        width: Of the file's images.
        channels: Of the file's images.
        cut: Whether the middle is resized, not the whole: the metadata `centre_crop`.
    """
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB" if channels == 3 else "L")
    if cut:
        high = min(image.height, round(image.width * (height / width)))
        wide = min(image.width, round(image.height * (width / height)))
        left, top = (image.width - wide) // 2, (image.height - high) // 2
        image = image.crop((left, top, left + wide, top + high))
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32).reshape(1, height, width, channels)


def answer(outputs: np.ndarray, names: list[str], kind: str) -> str:
    """Returns the best class; all that are likely, where each is asked for by itself; or all values.

    Args:
        outputs: What the file returned for an image.
        names: What its outputs are called.
        kind: What they are, in the metadata `output`: logits in files that do not say.
    """
    if kind == "values":
        return " ".join(f"{name} {value:.4g}" for name, value in zip(names, outputs, strict=True))
    if kind in ("sigmoid", "sigmoid_logits"):
        threshold = 0.5 if kind == "sigmoid" else 0.0
        likely = [name for name, value in zip(names, outputs, strict=True) if value > threshold]
        return " ".join(likely) or "none"
    return names[int(outputs.argmax())]


def main(model_path: str, *image_paths: str) -> None:
    """Prints what the file says of each image."""
    serve = Interpreter(model_path, num_threads=2).get_signature_runner("serving_default")
    _, *shape = serve.get_input_details()["images"]["shape_signature"]
    said = metadata(model_path)
    for path in image_paths:
        image = pixels(path, *shape, cut=said.get("centre_crop", False))
        ((outputs,),) = serve(images=image).values()
        names = said.get("class_names") or [str(index) for index in range(len(outputs))]
        print(path, answer(outputs, names, said.get("output", "logits")))


if __name__ == "__main__":
    main(*sys.argv[1:])
