"""What one does with files, whatever kind they are.

``deltas`` makes, applies and proves deltas of images and trees, ``kinds`` tells
what a file is by how it begins, ``inspection`` says what is in it, ``proof``
verifies it.  Each loads only the rooms that the file in hand needs: applying a
delta loads no cryptography.
"""

__all__ = ["deltas", "inspection", "kinds", "proof"]
