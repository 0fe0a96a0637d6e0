import logging

from tfrestore.log_lines import each_line_once


def test_a_line_is_logged_once_inside_and_as_often_as_asked_outside(caplog):
    log = logging.getLogger("tfrestore.some")
    with each_line_once(log):
        for name in ("a", "b", "a"):
            log.warning("%s is damaged", name)
    assert caplog.messages == ["a is damaged", "b is damaged"]
    log.warning("a is damaged")
    with each_line_once(log):
        log.warning("a is damaged")
    assert caplog.messages[2:] == ["a is damaged"] * 2
