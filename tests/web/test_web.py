"""The web UI: built, its logic, and its pages against a mock of the contract."""

from conftest import npm


def test_it_is_built_and_small_enough(built):
    assert (built / "index.html").exists()


def test_the_contract_that_its_types_are_made_from(built):
    npm("run", "-s", "lint:contract", seconds=100)


def test_its_logic(built):
    npm("test", seconds=200)


def test_its_pages_against_the_mock(built):
    npm("run", "test:browser", seconds=200)
