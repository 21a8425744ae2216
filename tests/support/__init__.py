"""What the tests share. Importing it takes Enrol's settings out of the environment: each test says what is set."""

import os

for _name in [name for name in os.environ if name.startswith("ENROL_") or name in ("DATABASE_URL", "SECRET_KEY")]:
    del os.environ[_name]
