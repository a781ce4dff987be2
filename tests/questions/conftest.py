"""Questions are planned and run in this process's JVM, which is started once."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def jvm(tmp_path_factory):
    from flink_jobs.client import _start_jvm, end_jvm

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("STREAMPROOF_HOME", str(tmp_path_factory.mktemp("jvm")))
        _start_jvm()
    yield
    end_jvm()


def pytest_collection_modifyitems(items):
    for item in items:
        if "/questions/" in item.path.as_posix():
            item.add_marker(pytest.mark.xdist_group("questions"))
