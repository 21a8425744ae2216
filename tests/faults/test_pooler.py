"""The short form of `pooler.py`: under load through PgBouncer, all requests succeed."""

import pytest

from faults.pooler import run


@pytest.mark.parametrize("way", ["transaction", "session"])
def test_load_through_a_pooler(postgres_server: str, way: str) -> None:
    """No answer is an error, and nothing is left on the sessions that others get."""
    outcome = run(postgres_server, way, 200)
    assert outcome.statuses == {200: 100, 201: 100}
    assert outcome.statement_timeout == "0"
