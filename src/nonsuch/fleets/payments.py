"""Something to put into transactions, when nobody has anything to say."""

from __future__ import annotations

import random
from typing import NamedTuple

__all__ = ["Payment", "payment"]

PEOPLE = ("Alice", "Bobby", "Carol", "David", "Erika", "Frank", "Grace", "Heidi", "Ivana", "Jakub")
AMOUNT_MAX = 99


class Payment(NamedTuple):
    """Somebody pays somebody. `sender` is four letters and four digits, as peers want it."""

    sender: str
    text: str


def payment(lots: random.Random) -> Payment:
    """One by lot."""
    payer, payee = lots.sample(PEOPLE, 2)
    sender = f"{payer[:4].lower()}{lots.randrange(10**4):04}"
    return Payment(sender, f"{payer} pays {payee} {lots.randint(1, AMOUNT_MAX)}")
