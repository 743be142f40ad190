from __future__ import annotations

from pathlib import Path

import pytest

from deltaseal.errors import UsageError
from deltaseal.lab.bench import Pair, run
from deltaseal.lab.bench.templates import load_tools

COPY = """\
[[tool]]
name = "copy"
settings = "whole"
create = ["sh", "-c", "cp $1 $2", "sh", "{new}", "{delta}", "{old}"]
apply = "sh -c 'cp $1 $2' sh {delta} {new} {old}"
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "tools.toml"
    path.write_text(text)
    return path


def test_a_command_joins_with_a_template(tmp_path: Path, pair: Pair) -> None:
    shell = (
        '[[tool]]\nname = "sh"\nstart = ["sh", "-c", "echo sh 1.2"]\n'
        "create = ['sh', '-c', 'x=$2; cat \"${x}\" >\"$3\"; : $1', 'sh', '{old}', '{new}', '{delta}']\n"
        "apply = ['sh', '-c', 'cat \"$3\" >\"$2\"; : $1', 'sh', '{old}', '{new}', '{delta}']\n"
    )
    (tool,) = load_tools(written(tmp_path, shell))
    (record,) = run([pair], [tool])
    assert (record.failure, record.delta_bytes) == ("", pair.new_bytes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("apply =", "start ="), "no apply"),
        (("sh {delta} {new} {old}", "sh {delta}"), "apply does not say {new}, {old}"),
        (('name = "copy"', 'name = "deltaseal"'), "does not begin with 'deltaseal'"),
        (('settings = "whole"', "setings = 1"), "unknown setings"),
        (('settings = "whole"', "settings = 1"), "settings is a text"),
        (
            ('["sh", "-c", "cp $1 $2", "sh", "{new}", "{delta}", "{old}"]', "7"),
            "a list of words, or one text",
        ),
        (("[[tool]]", "[[tul]]"), "has to hold"),
        (("name", "name ="), "is no TOML"),
    ],
)
def test_a_wrong_template_is_named(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    load_tools(written(tmp_path, COPY))
    with pytest.raises(UsageError) as refused:
        load_tools(written(tmp_path, COPY.replace(*change)))
    assert words in refused.value.sentence
