"""The pages that show API keys: the list, and one key with its history."""

from collections.abc import Sequence
from contextlib import suppress

from flask import g, get_flashed_messages, render_template, request

from users import clock, ids
from users.audit import trail
from users.auth.key_states import KeyState
from users.blueprint import bp
from users.errors import KeyNotFound
from users.pages import audit_sentences, forms
from users.pages.guards import PageResponse, page
from users.roles import Permission
from users.services import api_keys, key_queries, user_queries
from users.storage.models import ApiKey


@bp.get("/admin/keys")
@page(Permission.KEYS_MANAGE)
def show_keys() -> PageResponse:
    """List the API keys that have not ended, or with `?state=ended` the others, newest first."""
    given = request.args.get("state", "")
    shown = given if given in key_queries.SHOWN else key_queries.CURRENT
    here, counts = key_queries.find(shown, before=_id_in("before"), after=_id_in("after"))
    return render_template(
        "keys/list.html",
        page=here,
        counts=counts,
        shown=shown,
        asked={} if shown == key_queries.CURRENT else {"state": shown},
        most_read=key_queries.READ,
        revoked=_just_revoked(),
        **_about(here.rows),
    )


@bp.get("/admin/keys/<key_id>")
@page(Permission.KEYS_MANAGE)
def show_key(key_id: str) -> PageResponse:
    """Show one key, what can be done with it and, to those who may read the audit trail, its recent events."""
    key = known_key(key_id)
    return render_template(
        "keys/key.html",
        key=key,
        has_expired=key.expires_at is not None and key.expires_at <= clock.now(),
        scope_words=forms.SCOPE_WORDS,
        events=_events(key),
        **_about([key]),
    )


def known_key(key_id: str) -> ApiKey:
    """Return the key with this id, from a URL, or raise KeyNotFound."""
    if not ids.is_key_id(key_id):
        raise KeyNotFound
    return api_keys.get_key(key_id)


def can_roll(key: ApiKey, state: KeyState) -> bool:
    """Tell whether the key works and its scopes are among the administrator's permissions."""
    return state == KeyState.ACTIVE and set(key.scopes) <= g.actor.permissions


def _about(keys: Sequence[ApiKey]) -> dict[str, object]:
    """Return what the list and the page of one key show beside the keys themselves."""
    states = api_keys.states_of(keys)
    owners = user_queries.emails_of(key.owner_id for key in keys)
    return {
        "owners": owners,
        "inactive_owners": user_queries.inactive_among(owners),
        "states": states,
        "can_roll": {key.id for key in keys if can_roll(key, states[key.id])},
        "rolls": key_queries.rolls_of(keys),
    }


def _id_in(parameter: str) -> str | None:
    given = request.args.get(parameter, "")
    return given if ids.is_key_id(given) else None


def _just_revoked() -> ApiKey | None:
    """Return the key that this browser has just revoked."""
    for key_id in map(str, reversed(get_flashed_messages(category_filter=["revoked"]))):
        with suppress(KeyNotFound):  # erased with its owner since
            return api_keys.get_key(key_id)
    return None


def _events(key: ApiKey) -> list[audit_sentences.DescribedEvent]:
    """Return the key's recent events as sentences, if the administrator may read them."""
    if Permission.AUDIT_READ not in g.actor.permissions:
        return []
    return audit_sentences.describe(trail.recent(key.id), about=key.id)
