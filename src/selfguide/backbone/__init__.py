"""The frozen network g that turns images into features: pretrained, from a checkpoint, or trained here."""
