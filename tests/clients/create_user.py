"""Creates and invites users with the Python client made from openapi.json, and reads the errors of three mistakes."""

import os

from enrol_client import AuthenticatedClient
from enrol_client.api.signing_in import get_password_link
from enrol_client.api.users import create_user, invite_user
from enrol_client.models import (
    ApiKeyExpired,
    CreateUserResponse401,
    CreateUserResponse409,
    CreateUserResponse422,
    Invitation,
    NewInvitation,
    NewUser,
    PasswordState,
    User,
    ValidationFailed,
)

URL = os.environ["ENROL_URL"]
new = NewUser(email="ada@example.com", password="three random words", first_name="Ada")

with AuthenticatedClient(base_url=URL, token=os.environ["API_KEY"]) as client:
    user = create_user.sync(client=client, body=new)
    assert isinstance(user, User)
    print(user.email, user.first_name, user.last_name, user.created_at.tzinfo)

    taken = create_user.sync(client=client, body=new)
    assert isinstance(taken, CreateUserResponse409)
    print(taken.error.code, taken.error.details.field, taken.error.details.user_id == user.id)

    wrong = create_user.sync(client=client, body=NewUser(email="ada", password="short"))
    assert isinstance(wrong, CreateUserResponse422)
    assert isinstance(wrong.error, ValidationFailed)
    print(wrong.error.code, [f"{one.field}: {one.code}" for one in wrong.error.details.errors])

    invited = invite_user.sync(client=client, body=NewInvitation(email="bob@example.com", expires_in=3600))
    assert isinstance(invited, Invitation)
    assert invited.password_url is not None
    assert invited.expires_at is not None
    print(invited.user.email, invited.password_url.startswith(f"{URL}/password?token="))

    state = get_password_link.sync(client=client, user_id=invited.user.id)
    assert isinstance(state, PasswordState)
    print(state.has_password, state.expires_at == invited.expires_at)

with AuthenticatedClient(base_url=URL, token="ak_wrong") as client:
    refused = create_user.sync(client=client, body=new)
    assert isinstance(refused, CreateUserResponse401)
    assert not isinstance(refused.error, ApiKeyExpired)
    print(refused.error.code, refused.error.status, refused.error.trace_id.startswith("req_"))
