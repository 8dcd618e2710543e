"""OCI image layouts (image specification, "Image Layout Specification"), written and read."""
