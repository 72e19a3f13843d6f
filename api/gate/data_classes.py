"""The classes of data, from the most open to the most guarded, and what may be done with each.

`personal` is the word of published contracts for what is also called `pii`; vocabulary.DataClass takes both for one.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClassOfData:
    """to_models: whether a model may be given it; `declared`: if the workflow holds the class; `zero_retention`: only
    where the model's provider keeps nothing besides. logged: whether it may stand in a log, an error or a report of a
    crash. All are kept for as long as the workflow says (`retention`, or else `retention_days`).
    """

    name: str
    meaning: str
    to_models: str
    logged: bool


CLASSES: tuple[ClassOfData, ...] = (
    ClassOfData("public", "Published, or meant to be.", "always", True),
    ClassOfData("internal", "Of our own business; harmless outside.", "always", True),
    ClassOfData("confidential", "Of our own or a partner's business; harmful outside.", "declared", False),
    ClassOfData("personal", "About an identified or identifiable person (GDPR article 4); pii.", "declared", False),
    ClassOfData("financial", "Accounts, cards, balances, amounts owed.", "declared", False),
    ClassOfData("secret", "Credentials and keys.", "never", False),
    ClassOfData("regulated", "Under a law of its own: national ids, health.", "zero_retention", False),
)
NAMES = frozenset(one.name for one in CLASSES)
