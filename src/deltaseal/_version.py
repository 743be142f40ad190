"""The version of the program; a test holds it against the package's metadata.

A constant, since asking the metadata costs more time than all the rest of ``deltaseal --version``.
"""

__version__ = "0.1.0"
