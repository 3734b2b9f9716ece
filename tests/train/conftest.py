import io
import json

import pytest
from PIL import Image


@pytest.fixture
def write_parquet():
    """Writes images and labels as the datasets library does; without class names where `names` is None."""

    def write(path, images, labels, names):
        import pyarrow
        from pyarrow import parquet

        def encode(image):
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "PNG")
            return {"bytes": buffer.getvalue(), "path": None}

        kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
        table = pyarrow.table({"image": pyarrow.array([encode(i) for i in images], kind), "label": labels})
        if names is not None:
            features = {"info": {"features": {"label": {"names": list(names), "_type": "ClassLabel"}}}}
            table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
        parquet.write_table(table, path)

    return write
