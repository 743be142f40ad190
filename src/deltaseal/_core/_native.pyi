"""What the compiled extension offers; cffi makes no stubs, a test holds this against it."""

from typing import Any

ffi: Any
lib: Any
