"""The door for people in a browser: HTML pages and forms. `rules` has the rules for the fields, `services` the SQL."""

from urllib.parse import urlsplit

from flask import Flask, g

from users import __version__, clock, settings
from users.auth.factors import recovery_codes
from users.http import csrf, headers, session_cookie, urls
from users.logs import commands
from users.pages import (  # noqa: F401  (their routes are registered by the import)
    audit,
    docs,
    forms,
    setup,
    user_actions,
    user_factors,
    user_passwords,
    users,
)
from users.pages.account import account, confirm, factors, login, new_factors, passkeys, sessions  # noqa: F401
from users.pages.bulk_acts import choosing  # noqa: F401
from users.pages.bulk_acts import show as show_act_pages  # noqa: F401
from users.pages.imports import acts, listing, show, undo, upload  # noqa: F401
from users.pages.keys import actions, keys  # noqa: F401
from users.pages.links import password, verify  # noqa: F401
from users.pages.lists import exports, user_list, way_back  # noqa: F401
from users.pages.overview import overview  # noqa: F401
from users.roles import Permission
from users.services import first_steps, second_factors
from users.services.links import password_links


def init_app(app: Flask) -> None:
    """Give `app` the pages, the session of their forms, and the functions that templates call."""
    docs.init_app(app)
    app.config.update(
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_PATH="/",
        SESSION_COOKIE_SAMESITE="Lax",
        WTF_CSRF_TIME_LIMIT=None,  # the token ends with the session, not before
    )
    app.session_interface = session_cookie.FormSessionInterface()
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(
        date=clock.date,
        host=lambda url: urlsplit(url).hostname,
        moment=clock.date_and_time,
        rfc3339=clock.rfc3339,
        runnable=commands.runnable_line,
        time_until=clock.time_until,
    )
    app.jinja_env.globals.update(
        asset=headers.asset,
        csrf_token=csrf.token,
        done_url=lambda: settings.current().password_done_url,
        factor_words=second_factors.NAMES,
        few_codes=recovery_codes.FEW,
        first_steps=first_steps.unfinished,
        instance_name=lambda: settings.current().instance_name,
        link_end=password_links.open_until,
        list_path=way_back.path,
        may=lambda permission: "actor" in g and Permission(permission) in g.actor.permissions,
        placeholder_url=urls.PLACEHOLDER_URL,
        role_words={role.value: words[0] for role, words in forms.ROLE_WORDS.items()},
        version=__version__,
    )
