import gzip

from tfqkd.export.report import measure


def test_a_directory_is_as_large_as_its_files(tmp_path):
    (tmp_path / "inner").mkdir()
    contents = {"a": b"x" * 1000, "inner/b": bytes(range(256))}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    compressed = sum(len(gzip.compress(content)) for content in contents.values())
    assert measure(tmp_path) == (1256, compressed)
    assert measure(tmp_path / "a") == (1000, len(gzip.compress(contents["a"])))
