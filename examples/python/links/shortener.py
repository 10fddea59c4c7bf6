"""Short names for long addresses."""

import hashlib
import string

ALPHABET = string.digits + string.ascii_letters


class Shortener:
    """Remembers addresses in memory. The same address always gets the same name."""

    def __init__(self):
        self._addresses = {}

    def shorten(self, address):
        """Names `address` (http or https) and returns the name."""
        if not address.startswith(("http://", "https://")):
            raise ValueError(f"not a web address: {address!r}")
        number = int.from_bytes(hashlib.sha256(address.encode()).digest()[:6], "big")
        name = ""
        while number:
            number, digit = divmod(number, len(ALPHABET))
            name += ALPHABET[digit]
        self._addresses[name] = address
        return name

    def address(self, name):
        """What `name` stands for, or None."""
        return self._addresses.get(name)
