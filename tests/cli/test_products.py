import re
import shutil

import pytest

from tfqkd.cli.products import main


def test_a_run_is_listed_and_pruned(finished, tmp_path, capsys):
    run = shutil.copytree(finished.directory, tmp_path / "run")
    assert main(["products", f"--run_dir={run}"]) == 0
    rows = capsys.readouterr().out.splitlines()
    names = {entry.name for entry in (run / "products").iterdir() if entry.is_dir()}
    shown = [row.split()[0] for row in rows if "-" in row and row.split()[0] in names]
    assert sorted(shown) == sorted(names)
    (teacher,) = [row for row in rows if "float teacher (cnn4), seed 0" in row]
    assert re.search(r"  teacher  +[\d,.]+ [KM]iB  +\S.*  run$", teacher)
    assert rows[-1].endswith("nothing uses 0 of them, 0.0 KiB.")

    model = next((run / "products").glob("quantized-*/"))
    (run / "products" / f"student-{'0' * 12}.partial").mkdir()
    (run / "products" / f"student-{'0' * 12}.partial" / "state").write_bytes(bytes(2 * 2**20))
    assert main(["products", f"--run_dir={run}"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"Next            tfqkd-products --run_dir={run} --prune"
    assert main(["products", f"--run_dir={run}", "--prune"]) == 0
    out = capsys.readouterr().out
    assert f"Removed student-{'0' * 12}.partial (unfinished), 2.0 MiB." in out
    assert out.endswith("1 products removed, 2.0 MiB freed.\n")
    assert {entry.name for entry in (run / "products").iterdir() if entry.is_dir()} == names
    assert model.is_dir()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "`run_dir` must be a directory"),
        (["--run_dir=no/such"], 2, "`run_dir` must be a directory"),
        (["--run_dir=."], 1, "A run directory must have `products`"),
        (["--run_dir=.", "--prune"], 1, "A run directory must have `products`"),
    ],
)
def test_a_mistake_is_one_message(arguments, status, message, capsys, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert main(["products", *arguments]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"products: error: {message}")
