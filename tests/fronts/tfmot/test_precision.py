import pytest

from tfqkd.compat import tf
from tfqkd.fronts.tfmot import precision
from tfqkd.fronts.tfmot.precision import computes_in_bfloat16


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
