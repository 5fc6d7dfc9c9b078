"""Stands in for ``fastecdsa``, which has no wheel and needs gcc and gmp.

libp2p imports it for P-256 keys and the SECIO key exchange, neither of which this node offers: its identity is Ed25519
and its only secure channel is Noise. Every attempt to use the stub fails loudly.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any, NoReturn

_MODULES = (
    "fastecdsa",
    "fastecdsa.curve",
    "fastecdsa.keys",
    "fastecdsa.point",
    "fastecdsa.encoding",
    "fastecdsa.encoding.sec1",
    "fastecdsa.encoding.util",
)


_REFUSAL = "P-256 keys are not supported here: fastecdsa is replaced by a stub"


class _AbsentModule(ModuleType):
    """A module that may be imported."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{_REFUSAL}, which has no {name}")


class _Absent(type):
    """The type of a name that may be imported and mentioned in annotations, and nothing else."""

    def __call__(cls, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError(_REFUSAL)

    def __getattr__(cls, name: str) -> NoReturn:
        raise AttributeError(f"{_REFUSAL}, which has no {name}")


class _AbsentName(metaclass=_Absent):
    pass


def install() -> None:
    """Puts the stub in ``sys.modules`` unless the real package is there. Call before libp2p is imported."""
    if "fastecdsa" in sys.modules or importlib.util.find_spec("fastecdsa") is not None:
        return
    for name in _MODULES:
        sys.modules[name] = _AbsentModule(name, __doc__)
    for name in _MODULES[1:]:
        parent, _, child = name.rpartition(".")
        setattr(sys.modules[parent], child, sys.modules[name])
    for module, name in (
        ("fastecdsa.curve", "Curve"),
        ("fastecdsa.curve", "P256"),
        ("fastecdsa.point", "Point"),
        ("fastecdsa.encoding.sec1", "SEC1Encoder"),
        ("fastecdsa.encoding.util", "int_bytelen"),
    ):
        setattr(sys.modules[module], name, _AbsentName)
