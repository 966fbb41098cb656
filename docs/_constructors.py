"""Shows the parameters of classes whose stub has a `__new__`, as every class of the compiled module has."""

from __future__ import annotations

from typing import Any

import griffe


class Constructors(griffe.Extension):
    """Gives such a class an `__init__` of the same parameters, which is where mkdocstrings looks for them."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """See `griffe.Extension.on_class`."""
        if "__new__" in cls.members and "__init__" not in cls.members:
            new = cls.members["__new__"]
            assert isinstance(new, griffe.Function)
            first, *others = new.parameters
            parameters = griffe.Parameters(griffe.Parameter("self", kind=first.kind), *others)
            cls.set_member("__init__", griffe.Function("__init__", parameters=parameters))
