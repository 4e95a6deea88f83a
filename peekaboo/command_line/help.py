"""What ``--help`` says, at once: nothing large is imported for it."""

from __future__ import annotations

HELP = """usage: {program} IMAGE... PROMPT... [-o FOLDER] [--teacher NAME] [--variant NAME] [--device NAME]
       {program} COMMAND [--config NAME ...] [--OPTION VALUE ...]

  {program} dog.jpg "a dog"                   a mask, with pictures, in lightning_logs/version_N
  {program} dog.jpg "a dog" "a ball" -o out   two masks, in a folder of your own
  {program} photos/ "a dog" --teacher sd15    every image of a folder, by Stable Diffusion

IMAGE is a file, a folder, a glob, a list (.txt, one a line) or - for standard input.

  fit      one image: a mask for each prompt, with pictures and TensorBoard events;
           or, with --config rgba and scene, images with transparency out of prompts alone
  test     a data set with ground truth: a table of Prec@X and mIoU; the same command goes on where it was stopped
  predict  a data set without: masks
  study    a grid of runs: {program} study --config studies/NAME; table, figure and contact sheet of all of them
  report   several runs of `test` in one table and plot: {program} report RUN... [--output FOLDER]
  configs  what there is to choose from, with a line each
  words    what the embedded teacher knows
  web      a page in the browser, on this machine alone: {program} web [--port 7860] [--teacher NAME]

Options: {program} fit --help. Later configs and options win over earlier ones.
--version prints the version; -v also what Lightning has to say; --debug, or PEEKABOO_DEBUG=1, shows where an error came from."""

FIT = """usage: {program} fit --image FILE --prompt WORDS [--OPTION VALUE]

  --image FILE              what to segment
  --prompt WORDS            what to look for; once for each mask
  --mask FILE               ground truth, to report the IoU
  --variant NAME            raster, depth_bilateral, ... (rgb_bilateral)
  --teacher NAME            sd15, ...; `peekaboo configs` lists all (embedded)
  --device NAME             cpu, cuda, cuda:1, mps (the best there is)
  -o, --output FOLDER       for the results (lightning_logs/version_N)
  --name NAME               lightning_logs/NAME for the results
  --iterations N            at most (60; 200 with Stable Diffusion)
  --seed N                  of everything random (0)
  --model.settled IOU       stop when the mask stands still (0.98)
  --model.penalty X         higher for smaller masks (0.1)
  --model.threshold X       of the alpha for the mask, or otsu (0.5)
  --model.resolution N      of the alpha in pixels (128)
  --model.loss.guidance X   weight of the words (10; with Stable Diffusion 100)
  --config FILE             more settings, over those before
  --ckpt_path FILE          go on from a fit's checkpoint
  -v                        what Lightning has to say, too
  --help-all                all other options

  {program} fit --image dog.jpg --prompt "a dog" -o out"""


def help_for(args: list[str]) -> str | None:
    """Returns the page that is asked for, if it is one of these; ``--help-all`` is the parser's own ``--help``."""
    if not args or args[0] in ("-h", "--help"):
        return HELP
    return FIT if args[0] == "fit" and {"-h", "--help"} & set(args) else None
