"""Wallets for programs that speak to a node from outside: the keystore of this user, on this machine.

What is unlocked here signs here; no key travels to the node.
"""

from __future__ import annotations

from node.key_files import KeyFileDamaged, KeyFileError
from node.keystore import Keystore, NotEnoughMemory, UnknownWallet, Wallet, WalletList, WrongPassword, wallet_directory

__all__ = [
    "KeyFileDamaged",
    "KeyFileError",
    "Keystore",
    "NotEnoughMemory",
    "UnknownWallet",
    "Wallet",
    "WalletList",
    "WrongPassword",
    "wallet_directory",
]
