"""What tests of runs share."""

import pytest
from short_runs import SMOKE, finish


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, finish(SMOKE, folder)
