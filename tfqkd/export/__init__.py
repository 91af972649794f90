"""Writes models for deployment, each verified in its own runtime before it appears."""

import importlib
from typing import Any

_NAMES = {
    "FORMATS": "tfqkd.export.formats",
    "ExportError": "tfqkd.export.verification",
    "Report": "tfqkd.export.report",
    "export": "tfqkd.export.choice",
    "load": "tfqkd.runtime.loading",
    "parse_formats": "tfqkd.export.formats",
    "require_twin": "tfqkd.export.twin_layers",
    "to_litert": "tfqkd.export.choice",
    "to_onnx": "tfqkd.export.choice",
    "to_saved_model": "tfqkd.export.choice",
}

__all__ = [
    "FORMATS",
    "ExportError",
    "Report",
    "export",
    "load",
    "parse_formats",
    "require_twin",
    "to_litert",
    "to_onnx",
    "to_saved_model",
]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'tfqkd.export' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
