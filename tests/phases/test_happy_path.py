"""From acceptance to an applied proposal, with Jobs and roll-outs played."""

from tests.phases.village import Village


def test_a_search_ends_in_a_proposal_with_fewer_accelerators() -> None:
    village = Village()
    village.settle()
    assert village.condition("Stalled") == ("False", "NotStalled")
    assert village.condition("Optimized") == ("True", "ProposalReady"), village.status.activity
    assert village.condition("ProposalReady")[0] == "True"
    assert village.condition("Applied") == ("False", "AwaitingApproval")
    proposal = village.status.proposal
    assert proposal is not None
    assert (proposal.candidate, proposal.gpus) == ("int8", "4 -> 2")
