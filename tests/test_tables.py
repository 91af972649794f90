import pytest

from tfqkd.tables import Table

ROWS = [("layer", "bits", "bytes"), ("first", "float", "1,024"), ("[bold]", "2", "64")]


@pytest.fixture
def table():
    table = Table(*ROWS[0])
    table.add(*ROWS[1])
    table.add("[bold]", 2, 64)
    return table


def test_text_stands_left_and_numbers_right(table):
    lines = [line for line in str(table).splitlines() if "─" not in line]
    assert [tuple(line.split()) for line in lines] == ROWS
    assert {line.index(row[0]) for line, row in zip(lines, ROWS, strict=True)} == {1}
    for column in (1, 2):
        ends = {
            line.index(row[column]) + len(row[column])
            for line, row in zip(lines, ROWS, strict=True)
        }
        assert len(ends) == 1


def test_further_columns_of_text_stand_left(table):
    table = Table("layer", "for", "bytes", text=("for",))
    table.add("first", "a", 1)
    table.add("second", "all of it", 1024)
    assert str(table).splitlines()[2:] == [
        " first    a               1",
        " second   all of it    1024",
    ]


def test_markdown_has_a_row_for_each_row_and_a_rule_below_the_headings(table):
    heading, rule, *rows = table.markdown().splitlines()
    cells = [
        tuple(cell.strip() for cell in line.strip("|").split("|")) for line in (heading, *rows)
    ]
    assert cells == ROWS
    assert set(rule) == set("|-")
    assert rule.count("|") == 4


def test_markdown_takes_a_bar_for_text():
    table = Table("layers", "bits")
    table.add("stem|head", 8)
    assert r"| stem\|head |    8 |" in table.markdown()
    assert "stem|head" in str(table)


def test_no_cell_is_cut_off_or_wrapped():
    table = Table("name", "value")
    table.add("n" * 300, "1" * 300)
    for text in (str(table), table.markdown()):
        assert len(text.splitlines()) == 3
        assert "n" * 300 in text
        assert "1" * 300 in text


def test_no_line_ends_in_blanks_and_the_text_in_no_empty_line(table):
    for text in (str(table), table.markdown()):
        assert all(line == line.rstrip() for line in text.split("\n"))
        assert text == text.strip("\n")
