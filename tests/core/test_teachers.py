import pytest

from tfqkd.core.teachers import Ensemble, members


def test_the_members_of_ensembles_are_those_of_the_ensembles_among_them():
    one, two, three = object(), object(), object()
    assert members(one) == [one]
    assert members(Ensemble([one, Ensemble([two, three])])) == [one, two, three]


def test_an_ensemble_has_members_and_none_twice():
    one, two = object(), object()
    with pytest.raises(ValueError, match="needs at least one teacher"):
        Ensemble([])
    for teachers in ([one, two, one], [one, Ensemble([two, one])]):
        with pytest.raises(ValueError, match=r"must be different.*Name each once"):
            Ensemble(teachers)
