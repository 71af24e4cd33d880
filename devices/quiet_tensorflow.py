"""Imports TensorFlow without its start-up messages. Import this before anything that imports it.

TensorFlow 2.21 writes to the error stream before it reads its log level. Set
TF_CPP_MIN_LOG_LEVEL=0 in the environment to see everything.
"""

import os

if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "0":
    import tensorflow  # noqa: F401
else:
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import tensorflow  # noqa: F401
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
