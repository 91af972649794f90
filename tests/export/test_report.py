import gzip

from tfqkd.export.report import LayerPacking, QuantizedKernel, Report, file_sizes


def test_a_directory_is_as_large_as_its_files(tmp_path):
    (tmp_path / "inner").mkdir()
    contents = {"a": b"x" * 1000, "inner/b": bytes(range(256))}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    compressed = sum(len(gzip.compress(content)) for content in contents.values())
    assert file_sizes(tmp_path) == (1256, compressed)
    assert file_sizes(tmp_path / "a") == (1000, len(gzip.compress(contents["a"])))


def test_a_printed_report_is_a_few_lines():
    kernels = tuple(QuantizedKernel(f"conv{n}", 432, 1, 2) for n in range(20))
    packing = tuple(LayerPacking(kernel.layer, 432, 2, 108.0, 1.5) for kernel in kernels)
    report = Report(
        "litert-int2",
        "a.tflite",
        118872,
        70000,
        16,
        2e-6,
        1.0,
        0.8906,
        kernels,
        ("logits",),
        packing,
    )
    assert str(report).splitlines() == [
        "a.tflite (litert-int2): 118,872 bytes, 70,000 with gzip",
        "verified on 16 images: outputs differ by up to 2.0e-06, 100.0 % have the same best class, "
        "89.06 % of the test images right",
        "kernels: 20 quantized, 1 float",
    ]
