"""What docs/models.md says of transformers is true: its examples are read, its lists and numbers complete."""

import re
from pathlib import Path

import pytest

from sim.catalog.hugging_face import READERS
from sim.catalog.transformers import described, read, transformer_names
from sim.errors import ScenarioError
from sim.perf.transformer import Transformer

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "models.md").read_text("utf-8")
OWN, OLDER = re.findall(r"^```yaml\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_own_model_is_read_and_has_about_the_weights_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "own-1b.yaml").write_text(OWN, "utf-8")
    own = read(tmp_path / "own-1b.yaml")
    assert own.name == "own-1b"
    assert len(OWN.splitlines()) <= 10
    assert 1.0e9 < own.parameters < 1.5e9


def test_what_a_gpt_adds_makes_one(tmp_path: Path) -> None:
    (tmp_path / "gpt.yaml").write_text(OWN.replace("ffn: 5632\n", "") + OLDER, "utf-8")
    gpt = read(tmp_path / "gpt.yaml")
    assert (gpt.ffn, gpt.tied, gpt.learned_positions) == (8192, True, 2048)


def test_the_fault_that_is_shown_is_the_one_that_is_told(tmp_path: Path) -> None:
    (tmp_path / "own-1b.yaml").write_text(OWN.replace("kv_heads: 4", "kv_heads: 5"), "utf-8")
    with pytest.raises(ScenarioError) as refused:
        read(tmp_path / "own-1b.yaml")
    assert str(refused.value).removeprefix(f"{tmp_path}/") in PAGE


def test_every_type_of_configuration_is_named() -> None:
    listed = re.search(r"Known are the\s+types (.*?); any other", PAGE, flags=re.DOTALL)
    assert listed is not None
    assert set(re.findall(r"\w+", listed[1])) - {"and"} == set(READERS)


def test_the_numbers_of_descriptions_are_those_of_the_catalog() -> None:
    known = [described(name) for name in transformer_names()]
    exact = [one for one in known if one.published is not None and one.published.within == 0]
    assert f"the {len(known)} that are known by name" in " ".join(PAGE.split())
    assert f"Of {len(exact)} models every weight was published" in " ".join(PAGE.split())


def test_every_field_that_the_page_names_is_one() -> None:
    table = PAGE[PAGE.index("| to describe") : PAGE.index("The files in")]
    fields = set(re.findall(r"`(\w+)`", table)) | set(re.findall(r"`(\w+):", table))
    assert fields - {"rms", "layer", "layer_without_bias", "none"} <= set(Transformer.model_fields)
