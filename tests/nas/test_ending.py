"""The end of a search in which no network is within the budget: the table, then one message, of what was asked for."""

import pytest

from nas.output import Output
from nas.report.ending import end
from search_spaces.errors import InputError


@pytest.mark.parametrize(
    "measure, message",
    [
        (True, "no network was within the budget when measured; try a larger budget or more trials"),
        (False, "no trained network has a predicted upper bound within the budget; try more trials"),
    ],
)
def test_that_no_network_is_within_the_budget_is_said_after_the_table(made_run, capsys, measure, message):
    run = made_run(measure=measure)
    with pytest.raises(InputError) as error:
        end(Output(), run)
    assert str(error.value) == message
    printed = capsys.readouterr().out
    assert "budget 50 ms" in printed and "Ready to deploy" not in printed
