"""Package definition; the pins that were tested together are in constraints.txt."""

import pathlib
import shutil

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = pathlib.Path(__file__).resolve().parent
VERSION = {}
exec((HERE / "tfqkd" / "version.py").read_text(), VERSION)

EXPORT = [
    "ai-edge-litert~=2.3.0",  # Runs the exported TFLite files, as a device does.
]
STUDY = [
    "optuna~=5.0",  # Samplers, pruners and the storage that the workers of a study share.
    "psycopg[binary]~=3.3",  # PostgreSQL as a storage.
    "pymysql~=1.2",  # MySQL as a storage.
    "sqlalchemy~=2.1",  # URLs of storages; from 2.1 on postgresql:// means psycopg 3.
    "statsmodels~=0.15.0",  # Analysis of variance.
]
JAX = [
    "jax~=0.10.2",  # A backend of Keras 3; the last one for Python 3.11. Its wheel is for CPUs.
]
MICRO = [
    # Runs files for microcontrollers, and packs their kernels. It has daily wheels, no releases.
    "tflite-micro==0.dev20261023182759",
]
ONNX = [
    "onnx~=1.23.2",  # Writes 2-bit constants and newer opsets than tf2onnx does.
    "onnxruntime~=1.32.0",  # Runs the exported ONNX files.
    "tf2onnx~=1.17.0",  # Converts TensorFlow graphs.
]


class BuildWithConfigs(build_py):
    """Puts configs/ into the package, so that `--flagfile=configs/...` works without a checkout."""

    def run(self) -> None:
        """Builds the package, and copies the flag files beside it."""
        super().run()
        if not self.editable_mode:
            target = pathlib.Path(self.build_lib, "tfqkd", "configs")
            shutil.copytree(HERE / "configs", target, dirs_exist_ok=True)


setup(
    name="tfqkd",
    cmdclass={"build_py": BuildWithConfigs},
    version=VERSION["__version__"],
    description="Trains low-bit Keras networks with a teacher: ternary first, annealed distillation",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["tfqkd", "tfqkd.*"]),
    package_data={
        "tfqkd": ["py.typed"],
        "tfqkd.models": ["weights/*"],
        "tfqkd.reporting": ["templates/*"],
        "tfqkd.runtime": ["widen.cc"],
    },
    # The base runs any flag file of configs/, so it writes and runs LiteRT files.
    install_requires=[
        *EXPORT,
        "absl-py~=1.4.0",  # Flags and flag files of the commands.
        "filelock~=4.3",  # Locks that two processes on one machine, or on one NFS, agree on.
        "h5py~=3.14",  # Looks into model files before Keras loads them.
        "importlib-resources",  # tensorflow-datasets 4.9.10 needs it and does not declare it.
        "jinja2~=3.1",  # The page of a run or study.
        "keras~=3.15.1",  # TensorFlow imports it; tf-keras stands beside it.
        "matplotlib~=3.11.2",  # The plot of a run.
        "numpy~=2.4.6",
        "pandas~=3.1",  # The tables behind the figures of a page.
        "pillow~=13.0",  # Reads image files.
        "psutil~=7.2",  # Refuses a data set that does not fit into memory.
        "rich~=15.0",  # Tables and progress bars in the terminal.
        "scikit-learn~=1.9.1",  # Carries the embedded digits; splits data by class.
        "scipy~=1.17.1",  # The integer program that proposes bits by layer; computations in tests.
        "setuptools",  # tfmot imports distutils, which Python 3.12 no longer has.
        "tensorboard~=2.21.0",  # Logs of a run.
        "tensorflow~=2.21.0",
        "tensorflow-datasets~=4.9.10",  # CIFAR and any other image classification set by name.
        "tensorflow-model-optimization~=0.8.1",  # Quantization wrappers and schemes.
        "tf-keras~=2.21.0",  # The Keras that tfmot builds on.
    ],
    extras_require={
        "gpu": ["tensorflow[and-cuda]~=2.21.0"],
        "export": EXPORT,
        "jax": JAX,
        "micro": [*EXPORT, *MICRO],
        "onnx": ONNX,
        "study": STUDY,
        "torch": ["torch~=2.13"],  # A backend of Keras 3.
        "dev": [
            *EXPORT,
            *JAX,
            *MICRO,
            *STUDY,
            *ONNX,
            "check-jsonschema~=0.39.0",  # Checks the public workflows against GitHub's own schema.
            "hypothesis~=6.170",  # Property tests.
            "keras-hub~=0.32.0",  # Backbones as students.
            "latex2mathml~=3.81",  # Formulas of the site without a script.
            "litert-quantizer~=0.11.0",  # A second opinion on the codes of a TFLite file.
            "mkdocs-material~=9.8.2",  # The site: its look, and its search without a server.
            "mkdocstrings[python]~=1.0.8",  # The pages of the API, from docstrings.
            "mypy~=2.4.1",  # Type checker.
            "playwright~=1.65",  # Drives Chromium in the tests of pages.
            "pytest~=9.2",
            "pytest-xdist~=3.8",  # A test process for each core.
            "pyyaml~=6.0",  # Reads the manifest among the examples.
            "ruff~=0.17.6",  # Lint and format.
        ],
    },
    entry_points={
        "console_scripts": [
            "tfqkd-doctor=tfqkd.cli.doctor:main",
            "tfqkd-train=tfqkd.cli.train:main",
            "tfqkd-evaluate=tfqkd.cli.evaluate:main",
            "tfqkd-export=tfqkd.cli.export:main",
            "tfqkd-predict=tfqkd.cli.predict:main",
            "tfqkd-products=tfqkd.cli.products:main",
            "tfqkd-study=tfqkd.cli.study:main",
        ],
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Typing :: Typed",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
