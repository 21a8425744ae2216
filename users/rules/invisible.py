"""Characters that show nothing, which people paste without knowing: found, named and trimmed."""

import unicodedata
from collections.abc import Iterable
from itertools import chain, takewhile

# Default_Ignorable_Code_Point in Unicode's DerivedCoreProperties.txt (17.0), which `unicodedata` does not have.
DEFAULT_IGNORABLE = frozenset(
    chr(code)
    for code in chain(
        (0x00AD, 0x034F, 0x061C, 0x3164, 0xFEFF, 0xFFA0),
        range(0x115F, 0x1161),
        range(0x17B4, 0x17B6),
        range(0x180B, 0x1810),
        range(0x200B, 0x2010),
        range(0x202A, 0x202F),
        range(0x2060, 0x2070),
        range(0xFE00, 0xFE10),
        range(0xFFF0, 0xFFF9),
        range(0x1BCA0, 0x1BCA4),
        range(0x1D173, 0x1D17B),
        range(0xE0000, 0xE1000),
    )
)
# Others without ink: the empty Braille pattern, marks of interlinear notes, a note without a head, blank hieroglyphs.
INVISIBLE = DEFAULT_IGNORABLE | frozenset("\u2800\ufff9\ufffa\ufffb\U0001d159\U00013441\U00013442")


def shows_nothing(text: str) -> bool:
    """Tell whether `text` has only white space and invisible characters."""
    return all(map(_is_unseen, text))


def trimmed(text: str) -> str:
    """Return `text` without the white space and the invisible characters at its ends."""
    # A regular expression would take quadratic time where many of them stand in the middle.
    text = text[_count_unseen(text) :]
    return text[: len(text) - _count_unseen(reversed(text))]


def name_of_first(text: str) -> str | None:
    """Return the code point and the name of the first invisible character in `text`, None if there is none."""
    found = next((c for c in text if c in INVISIBLE), None)
    if found is None:
        return None
    name = unicodedata.name(found, "").lower()
    return f"U+{ord(found):04X}" + (f" ({name})" if name else "")


def _is_unseen(character: str) -> bool:
    return character in INVISIBLE or character.isspace()


def _count_unseen(text: Iterable[str]) -> int:
    """Return with how many characters `text` begins that show nothing."""
    return sum(1 for _ in takewhile(_is_unseen, text))
