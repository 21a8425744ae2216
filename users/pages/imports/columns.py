"""The question what the columns of a file mean: what is shown of them, and the answer."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from users.bulk.files import header as headers
from users.bulk.options import Options
from users.bulk.rows import COLUMNS
from users.form_errors import FormRefused
from users.pages.forms import FormData

LEFT_OUT = ""
CHOICES: Mapping[str, str] = {
    LEFT_OUT: "Do not import",
    "email": "Email",
    "first_name": "First name",
    "last_name": "Last name",
    "password": "Password",
    "password_hash": "Password hash",
    "global_role_id": "Role",
    "is_active": "Active or not",
    "last_verified": "Email verified at",
    "created_at": "Created at",
    "id": "ID",
}
# What headers of spreadsheets mean in some other languages. It is only proposed: people see it and choose.
_LIKELY: Mapping[str, str] = {
    **dict.fromkeys(("correo", "correo_electronico", "courriel", "mail_adresse"), "email"),
    **dict.fromkeys(("vorname", "prenom", "prénom", "nombre", "nome", "voornaam", "imie", "imię"), "first_name"),
    **dict.fromkeys(("nachname", "familienname", "nom", "apellido", "apellidos", "cognome", "achternaam"), "last_name"),
    **dict.fromkeys(("passwort", "kennwort", "mot_de_passe", "contraseña", "senha", "wachtwoord"), "password"),
    **dict.fromkeys(("rolle", "rol", "ruolo"), "global_role_id"),
}
_DOTS = "••••••••"
_LONGEST = 60  # characters of a value
_SECRETS = ("password", "password_hash")
# Headers of secrets in the languages of many files, and values that look like a hash.
_SECRET_NAME = re.compile(
    r"pass|pwd|hash|secret|salt|token|kennwort|contras|mot.?de|wachtwoord|senha|has[lł]o|парол|密码", re.I
)
_SECRET_VALUE = re.compile(r"\$|\{\w+\}|pbkdf2|scrypt|[0-9a-fA-F]{32,}$|[A-Za-z0-9+/]{40,}=*$")


@dataclass(frozen=True)
class Column:
    """A column of the file as the page shows it. `name` is that of its field."""

    name: str
    header: str
    values: list[str]
    means: str


def choices(options: Options) -> dict[str, str]:
    """Return what a column may mean."""
    return {value: words for value, words in CHOICES.items() if value != "id" or options.keep_ids}


def shown(header: Sequence[str], rows: Sequence[Sequence[str]], options: Options, chosen: FormData) -> list[Column]:
    """Return the columns with their first values, secrets as dots, and what each may mean or was said to mean."""
    found, taken = [], set[str]()
    for number, name in _named(header):
        field = f"column-{number}"
        means = chosen.get(field, _meant(name, options, taken))
        taken.add(means)
        values = [value for row in rows if (value := row[number].strip())]
        is_secret = means in _SECRETS or bool(_SECRET_NAME.search(name)) or any(map(_SECRET_VALUE.match, values))
        found.append(Column(field, name, [_DOTS if is_secret else value[:_LONGEST] for value in values], means))
    return found


def answer(header: Sequence[str], options: Options, chosen: FormData) -> tuple[dict[str, str], list[str]]:
    """Return the columns that were said to mean one of ours, and those to leave out.

    Raises FormRefused if two mean the same, or none is the email.
    """
    means = {name: chosen.get(f"column-{number}", LEFT_OUT) for number, name in _named(header)}
    mapped = {name: ours for name, ours in means.items() if ours in choices(options) and ours != LEFT_OUT}
    first, problems = dict[str, str](), dict[str, str]()
    for number, name in _named(header):
        ours = mapped.get(name)
        if ours and ours in first:
            problems[f"column-{number}"] = (
                f"Choose another meaning: “{first[ours]}” is the {CHOICES[ours].lower()} already"
            )
        elif ours:
            first[ours] = name
    if "email" not in first:
        problems["columns"] = "Choose the column that holds the email addresses"
    if problems:
        raise FormRefused(problems)
    return mapped, [name for name in means if name not in mapped]


def _named(header: Sequence[str]) -> list[tuple[int, str]]:
    """Return the columns that have a name, each name once: the reader cannot tell two of one name apart."""
    first: dict[str, tuple[int, str]] = {}
    for number, name in enumerate(header):
        if name.strip():
            first.setdefault(headers.simplified(name), (number, name.strip()))
    return list(first.values())


def _meant(name: str, options: Options, taken: set[str]) -> str:
    """Return what a column means or, by its name, most likely means."""
    known = headers.known_names(options)
    simple = headers.simplified(name)
    if simple in known or simple in _LIKELY:
        ours = known.get(simple) or _LIKELY.get(simple, LEFT_OUT)
    else:
        near = difflib.get_close_matches(simple, [one for one in known if known[one]], n=1, cutoff=0.7)
        ours = known[near[0]] or LEFT_OUT if near else LEFT_OUT
    return LEFT_OUT if ours in taken else ours


assert set(CHOICES) == {LEFT_OUT, *COLUMNS}  # noqa: S101  (both name all columns)
