"""What can go wrong between a program and its node. Every text is a sentence for a person."""

from __future__ import annotations

from ledger.refusal import Refusal
from node.client.models import Problem


class ClientError(Exception):
    """Base of what ``NodeClient`` raises."""


class NodeAway(ClientError):
    """No connection, or it broke; trying again may help."""


class UnexpectedAnswer(ClientError):
    """What answers is no node of ours, or of another version; trying again does not help."""


class NotFinal(ClientError):
    """A transaction was not final in time. It may still become so until its ``valid_until_height``."""


class ApiProblem(ClientError):
    """The node refused or failed; ``problem`` is its answer. ``refusal`` is set if a transaction was refused."""

    def __init__(self, problem: Problem) -> None:
        word = problem.refusal if problem.refusal is not None else problem.title
        super().__init__(f"{word}: {problem.detail}")
        self.problem = problem

    @property
    def status(self) -> int:
        return self.problem.status

    @property
    def detail(self) -> str:
        return self.problem.detail

    @property
    def retry_may_help(self) -> bool:
        return self.problem.retry_may_help

    @property
    def refusal(self) -> Refusal | None:
        """None also for a word this program does not know yet; ``problem.refusal`` has it."""
        try:
            return None if self.problem.refusal is None else Refusal(self.problem.refusal)
        except ValueError:
            return None
