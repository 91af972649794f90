"""What every exported file looks like from outside; the writers and the runtimes share it."""

SIGNATURE = "serving_default"
INPUT = "images"
"""float32 [N, H, W, C], raw pixels in 0..255."""
OUTPUT = "logits"
"""float32 [N, classes]; files name what they return as `outputs.SIGNATURE_NAMES` does."""
METADATA = "tfqkd"
"""A LiteRT file's metadata entry, a JSON object: producer, format, input_range, class_names, output
(see `outputs.OUTPUTS`; logits where it is missing), and the options that were chosen."""
METADATA_ENTRY = f"{METADATA}.json"
"""Where a `.keras` file, a zip archive, has the same."""
METADATA_FILE = f"assets.extra/{METADATA}.json"
"""Where a SavedModel, a folder, has the same."""
