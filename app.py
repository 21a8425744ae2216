"""The application: `flask run` finds `create_app`, production servers load `serve`."""

import gc
import logging
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

import users
from users import logs, settings
from users.api import request_body
from users.bulk import runner
from users.cli import first_run
from users.logs import server as server_log
from users.passwords.hash_queue import HashQueue
from users.passwords.hashing import Hasher
from users.rules import hosts
from users.storage import database, upgrade

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class _Proxied(ProxyFix):
    """Reads the headers of trusted proxies, and makes Host lower case: it is case-insensitive (RFC 9110, 4.2.3).

    A Host that is none counts as empty.
    """

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Serve one request."""
        if "HTTP_HOST" in environ:
            host = environ["HTTP_HOST"].lower()
            environ["HTTP_HOST"] = host if hosts.is_readable(host) else ""
        return super().__call__(environ, start_response)


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Return the application, set up from the environment and `config`, which has precedence.

    `config` may hold Enrol's settings, as text like in the environment, and Flask's own configuration. A setting that
    cannot be read ends the process with one sentence and exit code 1.
    """
    app = Flask(__name__)
    app.config.update(config or {})
    try:
        loaded = settings.load({**os.environ, **(config or {})}, Path(app.instance_path))
    except settings.BadSetting as error:
        sys.exit(f"Enrol cannot start: {error}")
    app.config.update(
        MAX_CONTENT_LENGTH=request_body.MAX_BYTES,
        PROVIDE_AUTOMATIC_OPTIONS=False,
        SECRET_KEY=loaded.secret_key,
        SECRET_KEY_FALLBACKS=list(loaded.secret_key_fallbacks),
    )
    app.json.compact = True  # type: ignore[attr-defined]
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the contract orders the members of a user
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    # Each path works with and without its final slash, and without a redirect: that would lose the body of a POST, and
    # would go to http:// behind a proxy.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    # The host is always the Host header, so proxies need no X-Forwarded-Host: one trusted header fewer.
    app.wsgi_app = _Proxied(  # type: ignore[method-assign]
        app.wsgi_app, x_for=loaded.trusted_proxies, x_proto=loaded.trusted_proxies, x_host=0, x_port=0, x_prefix=0
    )
    app.extensions["enrol.settings"] = loaded
    app.extensions["enrol.hasher"] = Hasher(loaded.password_hash, HashQueue(loaded.hash_slots, loaded.hash_queue))
    logs.configure(loaded.log_format)
    for sentence in loaded.ignored_variables:
        logs.say(f"Warning: {sentence}", level=logging.WARNING)
    database.init_app(app, loaded.database_url, connections=loaded.database_pool)
    users.init_app(app)
    if first_run.is_flask_run():
        _prepare_to_serve(app, loaded)
    return app


def serve() -> Flask:
    """Return the application for a production server. A SQLite database is created or upgraded first."""
    with server_log.json_lines():
        app = create_app()
        _prepare_to_serve(app, app.extensions["enrol.settings"])
        return app


def _prepare_to_serve(app: Flask, loaded: settings.Settings) -> None:
    """Prepare the database and the log, and print what a new installation still needs."""
    if loaded.password_hash.below_floor():
        logs.event("weak_password_hash", level=logging.WARNING)
    if upgrade.prepare(app):
        first_run.print_first_steps(app)
    logs.start_log_thread()
    runner.begin_to_serve(app)
    # What is there now stays. Each full collection of garbage would walk through it, and hold a request for 100 ms.
    gc.freeze()
