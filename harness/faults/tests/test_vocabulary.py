"""Whatever the vocabulary shows as an example can be said, and fires where it says."""

from __future__ import annotations

import jsonschema
import pytest

from harness.documents import load
from harness.faults.deeds import DEEDS, make_deed, parameters_of, sentence
from harness.faults.forms import FORMS
from harness.faults.reading import FaultReader
from harness.faults.schema import fault_schema
from harness.faults.vocabulary import COMMON, Place, places

EXAMPLES = [
    pytest.param(place, takes.name, takes.example, id=f"{place.name}-{takes.name}")
    for place in places().values()
    for takes in place.deeds
]


@pytest.mark.parametrize(("place", "deed", "example"), EXAMPLES)
def test_every_example_is_a_fault_of_its_place_and_deed(
    place: Place, deed: str, example: str
) -> None:
    data = load(example).data
    reader = FaultReader(data)
    fault = reader.read()
    assert [str(mistake) for _, mistake in reader.mistakes] == []
    assert fault is not None
    assert (fault.place, fault.deed) == (place.name, deed)
    assert fault.occasion in [one.name for one in place.occasions]
    assert isinstance(make_deed(fault.deed, fault.parameters), DEEDS[deed])


@pytest.mark.parametrize("place", places().values(), ids=lambda place: place.name)
def test_what_a_fact_can_be_at_one_occasion_only_is_known(place: Place) -> None:
    for fact in place.facts:
        assert set(fact.only_at) <= set(fact.values)
        assert set(fact.only_at.values()) <= {one.name for one in place.occasions}


@pytest.mark.parametrize(("place", "deed", "example"), EXAMPLES)
def test_every_example_fits_the_schema(place: Place, deed: str, example: str) -> None:
    del place, deed
    jsonschema.Draft202012Validator(fault_schema()).validate(load(example).data)


@pytest.mark.parametrize("place", places().values(), ids=lambda place: place.name)
def test_a_place_speaks_of_nothing_it_does_not_have(place: Place) -> None:
    occasions = {one.name for one in place.occasions}
    assert all(set(fact.occasions) <= occasions for fact in place.facts)
    assert all(set(takes.occasions) <= occasions for takes in place.deeds)
    facts = [fact.name for fact in place.facts]
    assert len(set(facts)) == len(facts)
    assert not {"occasion", "mac", *(one.name for one in COMMON)} & set(facts)
    deeds = [takes.name for takes in place.deeds]
    assert len(set(deeds)) == len(deeds)


@pytest.mark.parametrize("name", DEEDS)
def test_every_deed_says_what_it_does(name: str) -> None:
    assert sentence(DEEDS[name]).endswith(".")
    parameters = parameters_of(DEEDS[name])
    assert sum(one.primary for one in parameters) <= 1
    assert {one.form for one in parameters} <= FORMS.keys()
