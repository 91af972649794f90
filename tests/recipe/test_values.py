import math

import hypothesis
import pytest
from hypothesis import strategies as st

from tfqkd.recipe.values import from_text, to_text, typed

SEVERAL = {int: tuple[int, ...], float: tuple[float, ...], str: tuple[str, ...]}


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("true", bool, True),
        ("False", bool, False),
        ("-3", int, -3),
        ("1e-4", float, 1e-4),
        ("3", float, 3.0),
        ("", str, ""),
        ("a,b", str, "a,b"),
        ("24", int | str, 24),
        ("24x32", int | str, "24x32"),
        ("", SEVERAL[str], ()),
        ("a, b", SEVERAL[str], ("a", "b")),
        ('"a{1,2}=4",b=8', SEVERAL[str], ("a{1,2}=4", "b=8")),
        ("8,4", SEVERAL[int], (8, 4)),
        ("0.5,0.75", SEVERAL[float], (0.5, 0.75)),
    ],
)
def test_the_text_of_a_flag_is_read(text, kind, value):
    read = from_text("x", text, kind)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("yes", bool, "`x` must be true or false. Received: x=yes."),
        ("2.5", int, "`x` must be a whole number. Received: x=2.5."),
        ("", int, "`x` must be a whole number. Received: x=."),
        ("half", float, "`x` must be a number. Received: x=half."),
        ("0.5,half", SEVERAL[float], "`x` must be a number. Received: x=half."),
        ("\r0", SEVERAL[float], "`x` must be a list on one line. Received: x='\\r0'."),
    ],
)
def test_a_text_of_another_kind_is_refused(text, kind, message):
    with pytest.raises(ValueError) as error:
        from_text("x", text, kind)
    assert str(error.value) == message


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0")).map(str.strip)


@hypothesis.given(
    st.one_of(
        st.tuples(st.booleans(), st.just(bool)),
        st.tuples(st.integers(), st.just(int)),
        st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.just(float)),
        st.tuples(st.text(), st.just(str)),
        st.tuples(st.lists(WORDS).map(tuple), st.just(SEVERAL[str])),
        st.tuples(
            st.lists(st.floats(allow_nan=False, allow_infinity=False)).map(tuple),
            st.just(SEVERAL[float]),
        ),
    )
)
def test_a_value_as_text_is_read_as_itself(pair):
    value, kind = pair
    assert from_text("x", to_text(value), kind) == value
    assert typed("x", value, kind) == value


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (3, float, 3.0),
        ([1, 2], SEVERAL[float], (1.0, 2.0)),
        ([], SEVERAL[str], ()),
        ("24x32", int | str, "24x32"),
    ],
)
def test_json_brings_lists_and_whole_numbers(value, kind, expected):
    found = typed("x", value, kind)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (True, int, "`x` must be a whole number. Received: x=True."),
        (True, float, "`x` must be a number. Received: x=True."),
        (1, bool, "`x` must be true or false. Received: x=1."),
        ("1", float, "`x` must be a number. Received: x='1'."),
        (None, str, "`x` must be text. Received: x=None."),
        ("a", SEVERAL[str], "`x` must be a list. Received: x='a'."),
        (["a"], SEVERAL[float], "`x` must be a number. Received: x='a'."),
        (1.5, int | str, "`x` must be a whole number or text. Received: x=1.5."),
        (math.nan, float, "`x` must be finite. Received: x=nan."),
        (10**400, float, "`x` must be finite. Received: x=inf."),
    ],
)
def test_a_value_of_another_type_is_refused(value, kind, message):
    with pytest.raises(ValueError) as error:
        typed("x", value, kind)
    assert str(error.value) == message
