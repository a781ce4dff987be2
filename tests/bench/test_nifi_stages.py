"""The stages of the NiFi flow, each alone, in small."""

import pytest

from nifi_templates.deployment import status
from streamproof.bench import nifi_stages
from streamproof.bench.nifi_stages import STAGES, measure


@pytest.mark.long
@pytest.mark.usefixtures("servers")
def test_each_stage_is_measured_alone_and_the_run_is_proven_and_its_flow_is_gone():
    once = measure(4001)
    rates = {stage: once.parts[f"{stage}, rows/s"] for stage in STAGES}
    assert once.value == min(rates.values()) > 0
    for stage, rate in rates.items():
        assert once.parts[f"{stage}, µs/row"] == pytest.approx(1e6 / rate)
    assert not status(nifi_stages.STREAM).deployed
