from InteractiveSegLib.evaluation.tables import markdown_table


def test_a_table_lines_up():
    assert markdown_table(("a", "long"), [("1", "2")]) == "| a | long |\n|---|------|\n| 1 | 2    |"
