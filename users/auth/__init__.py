"""Who may act: sign-in, sessions, throttles, known devices and networks, and the actor judged once more."""
