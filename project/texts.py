"""Texts that users and files give."""

import os


def is_utf8(text: str | os.PathLike) -> bool:
    """Returns whether a text or path is UTF-8, as nearly all libraries expect.

    Python turns other bytes of names and arguments into lone surrogates.
    """
    return not any("\ud800" <= letter <= "\udfff" for letter in str(text))
