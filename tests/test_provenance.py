import re

from dgmpipe.provenance import git_state, machine


def test_a_machine_is_its_processor_cores_and_memory() -> None:
    assert re.fullmatch(r"\S.*, \d+ cores, \d+ GiB", machine())


def test_git_state_names_the_commit_or_says_that_it_is_unknown() -> None:
    state = git_state()
    assert state["git.commit"] == "unknown" or len(state["git.commit"]) == 40
    assert state["git.dirty"] in ("true", "false", "unknown")
