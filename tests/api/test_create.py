"""POST /v1/user/ creates a user, exactly as the reference page says."""

import re

from support.api import USER_FIELDS, Api


def test_answers_201_with_the_nine_members_in_order(api: Api) -> None:
    answer = api.create(email=" Jo@EXAMPLE.com ", first_name=" Jo ", last_name="")
    assert answer.status_code == 201
    assert list(answer.json) == USER_FIELDS
    user = answer.json
    assert user["email"] == "Jo@example.com"
    assert (user["first_name"], user["last_name"]) == ("Jo", None)
    assert re.fullmatch(r"usr_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", user["id"])
    assert user["is_active"] is True
    assert user["last_verified"] is None
    assert user["global_role_id"] is None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", user["created_at"])
    assert user["updated_at"] == user["created_at"]
    assert answer.headers["Location"] == f"/v1/user/{user['id']}"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.content_type == "application/json"
    assert api.get(answer.headers["Location"]).json["email"] == "Jo@example.com"
