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


def class_names(path: str) -> list[str] | None:
    """Returns the class names in the metadata entry `tfqkd`, if the file holds them."""
    with pathlib.Path(path).open("rb") as file:
        model = schema.Model.GetRootAs(file.read())
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        if entry.Name() == b"tfqkd":
            data = model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
            return json.loads(data)["class_names"]
    return None


def pixels(path: str, height: int, width: int, channels: int) -> np.ndarray:
    """Returns an image as the file takes it: raw pixels, 0 to 255, which it standardises itself."""
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB" if channels == 3 else "L")
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32).reshape(1, height, width, channels)


def main(model_path: str, *image_paths: str) -> None:
    """Prints the best class of each image."""
    serve = Interpreter(model_path, num_threads=2).get_signature_runner("serving_default")
    _, *shape = serve.get_input_details()["images"]["shape_signature"]
    names = class_names(model_path)
    for path in image_paths:
        (logits,) = serve(images=pixels(path, *shape))["logits"]
        best = int(logits.argmax())
        print(path, names[best] if names else best)


if __name__ == "__main__":
    main(*sys.argv[1:])
