from h2d.manifests.docs import PATH, manifests_page
from h2d.manifests.schema import TABLES


def test_the_page_is_made_from_the_schemas():
    assert PATH.read_text(encoding="utf-8") == manifests_page(), "run: python -m h2d.manifests.docs"


def test_every_column_is_named():
    page = manifests_page()
    for table, schema in TABLES.items():
        section = page.split(f"## `{table}`")[1].split("\n## ")[0]
        for field in schema:
            assert f"| `{field.name}` | " in section
