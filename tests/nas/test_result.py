"""The verdict of a run: what it says of the search and the best hand-designed network that holds the budget."""

import pytest

from nas.report.result import verdict


def _entry(accuracy, anchor=None, fits=True, error=0.005):
    return {"test_accuracy": accuracy, "test_error": error, "anchor": anchor, "fits": fits}


RIVALS = [_entry(0.88, "mobilenet_v2@96"), _entry(0.90, "efficientnet_lite@96"), _entry(0.99, "shiftnet@224", fits=False)]


@pytest.mark.parametrize(
    ("accuracy", "said"),
    [
        (0.93, "beat the best hand-designed network within the budget (efficientnet_lite@96, 90.00%) by 3.00 ± 0.71 points"),
        (0.905, "by 0.50 ± 0.71 points on the test set; not significant."),
        (
            0.90,
            "did NOT beat the best hand-designed network within the budget (efficientnet_lite@96, 90.00%): 90.00%, as accurate",
        ),
        (0.90, "as accurate (± 0.71 points) on the test set."),
        (0.895, "89.50%, 0.50 ± 0.71 points behind on the test set; not significant."),
        (0.87, "87.00%, 3.00 ± 0.71 points behind on the test set."),
    ],
)
def test_the_lead_is_told_with_its_error_and_whether_it_may_be_chance(accuracy, said):
    assert said in verdict(_entry(accuracy), RIVALS, "5 ms")


def test_what_cannot_be_compared_is_said():
    assert verdict(None, RIVALS, "5 ms") == "No network found by the search was within 5 ms when measured."
    assert verdict(_entry(0.9), RIVALS[2:], "5 ms") == "No hand-designed network was within 5 ms when measured."
    assert verdict(_entry(None), RIVALS, "5 ms") == "The run is not finished."
