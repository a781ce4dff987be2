"""The newest dead letters, and all of them counted."""

from validation.live.dead_letters import KEPT, Letter, LetterBox


def test_the_newest_are_kept_and_all_are_counted():
    box = LetterBox()
    for number in range(KEPT + 50):
        box.add(Letter(reason="too long" if number % 2 else "too short", received_at=number, run="r"))
    content = box.content()
    assert (content.of_run, content.without_run, len(content.newest)) == (KEPT + 50, 0, KEPT)
    assert content.newest[0].received_at == KEPT + 49
    assert dict(content.reasons) == {"too long": 75, "too short": 75}


def test_a_letter_that_names_no_run_is_counted_apart():
    box = LetterBox()
    box.add(Letter(reason="no JSON"))
    assert (box.content().of_run, box.content().without_run) == (0, 1)


def test_reasons_without_end_are_counted_together():
    box = LetterBox()
    for number in range(1000):
        box.add(Letter(reason=f"reason {number}", run="r"))
    reasons = dict(box.content().reasons)
    assert len(reasons) == 101
    assert reasons["other reasons"] == 900
