"""How good generated images with transparency are, beside controls and beside sampling and cutting out."""
