"""From acceptance to an applied proposal, with Jobs and roll-outs played."""

import datetime

from tests.phases.village import Village


def test_a_proposal_says_what_it_waits_for_in_the_status_that_shows_it_first() -> None:
    village = Village()
    while village.status.proposal is None:
        village.tick()
        village.play_jobs()
        village.now += datetime.timedelta(seconds=1)
    assert village.condition("ProposalReady") == ("True", "ProposalReady")
    assert village.condition("Applied") == ("False", "AwaitingApproval")
    assert "4 -> 2 accelerators" in village.status.activity


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
