from tfqkd.recipe.described import PAGE, entries, page
from tfqkd.recipe.methods import METHODS
from tfqkd.recipe.recipe import TRAINED, Recipe


def test_the_page_of_recipes_has_the_settings_as_they_are():
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, "Run `python -m tfqkd.recipe.described`."


def test_every_setting_has_an_entry_that_can_be_read_alone():
    described = {entry.name: entry for group in entries(METHODS).values() for entry in group}
    own = {name for name, setting in Recipe.settings(METHODS).items() if not setting.base}
    assert set(described) == own | {f"{stage}.training.*" for stage in TRAINED}
    for entry in described.values():
        assert len(entry.help) > 15
        assert entry.help.endswith(".")
        assert not entry.help.startswith(("Its ", "Of ", "As "))
    assert described["distil.temperature"].short == "temperature"
    assert described["quantized.training.*"].default == "epochs=100, learning_rate=0.01"
