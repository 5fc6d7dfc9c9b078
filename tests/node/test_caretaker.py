"""What a node does for its member without being asked."""

from __future__ import annotations

from consensus.engine import Evidence
from ledger.records import CandidateStatus
from ledger.statements import SignedStatement, Statement, StatementKind
from ledger.transactions import RegisterMember, Rejoin, ReportEquivocation
from node.caretaker import MAX_REPORTS, RETRY_BLOCKS, Caretaker
from tests.support.chain import Chain, key_for


def caretaker_of(chain: Chain, name: str) -> Caretaker:
    return Caretaker(chain.home(name).node, chain.chain_id)


def evidence_against(chain: Chain, name: str, height: int = 1) -> Evidence:
    """Two notarize votes of one view for different blocks."""
    key = chain.home(name).node
    statements = [Statement(StatementKind.NOTARIZE, height, 0, bytes([number] * 32)) for number in (1, 2)]
    first, second = (SignedStatement(one, key.sign(one.domain(), chain.chain_id, one.message())) for one in statements)
    return Evidence(key.public_key, first, second)


def suspended_chain() -> tuple[Chain, str]:
    """A chain on which someone missed two turns in a row, and who."""
    chain = Chain()
    while True:
        leader = chain.leader().name
        chain.produce(view=1)
        if chain.candidate(leader).status == CandidateStatus.SUSPENDED:
            return chain, leader


def test_who_is_well_does_nothing() -> None:
    chain = Chain()
    chain.produce()
    assert caretaker_of(chain, "anne").due(chain.state, chain.height, 0, level=True) == []


def test_the_suspended_rejoins_once_it_is_level() -> None:
    chain, name = suspended_chain()
    caretaker = caretaker_of(chain, name)
    # Given it is behind, or has something waiting already
    assert caretaker.due(chain.state, chain.height, 0, level=False) == []
    assert caretaker.due(chain.state, chain.height, 1, level=True) == []
    # When it is level, it rejoins
    (rejoin,) = caretaker.due(chain.state, chain.height, 0, level=True)
    assert rejoin.payload == Rejoin()
    # And not again while that may still take effect
    assert caretaker.due(chain.state, chain.height + RETRY_BLOCKS - 1, 0, level=True) == []
    assert len(caretaker.due(chain.state, chain.height + RETRY_BLOCKS, 0, level=True)) == 1
    # Then the chain takes it, and it is drawn again
    chain.produce([rejoin])
    assert chain.candidate(name).status == CandidateStatus.ACTIVE
    assert caretaker.due(chain.state, chain.height + 2 * RETRY_BLOCKS, 0, level=True) == []


def test_an_equivocation_is_reported_until_it_took_effect() -> None:
    chain = Chain()
    chain.produce()
    caretaker = caretaker_of(chain, "anne")
    caretaker.remember(evidence_against(chain, "bob"))
    caretaker.remember(evidence_against(chain, "bob"))
    (report,) = caretaker.due(chain.state, chain.height, 0, level=False)
    assert isinstance(report.payload, ReportEquivocation)
    # When it is in a block, bob is expelled
    chain.produce([report])
    assert chain.candidate("bob").status == CandidateStatus.EXPELLED
    # Then nobody reports it again
    assert caretaker.due(chain.state, chain.height + RETRY_BLOCKS, 0, level=True) == []


def test_several_things_to_do_have_nonces_in_a_row() -> None:
    chain, name = suspended_chain()
    caretaker = caretaker_of(chain, name)
    others = [other for other in chain.homes if other != name]
    caretaker.remember(evidence_against(chain, others[0]))
    caretaker.remember(evidence_against(chain, others[1]))
    due = caretaker.due(chain.state, chain.height, 0, level=True)
    assert [transaction.nonce for transaction in due] == [due[0].nonce + index for index in range(3)]


def test_what_would_be_refused_now_leaves_no_hole_before_the_rest() -> None:
    # Given evidence of a height that is still to come, which the ledger does not take yet, and other evidence
    chain = Chain()
    chain.produce()
    caretaker = caretaker_of(chain, "anne")
    caretaker.remember(evidence_against(chain, "bob", height=5))
    caretaker.remember(evidence_against(chain, "carla"))
    # Then only the other is reported, by the next nonce, and so it can be in the next block
    (report,) = caretaker.due(chain.state, chain.height, 0, level=True)
    chain.produce([report])
    assert chain.candidate("carla").status == CandidateStatus.EXPELLED
    # And the first when its time has come
    while chain.height < 5:
        chain.produce()
    (later,) = caretaker.due(chain.state, chain.height + RETRY_BLOCKS, 0, level=True)
    chain.produce([later])
    assert chain.candidate("bob").status == CandidateStatus.EXPELLED


def test_what_was_before_an_offender_was_registered_anew_is_reported_no_more_but_what_came_after_is() -> None:
    # Given that bob was expelled and registered anew, while carla, who had evidence too, was away
    chain = Chain()
    chain.produce()
    caretaker = caretaker_of(chain, "carla")
    caretaker.remember(evidence_against(chain, "bob"))
    anne = caretaker_of(chain, "anne")
    anne.remember(evidence_against(chain, "bob"))
    chain.produce(anne.due(chain.state, chain.height, 0, level=True))
    bob = chain.home("bob")
    chain.produce([chain.sign("anne", RegisterMember(account=bob.id, name="bob", roles=0, feeder="oak street"))])
    # Then her old evidence is worth nothing
    assert caretaker.due(chain.state, chain.height, 0, level=True) == []
    # When bob does it again, the new evidence is reported
    chain.produce()
    caretaker.remember(evidence_against(chain, "bob", height=chain.height))
    chain.produce(caretaker.due(chain.state, chain.height, 0, level=True))
    assert chain.candidate("bob").status == CandidateStatus.EXPELLED


def test_a_node_that_is_nobodys_does_nothing() -> None:
    chain = Chain()
    chain.produce()
    caretaker = Caretaker(key_for("node", "a stranger"), chain.chain_id)
    caretaker.remember(evidence_against(chain, "bob"))
    assert caretaker.due(chain.state, chain.height, 0, level=True) == []


def test_evidence_against_nobodys_key_is_forgotten_and_the_rest_is_bounded() -> None:
    chain = Chain()
    for number in range(MAX_REPORTS + 5):
        chain.add_home(f"stranger {number}")
    chain.produce()
    caretaker = caretaker_of(chain, "anne")
    for number in range(MAX_REPORTS + 5):
        caretaker.remember(evidence_against(chain, f"stranger {number}"))
    assert len(caretaker._reports) == MAX_REPORTS
    assert caretaker.due(chain.state, chain.height, 0, level=True) == []
    assert caretaker._reports == {}
