"""Who may act: sign-in, sessions, limits on password attempts, and whether an actor still may act. No HTTP."""
