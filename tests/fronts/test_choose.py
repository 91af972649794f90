import importlib.util

import pytest

from tfqkd.fronts import choose


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_backend_that_is_not_installed_is_one_line_with_the_extra(backend, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == backend else find(name)
    )
    with pytest.raises(ImportError, match=rf"pip install 'tfqkd\[{backend}\]'") as raised:
        choose("keras3")
    assert f"Received: KERAS_BACKEND={backend}" in str(raised.value)
    assert "\n" not in str(raised.value)
