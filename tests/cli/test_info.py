"""`mvit-np info`: lists, tables and comparisons that fit a terminal, and mistakes told in one
sentence.
"""

import pytest

import mvit_np as mv
from mvit_np.cli import main
from mvit_np.model.text_table import grouped
from mvit_np.studies.compare import comparison, presets_table
from mvit_np.studies.cost_page import page


def shown(capsys, *arguments):
    assert main(["info", *arguments]) == 0
    return capsys.readouterr().out


def fits(text):
    return max(map(len, text.splitlines())) <= 80


def test_without_a_preset_it_lists_them_all(capsys):
    text = shown(capsys)
    assert fits(text)
    lines = text.splitlines()[3:]
    assert [line.split()[0] for line in lines] == list(mv.PRESETS)
    for line, preset in zip(lines, mv.PRESETS.values()):
        account = mv.costs(preset.config)
        assert line.split()[1:3] == [f"{account.params / 1e6:.2f}", f"{account.macs / 1e9:.2f}"]
        assert line.endswith(preset.about)


@pytest.mark.parametrize("name", mv.PRESETS)
def test_each_presets_tables_fit_a_terminal(name, capsys):
    text = shown(capsys, name, "--compare", *mv.PRESETS)
    assert fits(text) and text.startswith(f"{name}: ")


def test_a_comparison_counts_in_multiples_of_the_first():
    lines = comparison("mvit_b_16x4", ["vit_b_8f", "vivit_l"]).splitlines()
    cells = [line.split() for line in lines[3:]]
    assert [row[0] for row in cells] == ["mvit_b_16x4", "vit_b_8f", "vivit_l"]
    assert [row[1] for row in cells] == ["16x224x224", "8x224x224", "32x320x320"]
    assert [row[2] for row in cells] == ["36.61", "87.16", "310.85"]
    # the paper: 2.6 times and 56.0 times fewer FLOPs
    assert [row[4] for row in cells] == ["1", "2.54", "56"]
    # h N N float32
    assert [row[6] for row in cells] == ["78.74", "118.2", f"{16 * 6401**2 * 4 / 1e6:,.0f}"]


def test_the_comparison_stands_after_the_stage_table(capsys):
    alone = shown(capsys, "mvit_micro")
    assert (
        shown(capsys, "mvit_micro", "--compare", "vit_b_8f")
        == f"{alone}\n{comparison('mvit_micro', ['vit_b_8f'])}\n"
    )


def test_large_numbers_are_whole_and_small_ones_have_four_digits():
    assert [grouped(x) for x in (3956.99, 1000, 999.96, 70.599, 0.0068769)] == [
        "3,957",
        "1,000",
        "1000",
        "70.6",
        "0.006877",
    ]


def test_the_papers_tables_are_printed_or_written(capsys, tmp_path):
    assert shown(capsys, "--tables") == page()
    assert shown(capsys, "--tables", str(tmp_path / "costs.md")).strip() == str(
        tmp_path / "costs.md"
    )
    assert (tmp_path / "costs.md").read_text() == page()


def test_tables_and_figures_are_written_over_our_own_alone(capsys, tmp_path):
    tables, figures = (
        ["--tables", str(tmp_path / "costs.md")],
        ["mvit_micro", "--figures", str(tmp_path)],
    )
    for _ in range(2):
        shown(capsys, *tables)
        shown(capsys, *figures)
    for arguments, name in (
        (tables, "costs.md"),
        (figures, "mvit_micro_stages.png"),
        (figures, "mvit_micro_layers.png"),
        (figures, "mvit_micro_pooling_attention.png"),
    ):
        (tmp_path / name).write_text("mine")
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert main(["info", *arguments]) == 2
        out, err = capsys.readouterr()
        assert f"{name} is there already" in err and err.count("\n") == 1 and out == ""
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
        (tmp_path / name).unlink()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mvit_z"], "there is no preset 'mvit_z' among mvit_b_16x4, "),
        (
            ["mvit_micro", "--compare", "vit_b_8f", "vit_z"],
            "there is no preset 'vit_z' among mvit_b_16x4, ",
        ),
        (["--compare", "vit_b_8f"], "need a PRESET"),
        (["--figures", "folder"], "need a PRESET"),
        (["mvit_micro", "--tables"], "give it alone"),
        (["--tables", "--figures", "folder"], "give it alone"),
        (
            ["--tables", "no/such/folder/costs.md"],
            "there is no folder no/such/folder to write costs.md in",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments, words, capsys):
    assert main(["info", *arguments]) == 2
    out, err = capsys.readouterr()
    assert words in err and err.startswith("mvit-np: ") and err.count("\n") == 1 and out == ""


def test_presets_are_listed_by_the_library_too():
    assert presets_table().splitlines()[1].startswith("preset")
