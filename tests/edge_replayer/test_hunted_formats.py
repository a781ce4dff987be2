"""Contracts of every kind, hunted: replayer and validation read every cell alike, each by its own code."""

import pytest
from both_readers import read_by_the_replayer, read_by_the_validation
from generated_formats import formatted_files
from hunting import cases
from hypothesis import given, settings
from hypothesis import strategies as st

import validation.csv_rows
from streamproof.core.errors import UsageError


@settings(max_examples=cases(20))
@given(file=formatted_files(), block=st.integers(4, 300))
def test_replayer_and_validation_read_every_cell_alike(tmp_path, file, block):
    path = tmp_path / "a.csv"
    path.write_bytes(file.stored)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation.csv_rows, "_BLOCK", block)
        try:
            found = read_by_the_replayer(file.contract, path)
        except UsageError:
            return  # there is no run then
        assert read_by_the_validation(file.contract, path) == found  # blocks without a quote are cut in another way
        if file.contract.csv.quote:
            patch.setattr(validation.csv_rows._Records, "_ends", validation.csv_rows._Records._ends_of_quoted)
            assert read_by_the_validation(file.contract, path) == found
