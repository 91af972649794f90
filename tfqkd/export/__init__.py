"""Writes models for deployment, each verified in its own runtime before it appears."""

from tfqkd.lazy import lazy_names

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

__all__ = list(_NAMES)
__getattr__, __dir__ = lazy_names("tfqkd.export", _NAMES)
