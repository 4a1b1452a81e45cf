import pytest

from InteractiveSegLib.wording.counting import counted


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 cases wait"), (1, "1 case waits"), (2, "2 cases wait"), (21, "21 cases wait")]
)
def test_one_is_singular_and_all_else_is_plural(count, said):
    assert counted(count, "case waits", "cases wait") == said
