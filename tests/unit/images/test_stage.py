import sys
from types import SimpleNamespace

import numpy as np
from PIL import Image

from selfguide.images.artifact import ImageSet
from stages import images as stage


def test_the_stage_writes_the_artifact_and_the_picture(tmp_path, config, monkeypatch, caplog):
    caplog.set_level("INFO")
    section = config(source="scenes", size=16, num_train=100, num_heldout=5)
    monkeypatch.setattr(stage, "load_params", lambda *_: SimpleNamespace(images=section, seed=0))
    out, picture = tmp_path / "data" / "images", tmp_path / "results" / "images.png"
    monkeypatch.setattr(sys, "argv", ["images", "--out", str(out), "--picture", str(picture)])
    stage.main()
    assert len(ImageSet.load(out).train) == 100
    assert Image.open(picture).height > 10 * 64
    assert (np.asarray(Image.open(picture).convert("RGB")) == (255, 64, 64)).all(axis=-1).any()  # the known boxes
    assert "100 training and 5 held-out images of 16 px, 10 classes (heart, fish, " in caplog.text
