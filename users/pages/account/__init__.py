"""The pages about oneself: sign-in and its second step, the account, second factors, and the proof that it is you."""
