"""Whether a sentence rests on passages."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colosse.assistant import embed
from colosse.assistant.ground import Source, sentences, support

SHIP = Source(
    id=1,
    text="The ship Aurora was lost in the storm of 1974. Its crew of 23 sailors did not survive. "
    "The wreck was found in March 2020 off Norway, at a depth of 1,200 metres.",
)
FIRM = Source(
    id=2,
    text="The firm sells shoes. Sales increased by 12 % in 2019, reaching 3.4 million euros. Paul Martin was director.",
)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Dr. Smith paid 3.5 kg, e.g. U.S. goods. He left! Why?", 3),
        ("« Oui ? » dit-il. M. Dupont arrive à 10 h. Fin… et puis.", 3),
        ("J. R. Tolkien wrote it. It sold.", 2),
        ("# Title\n\nA line\nwrapped here.\n- one\n- two. Three", 5),
        ("1. First thing. 2. Second thing.", 2),
        ("今日は。明日は。", 2),
        ("", 0),
        ("  \n", 1),
        ("no stop at all", 1),
    ],
)
def test_sentences(text: str, parts: int) -> None:
    found = sentences(text)
    assert "".join(found) == text
    assert len(found) == parts, found


@given(st.text(alphabet=st.sampled_from(list("ab AB.!?…»«\n\t-#1,()[]\"'é。 "))) | st.text())
def test_sentences_join_to_the_text(text: str) -> None:
    assert "".join(sentences(text)) == text


@pytest.mark.parametrize(
    ("sentence", "source"),
    [
        ("The Aurora sank in a 1974 storm.", 1),
        ("The wreck was found in Norway in 2020 at 1200 m.", 1),
        ("The crew did not survive.", 1),
        ("Sales rose 12 percent in 2019 to 3,400,000 euros [2].", 2),
        ("The director was Paul Martin.", 2),
        ("Le navire Aurora a été perdu dans une tempête en 1974.", 1),
    ],
)
def test_supported(sentence: str, source: int) -> None:
    found = support(sentence, [SHIP, FIRM])
    assert found.supported, found
    assert found.sources == [source]


@pytest.mark.parametrize(
    ("sentence", "missing"),
    [
        ("The Aurora sank in a 1975 storm.", ["1975"]),
        ("The wreck was found at a depth of 1,200 km.", ["1,200"]),
        ("The wreck was found in May 2020 off Norway.", ["may"]),
        ("The wreck was found in June 2020 off Norway.", ["june"]),
        ("In 2019 sales reached 3.4 million dollars.", ["3.4"]),
        ("In 2019 sales reached 3.4 billion euros.", ["3.4"]),
        ("Sales decreased by 12% in 2019.", ["decreased"]),
        ("The crew of sailors survived.", ["survived"]),
        ("The director of the firm was Jean Dupont.", ["Jean Dupont"]),
        ("Le navire Aurora a été perdu dans une tempête en 1976.", ["1976"]),
        ("Bananas are yellow.", []),
    ],
)
def test_unsupported(sentence: str, missing: list[str]) -> None:
    found = support(sentence, [SHIP, FIRM])
    assert not found.supported, found
    assert found.missing == missing


def test_across_two_languages_and_two_sources() -> None:
    rules = Source(id=7, text="It applies to all firms with more than 250 employees. Fines can reach 20 million euros.")
    other = Source(id=8, text="Les amendes peuvent atteindre 20 millions d'euros.")
    assert not support("Fines can reach 20 million dollars.", [rules, other]).supported
    assert support("Fines can reach 20 million euros.", [rules, other]).supported
    assert support("It applies to firms with fewer than 250 employees.", [rules]).missing == ["fewer"]
    assert not support("Les amendes n'atteignent jamais 20 millions d'euros.", [other]).supported


def test_without_embeddings_words_alone_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "available", lambda: False)
    assert support("The wreck was found off Norway in March 2020.", [SHIP, FIRM]).sources == [1]
    assert not support("The wreck was found off Norway in March 2021.", [SHIP, FIRM]).supported
    assert not support("Le navire Aurora a été perdu dans une tempête en 1974.", [SHIP, FIRM]).supported


@settings(deadline=None)
@given(st.text(max_size=80), st.lists(st.text(max_size=80), max_size=3))
def test_any_text_is_judged(sentence: str, texts: list[str]) -> None:
    sources = [Source(id=i, text=text) for i, text in enumerate(texts)]
    found = support(sentence, sources)
    assert 0 <= found.score <= 1
    assert set(found.sources) <= {source.id for source in sources}
    assert found == support(sentence, sources)


MUSEUM = [
    Source(
        id=1,
        text="The lighthouse of Mean Ruz was built in 1860 of pink granite. It is 15 metres high. It is closed to "
        "the public and cannot be visited. The lamp was automated in 1974 by the engineer Jeanne Le Goff.",
    ),
    Source(
        id=2,
        text="Sourdough bread rises for twelve hours before it is baked at 230 degrees. The baker Paul Martin never "
        "adds yeast.",
    ),
    Source(
        id=3,
        text="Le préavis est de trois mois pour un logement vide. Il est réduit à un mois en zone tendue. Le locataire "
        "ne doit pas payer les frais d'agence. Le bail est signé par M. Dupont et Mme Morel.",
    ),
    Source(
        id=4,
        text="All visitors must pay 12 euros, except children under 6. The museum opens at 9 am and is closed on "
        "Mondays. Alice Brown sold the house to Robert Green.",
    ),
]


@pytest.mark.skipif(not embed.available(), reason="embeddings are not installed")
@pytest.mark.parametrize(
    "sentence",
    [
        "The lighthouse is visited.",
        "The lighthouse of Mean Ruz can be visited.",
        "The lighthouse is open to the public.",
        "Visitors can visit the lighthouse of Mean Ruz.",
        "The lighthouse was built in 1861.",
        "It is 51 metres high.",
        "It was built of black granite.",
        "The lighthouse of Mean Ruz was built of grey marble.",
        "The lamp was automated by Jean Le Goff.",
        "The lamp was automated by Paul Martin.",
        "Sourdough bread rises for two hours before it is baked.",
        "Sourdough bread rises for ten hours before it is baked.",
        "The baker Paul Martin adds yeast.",
        "Paul Martin always adds yeast.",
        "The baker Jeanne Le Goff never adds yeast.",
        "The bread is baked at 1860 degrees.",
        "Le préavis est de deux mois pour un logement vide.",
        "Le préavis est de trois ans pour un logement vide.",
        "Le locataire doit payer les frais d'agence.",
        "Le propriétaire ne doit pas payer les frais d'agence.",
        "Le bail est signé par M. Durand.",
        "Le préavis est de trois mois pour un logement meublé.",
        "Le bail n'est pas signé par M. Dupont.",
        "Children under 6 must pay 12 euros.",
        "The museum is open on Mondays.",
        "The museum opens at 9 pm.",
        "Robert Green sold the house to Alice Brown.",
        "All visitors must pay 21 euros.",
        "No visitors must pay 12 euros.",
        "The lighthouse was not built in 1860.",
        "The notice period is two months for an unfurnished flat.",
        "The tenant must pay the agency fees.",
        "Le phare de Mean Ruz a été construit en 1861.",
        "Le phare de Mean Ruz peut être visité.",
        "Le phare est ouvert au public.",
        "Sourdough bread rises for twelve minutes before it is baked.",
        "The lighthouse was destroyed in 1860.",
        "The museum is closed on Tuesdays.",
        "It is fifteen feet high.",
        "The lamp was removed in 1974.",
    ],
)
def test_what_is_altered_is_not_supported(sentence: str) -> None:
    """Negations, numbers in digits and words, names of another passage or in another order, one word of a quotation."""
    assert not support(sentence, MUSEUM).supported


@pytest.mark.skipif(not embed.available(), reason="embeddings are not installed")
@pytest.mark.parametrize(
    ("sentence", "source"),
    [
        ("The lighthouse of Mean Ruz cannot be visited.", 1),
        ("You cannot visit the lighthouse.", 1),
        ("The lighthouse is closed to the public.", 1),
        ("The lamp was automated in 1974 by Jeanne Le Goff.", 1),
        ("Sourdough bread rises for 12 hours before baking.", 2),
        ("Paul Martin does not add yeast.", 2),
        ("Le préavis est de 3 mois pour un logement vide.", 3),
        ("The notice period is three months for an unfurnished flat.", 3),
        ("Le locataire ne doit pas payer les frais d'agence.", 3),
        ("The museum is closed on Mondays.", 4),
        ("Le musée est fermé le lundi.", 4),
    ],
)
def test_what_is_said_in_other_words_is_supported(sentence: str, source: int) -> None:
    found = support(sentence, MUSEUM)
    assert found.supported and found.sources == [source], found
