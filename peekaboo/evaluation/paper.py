"""The figures of the Peekaboo paper (Burgert et al., arXiv 2211.13224), to stand beside measured ones.

Prec@X is the share of samples with IoU > X, mIoU the mean IoU over samples; the threshold that makes masks is unpublished, and so
are the crop rule of VOC-C and the split and prompting of RefCOCO. Rows are (name, P@0.2, P@0.4, P@0.6, P@0.8, mIoU).
"""

from __future__ import annotations

Row = tuple[str, float, float, float, float, float]

VOC_C: tuple[Row, ...] = (
    ("Random (whole image)", 0.670, 0.198, 0.032, 0.012, 0.281),
    ("CLIPpy", 0.757, 0.459, 0.263, 0.049, 0.539),
    ("GroupViT", 0.862, 0.778, 0.602, 0.205, 0.578),
    ("LSeg", 0.952, 0.897, 0.758, 0.311, 0.678),
    ("Raster", 0.756, 0.323, 0.103, 0.012, 0.340),
    ("CLIP loss", 0.918, 0.488, 0.093, 0.023, 0.430),
    ("Fourier", 0.862, 0.598, 0.231, 0.084, 0.454),
    ("Bilateral Fourier", 0.845, 0.608, 0.281, 0.123, 0.470),
    ("RGB Bilateral", 0.892, 0.709, 0.331, 0.130, 0.520),
    ("Depth Bilateral", 0.929, 0.707, 0.455, 0.187, 0.551),
)
REFCOCO: tuple[Row, ...] = (
    ("Random (whole image)", 0.141, 0.022, 0.003, 0.000, 0.102),
    ("GroupViT", 0.212, 0.075, 0.020, 0.002, 0.112),
    ("LSeg", 0.512, 0.212, 0.051, 0.008, 0.235),
    ("RGB Bilateral", 0.318, 0.099, 0.018, 0.002, 0.163),
    ("Depth Bilateral", 0.359, 0.135, 0.037, 0.003, 0.204),
)
TABLES: dict[str, tuple[Row, ...]] = {"VOC-C (paper)": VOC_C, "RefCOCO (paper)": REFCOCO}
