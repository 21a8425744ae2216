"""The page of one import, for its whole life: reading, columns, preview, importing, and how it ended."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flask import g, render_template, request

from users import clock
from users.actors import ActorKind
from users.blueprint import bp
from users.bulk.imports import jobs, previews
from users.bulk.imports.cleaning import REJECTS_STAY
from users.bulk.imports.errors import ImportElsewhere
from users.bulk.options import Options
from users.pages.forms import NO_DATA, FormData
from users.pages.guards import PageResponse, page
from users.pages.imports import columns, progress
from users.roles import Permission
from users.services import api_keys, user_queries
from users.storage.models import Import

_SLOW = 10  # seconds of hashing that are worth a word


@bp.get("/admin/imports/<import_id>")
@page(Permission.USERS_IMPORT)
def show_import(import_id: str, formdata: FormData | None = None) -> PageResponse:
    """Show the import as it is now. While it moves, the page looks again by itself."""
    job = jobs.find(import_id, g.actor)
    about = {"job": job, "state": job.state, "progress": progress}
    if job.state in jobs.MOVING:
        return render_template("imports/moving.html", now=clock.now(), **about)
    return _PAGES.get(job.state, _ended)(job, about, formdata or NO_DATA)


def _columns(job: Import, about: Mapping[str, Any], formdata: FormData) -> str:
    sampled, options = previews.sample(job), Options.from_json(job.options)
    if sampled is None:
        raise ImportElsewhere
    found = columns.shown(*sampled, options, formdata)
    return render_template("imports/columns.html", columns=found, choices=columns.choices(options), **about)


def _checked(job: Import, about: Mapping[str, Any], formdata: FormData) -> str:
    kept = previews.preview(job)
    skips = "skip_existing" in formdata if formdata else Options.from_json(job.options).skip_existing
    return render_template(
        "imports/checked.html",
        preview=kept,
        remarks=_remarks(job, kept),
        rejected=_refused(job),
        skips=skips,
        **about,
    )


def _ended(job: Import, about: Mapping[str, Any], formdata: FormData) -> str:
    rejected = _refused(job)
    stays = job.ended_at + REJECTS_STAY if job.ended_at else None
    return render_template(
        "imports/ended.html",
        by=people([job])[job.id],
        rejected=rejected,
        rejects_until=stays,
        **about,
    )


_PAGES: Mapping[str, Callable[[Import, Mapping[str, Any], FormData], str]] = {"columns": _columns, "checked": _checked}


def _refused(job: Import) -> previews.RefusedRows | None:
    """Return the page of refused rows that the URL asks for. A command keeps them where it was told to."""
    if not job.rejected or job.actor_kind == ActorKind.TERMINAL:
        return None
    text = request.args.get("page", "1")
    return previews.refused_rows(job, int(text) if text.isascii() and text.isdigit() and len(text) < 5 else 1)


def people(found: Sequence[Import]) -> dict[str, str]:
    """Return who asked for each import: an email, or the name of a key."""
    emails = user_queries.emails_of(job.actor_user_id for job in found)
    keys = api_keys.labels_of(job.actor_key_id for job in found)
    return {job.id: _asked_by(job, emails, keys) for job in found}


def _asked_by(job: Import, emails: Mapping[str, str], keys: Mapping[str, tuple[str, str]]) -> str:
    if job.actor_kind == ActorKind.TERMINAL:
        return "the command line"
    if job.actor_key_id:
        return f"the API key {keys[job.actor_key_id][0]}" if job.actor_key_id in keys else "an erased API key"
    return emails.get(job.actor_user_id or "", "an erased user")


def _remarks(job: Import, kept: Mapping[str, Any]) -> list[str]:
    """Return what is remarkable about the import, in sentences."""
    found = list(kept.get("notices", []))
    administrators = kept.get("administrators", 0)
    if administrators:
        what = "an administrator" if administrators == 1 else "administrators"
        found.append(f"{progress.users(administrators)} will be {what}, who may do everything")
    if without := kept.get("without_password", 0):
        found.append(f"{progress.users(without)} will have no password: hand them a password link each")
    if hashed := sum(job.makes.values()):
        found.append(f"{_bring(hashed)} a password hash of another system: {_makes(job.makes)}")
    if job.passwords:
        wait = kept.get("hashing_seconds")
        takes = f", which takes {progress.duration(wait)}" if wait and wait > _SLOW else ""
        found.append(f"{_bring(job.passwords)} a password that is hashed first{takes}")
    return found


def _bring(number: int) -> str:
    return f"{progress.users(number)} {'brings' if number == 1 else 'bring'}"


def _makes(makes: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {make}" for make, number in sorted(makes.items(), key=lambda one: -one[1]))
