"""Names of the chains of a complex."""

import string
from typing import Final

ONE_LETTER: Final = string.ascii_uppercase + string.ascii_lowercase + string.digits


def chain_name(number: int) -> str:
    """The name of chain `number`, from 0: A to Z, a to z, 0 to 9, then AA, AB, ..., which only mmCIF has room for."""
    name = ""
    while number >= 0:
        number, last = divmod(number, len(ONE_LETTER))
        name, number = ONE_LETTER[last] + name, number - 1
    return name
