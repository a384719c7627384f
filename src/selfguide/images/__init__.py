"""Images and what is known about them (labels, boxes, masks): sources, decoding, geometry, the artifact."""
