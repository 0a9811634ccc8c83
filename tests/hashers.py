"""The site's password hasher with cheap parameters, to keep the tests fast."""

from accounts.passwords.hashers import Argon2idHasher


class CheapHasher(Argon2idHasher):
    memory_cost = 8
    time_cost = 1
    parallelism = 1
