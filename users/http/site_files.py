"""What browsers and search engines ask every site for: an icon, and which pages to keep out of search results."""

from flask import Response, current_app, g

from users.blueprint import bp, same_for_all
from users.http import headers


@bp.get("/favicon.ico")
@same_for_all
def show_icon() -> Response:
    """Answer with the icon, for pages that name none, such as JSON."""
    g.caching = headers.REVALIDATED
    return current_app.send_static_file("icon.svg")


@bp.get("/robots.txt")
@same_for_all
def show_robots() -> Response:
    """Keep search engines out (RFC 9309): what is here is for the people who have its address."""
    g.caching = headers.REVALIDATED
    return Response("User-agent: *\nDisallow: /\n", mimetype="text/plain")
