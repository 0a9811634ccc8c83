"""The site's password hasher at a price that tests can pay."""

from accounts.passwords.hashers import Argon2idHasher


class CheapHasher(Argon2idHasher):
    memory_cost = 8
    time_cost = 1
    parallelism = 1
