"""How passwords are hashed."""

from django.contrib.auth.hashers import Argon2PasswordHasher


class Argon2idHasher(Argon2PasswordHasher):
    """Argon2id with 64 MiB, three passes, four lanes (RFC 9106, second recommended option)."""

    memory_cost = 64 * 1024
    time_cost = 3
    parallelism = 4
