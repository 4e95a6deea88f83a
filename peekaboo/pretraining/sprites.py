"""Makes the sprites of all looks but Fluent 3D: ``python -m peekaboo.pretraining.sprites PACKAGES [--sheet FILE.png]``.

``PACKAGES`` is a folder with the unpacked npm packages of ``LOOKS``, one folder each; to fetch one::

    npm pack @iconify-json/twemoji && mkdir twemoji && tar xzf iconify-json-twemoji-*.tgz -C twemoji --strip-components=1

Every drawing is rasterised by resvg, cropped to its visible pixels, reduced to ``SIDE`` pixels and written as a webp; a table
beside them (``sources.csv``) says for every file its package, version, icon and licence. Needs ``pip install resvg-py``.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from ..data.looks import ASSETS, vocabulary
from ..functional.optional import extra

SIDE = 128  # of the longer side of a sprite: that of a scene
SUPERSAMPLED = 512


@dataclass(frozen=True)
class Look:
    """One family of drawings, as an npm package of Iconify has it.

    Attributes:
        package: name in the registry, behind ``@iconify-json/``.
        licence: SPDX identifier; what ``info.json`` of the package must say too.
        author: whom to name.
        icons: for a word, the icon of it where that is neither listed by code point nor named like the word.
        left_out: words without a sprite though the package has an icon for them, with the reason.
    """

    package: str
    licence: str
    author: str
    icons: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


LOOKS: dict[str, Look] = {
    "fluent_flat": Look("fluent-emoji-flat", "MIT", "Microsoft Corporation"),
    "twemoji": Look("twemoji", "CC-BY-4.0", "Twitter, Inc and other contributors"),
    "emojione": Look(
        "emojione",
        "CC-BY-4.0",
        "EmojiOne and EmojiTwo contributors",
        icons={
            "steam locomotive": "locomotive",
            "fire truck": "fire-engine",
            "red car": "automobile",
            "scooter": "motor-scooter",
            "watermelon slice": "watermelon",
            "corn": "ear-of-corn",
            "pizza slice": "pizza",
            "sheep": "ewe",
            "koala face": "koala",
            "ladybug": "lady-beetle",
            "bee": "honeybee",
            "sneaker": "running-shoe",
            "lantern": "red-paper-lantern",
            "pine tree": "evergreen-tree",
            "ice cream": "soft-ice-cream",
        },
        left_out={
            "basketball": "a ball that flies through a hoop",
            "tent": "a night scene that fills a square",
        },
    ),
    "fxemoji": Look(
        "fxemoji",
        "Apache-2.0",
        "Mozilla",
        icons={
            "steam locomotive": "steamlocomotive",
            "fire truck": "fireengine",
            "red car": "automobile",
            "red apple": "redapple",
            "green apple": "greenapple",
            "eggplant": "aubergine",
            "corn": "earofmaize",
            "pizza slice": "sliceofpizza",
            "birthday cake": "birthdaycake",
            "ice cream": "softicecream",
            "leopard": "leopardside",
            "rabbit": "bunnyside",
            "camel": "dromedarycamel",
            "fox face": "foxgrin",
            "panda face": "pandaface",
            "koala face": "koala",
            "frog face": "frog",
            "tropical fish": "tropicalfish",
            "ladybug": "ladybeetle",
            "bee": "honeybee",
            "telephone": "blacktelephone",
            "basketball": "basketballandhoop",
            "soccer ball": "soccerball",
            "american football": "americanfootball",
            "backpack": "schoolsatchel",
            "top hat": "tophat",
            "sneaker": "mensshoe",
            "lantern": "izakayalantern",
            "scissors": "blackscissors",
            "alarm clock": "alarmclock",
            "pine tree": "evergreen",
            "palm tree": "palmtree",
            "house": "housebuilding",
            "castle": "europeancastle",
            "snowman": "snowmanwithoutsnow",
            "jack-o-lantern": "jackolantern",
        },
        left_out={
            "basketball": "a ball above a net",
            "ship": "on a square plate of sky and sea",
            "sailboat": "on a square plate of sky and sea",
            "tent": "a night scene that fills a square",
            "sneaker": "a brown leather shoe",
            "umbrella": "a closed one",
        },
    ),
    "streamline": Look(
        "streamline-emojis",
        "CC-BY-4.0",
        "Streamline",
        icons={
            "steam locomotive": "locomotive",
            "fire truck": "fire-engine",
            "red car": "automobile",
            "strawberry": "strawberry-1",
            "watermelon slice": "watermelon-1",
            "hamburger": "hamburger-1",
            "pizza slice": "pizza-1",
            "doughnut": "doughnut-1",
            "birthday cake": "birthday-cake-1",
            "ice cream": "soft-ice-cream-1",
            "sheep": "ewe-1",
            "fox face": "fox-face-1",
            "koala face": "koala",
            "penguin": "penguin-1",
            "whale": "spouting-whale",
            "ladybug": "lady-beetle",
            "bee": "honeybee",
            "backpack": "school-backpack",
            "sneaker": "running-shoe",
            "lantern": "red-paper-lantern",
            "cactus": "cactus-1",
            "sunflower": "sunflower-1",
            "house": "house-with-garden",
            "robot face": "robot-face-1",
        },
        left_out={
            "watermelon slice": "a smiling face with rays",
            "ship": "in a frame",
            "castle": "in a frame",
            "tent": "in a frame",
            "pine tree": "a Christmas tree with a face and baubles",
            "guitar": "notes and stars around it, as large as the guitar",
        },
    ),
    "openmoji": Look("openmoji", "CC-BY-SA-4.0", "OpenMoji, the open-source emoji and icon project"),
}


def _svg(icons: dict[str, Any], name: str) -> str:
    """The drawing of one icon, or of what it is an alias of, as a file of its own."""
    icon = icons["icons"].get(name) or icons["icons"][icons["aliases"][name]["parent"]]
    width, height = (icon.get(key, icons.get(key, 16)) for key in ("width", "height"))
    box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{box}">{icon["body"]}</svg>'
    )


def rasterise(svg: str) -> Image.Image:
    """Returns the drawing as RGBA, cropped to its visible pixels, ``SIDE`` pixels on its longer side."""
    with extra("sprites", "sprites from vector drawings"):
        import resvg_py

    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=SUPERSAMPLED, height=SUPERSAMPLED))
    image = Image.open(io.BytesIO(png)).convert("RGBA")
    image = image.crop(image.getchannel("A").point([0] * 16 + [255] * 240).getbbox())
    scale = SIDE / max(image.size)
    return image.resize((max(round(image.width * scale), 1), max(round(image.height * scale), 1)), Image.Resampling.LANCZOS)


def icon_names(look: Look, icons: dict[str, Any], code_points: dict[str, str]) -> dict[str, str]:
    """Returns the icon of every word that the package draws: told here, listed by code point, or named like the word."""
    listed = {code.replace("-fe0f", ""): name for code, name in code_points.items()}
    named = set(icons["icons"]) | set(icons.get("aliases", {}))
    found = {}
    for word, code in vocabulary().items():
        icon = look.icons.get(word) or listed.get(code.replace("-fe0f", "")) or word.replace(" ", "-")
        if icon in named and word not in look.left_out:
            found[word] = icon
    return found


def make_look(name: str, package: Path, output: Path) -> list[dict[str, str]]:
    """Writes the sprites of one look below ``output`` and returns their rows of the table.

    Raises:
        FileNotFoundError: if the package is not there.
        ValueError: if its licence is not the one that is known.
    """
    look = LOOKS[name]
    if not (package / "icons.json").is_file():
        raise FileNotFoundError(f"expected the unpacked npm package @iconify-json/{look.package} in {str(package)!r}")
    icons, info, about = (json.loads((package / f"{part}.json").read_text("utf-8")) for part in ("icons", "info", "package"))
    if info["license"]["spdx"] != look.licence:
        raise ValueError(f"{look.package}: expected the licence {look.licence}, got {info['license']['spdx']}")
    listed = package / "chars.json"
    rows = []
    (output / name).mkdir(parents=True, exist_ok=True)
    for word, icon in icon_names(look, icons, json.loads(listed.read_text("utf-8"))).items():
        file = f"{name}/{vocabulary()[word]}.webp"
        rasterise(_svg(icons, icon)).save(output / file, quality=90, method=6)
        source = {"package": f"@iconify-json/{look.package}", "version": about["version"], "icon": icon}
        rows.append({"file": file, "name": word, "look": name, **source, "licence": look.licence, "author": look.author})
    return rows


def contact_sheet(folder: Path, side: int = 72, across: int = 3) -> Image.Image:
    """Returns a picture of all words by all looks, Fluent 3D first, ``across`` words a row, each with its name."""
    looks = ["", *LOOKS]
    width, height = side * len(looks) + 110, side
    words = list(vocabulary().items())
    sheet = Image.new("RGB", (width * across, height * -(-len(words) // across)), "#d0d4d8")
    draw = ImageDraw.Draw(sheet)
    for k, (word, code) in enumerate(words):
        x, y = (k % across) * width, (k // across) * height
        draw.text((x + 4, y + side // 2 - 6), word, fill="black")
        for j, look in enumerate(looks):
            file = folder / look / f"{code}.webp"
            if file.is_file():
                image = Image.open(file).convert("RGBA")
                image.thumbnail((side - 6, side - 6))
                sheet.paste(image, (x + 110 + j * side + (side - image.width) // 2, y + (side - image.height) // 2), image)
    return sheet


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path, help="folder with the unpacked npm packages")
    parser.add_argument("--output", type=Path, default=ASSETS / "sprites", help="folder of the sprites")
    parser.add_argument("--sheet", type=Path, help="picture file for the words by looks")
    options = parser.parse_args()
    try:
        rows = [row for name, look in LOOKS.items() for row in make_look(name, options.packages / look.package, options.output)]
        with (options.output / "sources.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
        if options.sheet:
            contact_sheet(options.output).save(options.sheet)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name in LOOKS:
        print(f"{name}: {sum(row['look'] == name for row in rows)} of {len(vocabulary())} words")
    return 0


if __name__ == "__main__":
    sys.exit(main())
