import dataclasses

import pytest

from tfqkd.compat import tf
from tfqkd.training import precision
from tfqkd.training.directory import RunDirectory, read_recipe
from tfqkd.training.precision import computes_in_bfloat16, with_precision
from tfqkd.training.recipe import Recipe

AUTO = Recipe(dataset="digits", student="cnn2", teacher="none", mixed_precision="auto")


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ("flags\t\t: fpu sse avx2 avx512f avx512_bf16 vaes\n", True),
        ("processor : 0\nflags : fpu amx_bf16 amx_tile\nprocessor : 1\nflags : fpu\n", True),
        ("flags : fpu avx2 avx512f avx512_vnni amx_tile\n", False),
        ("model name : avx512_bf16\n", False),
        (None, False),
    ],
)
def test_a_processor_with_instructions_for_bfloat16_computes_in_it(
    tmp_path, monkeypatch, info, expected
):
    file = tmp_path / "cpuinfo"
    if info is not None:
        file.write_text(info)
    monkeypatch.setattr(precision, "_CPU_INFO", file)
    assert computes_in_bfloat16() is expected


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [([(8, 0)], True), ([(9, 0), (8, 6)], True), ([(9, 0), (7, 5)], False), ([None], False)],
)
def test_gpus_compute_in_bfloat16_if_all_of_them_do(tmp_path, monkeypatch, capabilities, expected):
    details = [{"compute_capability": each} if each else {} for each in capabilities]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: range(len(details)))
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details[gpu])
    assert computes_in_bfloat16() is expected


@pytest.mark.parametrize(("native", "chosen"), [(True, "mixed_bfloat16"), (False, "float32")])
def test_auto_is_what_the_machine_computes_in(monkeypatch, capsys, native, chosen):
    monkeypatch.setattr(precision, "computes_in_bfloat16", lambda: native)
    assert with_precision(AUTO) == dataclasses.replace(AUTO, mixed_precision=chosen)
    assert capsys.readouterr().out == f"--mixed_precision=auto: {chosen} on this machine.\n"


def test_a_named_precision_stays():
    named = dataclasses.replace(AUTO, mixed_precision="mixed_float16")
    assert with_precision(named) is named


def test_a_run_goes_on_in_the_precision_that_it_began_in(tmp_path, monkeypatch):
    begun = dataclasses.replace(AUTO, mixed_precision="mixed_bfloat16")
    RunDirectory(tmp_path, begun).begin()
    monkeypatch.setattr(precision, "computes_in_bfloat16", lambda: False)
    again = RunDirectory(tmp_path, AUTO)
    again.recipe = with_precision(again.recipe)
    again.begin()
    assert read_recipe(tmp_path) == again.recipe == begun
    with pytest.raises(ValueError, match="mixed_precision: 'mixed_bfloat16' there, 'float32'"):
        RunDirectory(tmp_path, dataclasses.replace(AUTO, mixed_precision="float32"))
