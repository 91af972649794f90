"""Over layers that are nothing but names: no Keras is needed to choose among them."""

import dataclasses

import pytest

from tfqkd.core.policy import Bits, choose_bits


@dataclasses.dataclass
class Named:
    name: str


class Convolution(Named):
    pass


LAYERS = [Convolution("stem"), Convolution("inner1"), Convolution("inner2"), Named("a"), Named("b")]
OUTPUTS = [{"input", "stem", "inner1", "inner2", "a"}, {"input", "stem", "inner1", "b"}]
"""Two heads: `a` ends the first, `b` the second."""
INNER = {"inner1": Bits(2), "inner2": Bits(2)}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (None, INNER),
        ("inner.*", INNER),
        (["inner2", "a"], {"inner2": Bits(2), "a": Bits(2)}),
        (Convolution, {"stem": Bits(2), **INNER}),
        (lambda layer: layer.name == "b", {"b": Bits(2)}),
        (lambda layer: 4 if layer.name == "b" else None, {"b": Bits(4)}),
        ({"inner1": 4}, {"inner1": Bits(4), "inner2": Bits(2)}),
        ({"inner1": None, ("a", "b"): 8}, {"inner2": Bits(2), "a": Bits(8), "b": Bits(8)}),
        ({"inner.*": 8, "inner1": 4}, {"inner1": Bits(8), "inner2": Bits(8)}),
    ],
)
def test_selectors_choose_layers_and_bits(policy, expected):
    assert choose_bits(LAYERS, OUTPUTS, policy, Bits(2)) == expected


def test_activations_have_bits_of_their_own():
    chosen = choose_bits(LAYERS, OUTPUTS, {"inner1": (None, 4), "inner2": 3}, Bits(2, 8))
    assert chosen == {"inner1": Bits(None, 4), "inner2": Bits(3, 8)}


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("middle.*", "must name layers of the model that have a kernel"),
        (["inner1", "missing"], "must name layers of the model that have a kernel"),
        ("(", "must be a regular expression"),
        (4, "must be a regular expression, names, a layer class or a callable"),
        ({"inner1": 9}, "`bits` must be an integer from 2 to 8"),
        ({"inner1": (2, 4)}, "Activation bits need a scheme that quantizes activations"),
        ({"inner.*": None}, "must quantize at least one layer"),
    ],
)
def test_what_does_not_fit_is_refused(policy, message):
    with pytest.raises(ValueError, match=message):
        choose_bits(LAYERS, OUTPUTS, policy, Bits(2))


def test_a_model_of_two_layers_keeps_both_float_unless_asked():
    layers, outputs = LAYERS[:2], [{"stem", "inner1"}]
    with pytest.raises(ValueError, match=r"pass layers='\.\*' to quantize all"):
        choose_bits(layers, outputs, None, Bits(2))
    assert choose_bits(layers, outputs, ".*", Bits(2)) == {"stem": Bits(2), "inner1": Bits(2)}


@pytest.mark.parametrize(
    ("policy", "rest"),
    [
        (None, {"stem", "a", "b"}),
        ("inner1", {"stem", "inner2", "a", "b"}),
        ({"inner1": 4, "a": None}, {"stem", "b"}),
    ],
)
def test_layers_that_a_policy_leaves_out_get_the_bits_of_others_unless_they_are_said_to_be_float(
    policy, rest
):
    without = choose_bits(LAYERS, OUTPUTS, policy, Bits(2, 8))
    chosen = choose_bits(LAYERS, OUTPUTS, policy, Bits(2, 8), others=Bits(8, 8))
    assert chosen == {**without, **dict.fromkeys(rest, Bits(8, 8))}
