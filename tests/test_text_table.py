"""Tables, numbers and paragraphs as text: what each helper writes, character by character."""

import pytest

from mvit_np.model.text_table import aligned, digits, grouped, markdown, percent, si_prefix, wrapped


def test_columns_are_as_wide_as_their_widest_cell():
    rows = [("", "M"), ("a", "12.5"), ("bcd", "")]
    assert aligned(rows, left=1) == ["       M", "a   12.5", "bcd"]
    assert aligned([("", "M"), ("a", "12.5")]) == ["     M", "a 12.5"]


def test_a_markdown_table_has_numbers_on_the_right_and_words_on_the_left():
    head, rows = ["", "M"], [["a", "1"], ["b", "2"]]
    assert markdown(head, rows) == "|  | M |\n| --- | ---: |\n| a | 1 |\n| b | 2 |"
    assert markdown(head, rows, numbers=False).splitlines()[1] == "| --- | --- |"


def test_a_paragraph_is_cut_between_words_alone():
    words = wrapped("one  two\n    three-four five", width=12, indent="  ")
    assert words == "one two\n  three-four\n  five"


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0.1234, "0.123"),
        (0.99951, "1.00"),
        (9.994, "9.99"),
        (9.996, "10.0"),
        (99.94, "99.9"),
        (1234.5, "1234"),
    ],
)
def test_a_number_has_three_digits(number, written):
    assert digits(number) == written and digits(-number) == f"-{written}"


def test_digits_after_the_point_are_bounded():
    assert [digits(x, least=1, most=2) for x in (0.1234, 6.057, 179.58)] == [
        "0.12",
        "6.06",
        "179.6",
    ]
    assert [percent(x) for x in (0.614, 1)] == ["61 %", "100 %"]
    assert (percent(0.614, 1), percent(0.614, 1, sign="")) == ("61.4 %", "61.4")
    assert [grouped(x) for x in (0.0068771, 70.6, 3957.2)] == ["0.006877", "70.6", "3,957"]
    assert [si_prefix(x) for x in (7.06e10, 999, 0)] == [(1e9, "G"), (1, ""), (1, "")]
