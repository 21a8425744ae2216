"""Second factors: apps that show codes, passkeys and recovery codes. Sign-in and step-up are in `auth/second_step`."""
