"""What may be said of an import, at every door alike."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Options:
    """What may be said of an import. The same file with other options is another import."""

    skip_existing: bool = False  # a user who is there already is no error
    no_password: bool = False  # rows may have neither a password nor a hash; a weak hash is dropped
    keep_ids: bool = False
    encoding: str | None = None  # where it is neither UTF-8 nor UTF-16 with a byte order mark
    mapped: Mapping[str, str] = field(default_factory=dict)  # a header of the file to one of our columns
    ignored: tuple[str, ...] = ()  # headers of the file

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {**asdict(self), "ignored": list(self.ignored)}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Options":
        """Return the options that `as_json` wrote."""
        return cls(**{**kept, "ignored": tuple(kept["ignored"])})
